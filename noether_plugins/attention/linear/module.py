"""The module of linear attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    Frequencies,
    QKVAttention,
    Summary,
    Summed,
    check_freqs,
    check_key_padding_mask,
    check_tokens,
    merge_heads,
    rotate,
    sums,
)
from noether_core.nn.partial_attention import attend_by_logits
from noether_core.nn.streaming import is_traced
from noether_core.nn.tokens import Tokens
from noether_plugins.attention.linear.config import LinearAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from noether_core.nn.summaries import Part

_LEAST_FEATURE = 1e-6
"""Added to features that may all be zero."""


class LinearAttention(QKVAttention):
    """Every token attends to every token, weighted by a product of features of query and key.

    ``y_i = phi(q_i) S / (phi(q_i) z)``, where ``S = sum_j phi(k_j) v_j^T`` and ``z = sum_j
    phi(k_j)`` are the same for all tokens, so that time and memory grow with the number of tokens
    and not with its square; ``phi`` is ``elu + 1``, or ``relu`` and 1e-6. With ``softmax``, ``phi``
    of queries is a softmax over the head, of keys one over all tokens, and nothing is divided by.
    With ``use_rope``, features are rotated by position, wherever they stand.

    Where no gradient is needed, many tokens are computed chunk by chunk: a first pass sums, and a
    second reads. Beyond tokens and result, memory then does not grow with the number of tokens.

    Katharopoulos et al., Transformers are RNNs, 2020 (arXiv 2006.16236), equations 4 and 5;
    ``softmax`` is Shen et al., Efficient Attention, 2021 (arXiv 1812.01243). The papers have
    neither norm nor rotation.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, LinearAttentionConfig)
        super().__init__(own)
        self.feature_map = own.feature_map
        self.chunk_size = own.chunk_size

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
    ) -> Tensor:
        """Let every token attend to all tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No token attends
                to padding; padding still attends, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens; exactly if ``use_rope``.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are
                missing.
            UnsupportedArgumentError: If *freqs* are given without ``use_rope``.
        """
        return sums.attend(self, self._checked(x, key_padding_mask, freqs))

    def gather(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return the sums of tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: As in `forward`.
            freqs: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides dropout in training: the ``seed`` of another part's summary. Drawn from
                torch's generator where it is None.

        Returns:
            Bytes that do not depend on the number of tokens.

        Raises:
            ShapeError: As in `forward`.
            UnsupportedArgumentError: As in `forward`.
        """
        tokens = self._checked(x, key_padding_mask, freqs)
        return sums.gather(self, tokens, first_token=first_token, seed=seed)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of the sums of tokens, whichever these were.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            summary: What `gather` returned, or those of several parts merged.
            key_padding_mask: As in `forward`.
            freqs: As in `forward`.
            first_token: As in `gather`.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: As in `forward`.
            UnsupportedArgumentError: As in `forward`.
            SummaryError: If another module gathered *summary*, or in another batch or dtype, or on
                another device.
        """
        tokens = self._checked(x, key_padding_mask, freqs)
        return sums.read(self, tokens, summary, first_token=first_token)

    def contribute(self, tokens: Tokens) -> dict[str, Part]:
        """Return the sums of tokens, padding left out."""
        keys = sums.widened(self.project_keys(tokens.x))
        values = sums.widened(self.project_values(tokens.x))
        is_padding = None if tokens.real is None else ~tokens.real[:, None, :, None]

        if self.feature_map == "softmax":
            logits = keys.clone() if is_padding is None else keys.masked_fill(is_padding, -math.inf)
            return {"values": attend_by_logits(logits.transpose(-2, -1), values)}

        features = self._features(keys, tokens.freqs)
        if is_padding is not None:
            features = features.masked_fill(is_padding, 0.0)
        return {
            "products": Summed(sums.product(features.transpose(-2, -1), values)),
            "features": Summed(features.sum(dim=2).unsqueeze(-1)),
        }

    def receive(self, tokens: Tokens, parts: Mapping[str, Part]) -> Tensor:
        """Return the output of tokens, from the sums of tokens."""
        queries = self.project_queries(tokens.x)
        features = self._features(sums.widened(queries), tokens.freqs)
        if self.feature_map == "softmax":
            heads = sums.product(features, parts["values"][0])
        else:
            total = sums.product(features, parts["features"][0])
            # Nothing was attended to, or features are too small for their dtype: zeros, and no NaN.
            total = total.masked_fill(total == 0, 1.0)
            heads = sums.product(features, parts["products"][0]) / total
        if heads.dtype != queries.dtype:
            heads = heads.to(queries.dtype)
        y: Tensor = self.proj(merge_heads(heads))
        return y

    def _features(self, x: Tensor, freqs: Frequencies | None) -> Tensor:
        """Return the features of queries or keys; of queries alone for softmax."""
        if self.feature_map == "softmax":
            return x.softmax(dim=-1)
        if self.feature_map == "elu":
            if is_traced():  # graphs take the gradient of elu to have other strides than it has
                x = x.contiguous()
            features = functional.elu(x).add_(1.0)
        else:
            features = functional.relu(x) + _LEAST_FEATURE
        return features if freqs is None else rotate(features, freqs)

    def _checked(
        self, x: Tensor, key_padding_mask: Tensor | None, freqs: Frequencies | None
    ) -> Tokens:
        """Return tokens that were checked, with what is known of each."""
        check_tokens(x, self.hidden_dim, layer=self.q)
        check_key_padding_mask(key_padding_mask, x)
        check_freqs(freqs, x, self.head_dim, variant="linear", use_rope=self.use_rope)
        return Tokens(x, freqs, key_padding_mask)
