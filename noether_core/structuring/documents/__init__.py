"""YAML, TOML and JSON as plain data, with the position of every key and value."""

from noether_core.structuring.documents.document import Document, Format, parse
from noether_core.structuring.documents.files import FORMATS, read, read_from

__all__ = ["FORMATS", "Document", "Format", "parse", "read", "read_from"]
