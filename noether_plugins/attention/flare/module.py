"""The module of FLARE."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, TokenGroupError, TokenSpec, structure
from noether_core.nn import (
    RMSNorm,
    attend,
    check_key_padding_mask,
    check_tokens,
    group_sizes,
    init_weights_,
    layout_of,
    merge_heads,
    project_heads,
    split_heads,
)
from noether_core.nn.groups import GroupSplit, select_groups, split_groups
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import KeyChunk, attend_to_chunks, has_fused_kernel
from noether_core.nn.streaming import choose_chunk_size, chunks_of
from noether_plugins.attention.flare.config import FLAREAttentionConfig
from noether_plugins.attention.flare.residual_mlp import residual_mlp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class FLAREAttention(nn.Module):
    """Tokens exchange information through latents: each head's latents read the tokens, and the
    tokens read them.

    ``z = softmax(s l k^T) v`` gathers the tokens in the latents ``l``, and ``y = softmax(s k l^T)
    z`` hands them out again by the same keys, with ``s`` the ``attn_scale``; together an attention
    of rank ``num_latents``, whose time and memory grow with the number of tokens and not with its
    square. Keys and values are residual MLPs of the tokens.

    Where no gradient is needed, many tokens are computed chunk by chunk: the latents read the
    chunks in turn, merged exactly, and keys wait for the second step in the rows of the result that
    it will overwrite. Beyond tokens and result, memory then does not grow with the number of
    tokens.

    Puri et al., FLARE, 2025 (arXiv 2508.12594).

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = own = structure(config, FLAREAttentionConfig)
        self.hidden_dim, self.num_heads, self.num_latents = (
            own.hidden_dim,
            own.num_heads,
            own.num_latents,
        )
        self.attn_scale, self.anchor_suffix, self.dropout = (
            own.attn_scale,
            own.anchor_suffix,
            own.dropout,
        )
        self.backend, self.chunk_size = own.backend, own.chunk_size

        self.latent_q = nn.Parameter(torch.empty(self.hidden_dim, self.num_latents))
        if not self.latent_q.is_meta:  # where there is nothing to fill
            nn.init.normal_(self.latent_q, std=own.latent_init_std)
        self.k_proj, self.v_proj = (
            residual_mlp(
                self.hidden_dim,
                ratio=ratio,
                num_layers=layers,
                activation=own.activation,
                bias=own.bias,
            )
            for ratio, layers in (
                (own.k_proj_mlp_ratio, own.num_layers_k_proj),
                (own.v_proj_mlp_ratio, own.num_layers_v_proj),
            )
        )
        self._widest = max(self.hidden_dim, self.k_proj.inner, self.v_proj.inner)
        norm = RMSNorm if own.rmsnorm else nn.LayerNorm
        self.q_norm, self.k_norm = (norm(own.head_dim) if own.qk_norm else None for _ in range(2))
        self.out_proj = nn.Linear(self.hidden_dim, self.hidden_dim, bias=own.bias)
        init_weights_(self, own.init_weights, output=self.out_proj)

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        token_specs: Sequence[TokenSpec] | None = None,
    ) -> Tensor:
        """Exchange information between tokens through latents.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding is read by
                no latent; it still reads the latents, so its own rows of the result mean nothing.
            token_specs: Groups of the tokens, one behind the other. Where one or more end in
                ``anchor_suffix``, the latents read those alone; all tokens read the latents.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            TokenGroupError: If the groups do not add up to the tokens, or one is of size None.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        read = self._read_groups(token_specs, x.shape[1])
        dropout = self.dropout if self.training else 0.0
        chunk = None if dropout else self._tokens_at_once(x)
        if chunk is not None:
            return self._stream(x, key_padding_mask, read, chunk)

        latents = self._latents(x.shape[0])
        keys = project_heads(x, self.k_proj, self.num_heads, norm=self.k_norm)
        values = project_heads(_take(x, read, dim=1), self.v_proj, self.num_heads)

        gathered = attend(
            latents,
            _take(keys, read, dim=2),
            values,
            key_padding_mask=None
            if key_padding_mask is None
            else _take(key_padding_mask, read, dim=1),
            dropout=dropout,
            scale=self.attn_scale,
            backend=self.backend,
        )

        y = self._hand_out(keys, latents, gathered, dropout)
        return functional.dropout(y, dropout) if dropout else y

    def _latents(self, batch: int) -> Tensor:
        latents = self.latent_q.reshape(1, self.num_heads, self.num_latents, -1)
        latents = latents if self.q_norm is None else self.q_norm(latents)
        return latents.expand(batch, -1, -1, -1)

    def _hand_out(
        self, keys: Tensor, latents: Tensor, gathered: Tensor, dropout: float = 0.0
    ) -> Tensor:
        """Return what tokens read from the latents by their keys."""
        handed_out = attend(
            keys, latents, gathered, dropout=dropout, scale=self.attn_scale, backend=self.backend
        )
        y: Tensor = self.out_proj(merge_heads(handed_out))
        return y

    def _tokens_at_once(self, x: Tensor) -> int | None:
        """Return how many tokens are computed at once, None for all.

        A chunk holds no fewer tokens than there are latents: to merge what latents read costs less
        than to read.
        """
        if self.backend == "flex":  # it tells no sums to merge by
            return None
        logits = 0 if has_fused_kernel(x, self.backend) else self.num_heads * self.num_latents
        width = max(self._widest, logits)
        return choose_chunk_size(
            self, x, width=width, least=self.num_latents, chosen=self.chunk_size
        )

    def _stream(self, x: Tensor, real: Tensor | None, cut: GroupSplit | None, chunk: int) -> Tensor:
        """Return the result for the tokens *x*, *chunk* of them at a time.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            real: ``(batch, tokens)`` booleans, or None.
            cut: Where the tokens are cut for those that the latents read; None where they read all.
            chunk: Tokens at once.
        """
        read = [slice(0, x.shape[1])] if cut is None else _spans(cut)
        y = x.new_empty(x.shape, dtype=dtype_of_results(x))
        latents = self._latents(x.shape[0])
        key_chunks = self._leave_keys(x, y, real, chunks_of(read, chunk))
        gathered = attend_to_chunks(
            latents, key_chunks, scale=self.attn_scale, backend=self.backend
        )

        for rows in chunks_of(read, chunk):
            y[:, rows] = self._hand_out(split_heads(y[:, rows], self.num_heads), latents, gathered)
        for rows in chunks_of(_between(read, x.shape[1]), chunk):
            keys = project_heads(x[:, rows], self.k_proj, self.num_heads, norm=self.k_norm)
            y[:, rows] = self._hand_out(keys, latents, gathered)
        return y

    def _leave_keys(
        self, x: Tensor, y: Tensor, real: Tensor | None, chunks: Iterator[slice]
    ) -> Iterator[KeyChunk]:
        """Yield the keys and values of chunks of *x*, and leave the keys in their rows of *y*."""
        for rows in chunks:
            tokens = x[:, rows].contiguous()  # one copy, where every layer would make its own
            keys = project_heads(tokens, self.k_proj, self.num_heads, norm=self.k_norm)
            y[:, rows] = merge_heads(keys)
            values = project_heads(tokens, self.v_proj, self.num_heads)
            yield KeyChunk(keys, values, None if real is None else real[:, None, None, rows])

    def _read_groups(
        self, token_specs: Sequence[TokenSpec] | None, tokens: int
    ) -> GroupSplit | None:
        """Return where the tokens are cut for those that the latents read, None where they read
        all.
        """
        if token_specs is None:
            return None
        sizes: dict[str, int] = {}
        for name, size in group_sizes(layout_of(token_specs), tokens).items():
            if size is None:
                raise TokenGroupError(
                    f"token_specs: {name!r} is of size None, and flare keeps no keys in a cache"
                )
            sizes[name] = size
        anchors = [name for name in sizes if name.endswith(self.anchor_suffix)]
        return split_groups(sizes, [anchors]) if anchors else None


def _take(tensor: Tensor, cut: GroupSplit | None, *, dim: int) -> Tensor:
    """Return the tokens that are read; the tensor itself where all are, as a part's gradient costs
    a tensor more.
    """
    return tensor if cut is None else select_groups(tensor, cut, dim=dim)


def _spans(cut: GroupSplit) -> list[slice]:
    """Return where the tokens stand that are read."""
    bounds = [0, *itertools.accumulate(cut.lengths)]
    return [slice(bounds[first], bounds[stop]) for first, stop in cut.selections[0]]


def _between(spans: Sequence[slice], tokens: int) -> Iterator[slice]:
    """Yield the spans of tokens that none of *spans* holds, which follow each other."""
    start = 0
    for span in spans:
        yield slice(start, span.start)
        start = span.stop
    yield slice(start, tokens)
