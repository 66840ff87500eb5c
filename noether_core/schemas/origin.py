"""Another implementation of a variant: what its configs and weights call things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.modules.attention import Name
from noether_core.schemas.schema import Schema


@attrs.frozen(kw_only=True)
class Origin(Schema):
    """How another implementation names the options and weights of a variant.

    A plugin names its origins in its record, each by an import path; the file imports no torch::

        AttentionVariant(..., origins={"acme/window": "acme_window.origins:WINDOW"})

        WINDOW = Origin(options={"win": "window"}, layers={"to_out.0": "proj"})

    Raises:
        ConfigError: If a field is wrong.
    """

    options: Mapping[str, Name] = EMPTY
    """Its names of options, each with ours; those that are the same are left out."""

    values: Mapping[str, Mapping[str, Any]] = EMPTY
    """Options of ours whose values it names otherwise: its names, each with our value.

    None stands for its default.
    """

    defaults: Mapping[str, Any] = EMPTY
    """Options of ours, with the value that it has where its config does not say."""

    left_out: Mapping[str, Name] = EMPTY
    """Its options that mean nothing here, each with the reason; left out with a warning."""

    layers: Mapping[str, Name] = EMPTY
    """Its names of layers, each with ours: ``to_out.0`` with ``proj``; the same are left out."""

    zeros: tuple[Name, ...] = ()
    """Biases that it may lack and that start at zero here, by name or pattern: ``*.bias``."""
