"""From plain data to text, of each format."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from noether_core.errors import ConfigError, Problem, shown
from noether_core.quoting import UNSEEN
from noether_core.structuring.documents.document import LARGEST_TEXT, Format
from noether_core.structuring.documents.limits import Limits, problems_in

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*+(?: [A-Za-z0-9_./+-]++)*+")
"""Text that may stand in YAML without quotes, unless it is one of the words below."""

_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What some reader of YAML takes for something else, in upper or lower case."""

_LAST_OF_FOUR_DIGITS: Final = 0xFFFF
"""The last character that an escape of four digits can write."""

_CONSTANTS: Final = {None: "null", True: "true", False: "false"}

_LONGEST_KEY: Final = 1000
"""Characters of a YAML key that stands on the line of its value.

No reader looks further than 1,024 for the colon.
"""


def write(data: Any, format: Format) -> str:
    """Return plain data as text, which `parse` reads as the same data; tuples become lists.

    Raises:
        ConfigError: If *data* is not plain or the format cannot hold it: TOML has no null and holds
            a mapping at its top, JSON has neither infinities nor NaN, and none has half a
            character.
    """
    limits, writer = _WRITERS[format]
    problems = problems_in(data, limits)
    if problems:
        raise ConfigError(problems)
    text = writer(data)
    if len(text) > LARGEST_TEXT:
        message = f"the document would have more than {LARGEST_TEXT} characters"
        raise ConfigError([Problem(message=message)])
    return text


def _write_json(data: Any) -> str:
    import json

    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return escaped(text, _escape_in_json) + "\n"


def _write_toml(data: Any) -> str:
    if not isinstance(data, dict):
        raise ConfigError([Problem(message=f"TOML holds a mapping, got {shown(data)}", value=data)])
    import tomli_w

    return escaped(tomli_w.dumps(data))


def _escape(found: re.Match[str]) -> str:
    """Return what YAML and TOML write for a character."""
    code = ord(found.group())
    return f"\\u{code:04x}" if code <= _LAST_OF_FOUR_DIGITS else f"\\U{code:08x}"


def _escape_in_json(found: re.Match[str]) -> str:
    """Return what JSON writes for a character: two halves of it where four digits are too few."""
    halves = found.group().encode("utf-16-be").hex()
    return "".join(f"\\u{halves[start : start + 4]}" for start in range(0, len(halves), 4))


def escaped(text: str, escape: Callable[[re.Match[str]], str] = _escape) -> str:
    r"""Return *text* with unseen characters, which stand in double quotes, as ``\u0085``."""
    if text.isascii():
        return text.replace("\x7f", r"\u007f")  # the others of ASCII are escaped already
    return re.sub(f"[{UNSEEN}]", escape, text)


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
    """Return whether *value* takes lines of its own: a mapping, or a list of more than scalars."""
    if isinstance(value, dict):
        return bool(value)
    if isinstance(value, (list, tuple)):
        return any(isinstance(item, (dict, list, tuple)) for item in value)
    return False


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

    return escaped(json.dumps(text, ensure_ascii=False))  # JSON's quoted text is YAML's too


def _fraction(value: float) -> str:
    """Return a number that YAML 1.1 reads as one too: with a point, even before an exponent."""
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")


_WRITERS: Final[dict[Format, tuple[Limits, Callable[[Any], str]]]] = {
    "yaml": (Limits(), write_yaml),
    "toml": (Limits(no_null="TOML has no null"), _write_toml),
    "json": (Limits(no_infinity="JSON has no infinity and no NaN"), _write_json),
}
