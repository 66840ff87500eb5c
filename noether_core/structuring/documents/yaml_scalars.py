"""What a plain YAML scalar means: the core schema of YAML 1.2."""

from __future__ import annotations

import re
from typing import Any, Final

from noether_core.structuring.documents.plain import whole_number

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


def meaning(text: str) -> Any:
    """Return what the plain scalar *text* means: None, a bool, a number, a `Refused` one, or the
    text itself.
    """
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
