"""The built-in attention variants and the workbench: an ordinary plugin that ships with the core."""
