"""From text to mappings to configs, and back."""
