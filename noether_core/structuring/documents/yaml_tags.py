"""What explicit YAML tags mean: those of the core schema, where they fit; all others are refused."""

from __future__ import annotations

from types import NoneType
from typing import Any, Final

from noether_core.errors import quoted_if_long, shown
from noether_core.structuring.documents.plain import Refused
from noether_core.structuring.documents.yaml_scalars import meaning

_CORE: Final = "tag:yaml.org,2002:"
_SCALARS: Final[dict[str, type]] = {"int": int, "float": float, "bool": bool, "null": NoneType}
_NAMES: Final = frozenset({"str", "map", "seq", *_SCALARS})


def tagged_scalar(tag: str, text: str) -> Any:
    """Return what the scalar *text* means under *tag*, or why it is `Refused`."""
    name = tag.removeprefix(_CORE)
    if tag in ("!", f"{_CORE}str"):
        return text
    value = meaning(text)
    if name == "float" and type(value) is int and text.lstrip("+-").isdecimal():
        return float(text)
    return value if type(value) is _SCALARS.get(name) else _refused(tag, text)


def tagged_collection(tag: str, name: str) -> Refused | None:
    """Return why *tag* is refused on a collection, of which the core schema has *name*: ``map`` or
    ``seq``.
    """
    return (
        None
        if tag in ("!", _CORE + name)
        else _refused(tag, "a mapping" if name == "map" else "a list")
    )


def _refused(tag: str, found: str) -> Refused:
    short = tag.replace(_CORE, "!!", 1)
    if tag.startswith(_CORE) and tag.removeprefix(_CORE) in _NAMES:
        return Refused(f"the tag {short} does not fit {quoted_if_long(found)}")
    return Refused(
        f"the tag {shown(short)} is not allowed", "remove it; a config holds plain data only"
    )
