"""What a module or a model takes: its parameters, and counts of operations and memory. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas.schema import Schema

How = Literal["counted", "measured", "fitted", "not counted"]


@attrs.frozen(kw_only=True)
class Count(Schema):
    """What one call takes, with some number of tokens."""

    tokens: Annotated[int, Ge(0)]
    """Tokens of the call, or of each sample in it."""

    part: Literal["forward", "training"]
    """A forward pass without gradients, or forward and backward as a step of a training has
    them."""

    samples: Annotated[int, Ge(1)] = 1
    """Samples of the call."""

    operations: Annotated[int, Ge(0)] | Annotated[float, Ge(0)] | None = None
    """Multiplications and additions in products of matrices and in attention, each counted as one;
    None where they were not counted. A float where the number is larger than documents hold."""

    bytes: Annotated[int, Ge(0)] | Annotated[float, Ge(0)] | None = None
    """Most bytes held at once beyond parameters and inputs; likewise."""

    how: How = "counted"
    """``counted`` on tensors without numbers, ``measured`` with random points where that cannot be,
    ``fitted`` by a polynomial through counts at fewer tokens, or ``not counted``."""

    detail: str = ""
    """Through which counts the polynomial goes, or why there is no count."""


@attrs.frozen(kw_only=True)
class Costs(Schema):
    """What a module or a model takes."""

    parameters: Annotated[int, Ge(0)] | None = None
    """Numbers that it learns, or None where it cannot be made."""

    parameter_bytes: Annotated[int, Ge(0)] | None = None
    """Bytes that they take."""

    basis: str = ""
    """What was counted: the module or the model, and how it was called."""

    counts: tuple[Count, ...] = ()
    """By tokens, forward before training."""

    error: str = ""
    """Why nothing could be counted."""
