"""The module of Galerkin attention, and the norm of each of its heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    QKVAttention,
    Summary,
    Summed,
    check_key_padding_mask,
    check_tokens,
    merge_heads,
    sums,
)
from noether_core.nn.tokens import Tokens
from noether_plugins.attention.galerkin.config import GalerkinAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from noether_core.nn.summaries import Part

_EPS = 1e-5
"""Added to the variance of a head."""


class GalerkinAttention(QKVAttention):
    """Queries times the mean product of normalised keys and values.

    ``y_i = q_i (sum_j k_j v_j^T) / n`` over the ``n`` real tokens, with keys and values normalised
    over each head by mean and deviation. No token is weighed against others: columns of queries,
    keys and values are functions that are sampled at the tokens, and products over all tokens their
    inner products, as in a Galerkin method. Time and memory grow with the number of tokens, not
    with its square.

    Where no gradient is needed, many tokens are computed chunk by chunk: a first pass sums, and a
    second reads. Beyond tokens and result, memory then does not grow with the number of tokens.

    Cao, Choose a Transformer: Fourier or Galerkin, 2021 (arXiv 2105.14995), equation 9. The paper
    joins coordinates to each head; here they are part of the tokens.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, GalerkinAttentionConfig)
        super().__init__(own)
        self.chunk_size = own.chunk_size
        self.k_norm = HeadNorm(own.num_heads, own.head_dim)
        self.v_norm = HeadNorm(own.num_heads, own.head_dim)

    def forward(self, x: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        """Exchange information between tokens through products over all of them.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding adds to no
                product and does not count; it still reads, so its own rows of the result mean
                nothing.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
        """
        return sums.attend(self, self._checked(x, key_padding_mask))

    def gather(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return the products and the number of tokens.

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
        tokens = self._checked(x, key_padding_mask)
        return sums.gather(self, tokens, first_token=first_token, seed=seed)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of the products of tokens, whichever these were.

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
        tokens = self._checked(x, key_padding_mask)
        return sums.read(self, tokens, summary, first_token=first_token)

    def contribute(self, tokens: Tokens) -> dict[str, Part]:
        """Return the products and the number of tokens, padding left out."""
        keys = sums.widened(self.project_keys(tokens.x))
        values = sums.widened(self.v_norm(self.project_values(tokens.x)))
        if tokens.real is not None:
            keys = keys.masked_fill(~tokens.real[:, None, :, None], 0.0)
        return {
            "products": Summed(sums.product(keys.transpose(-2, -1), values)),
            "count": Summed(_count(tokens, keys.dtype)),
        }

    def receive(self, tokens: Tokens, parts: Mapping[str, Part]) -> Tensor:
        """Return the output of tokens, from the products of tokens."""
        queries = self.project_queries(tokens.x)
        products, count = parts["products"][0], parts["count"][0]
        means = products / count.clamp(min=1.0)
        heads = sums.product(sums.widened(queries), means)
        if heads.dtype != queries.dtype:
            heads = heads.to(queries.dtype)
        y: Tensor = self.proj(merge_heads(heads))
        return y

    def _checked(self, x: Tensor, key_padding_mask: Tensor | None) -> Tokens:
        """Return tokens that were checked, with what is known of each."""
        check_tokens(x, self.hidden_dim, layer=self.q)
        check_key_padding_mask(key_padding_mask, x)
        return Tokens(x, real=key_padding_mask)


class HeadNorm(nn.Module):
    """Subtract the mean of each head, divide by its deviation, and scale and shift by head.

    Args:
        num_heads: Heads, each with a weight and a bias of its own.
        head_dim: Width of a head.
    """

    def __init__(self, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_heads, head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads, head_dim))

    def reset_parameters(self) -> None:
        """Scale by 1 and shift by 0, as a new one."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise *x*, ``(batch, heads, tokens, head_dim)``."""
        batch, heads, tokens, width = x.shape
        # In one row behind the other, as layers make them: a view, and no copy for the kernel.
        rows = x.transpose(1, 2).reshape(-1, width)
        normed = functional.layer_norm(rows, (width,), eps=_EPS).view(batch, tokens, heads, width)
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if normed.dtype != weight.dtype:  # under autocast
            weight, bias = weight.to(normed), bias.to(normed)
        return torch.addcmul(bias, normed, weight).transpose(1, 2)


def _count(tokens: Tokens, dtype: torch.dtype) -> Tensor:
    """Return the number of real tokens of each sample, ``(batch, 1, 1, 1)``."""
    x, real = tokens.x, tokens.real
    if real is None:
        return x.new_full((x.shape[0], 1, 1, 1), x.shape[1], dtype=dtype)
    return real.sum(dim=1).to(dtype)[:, None, None, None]
