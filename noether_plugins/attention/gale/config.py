"""Options of GALE."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt

from noether_core.errors import Problem
from noether_core.schemas import AttentionConfig, Because, invariant

Mixing = Literal["weighted", "concat_project"]

Temperature = Annotated[float, Gt(0)]


@attrs.frozen(kw_only=True)
class GALEAttentionConfig(AttentionConfig):
    """Slices as in transolver, which attend to each other and to a context."""

    type: Literal["gale"] = "gale"
    """Tokens exchange through shared slices, which a context informs."""

    use_rope: Annotated[Literal[False], Because("slices have no position to rotate by")] = False
    """Not for this variant: slices have no position."""

    qk_norm: Annotated[Literal[False], Because("slices attend without norms")] = False
    """Not for this variant: slices attend without norms."""

    num_slices: Annotated[int, Ge(1)] = 64
    """Slices that the tokens of each head are gathered into."""

    context_dim: Annotated[int, Ge(1)] | None = None
    """Width of the tokens of a context; None for a module that takes none."""

    mixing: Mixing = "weighted"
    """What mixes attention among slices with that to the context: one learned number,
    ``"weighted"``, or a layer over both, ``"concat_project"``.
    """

    temperature_bounds: tuple[Temperature, Temperature] | None = None
    """Least and largest temperature by which slice logits are divided; None keeps what is learned.
    """

    slice_eps: Annotated[float, Gt(0)] = 1e-5
    """Added to the sum of the weights of a slice, to which hardly any token may belong."""

    backend: Annotated[
        Literal["auto", "sdpa", "math"], Because("slices attend to each other without a mask")
    ] = "auto"
    """Kernel: ``"auto"`` computes many tokens chunk by chunk; the others hold all slice weights;
    ``"math"`` has second derivatives."""

    chunk_size: Annotated[int, Ge(1)] | None = None
    """Tokens that ``"auto"`` computes at once; None chooses by the sizes."""

    @invariant
    @staticmethod
    def bounds_are_ordered(temperature_bounds: tuple[float, float] | None) -> Problem | None:
        """Return a problem unless the least temperature is the smaller one."""
        if temperature_bounds is None:
            return None
        least, largest = temperature_bounds
        if least <= largest:
            return None
        return Problem(
            keys=("temperature_bounds",),
            message=f"the least temperature {least} is above the largest, {largest}",
            value=temperature_bounds,
        )
