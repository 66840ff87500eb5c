"""Problems that ship with the plugins, made on the spot so that nothing is downloaded."""
