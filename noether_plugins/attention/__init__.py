"""The built-in attention variants, one folder each."""
