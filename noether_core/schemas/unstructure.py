"""From a config to plain data, and to the fingerprint of that data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, overload

from noether_core.schemas.schema import Field, Schema, plan_of


@overload
def unstructure(value: Schema, *, defaults: bool = True) -> dict[str, Any]: ...
@overload
def unstructure(value: object, *, defaults: bool = True) -> Any: ...
def unstructure(value: object, *, defaults: bool = True) -> Any:
    """Return a config as a plain dict, ``type`` first, ready for YAML, TOML and JSON.

    The other options follow in the order of their fields, then those that an open config keeps. An
    option that is None by default and None is left out in any case, so that TOML can hold the rest.

    Args:
        value: The config, or any value that an option may have.
        defaults: Whether options that hold their default are written out.
    """
    if isinstance(value, Schema):
        return _options_of(value, defaults=defaults)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: unstructure(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unstructure(item, defaults=defaults) for item in value]
    return value


def fingerprint_of(config: Schema) -> str:
    """Return 64 hexadecimal digits that equal configs share in every process, on every machine.

    They are the SHA-256 of the canonical JSON of all options, written out and sorted by name.
    """
    import hashlib
    import json

    text = json.dumps(
        _canonical(unstructure(config)),
        sort_keys=True,
        ensure_ascii=True,
        allow_nan=False,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return *value* such that equal numbers have one text.

    Configs that differ in 1, 1.0 and True are equal, and so must their fingerprints be.
    """
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, (bool, float)) and value == int(value):
        return int(value)
    return value


def _options_of(config: Schema, *, defaults: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for field in plan_of(type(config)).fields:
        value = getattr(config, field.name)
        if _is_written(field, value, defaults=defaults):
            # which of several configs it is may be known by its defaults alone
            is_whole = defaults or field.chooses_config
            options[field.option] = unstructure(value, defaults=is_whole)

    # what an open config keeps stands among its options, as it did in the document
    kept = options.pop(config.extra_field, {}) if config.extra_field else {}
    if "type" in options:
        options = {"type": options.pop("type"), **options}
    return options | kept


def _is_written(field: Field, value: Any, *, defaults: bool) -> bool:
    if value is None and field.default is None:  # TOML could not hold it
        return False
    if defaults or field.option == "type":
        return True
    return bool(value != field.default_value())
