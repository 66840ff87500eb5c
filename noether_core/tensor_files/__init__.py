"""Safetensors files: what their headers say, and tensors as bytes, written and read whole."""
