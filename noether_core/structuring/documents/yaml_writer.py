"""The YAML writer: what it writes, readers of YAML 1.1 and of 1.2 read alike."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from noether_core.structuring.documents.escapes import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*+(?: [A-Za-z0-9_./+-]++)*+")
"""Text that may stand without quotes, unless it is one of the words below."""

_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What some reader takes for something else, in upper or lower case."""

_CONSTANTS: Final = {None: "null", True: "true", False: "false"}

_LONGEST_KEY: Final = 1000
"""Characters of a key that stands on the line of its value: no reader looks further than 1,024 for
the colon.
"""


def write_yaml(data: Any) -> str:
    """Return plain data as YAML: mappings in blocks, lists of scalars on one line, no aliases."""
    return "".join(f"{line}\n" for line in _lines(data))


def _lines(value: Any) -> Iterator[str]:
    if not _is_block(value):
        yield _inline(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(_text(key), item)
    else:
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _entry(key: str, value: Any) -> Iterator[str]:
    if len(key) > _LONGEST_KEY:
        yield f"? {key}"
        key = ""
    if _is_block(value):
        yield f"{key}:"
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key}: {_inline(value)}"


def _is_block(value: Any) -> bool:
    """Return whether *value* takes lines of its own: a mapping, or a list that holds more than
    scalars.
    """
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, (list, tuple)) and any(
        isinstance(item, (dict, list, tuple)) for item in value
    )


def _inline(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _fraction(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_inline, value))}]"
    return str(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    import json

    return escaped(json.dumps(text, ensure_ascii=False))


def _fraction(value: float) -> str:
    """Return a number that YAML 1.1 reads as one too: with a point even where an exponent follows."""
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")
