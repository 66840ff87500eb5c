"""The module of neighbourhood attention on irregular points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    QKVAttention,
    check_key_padding_mask,
    check_positions,
    check_tokens,
    draw_seed,
    init_weights_,
    split_heads,
    zero_padding,
)
from noether_core.nn.layers import plain_linears
from noether_core.nn.streaming import is_traced
from noether_plugins.attention.irregular_nat.at_once import Neighbourhood, Tokens, called_bias
from noether_plugins.attention.irregular_nat.config import IrregularNatAttentionConfig
from noether_plugins.attention.irregular_nat.neighbours import Nearest, nearest_neighbours
from noether_plugins.attention.irregular_nat.operation import attend_to_neighbours, attend_with_bias
from noether_plugins.attention.irregular_nat.relpos import RelposWeights


class IrregularNatAttention(QKVAttention):
    """Every token attends to the tokens nearest to it.

    ``proj(merge(softmax(q_i k_j^T / sqrt(d) + b(p_j - p_i)) v_j))`` over the neighbours ``j`` of
    token ``i``: at most ``max_degree`` within ``radius``, itself always among them. ``b`` is an MLP
    from the relative position to a bias of every head. Neighbours are exact, and found by a k-d
    tree; of tokens equally far away the earlier ones are taken. Time and memory grow with tokens
    times ``max_degree``.

    Neighbourhood attention after Hassani et al., Neighborhood Attention Transformer, 2023 (arXiv
    2204.07143), carried from pixels to points.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    config: IrregularNatAttentionConfig

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, IrregularNatAttentionConfig)
        super().__init__(own)
        self.input_dim = own.input_dim
        self.radius = own.radius
        self.max_degree = own.max_degree
        self.relpos_dropout = own.relpos_mlp_dropout

        self.relpos_fc1 = nn.Linear(own.input_dim, own.relpos_mlp_hidden_dim, bias=own.bias)
        self.relpos_fc2 = nn.Linear(own.relpos_mlp_hidden_dim, own.num_heads, bias=own.bias)
        for layer in (self.relpos_fc1, self.relpos_fc2):
            init_weights_(layer, own.init_weights, output=self.proj)

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Let every token attend to its neighbours.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding is
                nobody's neighbour and has none: its rows of the result are the bias of the output
                projection.
            positions: ``(batch, tokens, input_dim)``, the points of the tokens, in the unit of
                ``radius``; required. Gradients reach them through the bias, not through the choice
                of neighbours.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *positions*
                are missing.
            PositionError: If the position of a real token is not finite.
        """
        check_tokens(x, self.hidden_dim, layer=self.q)
        check_key_padding_mask(key_padding_mask, x)
        positions = check_positions(positions, x, self.input_dim)
        if key_padding_mask is not None:
            x = zero_padding(x, key_padding_mask)
            positions = zero_padding(positions, key_padding_mask)

        nearest = nearest_neighbours(
            positions, key_padding_mask, radius=self.radius, max_degree=self._degree(x.shape[1])
        )
        given = self._neighbourhood(nearest)
        tokens = Tokens(
            self._projected(x, self.q, self.q_norm),
            self._projected(x, self.k, self.k_norm),
            self._projected(x, self.v),
            positions.flatten(0, 1),
        )

        weights = self._relpos_weights()
        if weights is None:
            bias = called_bias(self.relpos_fc1, self.relpos_fc2, tokens.positions, given)
            result = attend_with_bias(tokens, bias, given)
        else:
            result = attend_to_neighbours(tokens, weights, given)

        return self.project_output(split_heads(result.view(x.shape), self.num_heads))

    def _degree(self, tokens: int) -> int:
        """Return how many neighbours to look for: no more than there are tokens."""
        if is_traced():
            # A graph serves any number of tokens, so it does not depend on this one.
            return self.max_degree
        return max(1, min(self.max_degree, tokens))

    def _projected(self, x: Tensor, layer: nn.Module, norm: nn.Module | None = None) -> Tensor:
        """Return queries, keys or values, ``(batch * tokens, hidden_dim)``."""
        projected: Tensor = layer(x).flatten(0, 1)
        if norm is None:
            return projected
        normed: Tensor = norm(projected.view(projected.shape[0], self.num_heads, self.head_dim))
        return normed.flatten(1)

    def _relpos_weights(self) -> RelposWeights | None:
        """Return the weights of the bias, or None where its layers must be called."""
        plain = plain_linears(self.relpos_fc1, self.relpos_fc2)
        if plain is None:
            return None
        inner, outer = plain
        return RelposWeights(inner.weight, outer.weight, inner.bias, outer.bias)

    def _neighbourhood(self, nearest: Nearest) -> Neighbourhood:
        """Return which tokens attend to which, with batch and tokens as one axis."""
        neighbours, walk = nearest
        batch, tokens, _ = neighbours.shape
        first = torch.arange(batch, device=neighbours.device).view(batch, 1) * tokens
        numbers = torch.where(neighbours < 0, neighbours, neighbours + first.unsqueeze(-1))

        return Neighbourhood(
            neighbours=numbers.flatten(0, 1),
            walk=(walk + first).flatten(),
            seed=self._seed(self.dropout, neighbours.device),
            relpos_seed=self._seed(self.relpos_dropout, neighbours.device),
            num_heads=self.num_heads,
            dropout=self.dropout,
            relpos_dropout=self.relpos_dropout,
        )

    def _seed(self, probability: float, device: torch.device) -> Tensor | None:
        """Return what decides which numbers are dropped, or None where none are."""
        return draw_seed(device) if self.training and probability else None
