"""The module of physics attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, TokenSpec, structure
from noether_core.nn import (
    Frequencies,
    Projection,
    accept_fused_,
    attend,
    check_key_padding_mask,
    check_tokens,
    gather_slices,
    init_weights_,
    merge_heads,
    project_heads,
    read_slices,
    refuse_arguments,
)
from noether_plugins.attention.transolver.config import TransolverAttentionConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFUSED = {
    "attn_mask": "tokens meet in slices, never in pairs; key_padding_mask hides tokens",
    "freqs": "slices have no position to rotate by",
    "positions": "it does not look at points",
    "token_specs": "its tokens are not grouped",
}


class TransolverAttention(nn.Module):
    """Tokens exchange information through slices: soft groups of tokens in alike physical states.

    Each head weighs every token for every slice, ``w = softmax(slice(x) / temperature)``; a slice is the weighted mean
    of its tokens' features, ``t_g = sum_n w_ng f_n / (sum_n w_ng + 1e-5)``; the slices attend to each other, and a
    token reads them with the weights it gave, ``y_n = sum_g w_ng o_g``. Time and memory grow with the number of tokens,
    not with its square.

    Wu et al., Transolver, 2024 (arXiv 2402.02366), equations 1 to 4. The slices' queries, keys and values share their
    weights among heads and have no bias, as in the paper's code.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, TransolverAttentionConfig)
        self.hidden_dim = hidden_dim = self.config.hidden_dim
        self.num_heads = self.config.num_heads
        self.dropout = self.config.dropout
        head_dim, bias = self.config.head_dim, self.config.bias

        self.temperature = nn.Parameter(torch.full((1, self.num_heads, 1, 1), 0.5))
        self.in_project_x = Projection(hidden_dim, hidden_dim, bias=bias)
        self.in_project_fx = Projection(hidden_dim, hidden_dim, bias=bias)
        self.in_project_slice = Projection(head_dim, self.config.num_slices, bias=bias)
        self.q, self.k, self.v = (Projection(head_dim, head_dim, bias=False) for _ in range(3))
        self.proj = Projection(hidden_dim, hidden_dim, bias=bias)
        init_weights_(self, self.config.init_weights, output=self.proj.project)
        accept_fused_(self, fused="qkv", parts=("q", "k", "v"))

    def forward(
        self,
        x: Tensor,
        *,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        positions: Tensor | None = None,
        token_specs: Sequence[TokenSpec] | None = None,
    ) -> Tensor:
        """Exchange information between tokens through slices.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            attn_mask: Refused.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding neither adds to a slice nor
                reads from one: its rows of the result are the bias of the output projection.
            freqs: Refused.
            positions: Refused.
            token_specs: Refused.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            UnsupportedArgumentError: If an argument cannot be honoured.
        """
        refuse_arguments(
            "transolver", _REFUSED, attn_mask=attn_mask, freqs=freqs, positions=positions, token_specs=token_specs
        )
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        dropout = self.dropout if self.training else 0.0

        weights = self._slice_weights(x)
        features = project_heads(x, self.in_project_fx, self.num_heads)

        slices = gather_slices(weights, features, key_padding_mask)
        slices = attend(self.q(slices), self.k(slices), self.v(slices), dropout=dropout)
        read = read_slices(weights, slices, key_padding_mask)

        y: Tensor = self.proj(merge_heads(read))
        return functional.dropout(y, dropout) if dropout else y

    def _slice_weights(self, x: Tensor) -> Tensor:
        """Return ``(batch, heads, tokens, slices)``: how much a token belongs to a slice, 1 in sum over slices."""
        states = project_heads(x, self.in_project_x, self.num_heads)
        project = self.in_project_slice.project

        # The temperature divides the weight and the bias, which do not grow with the tokens, rather than the logits.
        logits = states @ (project.weight.t() / self.temperature)
        if project.bias is not None:
            logits += project.bias / self.temperature
        return logits.softmax(dim=-1)
