"""Modules in files: weights, config and provenance in one safetensors file."""
