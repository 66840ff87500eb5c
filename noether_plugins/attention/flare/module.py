"""The module of FLARE."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, TokenGroupError, TokenSpec, structure
from noether_core.nn import (
    RMSNorm,
    Summary,
    check_key_padding_mask,
    check_summary,
    check_tokens,
    describe,
    group_sizes,
    init_weights_,
    layout_of,
    project_heads,
    zero_padding,
)
from noether_core.nn.groups import GroupSplit, select_groups, split_groups
from noether_core.nn.latents import (
    choose_latent_chunk_size,
    drawing_of,
    gather_all,
    gather_part,
    gather_tokens,
    hand_out_to,
    read_heads,
    read_part,
    real_tokens,
    write_output,
)
from noether_core.nn.noise import Drawing
from noether_core.nn.operators import dtype_of_results
from noether_core.nn.streaming import chunks_of
from noether_plugins.attention.flare.config import FLAREAttentionConfig
from noether_plugins.attention.flare.residual_mlp import residual_mlp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class FLAREAttention(nn.Module):
    """Latents attend to the tokens, and the tokens attend to the latents.

    ``z = softmax(s l k^T) v`` gathers the tokens in the latents ``l`` of each head, and ``y =
    softmax(s k l^T) z`` hands them out again by the same keys, with ``s`` the ``attn_scale``;
    together an attention of rank ``num_latents``, whose time and memory grow with the number of
    tokens and not with its square. Keys and values are residual MLPs of the tokens.

    Where no gradient is needed, many tokens are computed chunk by chunk: the latents attend to the
    chunks in turn, merged exactly, and keys wait for the second step in the rows of the result that
    it will overwrite. Beyond tokens and result, memory then does not grow with the number of
    tokens.

    Puri et al., FLARE, 2025 (arXiv 2508.12594). The groups of anchors, which the latents attend to
    alone, are not in the paper.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = own = structure(config, FLAREAttentionConfig)
        self.hidden_dim = own.hidden_dim
        self.num_heads = own.num_heads
        self.num_latents = own.num_latents
        self.attn_scale = own.attn_scale
        self.anchor_suffix = own.anchor_suffix
        self.dropout = own.dropout
        self.backend = own.backend
        self.chunk_size = own.chunk_size

        self.latent_q = nn.Parameter(torch.empty(own.hidden_dim, own.num_latents))
        self.reset_parameters()
        self.k_proj = residual_mlp(
            own.hidden_dim,
            ratio=own.k_proj_mlp_ratio,
            num_layers=own.num_layers_k_proj,
            activation=own.activation,
            bias=own.bias,
        )
        self.v_proj = residual_mlp(
            own.hidden_dim,
            ratio=own.v_proj_mlp_ratio,
            num_layers=own.num_layers_v_proj,
            activation=own.activation,
            bias=own.bias,
        )
        norm = RMSNorm if own.rmsnorm else nn.LayerNorm
        self.q_norm = norm(own.head_dim) if own.qk_norm else None
        self.k_norm = norm(own.head_dim) if own.qk_norm else None
        self.out_proj = nn.Linear(own.hidden_dim, own.hidden_dim, bias=own.bias)
        init_weights_(self, own.init_weights, output=self.out_proj)
        self._widest = max(own.hidden_dim, self.k_proj.inner, self.v_proj.inner)

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

    def reset_parameters(self) -> None:
        """Draw the latents anew; layers have a function of their own."""
        if not self.latent_q.is_meta:  # where there is nothing to fill
            nn.init.normal_(self.latent_q, std=self.config.latent_init_std)

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
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No latent attends
                to padding; padding still attends to the latents, so its own rows of the result mean
                nothing.
            token_specs: Groups of the tokens, one behind the other. Where one or more end in
                ``anchor_suffix``, the latents attend to those alone; all tokens attend to the
                latents.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            TokenGroupError: If the groups do not add up to the tokens, or one is of size None.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(x, self.hidden_dim, layer=self._first_layer())
        check_key_padding_mask(key_padding_mask, x)
        anchors = self._anchors(token_specs, x.shape[1])
        drawing = drawing_of(self, x)

        chunk_size = choose_latent_chunk_size(self, x, width=self._widest)
        if chunk_size is not None:
            return self._stream(x, key_padding_mask, anchors, chunk_size)

        x = zero_padding(x, key_padding_mask)
        latents = self._latents(x.shape[0])
        keys = self._project_keys(x)
        values = project_heads(_select(x, anchors, dim=1), self.v_proj, self.num_heads)
        own_keys, real = _select(keys, anchors, dim=2), key_padding_mask
        if real is not None:
            real = _select(real, anchors, dim=1)

        gathered = gather_all(self, latents, own_keys, values, real=real, drawing=drawing)
        return self._hand_out(keys, latents, gathered, drawing.beside(1))

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
            x: ``(batch, tokens, hidden_dim)``; of groups with anchors, give the anchors.
            key_padding_mask: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides dropout in training: the ``seed`` of another part's summary. Drawn from
                torch's generator where it is None.

        Returns:
            Bytes that do not depend on the number of tokens.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
        """
        check_tokens(x, self.hidden_dim, layer=self._first_layer())
        check_key_padding_mask(key_padding_mask, x)
        drawing = drawing_of(self, x, seed, first_token)
        gathered = gather_part(
            self,
            self._latents(x.shape[0]),
            x,
            self._project,
            real=key_padding_mask,
            drawing=drawing,
            chunk_size=choose_latent_chunk_size(self, x, width=self._widest),
        )
        return Summary.of(self, x, parts={"latents": gathered}, seed=drawing.seed)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of what latents got of tokens, whichever these were.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            summary: What `gather` returned, or those of several parts merged.
            key_padding_mask: As in `forward`.
            first_token: As in `gather`.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            SummaryError: If another module gathered *summary*, or in another batch or dtype, or on
                another device.
        """
        check_tokens(x, self.hidden_dim, layer=self._first_layer())
        check_key_padding_mask(key_padding_mask, x)
        check_summary(summary, self, x)
        drawing = drawing_of(self, x, summary.seed, first_token)
        gathered = summary.parts["latents"][0].to(dtype_of_results(x))
        read = partial(
            self._hand_out,
            latents=self._latents(x.shape[0]),
            gathered=gathered,
            drawing=drawing.beside(1),
        )
        chunk_size = choose_latent_chunk_size(self, x, gathered, width=self._widest)
        return read_part(x, self._project_keys, read, real=key_padding_mask, chunk_size=chunk_size)

    def _first_layer(self) -> nn.Module | None:
        """Return the layer that tokens meet first, or None where something may cast them before."""
        layers = self.k_proj
        is_hooked = layers._forward_pre_hooks or "forward" in layers.__dict__  # noqa: SLF001
        return None if is_hooked else getattr(layers, "first", None)

    def _latents(self, batch: int) -> Tensor:
        """Return the latents as queries and keys, ``(batch, heads, num_latents, head_dim)``."""
        latents = self.latent_q.reshape(1, self.num_heads, self.num_latents, -1)
        if self.q_norm is not None:
            latents = self.q_norm(latents)
        return latents.expand(batch, -1, -1, -1)

    def _hand_out(
        self,
        keys: Tensor,
        latents: Tensor,
        gathered: Tensor,
        drawing: Drawing = Drawing(),  # noqa: B008  it cannot change
    ) -> Tensor:
        """Return the output of tokens, whose *keys* attend to the latents."""
        heads = read_heads(self, keys, latents, gathered, drawing)
        return write_output(self, heads, self.out_proj, drawing.beside(1))

    def _stream(
        self, x: Tensor, real: Tensor | None, anchors: GroupSplit | None, chunk_size: int
    ) -> Tensor:
        """Return the result for the tokens *x*, *chunk_size* of them at a time.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            real: ``(batch, tokens)`` booleans, or None.
            anchors: Selects the tokens that the latents attend to; None where it is all of them.
            chunk_size: Tokens at once.
        """
        count = x.shape[1]
        attended = [slice(0, count)] if anchors is None else _spans(anchors)
        y = x.new_empty(x.shape, dtype=dtype_of_results(x))

        latents = self._latents(x.shape[0])
        chunks = list(chunks_of(attended, chunk_size))
        gathered = gather_tokens(self, latents, x, chunks, self._project, real=real, keys_out=y)
        read = partial(self._hand_out, latents=latents, gathered=gathered.mean.to(y.dtype))

        # The rows of the result hold the keys until the output takes their place.
        hand_out_to(y, chunks, self.num_heads, read)
        # The others have left no keys, as no latent attends to them.
        for rows in chunks_of(_between(attended, count), chunk_size):
            y[:, rows] = read(self._project_keys(real_tokens(x, real, rows)))
        return y

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values, each ``(batch, heads, tokens, head_dim)``."""
        return self._project_keys(x), project_heads(x, self.v_proj, self.num_heads)

    def _project_keys(self, x: Tensor) -> Tensor:
        return project_heads(x, self.k_proj, self.num_heads, norm=self.k_norm)

    def _anchors(self, token_specs: Sequence[TokenSpec] | None, tokens: int) -> GroupSplit | None:
        """Return where the anchors are; None where the latents attend to all tokens."""
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


def _select(tensor: Tensor, anchors: GroupSplit | None, *, dim: int) -> Tensor:
    """Return the tokens that the latents attend to."""
    # The tensor itself where it is all of them: the gradient of a part costs a tensor more.
    return tensor if anchors is None else select_groups(tensor, anchors, dim=dim)


def _spans(split: GroupSplit) -> list[slice]:
    """Return where the tokens stand that *split* selects."""
    bounds = [0, *itertools.accumulate(split.lengths)]
    return [slice(bounds[start], bounds[stop]) for start, stop in split.selections[0]]


def _between(spans: Sequence[slice], tokens: int) -> Iterator[slice]:
    """Yield the spans of tokens that none of *spans* holds, which follow each other."""
    start = 0
    for span in spans:
        yield slice(start, span.start)
        start = span.stop
    yield slice(start, tokens)
