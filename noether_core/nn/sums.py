"""Attention whose tokens meet in sums over all of them: at once, chunk by chunk, or in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from noether_core.nn.noise import Drawing, drop_tokens, seed_for
from noether_core.nn.operators import dtype_of_results, dtype_of_sums, exact_product, is_autocast
from noether_core.nn.streaming import FEWEST_STREAMED, choose_chunk_size, chunks_of, is_traced
from noether_core.nn.summaries import Summary, check_summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from noether_core.nn.summaries import Part
    from noether_core.nn.tokens import Tokens


class SummingAttention(Protocol):
    """A module whose tokens meet in sums, such as that of keys times values."""

    hidden_dim: int
    dropout: float
    training: bool
    chunk_size: int | None

    def contribute(self, tokens: Tokens) -> dict[str, Part]:
        """Return what tokens add to the sums; padding adds nothing."""

    def receive(self, tokens: Tokens, parts: Mapping[str, Part]) -> Tensor:
        """Return the output of tokens, ``(batch, tokens, hidden_dim)``, before any is dropped."""


def attend(module: SummingAttention, tokens: Tokens) -> Tensor:
    """Return what tokens get of each other, ``(batch, tokens, hidden_dim)``.

    Args:
        module: The attention.
        tokens: All of them.
    """
    drawing = _drawing_of(module, tokens.x)
    chunk_size = _choose_chunk_size(module, tokens)
    if chunk_size is None:
        tokens = tokens.usable()
        return _dropped(module, module.receive(tokens, module.contribute(tokens)), drawing)
    parts = _gather_chunks(module, tokens, chunk_size)
    return _read_chunks(module, tokens, parts, drawing, chunk_size)


def gather(
    module: SummingAttention, tokens: Tokens, *, first_token: int, seed: Tensor | None
) -> Summary:
    """Return what tokens contribute.

    Args:
        module: The attention.
        tokens: All of them, or a part.
        first_token: Number of the first of them.
        seed: Decides dropout in training; drawn where it is None.
    """
    drawing = _drawing_of(module, tokens.x, seed, first_token)
    chunk_size = _choose_chunk_size(module, tokens)
    if chunk_size is None:
        parts = module.contribute(tokens.usable())
    else:
        parts = _gather_chunks(module, tokens, chunk_size)
    return Summary.of(_as_module(module), tokens.x, parts=parts, seed=drawing.seed)


def read(module: SummingAttention, tokens: Tokens, summary: Summary, *, first_token: int) -> Tensor:
    """Return what tokens get of what tokens contributed, whichever these were.

    Args:
        module: The attention.
        tokens: Those that read.
        summary: What the others contributed.
        first_token: Number of the first of *tokens*.

    Raises:
        SummaryError: If *summary* is none of these tokens' module, batch, dtype or device.
    """
    check_summary(summary, _as_module(module), tokens.x)
    drawing = _drawing_of(module, tokens.x, summary.seed, first_token)
    chunk_size = _choose_chunk_size(module, tokens)
    if chunk_size is None:
        return _dropped(module, module.receive(tokens.usable(), summary.parts), drawing)
    return _read_chunks(module, tokens, summary.parts, drawing, chunk_size)


def widened(x: Tensor) -> Tensor:
    """Return *x* in the dtype of sums."""
    wide = dtype_of_sums(x.dtype)
    return x if x.dtype == wide else x.to(wide)  # a microsecond each, where there is nothing to do


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left right`` in the dtype of both, whatever autocast says."""
    return exact_product(left, right) if is_autocast(left.device) else left @ right


def _gather_chunks(module: SummingAttention, tokens: Tokens, chunk_size: int) -> dict[str, Part]:
    """Return what tokens contribute, *chunk_size* of them at a time."""
    chunks = (tokens.take(rows).usable() for rows in _spans(tokens, chunk_size))
    merged = module.contribute(next(chunks))
    for chunk in chunks:
        parts: dict[str, Any] = module.contribute(chunk)
        merged = {name: type(part).merged([merged[name], part]) for name, part in parts.items()}
    return merged


def _read_chunks(
    module: SummingAttention,
    tokens: Tokens,
    parts: Mapping[str, Part],
    drawing: Drawing,
    chunk_size: int,
) -> Tensor:
    """Return the output of tokens, *chunk_size* of them at a time."""
    x = tokens.x
    y = x.new_empty(x.shape, dtype=dtype_of_results(x))
    for rows in _spans(tokens, chunk_size):
        own = Drawing(drawing.seed, drawing.first_token + rows.start)
        y[:, rows] = _dropped(module, module.receive(tokens.take(rows).usable(), parts), own)
    return y


def _spans(tokens: Tokens, chunk_size: int) -> Iterator[slice]:
    return chunks_of([slice(0, tokens.x.shape[1])], chunk_size)


def _choose_chunk_size(module: SummingAttention, tokens: Tokens) -> int | None:
    """Return how many tokens are computed at once, None for all."""
    if is_traced():  # no graph depends on the number of tokens
        return None
    if module.chunk_size is None and tokens.x.shape[1] <= FEWEST_STREAMED:  # known soonest
        return None
    return choose_chunk_size(
        _as_module(module), *tokens.tensors(), width=module.hidden_dim, chosen=module.chunk_size
    )


def _drawing_of(
    module: SummingAttention, x: Tensor, seed: Tensor | None = None, first_token: int = 0
) -> Drawing:
    """Return by what a call draws what it drops."""
    is_dropping = module.training and module.dropout > 0
    return Drawing(seed_for(x, seed, is_random=is_dropping), first_token)


def _dropped(module: SummingAttention, y: Tensor, drawing: Drawing) -> Tensor:
    return y if drawing.seed is None else drop_tokens(y, module.dropout, drawing)


def _as_module(module: SummingAttention) -> nn.Module:
    return module  # type: ignore[return-value]  # it is a module, with what the protocol says
