"""Named groups of tokens: where each of them stands in the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from noether_core.errors import TokenGroupError, shown
from noether_core.schemas.modules.attention import TokenSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor


def group_spans(token_specs: Sequence[TokenSpec], tokens: int) -> dict[str, slice | None]:
    """Return where each group stands among the tokens of an input, which holds them one behind the other.

    Args:
        token_specs: The groups, in the order of the input.
        tokens: Number of tokens of the input.

    Returns:
        Spans by name, in the same order; None for a group of size None, which is not in the input.

    Raises:
        TokenGroupError: If *token_specs* are no specs, a name stands twice, or the sizes do not add up to *tokens*.
    """
    spans: dict[str, slice | None] = {}
    stop = 0
    for spec in _checked(token_specs):
        if spec.name in spans:
            raise TokenGroupError(f"token_specs: {spec.name!r} names two groups; give each a name of its own")
        start, stop = stop, stop + (spec.size or 0)
        spans[spec.name] = None if spec.size is None else slice(start, stop)
    if stop != tokens:
        raise TokenGroupError(
            f"token_specs: Token specs total size {stop} is not the number of tokens {tokens}; "
            f"the groups are {sizes_text(spans)}"
        )
    return spans


def group_names(token_specs: Sequence[TokenSpec]) -> tuple[str, ...]:
    """Return the names of the groups, in their order.

    Raises:
        TokenGroupError: If *token_specs* are no specs.
    """
    return tuple(spec.name for spec in _checked(token_specs))


def take_tokens(tensor: Tensor, spans: Iterable[slice], *, dim: int) -> Tensor:
    """Return the tokens in *spans*, one span behind the other; a view where they lie so already.

    Args:
        tensor: Has tokens along the axis *dim*.
        spans: Where groups stand, as `group_spans` returns them; at least one.
        dim: The axis of the tokens.
    """
    runs: list[tuple[int, int]] = []
    for span in spans:
        if runs and runs[-1][1] == span.start:
            runs[-1] = (runs[-1][0], span.stop)
        else:
            runs.append((span.start, span.stop))
    pieces = [tensor.narrow(dim, start, stop - start) for start, stop in runs]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)


def _checked(token_specs: Sequence[TokenSpec]) -> tuple[TokenSpec, ...]:
    specs = tuple(token_specs)
    for spec in specs:
        if not isinstance(spec, TokenSpec):
            raise TokenGroupError(f"token_specs: expected a list of TokenSpec, got {shown(spec)} in it")
    return specs


def sizes_text(spans: Mapping[str, slice | None]) -> str:
    """Return the groups and their sizes, as messages quote them: ``surface_anchors 6, volume_anchors None``."""
    sizes = {name: None if span is None else span.stop - span.start for name, span in spans.items()}
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
