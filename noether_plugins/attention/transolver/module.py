"""How physics attention is computed, for few tokens and for many."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    Projection,
    Summary,
    accept_fused_,
    attend_slices,
    check_key_padding_mask,
    check_tokens,
    describe,
    init_weights_,
    project_heads,
    slices,
)
from noether_core.nn.layers import plain_linears
from noether_core.nn.noise import Drawing
from noether_plugins.attention.transolver.config import TransolverAttentionConfig

_FIRST_TEMPERATURE = 0.5


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

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, TransolverAttentionConfig)
        self.hidden_dim = hidden_dim = self.config.hidden_dim
        self.num_heads, self.num_slices = self.config.num_heads, self.config.num_slices
        self.dropout = self.config.dropout
        self.is_noisy = False
        self.backend, self.chunk_size = self.config.backend, self.config.chunk_size
        self.is_folded = slices.folding_pays(hidden_dim, self.num_heads, self.num_slices)
        head_dim, bias = self.config.head_dim, self.config.bias

        self.temperature = nn.Parameter(torch.full((1, self.num_heads, 1, 1), _FIRST_TEMPERATURE))
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

    def reset_parameters(self) -> None:
        """Start with the temperatures of a new module; layers have a function of their own."""
        nn.init.constant_(self.temperature, _FIRST_TEMPERATURE)

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
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        return slices.attend(self, x, key_padding_mask)

    def gather(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return what tokens contribute to the slices.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides dropout in training: the ``seed`` of another part's summary.
                Drawn from torch's generator where it is None.

        Returns:
            Bytes that do not depend on the number of tokens.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
        """
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        return slices.gather(self, x, key_padding_mask, first_token=first_token, seed=seed)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        *,
        key_padding_mask: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of what tokens contributed, whichever these were.

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
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        return slices.read(self, x, summary, key_padding_mask, first_token=first_token)

    def streamed(self, x: Tensor) -> slices.Streamed | None:
        """Return the weights of the linear layers, or None where one of them must be called."""
        plain = plain_linears(
            self.in_project_x,
            self.in_project_fx,
            self.in_project_slice,
            self.q,
            self.k,
            self.v,
            self.proj,
        )
        if plain is None:
            return None
        states, features, to_slices, queries, keys, values, output = plain
        logits = slices.logits_from_states(
            to_slices,
            states,
            self.num_heads,
            temperature=self.temperature,
            is_folded=self.is_folded,
        )
        qkv = slices.stack_layers(queries, keys, values)

        operands = slices.operands_of(
            x,
            states=states,
            features=features,
            logits=logits,
            qkv=qkv,
            output=output,
            is_folded=self.is_folded,
        )
        return slices.Streamed(operands, slices.Settings(logits_from_tokens=self.is_folded))

    def weigh(self, x: Tensor, drawing: Drawing) -> slices.Weighed:  # noqa: ARG002
        """Return how much tokens belong to each slice, and their features."""
        states = project_heads(x, self.in_project_x, self.num_heads)
        weights = slices.weigh_for_slices(states, self.in_project_slice, self.temperature)
        return slices.Weighed(weights, lambda: project_heads(x, self.in_project_fx, self.num_heads))

    def mix(self, gathered: Tensor, seed: Tensor | None) -> Tensor:
        """Let slices attend to each other."""
        dropout = self.dropout if self.training else 0.0
        queries, keys, values = self.q(gathered), self.k(gathered), self.v(gathered)
        return attend_slices(
            queries, keys, values, dropout=dropout, seed=seed, backend=self.backend
        )

    def project(self, read: Tensor) -> Tensor:
        """Return the output of tokens, from what their heads read of the slices."""
        y: Tensor = self.proj(read)
        return y
