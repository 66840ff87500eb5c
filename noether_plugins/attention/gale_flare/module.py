"""How GALE with latents is computed, for few tokens and for many, with a context and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    Attended,
    ContextLayers,
    Summary,
    attend,
    check_key_padding_mask,
    check_tokens,
    init_weights_,
    merge_heads,
    project_heads,
    split_heads,
    zero_padding,
)
from noether_core.nn.latents import gather_in_latents, read_latents
from noether_core.nn.noise import Drawing, drop_tokens, seed_for
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.partial_attention import KeyChunk, gather_from_chunks, has_fused_kernel
from noether_core.nn.streaming import choose_chunk_size, chunks_of
from noether_plugins.attention.gale_flare.config import GALEFLAREAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noether_core.nn.context import ProjectedContext


class GALEFLAREAttention(ContextLayers):
    """Tokens attend to each other through latents, and to a context.

    The states ``x`` of a head make keys ``k`` and values ``v``. Latents ``l`` gather the tokens and
    hand them out again as in `flare`, ``self = softmax(s k l^T) softmax(s l k^T) v`` with ``s`` the
    ``attn_scale``; and each token attends to the tokens of a context, such as those of a geometry.
    ``m self + (1 - m) cross`` with ``m`` the sigmoid of a learned number, or a layer over both, is
    the result; without a context in the call, ``self`` alone. Time and memory grow with the number
    of tokens, not with its square.

    Where no gradient is needed, many tokens are computed chunk by chunk, and their states wait for
    the second step in the rows of the result that it will overwrite. Beyond tokens and result,
    memory then does not grow with the number of tokens.

    Adams et al., GeoTransolver, 2025 (arXiv 2512.20399), with the latents of Puri et al., FLARE,
    2025 (arXiv 2508.12594), as PhysicsNeMo has them; parameters have the names of its layer.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    config: GALEFLAREAttentionConfig

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, GALEFLAREAttentionConfig)
        super().__init__(own)
        self.hidden_dim = hidden_dim = own.hidden_dim
        self.num_latents, self.attn_scale = own.num_latents, own.attn_scale
        self.dropout = own.dropout
        self.backend, self.chunk_size = own.backend, own.chunk_size
        width, bias = own.head_dim, own.bias

        self.q_global = nn.Parameter(torch.empty(1, self.num_heads, self.num_latents, width))
        self.in_project_x = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.self_k = nn.Linear(width, width, bias=bias)
        self.self_v = nn.Linear(width, width, bias=bias)
        self.out_linear = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.reset_parameters()
        init_weights_(self, own.init_weights, output=self.out_linear)

    def reset_parameters(self) -> None:
        """Draw the latents anew, and mix as at first; layers have a function of their own."""
        if not self.q_global.is_meta:  # where there is nothing to fill
            nn.init.normal_(self.q_global)
        self.reset_mixing()

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Exchange information between tokens through latents, and attend to a context.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No latent attends
                to padding; padding still attends to the latents, so its own rows of the result mean
                nothing.
            context: ``(batch, context tokens, context_dim)``, or ``(batch, num_heads, context
                tokens, context_dim)`` for one of each head.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            UnsupportedArgumentError: If there is a context and the config has no ``context_dim``.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        projected = self.project_context(context, x)
        latents = self._latents(x.shape[0])

        chunk_size = self._choose_chunk_size(x, projected)
        if chunk_size is not None:
            y = x.new_empty(x.shape, dtype=dtype_of_results(x))
            spans = list(chunks_of([slice(0, x.shape[1])], chunk_size))
            chunks = self._key_chunks(x, key_padding_mask, spans, states_in=y)
            gathered = self._gathered_from(chunks, latents).mean.to(y.dtype)
            # The rows of the result hold the states until the output takes their place.
            for rows in spans:
                states = split_heads(y[:, rows], self.num_heads)
                y[:, rows] = self._hand_out(states, latents, gathered, projected)
            return y

        drawing = Drawing(seed_for(x, is_random=self._drops))
        states = self._states(zero_padding(x, key_padding_mask))
        if self._drops:
            part = self._gathered(latents, states, key_padding_mask, drawing)
            return self._hand_out(states, latents, part.mean, projected, drawing)
        gathered = attend(
            latents,
            self.self_k(states),
            self.self_v(states),
            key_padding_mask=key_padding_mask,
            scale=self.attn_scale,
            backend=self.backend,
        )
        return self._hand_out(states, latents, gathered, projected)

    def gather(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return what latents get of tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides dropout in training: the ``seed`` of another part's summary. Drawn from
                torch's generator where it is None.

        Returns:
            Bytes that do not depend on the number of tokens.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        drawing = Drawing(seed_for(x, seed, is_random=self._drops), first_token)
        latents = self._latents(x.shape[0])

        chunk_size = self._choose_chunk_size(x, None)
        if chunk_size is None:
            states = self._states(zero_padding(x, key_padding_mask))
            gathered = self._gathered(latents, states, key_padding_mask, drawing)
        else:
            spans = chunks_of([slice(0, x.shape[1])], chunk_size)
            chunks = self._key_chunks(x, key_padding_mask, spans)
            gathered = self._gathered_from(chunks, latents)
        return Summary.of(self, x, parts={"latents": gathered}, seed=drawing.seed)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        *,
        key_padding_mask: Tensor | None = None,
        context: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of what latents got of tokens, whichever these were.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            summary: What `gather` returned, or those of several parts merged.
            key_padding_mask: As in `forward`.
            context: As in `forward`.
            first_token: As in `gather`.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            SummaryError: If another module gathered *summary*, or in another batch or dtype, or on
                another device.
            UnsupportedArgumentError: As `forward`.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        summary.check(self, x)
        projected = self.project_context(context, x)
        drawing = Drawing(seed_for(x, summary.seed, is_random=self._drops), first_token)
        latents = self._latents(x.shape[0])
        gathered = summary.parts["latents"][0].to(dtype_of_results(x))

        chunk_size = self._choose_chunk_size(x, projected)
        if chunk_size is None:
            states = self._states(zero_padding(x, key_padding_mask))
            return self._hand_out(states, latents, gathered, projected, drawing)
        y = x.new_empty(x.shape, dtype=dtype_of_results(x))
        for rows in chunks_of([slice(0, x.shape[1])], chunk_size):
            states = self._states(_real_tokens(x, key_padding_mask, rows))
            y[:, rows] = self._hand_out(states, latents, gathered, projected)
        return y

    @property
    def _drops(self) -> bool:
        """Whether weights and features are dropped."""
        return self.training and self.dropout > 0

    def _latents(self, batch: int) -> Tensor:
        """Return the latents, ``(batch, heads, num_latents, head_dim)``."""
        return self.q_global.expand(batch, -1, -1, -1)

    def _states(self, x: Tensor) -> Tensor:
        """Return what the heads have of tokens, ``(batch, heads, tokens, head_dim)``."""
        return project_heads(x, self.in_project_x, self.num_heads)

    def _gathered(
        self, latents: Tensor, states: Tensor, real: Tensor | None, drawing: Drawing
    ) -> Attended:
        """Return what latents get of tokens, as a part of a summary."""
        return gather_in_latents(
            latents,
            self.self_k(states),
            self.self_v(states),
            key_padding_mask=real,
            dropout=self.dropout if self._drops else 0.0,
            drawing=drawing,
            scale=self.attn_scale,
            backend=self.backend,
        )

    def _gathered_from(self, chunks: Iterator[KeyChunk], latents: Tensor) -> Attended:
        return gather_from_chunks(latents, chunks, scale=self.attn_scale, backend=self.backend)

    def _key_chunks(
        self,
        x: Tensor,
        real: Tensor | None,
        spans: Iterator[slice] | list[slice],
        *,
        states_in: Tensor | None = None,
    ) -> Iterator[KeyChunk]:
        """Yield keys and values of chunks, and leave states in their rows of a tensor."""
        for rows in spans:
            states = self._states(_real_tokens(x, real, rows))
            if states_in is not None:
                states_in[:, rows] = merge_heads(states)
            mask = None if real is None else real[:, None, None, rows]
            yield KeyChunk(self.self_k(states), self.self_v(states), mask)

    def _hand_out(
        self,
        states: Tensor,
        latents: Tensor,
        gathered: Tensor,
        context: ProjectedContext | None,
        drawing: Drawing = Drawing(),  # noqa: B008  it cannot change
    ) -> Tensor:
        """Return the output of tokens, which attend to the latents and to a context."""
        heads = self._attend(self.self_k(states), latents, gathered, drawing.beside(1))
        if context is not None:
            queries = self.make_queries(states)
            crossed = self._attend(queries, *context, drawing.beside(3))
            heads = self.mix_with_context(heads, crossed)
        y: Tensor = self.out_linear(merge_heads(heads))
        return drop_tokens(y, self.dropout, drawing.beside(2)) if self._drops else y

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, drawing: Drawing) -> Tensor:
        """Return the attention of tokens to a few others."""
        if self._drops:
            return read_latents(
                queries,
                keys,
                values,
                dropout=self.dropout,
                drawing=drawing,
                scale=self.attn_scale,
            )
        return attend(queries, keys, values, scale=self.attn_scale, backend=self.backend)

    def _choose_chunk_size(self, x: Tensor, context: ProjectedContext | None) -> int | None:
        """Return how many tokens are computed at once, None for all.

        A chunk holds no fewer tokens than there are latents: to merge what latents attend to costs
        less than the attention itself.
        """
        if self.backend == "flex" or self._drops:
            # It returns no sums of weights, by which chunks are merged.
            return None
        held_logits = 0 if has_fused_kernel(x, self.backend) else self.num_heads * self.num_latents
        return choose_chunk_size(
            self,
            x,
            *(context or ()),
            width=max(self.hidden_dim, held_logits),
            least=self.num_latents,
            chosen=self.chunk_size,
        )


def _real_tokens(x: Tensor, real: Tensor | None, rows: slice) -> Tensor:
    """Return some tokens, padding as zeros."""
    if real is not None:
        return zero_padding(x[:, rows], real[:, rows])
    return x[:, rows].contiguous()  # one copy, where every layer would make its own
