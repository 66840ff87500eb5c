"""The module of induced set attention, and the layers of its two attentions."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

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
    merge_heads,
    project_heads,
    zero_padding,
)
from noether_core.nn.latents import (
    choose_latent_chunk_size,
    drawing_of,
    gather_all,
    gather_part,
    read_heads,
    read_part,
    write_output,
)
from noether_core.nn.operators import dtype_of_results
from noether_plugins.attention.induced_set.config import InducedSetAttentionConfig

if TYPE_CHECKING:
    from noether_core.nn import Attended
    from noether_core.nn.noise import Drawing

_LATENT_STD = 0.02
"""Standard deviation of the learned points at the start."""


class InducedSetAttention(nn.Module):
    """Learned points attend to the tokens, and the tokens attend to what these became.

    ``h = MHA(l, x)`` gathers the tokens in the learned points ``l``, and ``y = MHA(x, h)`` scatters
    them again: two attentions with four layers each, between as few points as there are
    ``num_latents`` and all tokens. Time and memory grow with the number of tokens, not with its
    square.

    Where no gradient is needed, many tokens are computed chunk by chunk: the learned points attend
    to the chunks in turn, merged exactly, and then chunks attend to them. Beyond tokens and result,
    memory then does not grow with the number of tokens.

    Lee et al., Set Transformer, 2019 (arXiv 1810.00825): the two attentions of its induced set
    attention block, without the residuals, norms and feed-forward layers around them.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    attn_scale = None
    """Factor of the logits of both attentions: ``1 / sqrt(head_dim)``."""

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = own = structure(config, InducedSetAttentionConfig)
        self.hidden_dim = own.hidden_dim
        self.num_heads = own.num_heads
        self.num_latents = own.num_latents
        self.dropout = own.dropout
        self.backend = own.backend
        self.chunk_size = own.chunk_size

        self.latents = nn.Parameter(torch.empty(own.num_latents, own.hidden_dim))
        self.gather = InducedGather(own, self)
        self.scatter = InducedLayers(own)
        init_weights_(self, own.init_weights, output=self.scatter.proj)
        self.reset_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, whose parts are its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's own
        self.gather.join(self)

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

    def reset_parameters(self) -> None:
        """Draw the learned points anew; layers have a function of their own."""
        if not self.latents.is_meta:  # where there is nothing to fill
            nn.init.normal_(self.latents, std=_LATENT_STD)

    def forward(self, x: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        """Exchange information between tokens through learned points.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No learned point
                attends to padding; padding still attends to these, so its own rows of the result
                mean nothing.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            UnsupportedBackendError: If the backend cannot serve the call.
        """
        check_tokens(x, self.hidden_dim, layer=self.scatter.q)
        check_key_padding_mask(key_padding_mask, x)
        drawing = drawing_of(self, x)

        if choose_latent_chunk_size(self, x, width=self.hidden_dim) is not None:
            part = self.gathered(x, key_padding_mask, drawing)
            return self._read(x, part, key_padding_mask, drawing)

        if key_padding_mask is not None:
            x = zero_padding(x, key_padding_mask)
        # All before the first attention, which would else wait for pages of memory anew.
        keys, values = self.gather.project(x)
        queries = self.scatter.project_queries(x)
        latents = self._latent_queries(x.shape[0])
        found = gather_all(self, latents, keys, values, real=key_padding_mask, drawing=drawing)
        is_empty = None if key_padding_mask is None else ~key_padding_mask.any(dim=1)
        return self._scatter(queries, *self._points(found, is_empty), drawing)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of what learned points got of tokens, whichever these were.

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
        check_tokens(x, self.hidden_dim, layer=self.scatter.q)
        check_key_padding_mask(key_padding_mask, x)
        check_summary(summary, self, x)
        drawing = drawing_of(self, x, summary.seed, first_token)

        part: Any = summary.parts["latents"]
        return self._read(x, part, key_padding_mask, drawing)

    def gathered(self, x: Tensor, real: Tensor | None, drawing: Drawing) -> Attended:
        """Return what learned points get of tokens, as a part of what they get of more."""
        return gather_part(
            self,
            self._latent_queries(x.shape[0]),
            x,
            self.gather.project,
            real=real,
            drawing=drawing,
            chunk_size=choose_latent_chunk_size(self, x, width=self.hidden_dim),
        )

    def _read(self, x: Tensor, part: Attended, real: Tensor | None, drawing: Drawing) -> Tensor:
        """Return what tokens get of what learned points got."""
        is_empty = part.log_mass.flatten(1).isneginf().all(dim=1)
        keys, values = self._points(part.mean.to(dtype_of_results(x)), is_empty)
        return read_part(
            x,
            self.scatter.project_queries,
            partial(self._scatter, keys=keys, values=values, drawing=drawing),
            real=real,
            chunk_size=choose_latent_chunk_size(self, x, keys, values, width=self.hidden_dim),
        )

    def _latent_queries(self, batch: int) -> Tensor:
        """Return the queries of the learned points, ``(batch, heads, num_latents, head_dim)``."""
        # No view: of a parameter, it claims a gradient that it has not where there are none, and
        # torch's counter of operations fails.
        latents = torch.stack([self.latents])
        queries = self.gather.project_queries(latents)
        return queries.expand(batch, -1, -1, -1)

    def _points(self, found: Tensor, is_empty: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the keys and values of what learned points became.

        Args:
            found: What their heads found, ``(batch, heads, num_latents, head_dim)``.
            is_empty: ``(batch,)`` booleans, True for samples without tokens, in which there is
                nothing to be had of them; None for no such.
        """
        points: Tensor = self.gather.proj(merge_heads(found))
        keys, values = self.scatter.project(points)
        if is_empty is not None:
            values = values.masked_fill(is_empty[:, None, None, None], 0.0)
        return keys, values

    def _scatter(self, queries: Tensor, keys: Tensor, values: Tensor, drawing: Drawing) -> Tensor:
        """Return the output of tokens, whose *queries* attend to the learned points."""
        heads = read_heads(self, queries, keys, values, drawing.beside(1))
        return write_output(self, heads, self.scatter.proj, drawing.beside(2))


class InducedLayers(nn.Module):
    """The layers of one of the two attentions.

    Args:
        config: Options of the whole.
    """

    def __init__(self, config: InducedSetAttentionConfig) -> None:
        super().__init__()
        width, bias = config.hidden_dim, config.bias
        self.num_heads = config.num_heads
        self.q = nn.Linear(width, width, bias=bias)
        self.k = nn.Linear(width, width, bias=bias)
        self.v = nn.Linear(width, width, bias=bias)
        self.proj = nn.Linear(width, width, bias=bias)
        self.q_norm = RMSNorm(config.head_dim) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_dim) if config.qk_norm else None

    def project_queries(self, x: Tensor) -> Tensor:
        """Return the queries of *x*, ``(batch, heads, tokens, head_dim)``."""
        return project_heads(x, self.q, self.num_heads, norm=self.q_norm)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of *x*, each ``(batch, heads, tokens, head_dim)``."""
        keys = project_heads(x, self.k, self.num_heads, norm=self.k_norm)
        return keys, project_heads(x, self.v, self.num_heads)


class InducedGather(InducedLayers):
    """The first attention, by whose name go its weights and the method of summaries.

    Args:
        config: Options of the whole.
        whole: The module that it is a part of.
    """

    def __init__(self, config: InducedSetAttentionConfig, whole: InducedSetAttention) -> None:
        super().__init__(config)
        self.join(whole)

    def join(self, whole: InducedSetAttention) -> None:
        """Become a part of *whole*, which is not held: only garbage collection frees a circle."""
        self._whole = weakref.ref(whole)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles hold; those of the whole join it again."""
        return {name: value for name, value in self.__dict__.items() if name != "_whole"}

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return what learned points get of tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides dropout in training: the ``seed`` of another part's summary. Drawn from
                torch's generator where it is None.

        Returns:
            Bytes that do not depend on the number of tokens.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
        """
        whole = self._whole()
        if whole is None:
            raise SummaryError("gather: the module that it is a part of is gone")
        check_tokens(x, whole.hidden_dim, layer=self.k)
        check_key_padding_mask(key_padding_mask, x)
        drawing = drawing_of(whole, x, seed, first_token)
        part = whole.gathered(x, key_padding_mask, drawing)
        return Summary.of(whole, x, parts={"latents": part}, seed=drawing.seed)
