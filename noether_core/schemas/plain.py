"""From a config to plain data, and to the fingerprint of that data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from noether_core.schemas.schema import Field, Schema, plan_of


def plain(value: Any, *, defaults: bool = True) -> Any:
    """Return a config, or anything that a field may hold, as fresh dicts, lists and scalars.

    Args:
        value: A config, or a tuple, mapping or scalar.
        defaults: Whether options that hold their default are written out.

    Returns:
        For a config a dict: ``type`` first, the other options in the order of their fields, then
        those that an open config keeps. An option that is None by default and None is left out, so
        that TOML can hold the rest.
    """
    if isinstance(value, Schema):
        return _plain_options(value, defaults=defaults)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, defaults=defaults) for item in value]
    return value


def fingerprint_of(config: Schema) -> str:
    """Return 64 hexadecimal digits that equal configs share in every process and on every machine.

    They are the SHA-256 of the canonical JSON of all options, written out and sorted by name.
    """
    import hashlib
    import json

    options = _canonical(plain(config))
    text = json.dumps(
        options, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return *value* such that equal numbers have one text: configs that differ in 1, 1.0 and True
    are equal.
    """
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, (bool, float)) and value == int(value) else value


def _plain_options(config: Schema, *, defaults: bool) -> dict[str, Any]:
    told = {
        field.option: plain(getattr(config, field.name), defaults=defaults)
        for field in plan_of(type(config)).fields
        if _is_told(field, config, defaults=defaults)
    }
    kind = {"type": told.pop("type")} if "type" in told else {}
    extra = told.pop(config.extra_field, {}) if config.extra_field else {}
    return kind | told | extra


def _is_told(field: Field, config: Schema, *, defaults: bool) -> bool:
    value = getattr(config, field.name)
    if value is None and field.default is None:
        return False
    return defaults or field.option == "type" or bool(value != field.default_value())
