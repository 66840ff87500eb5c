"""The module of FLARE++."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    RMSNorm,
    attend,
    check_key_padding_mask,
    check_tokens,
    init_weights_,
    merge_heads,
    project_heads,
    split_heads,
    zero_padding,
)
from noether_core.nn.initialisation import start_with_
from noether_core.nn.operators import dtype_of_results, dtype_of_sums
from noether_core.nn.partial_attention import KeyChunk, attend_to_chunks, has_fused_kernel
from noether_core.nn.streaming import choose_chunk_size, chunks_of
from noether_plugins.attention.flare_plusplus.config import FLAREPlusPlusAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATENT_STD = 0.02
"""Standard deviation of both sets of latents at the start."""

_RMS_EPS = 1e-6
"""Of norms by the root mean square; LayerNorm has its usual one."""


class FLAREPlusPlusAttention(nn.Module):
    """Latents attend to the tokens twice, and the tokens attend to what the latents became.

    ``d = softmax(s norm(l0) k0^T) v0`` is what the first latents ``l0`` of each head see in the
    tokens. It makes the queries ``q = norm(l) + sigmoid(g) d`` of the second latents ``l``, with a
    gate ``g`` of each head. They gather the tokens, ``z = softmax(s q k^T) v``, and hand them out
    again by the same keys, ``y = softmax(s k q^T) z``, as `flare` does; ``s`` is the
    ``attn_scale``. Time and memory grow with the number of tokens, not with its square. Keys and
    values are linear in the tokens, and start near to them.

    Where no gradient is needed, many tokens are computed chunk by chunk: latents attend to the
    chunks in turn, merged exactly, and keys wait for the third step in the rows of the result that
    it will overwrite. Beyond tokens and result, memory then does not grow with the number of
    tokens.

    Puri et al., FLARE++, 2026 (arXiv 2608.11519).

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = own = structure(config, FLAREPlusPlusAttentionConfig)
        self.hidden_dim = hidden_dim = own.hidden_dim
        self.num_heads = own.num_heads
        self.num_latents = own.num_latents
        self.attn_scale = own.attn_scale
        self.dropout = own.dropout
        self.backend = own.backend
        self.chunk_size = own.chunk_size

        sizes = (own.num_heads, own.num_latents, own.head_dim)
        self.latent_q0 = nn.Parameter(torch.empty(sizes))
        self.latent_q_fixed = nn.Parameter(torch.empty(sizes))
        self.gate_logit = nn.Parameter(torch.empty(own.num_heads))
        self.reset_parameters()

        self.q0_norm = _norm(own, has_weight=True)
        self.k0_norm = _norm(own, has_weight=False)
        self.v0_norm = None if own.share_k0_v0 else _norm(own, has_weight=False)
        self.q_fixed_norm = _norm(own, has_weight=False) if own.q_fixed_norm else None
        self.k_norm = _norm(own, has_weight=True) if own.k_norm else None

        self.k0_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.v0_proj = None if own.share_k0_v0 else nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.k_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.v_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.out_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        init_weights_(self, own.init_weights, output=self.out_proj)
        if own.init_weights != "zeros":
            self._start_near_identity(zero_bias=own.init_weights != "torch")

    def _start_near_identity(self, *, zero_bias: bool) -> None:
        for layer in (self.k0_proj, self.v0_proj, self.k_proj, self.v_proj):
            if layer is not None:
                start_with_(layer, _near_identity_, zero_bias=zero_bias)

    def reset_parameters(self) -> None:
        """Draw the latents anew and open the gates as at first; layers have their own function."""
        if self.gate_logit.is_meta:  # where there is nothing to fill
            return
        nn.init.normal_(self.latent_q0, std=_LATENT_STD)
        nn.init.normal_(self.latent_q_fixed, std=_LATENT_STD)
        nn.init.constant_(self.gate_logit, self.config.gate_logit_init)

    def forward(self, x: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        """Exchange information between tokens through latents.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No latent attends
                to padding; padding still attends to the latents, so its own rows of the result mean
                nothing.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        dropout = self.dropout if self.training else 0.0

        chunk_size = None if dropout else self._choose_chunk_size(x)
        if chunk_size is not None:
            return self._stream(x, key_padding_mask, chunk_size)

        if key_padding_mask is not None:
            x = zero_padding(x, key_padding_mask)
        first_keys, first_values = self._first_keys(x)
        dynamic = attend(
            self._first_queries(x.shape[0]),
            first_keys,
            first_values,
            key_padding_mask=key_padding_mask,
            dropout=dropout,
            scale=self.attn_scale,
            backend=self.backend,
        )

        queries = self._queries(dynamic)
        keys = project_heads(x, self.k_proj, self.num_heads, norm=self.k_norm)
        gathered = attend(
            queries,
            keys,
            project_heads(x, self.v_proj, self.num_heads),
            key_padding_mask=key_padding_mask,
            dropout=dropout,
            scale=self.attn_scale,
            backend=self.backend,
        )

        y = self._hand_out(keys, queries, gathered, dropout)
        return functional.dropout(y, dropout) if dropout else y

    def _first_queries(self, batch: int) -> Tensor:
        """Return the queries that the input has no part in, ``(batch, heads, latents, width)``."""
        latents: Tensor = self.q0_norm(self.latent_q0)
        return latents.expand(batch, -1, -1, -1)

    def _first_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what these queries attend to: keys and values, ``(batch, heads, tokens, width)``.

        They are one tensor where they share a layer.
        """
        keys = project_heads(x, self.k0_proj, self.num_heads, norm=self.k0_norm)
        if self.v0_proj is None:
            return keys, keys
        return keys, project_heads(x, self.v0_proj, self.num_heads, norm=self.v0_norm)

    def _queries(self, dynamic: Tensor) -> Tensor:
        """Return the queries of the second attention, in the dtype of *dynamic*.

        Args:
            dynamic: What the first one found, ``(batch, heads, latents, width)``.
        """
        fixed = self.latent_q_fixed
        if self.q_fixed_norm is not None:
            fixed = self.q_fixed_norm(fixed)
        wide = dtype_of_sums(dynamic.dtype)
        gate = self.gate_logit.to(wide).sigmoid()[:, None, None]
        return (fixed.to(wide) + gate * dynamic.to(wide)).to(dynamic.dtype)

    def _hand_out(
        self, keys: Tensor, queries: Tensor, gathered: Tensor, dropout: float = 0.0
    ) -> Tensor:
        """Return the output of tokens, whose *keys* attend to the latents."""
        heads = attend(
            keys, queries, gathered, dropout=dropout, scale=self.attn_scale, backend=self.backend
        )
        y: Tensor = self.out_proj(merge_heads(heads))
        return y

    def _choose_chunk_size(self, x: Tensor) -> int | None:
        """Return how many tokens are computed at once, None for all.

        A chunk holds no fewer tokens than there are latents: to merge what latents attend to costs
        less than the attention itself.
        """
        if self.backend == "flex":
            # It returns no sums of weights, by which chunks are merged.
            return None
        held_logits = 0 if has_fused_kernel(x, self.backend) else self.num_heads * self.num_latents
        return choose_chunk_size(
            self,
            x,
            width=max(self.hidden_dim, held_logits),
            least=self.num_latents,
            chosen=self.chunk_size,
        )

    def _stream(self, x: Tensor, real: Tensor | None, chunk_size: int) -> Tensor:
        """Return the result for the tokens *x*, *chunk_size* of them at a time."""
        chunks = list(chunks_of([slice(0, x.shape[1])], chunk_size))
        y = x.new_empty(x.shape, dtype=dtype_of_results(x))

        dynamic = attend_to_chunks(
            self._first_queries(x.shape[0]),
            self._first_chunks(x, real, chunks),
            scale=self.attn_scale,
            backend=self.backend,
        )
        queries = self._queries(dynamic)
        gathered = attend_to_chunks(
            queries,
            self._leave_keys(x, y, real, chunks),
            scale=self.attn_scale,
            backend=self.backend,
        )

        # The rows of the result hold the keys until the output takes their place.
        for rows in chunks:
            keys = split_heads(y[:, rows], self.num_heads)
            y[:, rows] = self._hand_out(keys, queries, gathered)
        return y

    def _first_chunks(
        self, x: Tensor, real: Tensor | None, chunks: list[slice]
    ) -> Iterator[KeyChunk]:
        """Yield what the first queries attend to, chunk by chunk."""
        for rows in chunks:
            keys, values = self._first_keys(_real_tokens(x, real, rows))
            yield KeyChunk(keys, values, None if real is None else real[:, None, None, rows])

    def _leave_keys(
        self, x: Tensor, y: Tensor, real: Tensor | None, chunks: list[slice]
    ) -> Iterator[KeyChunk]:
        """Yield the keys and values of chunks of *x*, and leave the keys in their rows of *y*."""
        for rows in chunks:
            tokens = _real_tokens(x, real, rows)
            keys = project_heads(tokens, self.k_proj, self.num_heads, norm=self.k_norm)
            values = project_heads(tokens, self.v_proj, self.num_heads)
            y[:, rows] = merge_heads(keys)
            yield KeyChunk(keys, values, None if real is None else real[:, None, None, rows])


def _norm(config: FLAREPlusPlusAttentionConfig, *, has_weight: bool) -> nn.Module:
    """Return a norm over a head."""
    width = config.head_dim
    if not config.rmsnorm:
        return nn.LayerNorm(width, elementwise_affine=has_weight)
    if has_weight:
        return RMSNorm(width, eps=_RMS_EPS)
    return nn.RMSNorm(width, eps=_RMS_EPS, elementwise_affine=False)


def _near_identity_(weight: Tensor) -> None:
    """Fill a weight with the identity and a little noise."""
    nn.init.trunc_normal_(weight, std=0.02, a=-2.0, b=2.0)
    with torch.no_grad():
        weight.diagonal().add_(1.0)


def _real_tokens(x: Tensor, real: Tensor | None, rows: slice) -> Tensor:
    """Return some tokens, padding as zeros."""
    if real is not None:
        return zero_padding(x[:, rows], real[:, rows])
    return x[:, rows].contiguous()  # one copy, where every layer would make its own
