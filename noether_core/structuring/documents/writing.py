"""From plain data to text that reads back as the same data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from noether_core.errors import ConfigError, Problem, shown
from noether_core.structuring.documents.document import Format
from noether_core.structuring.documents.escapes import escaped
from noether_core.structuring.documents.plain import Limits, problems_in
from noether_core.structuring.documents.source import LARGEST_TEXT
from noether_core.structuring.documents.yaml_writer import write_yaml


def write(data: Any, format: Format) -> str:
    """Return plain data as text, which `parse` reads as the same data; tuples become lists.

    Raises:
        ConfigError: If *data* is not plain or the format cannot hold it: TOML has no null and holds
            a mapping at its top, JSON has neither infinities nor NaN, and none has half a
            character.
    """
    limits, writer = _WRITERS[format]
    if problems := problems_in(data, limits):
        raise ConfigError(problems)
    text = writer(data)
    if len(text) > LARGEST_TEXT:
        raise ConfigError(
            [Problem(message=f"the document would have more than {LARGEST_TEXT} characters")]
        )
    return text


def _write_json(data: Any) -> str:
    import json

    return escaped(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def _write_toml(data: Any) -> str:
    if not isinstance(data, dict):
        raise ConfigError([Problem(message=f"TOML holds a mapping, got {shown(data)}", value=data)])
    import tomli_w

    return escaped(tomli_w.dumps(data))


_WRITERS: Final[dict[Format, tuple[Limits, Callable[[Any], str]]]] = {
    "yaml": (Limits(), write_yaml),
    "toml": (Limits(no_null="TOML has no null"), _write_toml),
    "json": (Limits(no_infinity="JSON has no infinity and no NaN"), _write_json),
}
