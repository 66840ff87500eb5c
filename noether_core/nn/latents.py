"""Attention through latents: how they gather many tokens chunk by chunk, and tokens read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from noether_core.nn.layers import merge_heads, split_heads
from noether_core.nn.masks import zero_padding
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import (
    KeyChunk,
    attend_to_part,
    has_fused_kernel,
    merge_chunks,
)
from noether_core.nn.streaming import choose_chunk_size, chunks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn

    from noether_core.nn.summaries import Attended
    from noether_core.schemas import Backend

    ProjectTokens = Callable[[Tensor], tuple[Tensor, Tensor]]
    """Makes the keys and values of tokens, each ``(batch, heads, tokens, head_dim)``."""

    HandOut = Callable[[Tensor], Tensor]
    """Makes the output of tokens, ``(batch, tokens, hidden_dim)``, from their keys."""


class LatentAttention(Protocol):
    """A module whose tokens meet in latents."""

    num_heads: int
    num_latents: int
    backend: Backend
    chunk_size: int | None

    @property
    def attn_scale(self) -> float | None:
        """Factor of the logits; None for ``1 / sqrt(head_dim)``."""


def choose_latent_chunk_size(
    module: nn.Module, x: Tensor, *others: Tensor, width: int
) -> int | None:
    """Return how many tokens are computed at once, None for all.

    A chunk holds no fewer tokens than there are latents: to merge what latents attend to costs less
    than the attention itself.

    Args:
        module: A `LatentAttention`.
        x: ``(batch, tokens, hidden_dim)``.
        others: Other tensors that may need gradients.
        width: The most numbers that a token becomes in its layers.
    """
    own: LatentAttention = module  # type: ignore[assignment]  # it is a module, and it has these
    if own.backend == "flex":
        # It returns no sums of weights, by which chunks are merged.
        return None
    held_logits = 0 if has_fused_kernel(x, own.backend) else own.num_heads * own.num_latents
    return choose_chunk_size(
        module,
        x,
        *others,
        width=max(width, held_logits),
        least=own.num_latents,
        chosen=own.chunk_size,
    )


def gather_part(
    module: LatentAttention,
    queries: Tensor,
    x: Tensor,
    project: ProjectTokens,
    *,
    real: Tensor | None,
    chunk_size: int | None,
) -> Attended:
    """Return what latents find in tokens, as a part of what they find in more than these.

    Args:
        module: The attention.
        queries: Of the latents, ``(batch, heads, latents, head_dim)``.
        x: ``(batch, tokens, hidden_dim)``.
        project: Makes keys and values.
        real: ``(batch, tokens)`` booleans, or None.
        chunk_size: Tokens at once, where no gradient is due; None for all.
    """
    if chunk_size is not None:
        chunks = chunks_of([slice(0, x.shape[1])], chunk_size)
        return gather_tokens(module, queries, x, chunks, project, real=real)
    keys, values = project(zero_padding(x, real))
    return attend_to_part(
        queries,
        keys,
        values,
        key_padding_mask=real,
        scale=module.attn_scale,
        backend=module.backend,
    )


def read_latents(
    x: Tensor,
    project_keys: Callable[[Tensor], Tensor],
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


def hand_out_to(y: Tensor, chunks: Iterable[slice], num_heads: int, hand_out: HandOut) -> None:
    """Write the output of tokens over the keys that `gather_tokens` left in their rows."""
    for rows in chunks:
        y[:, rows] = hand_out(split_heads(y[:, rows], num_heads))


def real_tokens(x: Tensor, real: Tensor | None, rows: slice) -> Tensor:
    """Return some tokens, padding that no product can bear as zeros."""
    if real is not None:
        return zero_padding(x[:, rows], real[:, rows])
    return x[:, rows].contiguous()  # one copy, where every layer would make its own
