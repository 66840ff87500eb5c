"""From text to mappings to configs, and back."""

from noether_core.structuring.converter import structure, unstructure
from noether_core.structuring.files import dump, load, structure_document
from noether_core.structuring.json_schema import json_schema

__all__ = ["dump", "json_schema", "load", "structure", "structure_document", "unstructure"]
