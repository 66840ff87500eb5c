"""How physics attention is computed, for few tokens and for many."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    Projection,
    accept_fused_,
    attend_slices,
    check_key_padding_mask,
    check_tokens,
    describe,
    draw_seed,
    gather_slices,
    init_weights_,
    merge_heads,
    project_heads,
    read_slices,
    slices,
)
from noether_plugins.attention.transolver.config import TransolverAttentionConfig


class TransolverAttention(nn.Module):
    """Tokens exchange information through slices: soft groups of tokens in alike physical states.

    Each head weighs every token for every slice, ``w = softmax(slice(x) / temperature)``; a slice
    is the weighted mean of its tokens' features, ``t_g = sum_n w_ng f_n / (sum_n w_ng + 1e-5)``;
    the slices attend to each other, and a token reads them with the weights it gave, ``y_n = sum_g
    w_ng o_g``. Time grows with the number of tokens, not with its square; beyond a few thousand,
    tokens are computed chunk by chunk, and memory holds input and output alone.

    Wu et al., Transolver, 2024 (arXiv 2402.02366), equations 1 to 4. The slices' queries, keys and
    values share their weights among heads and have no bias, as in the paper's code.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, TransolverAttentionConfig)
        self.hidden_dim = hidden_dim = self.config.hidden_dim
        self.num_heads, self.num_slices = self.config.num_heads, self.config.num_slices
        self.dropout = self.config.dropout
        self.backend, self.chunk_size = self.config.backend, self.config.chunk_size
        self.is_folded = slices.folding_pays(hidden_dim, self.num_heads, self.num_slices)
        head_dim, bias = self.config.head_dim, self.config.bias

        self.temperature = nn.Parameter(torch.full((1, self.num_heads, 1, 1), 0.5))
        self.in_project_x = Projection(hidden_dim, hidden_dim, bias=bias)
        self.in_project_fx = Projection(hidden_dim, hidden_dim, bias=bias)
        self.in_project_slice = Projection(head_dim, self.num_slices, bias=bias)
        self.q = Projection(head_dim, head_dim, bias=False)
        self.k = Projection(head_dim, head_dim, bias=False)
        self.v = Projection(head_dim, head_dim, bias=False)
        self.proj = Projection(hidden_dim, hidden_dim, bias=bias)
        init_weights_(self, self.config.init_weights, output=self.proj.project)
        accept_fused_(self, fused="qkv", parts=("q", "k", "v"))

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

    def forward(self, x: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        """Exchange information between tokens through slices.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding neither
                adds to a slice nor gets anything of one: its rows of the result are the bias of the
                output projection.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        dropout = self.dropout if self.training else 0.0
        size = slices.choose_tile_size(self, x)
        if size is None:
            y = self._held(x, key_padding_mask, dropout)
        else:
            y = self._streamed(x, key_padding_mask, size, dropout)
        return functional.dropout(y, dropout) if dropout else y

    def _streamed(self, x: Tensor, is_real: Tensor | None, size: int, dropout: float) -> Tensor:
        """Compute tokens in tiles of *size*."""
        states, features = self.in_project_x.project, self.in_project_fx.project
        logits = slices.logits_from_states(
            self.in_project_slice.project,
            states,
            self.num_heads,
            temperature=self.temperature,
            is_folded=self.is_folded,
        )
        qkv = slices.stack_layers(self.q.project, self.k.project, self.v.project)
        output = self.proj.project

        operands = slices.Operands(
            x,
            logit_weight=logits.weight,
            logit_bias=logits.bias,
            state_weight=None if self.is_folded else states.weight,
            feature_weight=None if self.is_folded else features.weight,
            folded_feature_weight=features.weight if self.is_folded else None,
            feature_bias=features.bias,
            qkv_weight=qkv.weight,
            qkv_bias=qkv.bias,
            out_weight=output.weight,
            out_bias=output.bias,
        )
        settings = slices.Settings(
            key_padding_mask=is_real,
            dropout_seed=draw_seed(x.device) if dropout else None,
            dropout=dropout,
            num_heads=self.num_heads,
            tile_size=size,
            logits_from_tokens=self.is_folded,
        )
        return slices.attend_through_slices(operands, settings)

    def _held(self, x: Tensor, is_real: Tensor | None, dropout: float) -> Tensor:
        """Compute all tokens at once, and hold their slice weights."""
        if is_real is not None:  # whatever padding holds, NaN included, takes no part
            x = x.masked_fill(~is_real.unsqueeze(-1), 0.0)
        weights = self._slice_weights(x)
        features = project_heads(x, self.in_project_fx, self.num_heads)

        gathered = gather_slices(weights, features, is_real)
        queries, keys, values = self.q(gathered), self.k(gathered), self.v(gathered)
        mixed = attend_slices(queries, keys, values, dropout=dropout, backend=self.backend)
        read = read_slices(weights, mixed, is_real)

        y: Tensor = self.proj(merge_heads(read))
        return y

    def _slice_weights(self, x: Tensor) -> Tensor:
        """Return how much each token belongs to each slice, ``(batch, heads, tokens, slices)``.

        The weights of a token add up to 1.
        """
        states = project_heads(x, self.in_project_x, self.num_heads)
        project = self.in_project_slice.project

        # The temperature divides weight and bias rather than logits, which grow with the tokens.
        logits = states @ (project.weight.t() / self.temperature)
        if project.bias is not None:
            logits += project.bias / self.temperature
        return logits.softmax(dim=-1)
