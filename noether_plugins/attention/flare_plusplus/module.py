"""The module of FLARE++."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, structure
from noether_core.errors import SummaryError
from noether_core.nn import (
    RMSNorm,
    Summary,
    check_key_padding_mask,
    check_summary,
    check_tokens,
    describe,
    init_weights_,
    project_heads,
    zero_padding,
)
from noether_core.nn.initialisation import start_with_
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
from noether_core.nn.operators import dtype_of_results, dtype_of_sums
from noether_core.nn.streaming import chunks_of
from noether_plugins.attention.flare_plusplus.config import FLAREPlusPlusAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Callable

_LATENT_STD = 0.02
"""Standard deviation of both sets of latents at the start."""

_LAYER_EPS, _RMS_EPS = 1e-5, 1e-6
"""Of norms by mean and deviation, and of those by the root mean square."""


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

    rounds = 2
    """Times that `gather` goes over the tokens: what the first finds makes the second's queries."""

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

        self.q0_norm = _norm(own)
        self.k_norm = _norm(own) if own.k_norm else None
        # Norms without weights are no modules: small calls would spend a percent on calling them.
        self.first_norm = _norm_without_weights(own)
        self.q_fixed_norm = self.first_norm if own.q_fixed_norm else None

        self.k0_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.v0_proj = None if own.share_k0_v0 else nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.k_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.v_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self.out_proj = nn.Linear(hidden_dim, hidden_dim, bias=own.bias)
        self._start_layers()

    def _start_layers(self) -> None:
        """Start keys and values near to the tokens, where weights are not to be zeros."""
        mode = self.config.init_weights
        if mode == "zeros":
            init_weights_(self, mode, output=self.out_proj)
            return
        init_weights_(self.out_proj, mode, output=self.out_proj)
        for layer in (self.k0_proj, self.v0_proj, self.k_proj, self.v_proj):
            if layer is not None:
                start_with_(layer, _near_identity_, zero_bias=mode != "torch")

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

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
        check_tokens(x, self.hidden_dim, layer=self.k0_proj)
        check_key_padding_mask(key_padding_mask, x)
        drawing = drawing_of(self, x)

        chunk_size = choose_latent_chunk_size(self, x, width=self.hidden_dim)
        if chunk_size is not None:
            return self._stream(x, key_padding_mask, chunk_size)

        x = zero_padding(x, key_padding_mask)
        # All before the first attention, which would else wait for pages of memory anew.
        first_keys, first_values = self._first_keys(x)
        keys, values = self._project(x)

        find = partial(gather_all, self, real=key_padding_mask)
        first_queries = self._first_queries(x.shape[0])
        found = find(first_queries, first_keys, first_values, drawing=drawing)

        queries = self._queries(found, keys.dtype)
        gathered = find(queries, keys, values, drawing=drawing.beside(1))
        return self._hand_out(keys, queries, gathered, drawing.beside(2))

    def gather(
        self,
        x: Tensor,
        *earlier: Summary,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return what tokens contribute to the latents: first alone, then by the first round.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            earlier: Nothing in the first of the two `rounds`. In the second what the first one
                gathered, of all tokens: merged, where they come in parts.
            key_padding_mask: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides dropout in training: the ``seed`` of another part's summary. Drawn from
                torch's generator where it is None; the second round takes that of the first.

        Returns:
            Bytes that do not depend on the number of tokens.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            SummaryError: If there are more rounds than two, or another module gathered *earlier*,
                or in another round, batch or dtype, or on another device.
        """
        check_tokens(x, self.hidden_dim, layer=self.k0_proj)
        check_key_padding_mask(key_padding_mask, x)
        if len(earlier) >= self.rounds:
            raise _wrong_rounds("gather", len(earlier), "none, or that of the first round")

        if earlier:
            queries, project = self._queries_of(x, *earlier), self._project
            seed = earlier[0].seed
        else:
            queries, project = self._first_queries(x.shape[0]), self._first_keys
        drawing = drawing_of(self, x, seed, first_token)
        part = gather_part(
            self,
            queries,
            x,
            project,
            real=key_padding_mask,
            drawing=drawing.beside(len(earlier)),
            chunk_size=choose_latent_chunk_size(self, x, queries, width=self.hidden_dim),
        )
        return Summary.of(
            self, x, parts={"latents": part}, round=len(earlier) + 1, seed=drawing.seed
        )

    def read(
        self,
        x: Tensor,
        *summaries: Summary,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of what tokens contributed, whichever these were.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            summaries: What `gather` returned in its first and in its second round, each of all
                tokens: merged, where they come in parts.
            key_padding_mask: As in `forward`.
            first_token: As in `gather`.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            SummaryError: If there are not two of them, or another module gathered one, or in
                another round, batch or dtype, or on another device.
        """
        check_tokens(x, self.hidden_dim, layer=self.k0_proj)
        check_key_padding_mask(key_padding_mask, x)
        if len(summaries) != self.rounds:
            raise _wrong_rounds("read", len(summaries), "those of both rounds")

        first, second = summaries
        queries = self._queries_of(x, first)
        check_summary(second, self, x, round=2)
        gathered = second.parts["latents"][0].to(queries.dtype)
        drawing = drawing_of(self, x, first.seed, first_token)
        read = partial(
            self._hand_out, latents=queries, gathered=gathered, drawing=drawing.beside(2)
        )
        chunk_size = choose_latent_chunk_size(self, x, queries, gathered, width=self.hidden_dim)
        return read_part(x, self._project_keys, read, real=key_padding_mask, chunk_size=chunk_size)

    def _queries_of(self, x: Tensor, first: Summary) -> Tensor:
        """Return the queries that follow from the first round, for the tokens *x*."""
        check_summary(first, self, x, round=1)
        return self._queries(first.parts["latents"][0], dtype_of_results(x))

    def _first_queries(self, batch: int) -> Tensor:
        """Return the queries that the input has no part in, ``(batch, heads, latents, width)``."""
        latents: Tensor = self.q0_norm(self.latent_q0)
        return latents.expand(batch, -1, -1, -1)

    def _first_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what these queries attend to: keys and values, ``(batch, heads, tokens, width)``.

        They are one tensor where they share a layer.
        """
        keys = project_heads(x, self.k0_proj, self.num_heads, norm=self.first_norm)
        if self.v0_proj is None:
            return keys, keys
        return keys, project_heads(x, self.v0_proj, self.num_heads, norm=self.first_norm)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of the second attention."""
        return self._project_keys(x), project_heads(x, self.v_proj, self.num_heads)

    def _project_keys(self, x: Tensor) -> Tensor:
        return project_heads(x, self.k_proj, self.num_heads, norm=self.k_norm)

    def _queries(self, dynamic: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the queries of the second attention.

        Args:
            dynamic: What the first one found, ``(batch, heads, latents, width)``.
            dtype: That of the queries; the gate mixes in the dtype of sums.
        """
        fixed: Tensor = self.latent_q_fixed
        if self.q_fixed_norm is not None:
            fixed = self.q_fixed_norm(fixed)
        wide = dtype_of_sums(dtype)
        gates = self.gate_logit.to(wide).sigmoid().view(-1, 1, 1)
        return torch.addcmul(fixed.to(wide), gates, dynamic.to(wide)).to(dtype)

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

    def _stream(self, x: Tensor, real: Tensor | None, chunk_size: int) -> Tensor:
        """Return the result for the tokens *x*, *chunk_size* of them at a time."""
        chunks = list(chunks_of([slice(0, x.shape[1])], chunk_size))
        y = x.new_empty(x.shape, dtype=dtype_of_results(x))

        first = self._first_queries(x.shape[0])
        found = gather_tokens(self, first, x, chunks, self._first_keys, real=real)
        queries = self._queries(found.mean, y.dtype)
        gathered = gather_tokens(self, queries, x, chunks, self._project, real=real, keys_out=y)

        # The rows of the result hold the keys until the output takes their place.
        read = partial(self._hand_out, latents=queries, gathered=gathered.mean.to(y.dtype))
        hand_out_to(y, chunks, self.num_heads, read)
        return y


def _wrong_rounds(method: str, got: int, wanted: str) -> SummaryError:
    return SummaryError(
        f"summary: {method} got {got}, wanted {wanted}: flare_plusplus gathers in two rounds"
    )


def _norm(config: FLAREPlusPlusAttentionConfig) -> nn.Module:
    """Return a norm over a head."""
    if config.rmsnorm:
        return RMSNorm(config.head_dim, eps=_RMS_EPS)
    return nn.LayerNorm(config.head_dim, eps=_LAYER_EPS)


def _norm_without_weights(config: FLAREPlusPlusAttentionConfig) -> Callable[[Tensor], Tensor]:
    """Return the same without weights."""
    shape = [config.head_dim]
    if config.rmsnorm:
        return partial(functional.rms_norm, normalized_shape=shape, eps=_RMS_EPS)
    return partial(functional.layer_norm, normalized_shape=shape, eps=_LAYER_EPS)


def _near_identity_(weight: Tensor) -> None:
    """Fill a weight with the identity and a little noise."""
    nn.init.trunc_normal_(weight, std=0.02, a=-2.0, b=2.0)
    with torch.no_grad():
        weight.diagonal().add_(1.0)
