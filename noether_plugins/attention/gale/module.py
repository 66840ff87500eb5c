"""How GALE is computed, for few tokens and for many, with a context and without."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noether_core import AttentionConfig, structure
from noether_core.nn import (
    ContextLayers,
    Summary,
    attend_slices,
    check_key_padding_mask,
    check_tokens,
    describe,
    init_weights_,
    project_heads,
    slices,
)
from noether_core.nn.initialisation import orthogonal_, start_with_
from noether_core.nn.layers import plain_linears
from noether_core.nn.noise import Drawing
from noether_plugins.attention.gale.config import GALEAttentionConfig

_FIRST_TEMPERATURE = 0.5


class GALEAttention(ContextLayers):
    """Tokens exchange information through slices, which attend to each other and to a context.

    Slices are those of `transolver`: each head weighs every token for every slice, ``w =
    softmax(slice(x) / temperature)``, and a slice is ``t_g = sum_n w_ng f_n / (sum_n w_ng + eps)``.
    Slices attend to each other, and with other queries to the tokens of a context, such as those of
    a geometry; ``o = s self + (1 - s) cross`` with ``s`` the sigmoid of a learned number, or a
    layer over both, is what a token reads with the weights it gave, ``y_n = sum_g w_ng o_g``.
    Without a context in the call, ``o`` is what slices get of each other. Time grows with the
    number of tokens, not with its square; beyond a few thousand, tokens are computed chunk by
    chunk, and memory holds input and output alone.

    Adams et al., GeoTransolver, 2025 (arXiv 2512.20399). Parameters have the names of the layer in
    PhysicsNeMo, whose temperatures are within 0.5 and 5 and whose ``eps`` is 0.01.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    config: GALEAttentionConfig

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        own = structure(config, GALEAttentionConfig)
        super().__init__(own)
        self.hidden_dim = hidden_dim = own.hidden_dim
        self.num_slices, self.dropout = own.num_slices, own.dropout
        self.temperature_bounds, self.slice_eps = own.temperature_bounds, own.slice_eps
        self.backend, self.chunk_size = own.backend, own.chunk_size
        self.is_folded = slices.folding_pays(hidden_dim, self.num_heads, self.num_slices)
        width, bias = own.head_dim, own.bias

        self.temperature = nn.Parameter(torch.full((1, 1, self.num_heads, 1), _FIRST_TEMPERATURE))
        self.in_project_x = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.in_project_fx = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        self.in_project_slice = nn.Linear(width, self.num_slices, bias=bias)
        self.qkv_project = nn.Linear(width, 3 * width, bias=False)
        self.out_linear = nn.Linear(hidden_dim, hidden_dim, bias=bias)
        init_weights_(self, own.init_weights, output=self.out_linear)
        if own.init_weights != "zeros":
            start_with_(self.in_project_slice, orthogonal_, zero_bias=own.init_weights != "torch")

    def reset_parameters(self) -> None:
        """Start with the temperatures and the mixing of a new module; layers have their own."""
        nn.init.constant_(self.temperature, _FIRST_TEMPERATURE)
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
        """Exchange information between tokens through slices, which a context informs.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding neither
                adds to a slice nor gets anything of one: its rows of the result are the bias of the
                output projection.
            context: ``(batch, context tokens, context_dim)``, or ``(batch, num_heads, context
                tokens, context_dim)`` for one of each head.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            UnsupportedArgumentError: If there is a context and the config has no ``context_dim``.
        """
        check_tokens(x, self.hidden_dim, layer=self.in_project_x)
        check_key_padding_mask(key_padding_mask, x)
        beside = self._beside(context, x)
        return slices.attend(self, x, key_padding_mask, context=beside, eps=self.slice_eps)

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
            seed: Decides dropout in training: the ``seed`` of another part's summary. Drawn from
                torch's generator where it is None.

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
        context: Tensor | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Return what tokens get of what tokens contributed, whichever these were.

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
        beside = self._beside(context, x)
        return slices.read(
            self,
            x,
            summary,
            key_padding_mask,
            first_token=first_token,
            context=beside,
            eps=self.slice_eps,
        )

    @property
    def is_noisy(self) -> bool:
        """Whether noise is drawn, which it never is."""
        return False

    def streamed(self, x: Tensor) -> slices.Streamed | None:
        """Return the weights of the linear layers, or None where one of them must be called."""
        plain = plain_linears(
            self.in_project_x,
            self.in_project_fx,
            self.in_project_slice,
            self.qkv_project,
            self.out_linear,
        )
        if plain is None:
            return None
        states, features, to_slices, qkv, output = plain
        logits = slices.logits_from_states(
            to_slices,
            states,
            self.num_heads,
            temperature=self._temperatures(),
            is_folded=self.is_folded,
        )
        operands = slices.operands_of(
            x,
            states=states,
            features=features,
            logits=logits,
            qkv=slices.stack_layers(qkv),
            output=output,
            is_folded=self.is_folded,
        )
        return slices.Streamed(operands, slices.Settings(logits_from_tokens=self.is_folded))

    def weigh(self, x: Tensor, drawing: Drawing) -> slices.Weighed:  # noqa: ARG002
        """Return how much tokens belong to each slice, and their features."""
        states = project_heads(x, self.in_project_x, self.num_heads)
        temperature = self._temperatures().view(1, self.num_heads, 1, 1)
        weights = slices.weigh_for_slices(states, self.in_project_slice, temperature)
        return slices.Weighed(weights, lambda: project_heads(x, self.in_project_fx, self.num_heads))

    def mix(self, gathered: Tensor, seed: Tensor | None) -> Tensor:
        """Let slices attend to each other."""
        dropout = self.dropout if self.training else 0.0
        queries, keys, values = self.qkv_project(gathered).chunk(3, dim=-1)
        return attend_slices(
            queries, keys, values, dropout=dropout, seed=seed, backend=self.backend
        )

    def project(self, read: Tensor) -> Tensor:
        """Return the output of tokens, from what their heads read of the slices."""
        y: Tensor = self.out_linear(read)
        return y

    def _temperatures(self) -> Tensor:
        """Return what divides the logits of each head, ``(1, 1, heads, 1)``."""
        bounds = self.temperature_bounds
        return self.temperature if bounds is None else self.temperature.clamp(*bounds)

    def _beside(self, context: Tensor | None, x: Tensor) -> slices.SliceContext | None:
        """Return what slices attend to beside each other."""
        projected = self.project_context(context, x)
        return None if projected is None else slices.SliceContext(self, projected)
