"""How GALE with latents is computed, for few tokens and for many, with a context and without."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    ContextLayers,
    Summary,
    check_key_padding_mask,
    check_summary,
    check_tokens,
    describe,
    init_weights_,
    merge_heads,
    project_heads,
    zero_padding,
)
from noether_core.nn.latents import (
    choose_latent_chunk_size,
    drawing_of,
    gather_all,
    gather_part,
    gather_tokens,
    hand_out_to,
    read_heads,
    read_part,
    write_output,
)
from noether_core.nn.noise import Drawing
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.streaming import chunks_of
from noether_plugins.attention.gale_flare.config import GALEFLAREAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Callable

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

    rounds = 1
    """Times that `gather` goes over the tokens."""

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

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return describe(self.config)

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
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        projected = self.project_context(context, x)

        chunk_size = self._choose_chunk_size(x, projected)
        if chunk_size is not None:
            return self._stream(x, key_padding_mask, projected, chunk_size)

        latents, drawing = self._latents(x.shape[0]), drawing_of(self, x)
        states = self._states(zero_padding(x, key_padding_mask))
        keys, values = self._keys_and_values(states)
        real = key_padding_mask
        gathered = gather_all(self, latents, keys, values, real=real, drawing=drawing)
        return self._hand_out(states, keys, latents, gathered, projected, drawing)

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
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        drawing = drawing_of(self, x, seed, first_token)
        gathered = gather_part(
            self,
            self._latents(x.shape[0]),
            x,
            self._project,
            real=key_padding_mask,
            drawing=drawing,
            chunk_size=self._choose_chunk_size(x),
        )
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
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        check_summary(summary, self, x)
        projected = self.project_context(context, x)
        gathered = summary.parts["latents"][0].to(dtype_of_results(x))
        read = partial(
            self._read_states,
            latents=self._latents(x.shape[0]),
            gathered=gathered,
            context=projected,
            drawing=drawing_of(self, x, summary.seed, first_token),
        )
        chunk_size = self._choose_chunk_size(x, projected, gathered)
        return read_part(x, self._states, read, real=key_padding_mask, chunk_size=chunk_size)

    def _latents(self, batch: int) -> Tensor:
        """Return the latents, ``(batch, heads, num_latents, head_dim)``."""
        return self.q_global.expand(batch, -1, -1, -1)

    def _states(self, x: Tensor) -> Tensor:
        """Return what the heads have of tokens, ``(batch, heads, tokens, head_dim)``."""
        return project_heads(x, self.in_project_x, self.num_heads)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values, each ``(batch, heads, tokens, head_dim)``."""
        return self._keys_and_values(self._states(x))

    def _keys_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of what heads have, all ``(batch, heads, tokens, head_dim)``."""
        return _by_head(self.self_k, states), _by_head(self.self_v, states)

    def _stream(
        self, x: Tensor, real: Tensor | None, context: ProjectedContext | None, chunk_size: int
    ) -> Tensor:
        """Return the result for the tokens *x*, *chunk_size* of them at a time."""
        chunks = list(chunks_of([slice(0, x.shape[1])], chunk_size))
        y, rows = x.new_empty(x.shape, dtype=dtype_of_results(x)), iter(chunks)

        def project(tokens: Tensor) -> tuple[Tensor, Tensor]:
            states = self._states(tokens)
            y[:, next(rows)] = merge_heads(states)
            return self._keys_and_values(states)

        latents = self._latents(x.shape[0])
        gathered = gather_tokens(self, latents, x, chunks, project, real=real).mean.to(y.dtype)

        # The rows of the result hold the states until the output takes their place.
        read = partial(self._read_states, latents=latents, gathered=gathered, context=context)
        hand_out_to(y, chunks, self.num_heads, read)
        return y

    def _read_states(
        self,
        states: Tensor,
        latents: Tensor,
        gathered: Tensor,
        context: ProjectedContext | None,
        drawing: Drawing = Drawing(),  # noqa: B008  it cannot change
    ) -> Tensor:
        """Return the output of tokens of which there are the *states* alone."""
        keys = _by_head(self.self_k, states)
        return self._hand_out(states, keys, latents, gathered, context, drawing)

    def _hand_out(  # noqa: PLR0917  all of them are of one kind
        self,
        states: Tensor,
        keys: Tensor,
        latents: Tensor,
        gathered: Tensor,
        context: ProjectedContext | None,
        drawing: Drawing,
    ) -> Tensor:
        """Return the output of tokens, which attend to the latents and to a context."""
        heads = read_heads(self, keys, latents, gathered, drawing.beside(1))
        if context is not None:
            queries = _by_head(self.make_queries, states)
            crossed = read_heads(self, queries, *context, drawing.beside(3))
            heads = self.mix_with_context(heads, crossed)
        return write_output(self, heads, self.out_linear, drawing.beside(2))

    def _choose_chunk_size(
        self, x: Tensor, context: ProjectedContext | None = None, *others: Tensor
    ) -> int | None:
        """Return how many tokens are computed at once, None for all."""
        return choose_latent_chunk_size(self, x, *(context or ()), *others, width=self.hidden_dim)


def _by_head(layer: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    """Return what a layer that heads share makes of them, in the order in which they lie.

    That is token by token, each with its heads: in another order they would be copied first.
    """
    return layer(states.transpose(1, 2)).transpose(1, 2)
