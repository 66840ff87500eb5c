"""Attention through latents: how they gather tokens, at once or chunk by chunk, and tokens read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from noether_core.nn.attention import attend
from noether_core.nn.dropped_attention import gather_dropping, read_dropping
from noether_core.nn.layers import merge_heads, split_heads
from noether_core.nn.masks import zero_padding
from noether_core.nn.noise import Drawing, drop_tokens, seed_for
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import (
    KeyChunk,
    attend_to_part,
    has_fused_kernel,
    merge_chunks,
)
from noether_core.nn.streaming import FEWEST_STREAMED, choose_chunk_size, chunks_of, is_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from noether_core.nn.summaries import Attended
    from noether_core.schemas import Backend

    ProjectTokens = Callable[[Tensor], tuple[Tensor, Tensor]]
    """Makes the keys and values of tokens, each ``(batch, heads, tokens, head_dim)``."""

    ProjectKeys = Callable[[Tensor], Tensor]
    """Makes the keys alone."""

    HandOut = Callable[[Tensor], Tensor]
    """Makes the output of tokens, ``(batch, tokens, hidden_dim)``, from their keys."""


class LatentAttention(Protocol):
    """A module whose tokens meet in latents."""

    num_heads: int
    num_latents: int
    dropout: float
    training: bool
    backend: Backend
    chunk_size: int | None

    @property
    def attn_scale(self) -> float | None:
        """Factor of the logits; None for ``1 / sqrt(head_dim)``."""


def is_dropping(module: LatentAttention) -> bool:
    """Return whether weights and features are dropped."""
    return module.training and module.dropout > 0


def drawing_of(
    module: LatentAttention, x: Tensor, seed: Tensor | None = None, first_token: int = 0
) -> Drawing:
    """Return by what a call draws what it drops."""
    return Drawing(seed_for(x, seed, is_random=is_dropping(module)), first_token)


def choose_latent_chunk_size(
    module: LatentAttention, x: Tensor, *others: Tensor, width: int
) -> int | None:
    """Return how many tokens are computed at once, None for all.

    A chunk holds no fewer tokens than there are latents: to merge what latents attend to costs less
    than the attention itself.

    Args:
        module: The attention.
        x: ``(batch, tokens, hidden_dim)``.
        others: Other tensors that may need gradients.
        width: The most numbers that a token becomes in its layers.
    """
    chosen = module.chunk_size
    if is_traced() or (chosen is None and x.shape[1] <= FEWEST_STREAMED):
        return None  # small calls spend no time on the rest
    if is_dropping(module) or module.backend == "flex":
        # It returns no sums of weights, by which chunks are merged.
        return None
    is_fused = has_fused_kernel(x, module.backend)
    held_logits = 0 if is_fused else module.num_heads * module.num_latents
    return choose_chunk_size(
        module,  # type: ignore[arg-type]  # it is a module
        x,
        *others,
        width=max(width, held_logits),
        least=module.num_latents,
        chosen=chosen,
    )


def gather_all(
    module: LatentAttention,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    real: Tensor | None,
    drawing: Drawing,
) -> Tensor:
    """Return what latents find in tokens, at once, ``(batch, heads, latents, head_dim)``.

    Args:
        module: The attention.
        queries: Of the latents, ``(batch, heads, latents, head_dim)``.
        keys: ``(batch, heads, tokens, head_dim)``.
        values: ``(batch, heads, tokens, head_dim)``.
        real: ``(batch, tokens)`` booleans, or None.
        drawing: Decides what is dropped.
    """
    if is_dropping(module):
        return _gather_keys(module, queries, keys, values, real=real, drawing=drawing).mean
    return attend(
        queries,
        keys,
        values,
        key_padding_mask=real,
        scale=module.attn_scale,
        backend=module.backend,
    )


def gather_part(
    module: LatentAttention,
    queries: Tensor,
    x: Tensor,
    project: ProjectTokens,
    *,
    real: Tensor | None,
    drawing: Drawing,
    chunk_size: int | None,
) -> Attended:
    """Return the same of tokens as a part of what latents find in more than these.

    Args:
        module: The attention.
        queries: Of the latents, ``(batch, heads, latents, head_dim)``.
        x: ``(batch, tokens, hidden_dim)``.
        project: Makes keys and values.
        real: ``(batch, tokens)`` booleans, or None.
        drawing: Decides what is dropped.
        chunk_size: Tokens at once, where no gradient is due; None for all.
    """
    if chunk_size is not None:
        chunks = chunks_of([slice(0, x.shape[1])], chunk_size)
        return gather_tokens(module, queries, x, chunks, project, real=real)
    keys, values = project(zero_padding(x, real))
    return _gather_keys(module, queries, keys, values, real=real, drawing=drawing)


def _gather_keys(
    module: LatentAttention,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    real: Tensor | None,
    drawing: Drawing,
) -> Attended:
    if is_dropping(module):
        return gather_dropping(
            queries,
            keys,
            values,
            key_padding_mask=real,
            scale=module.attn_scale,
            dropout=module.dropout,
            drawing=drawing,
        )
    return attend_to_part(
        queries,
        keys,
        values,
        key_padding_mask=real,
        scale=module.attn_scale,
        backend=module.backend,
    )


def gather_tokens(
    module: LatentAttention,
    queries: Tensor,
    x: Tensor,
    chunks: Iterable[slice],
    project: ProjectTokens,
    *,
    real: Tensor | None,
    keys_out: Tensor | None = None,
) -> Attended:
    """Return what latents find in chunks of tokens, of which there is no gradient.

    Args:
        module: The attention.
        queries: Of the latents, ``(batch, heads, latents, head_dim)``.
        x: ``(batch, tokens, hidden_dim)``.
        chunks: The tokens that the latents attend to.
        project: Makes keys and values.
        real: ``(batch, tokens)`` booleans, or None.
        keys_out: Where keys are left for `hand_out_to`, in the rows of their tokens; ``(batch,
            tokens, hidden_dim)``, or None.
    """

    def key_chunks() -> Iterator[KeyChunk]:
        for rows in chunks:
            keys, values = project(real_tokens(x, real, rows))
            if keys_out is not None:
                keys_out[:, rows] = merge_heads(keys)
            yield KeyChunk(keys, values, None if real is None else real[:, None, None, rows])

    return merge_chunks(queries, key_chunks(), scale=module.attn_scale, backend=module.backend)


def read_heads(
    module: LatentAttention, queries: Tensor, keys: Tensor, values: Tensor, drawing: Drawing
) -> Tensor:
    """Return the attention of tokens to a few others, ``(batch, heads, tokens, head_dim)``.

    Args:
        module: The attention.
        queries: Of the tokens, ``(batch, heads, tokens, head_dim)``.
        keys: Of latents or other few, ``(batch, heads, few, head_dim)``.
        values: Likewise.
        drawing: Decides which weights are dropped.
    """
    scale = module.attn_scale
    if not is_dropping(module):
        return attend(queries, keys, values, scale=scale, backend=module.backend)
    return read_dropping(
        queries, keys, values, scale=scale, dropout=module.dropout, drawing=drawing
    )


def write_output(
    module: LatentAttention, heads: Tensor, layer: nn.Module, drawing: Drawing
) -> Tensor:
    """Return the output of tokens, ``(batch, tokens, hidden_dim)``.

    Args:
        module: The attention.
        heads: What their heads found, ``(batch, heads, tokens, head_dim)``.
        layer: Writes the output.
        drawing: Decides which of its features are dropped.
    """
    y: Tensor = layer(merge_heads(heads))
    return drop_tokens(y, module.dropout, drawing) if is_dropping(module) else y


def hand_out_to(y: Tensor, chunks: Iterable[slice], num_heads: int, hand_out: HandOut) -> None:
    """Write the output of tokens over the keys that `gather_tokens` left in their rows."""
    for rows in chunks:
        y[:, rows] = hand_out(split_heads(y[:, rows], num_heads))


def read_part(
    x: Tensor,
    project_keys: ProjectKeys,
    hand_out: HandOut,
    *,
    real: Tensor | None,
    chunk_size: int | None,
) -> Tensor:
    """Return the output of tokens that attend to latents, ``(batch, tokens, hidden_dim)``.

    Args:
        x: ``(batch, tokens, hidden_dim)``.
        project_keys: Makes the keys of tokens.
        hand_out: Makes the output of tokens from their keys.
        real: ``(batch, tokens)`` booleans, or None.
        chunk_size: Tokens at once, where no gradient is due; None for all.
    """
    if chunk_size is None:
        return hand_out(project_keys(zero_padding(x, real)))
    y = x.new_empty(x.shape, dtype=dtype_of_results(x))
    for rows in chunks_of([slice(0, x.shape[1])], chunk_size):
        y[:, rows] = hand_out(project_keys(real_tokens(x, real, rows)))
    return y


def real_tokens(x: Tensor, real: Tensor | None, rows: slice) -> Tensor:
    """Return some tokens, padding that no product can bear as zeros."""
    if real is not None:
        return zero_padding(x[:, rows], real[:, rows])
    return x[:, rows].contiguous()  # one copy, where every layer would make its own
