"""YAML, TOML and JSON as plain data, with the location of every key and value."""

from noether_core.structuring.documents.document import Document, Format
from noether_core.structuring.documents.reading import FORMATS, parse, read, read_from

__all__ = ["FORMATS", "Document", "Format", "parse", "read", "read_from"]
