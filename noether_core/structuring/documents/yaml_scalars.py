"""What a scalar of YAML means: by its spelling, or by its tag."""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, Final

from noether_core.errors import quoted_if_long, shown
from noether_core.structuring.documents.limits import Refused, whole_number

CONSTANTS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}

_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_NUMBER: Final = re.compile(
    r"(?P<whole>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)"
    r"|(?P<fraction>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_BASES: Final = {"whole": 10, "octal": 8, "hexadecimal": 16}

_CORE: Final = "tag:yaml.org,2002:"
_SCALARS: Final[dict[str, type]] = {"int": int, "float": float, "bool": bool, "null": NoneType}
_NAMES: Final = frozenset({"str", "map", "seq", *_SCALARS})


def plain_scalar(text: str) -> Any:
    """Return what *text* without quotes means: None, a bool, a number, a `Refused` one, or text."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    return _number(text) if text[0] in _NUMBER_STARTS else text


def _number(text: str) -> Any:
    match = _NUMBER.fullmatch(text)
    if match is None or match.lastgroup is None:
        return text
    if match.lastgroup == "fraction":
        return float(text)
    return whole_number(match[match.lastgroup], _BASES[match.lastgroup])


def tagged_scalar(tag: str, text: str) -> Any:
    """Return what the scalar *text* means under *tag*, or why it is `Refused`."""
    name = tag.removeprefix(_CORE)
    if tag in ("!", f"{_CORE}str"):
        return text
    value = plain_scalar(text)
    if name == "float" and type(value) is int and text.lstrip("+-").isdecimal():
        return float(text)  # the one number that a tag turns into another kind
    return value if type(value) is _SCALARS.get(name) else _refused(tag, text)


def tagged_collection(tag: str, name: str) -> Refused | None:
    """Return why *tag* is refused on a collection.

    Args:
        tag: The whole tag.
        name: What the core schema calls the collection: ``map`` or ``seq``.
    """
    if tag in ("!", _CORE + name):
        return None
    return _refused(tag, "a mapping" if name == "map" else "a list")


def _refused(tag: str, found: str) -> Refused:
    short = tag.replace(_CORE, "!!", 1)
    if tag.startswith(_CORE) and tag.removeprefix(_CORE) in _NAMES:
        return Refused(f"the tag {short} does not fit {quoted_if_long(found)}")
    return Refused(
        f"the tag {shown(short)} is not allowed", "remove it; a config holds plain data only"
    )
