"""How physics attention with sharper slices is computed, for few tokens and for many."""

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
    split_heads,
    uniform_at,
)
from noether_core.nn.initialisation import orthogonal_, start_with_
from noether_core.nn.layers import is_untouched, plain_linears
from noether_core.nn.noise import Drawing, gumbel, token_rows
from noether_core.nn.operators import dtype_of_sums
from noether_core.nn.state_dicts import expect_biases_
from noether_plugins.attention.transolver_plusplus.config import TransolverPlusPlusAttentionConfig

_FIRST_TEMPERATURE = 0.5


class TransolverPlusPlusAttention(nn.Module):
    """Physics attention with a temperature of every token, and noise in training.

    They keep the slices distinct: a token sharpens or softens its own slice weights.

    ``w = softmax((slice(x) + g) / tau)`` with a temperature ``tau = max(gelu(L2 gelu(L1 x)) + bias,
    0.01)`` of every token and head and, in training, Gumbel noise ``g``; otherwise as `transolver`,
    with one projection of the tokens for weights and features: ``t_g = sum_n w_ng x_n / (sum_n w_ng
    + 1e-5)``, slices attend to each other, and ``y_n = sum_g w_ng o_g``. Time grows with the number
    of tokens, not with its square; many tokens are computed chunk by chunk, and memory holds input
    and output alone.

    Luo et al., Transolver++, 2025 (arXiv 2502.02414). The paper's code draws noise in evaluation
    too; here evaluation is deterministic.

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    rounds = 1
    """Times that `gather` goes over the tokens."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = own = structure(config, TransolverPlusPlusAttentionConfig)
        self.hidden_dim, self.num_heads = own.hidden_dim, own.num_heads
        self.num_slices = own.num_slices
        self.dropout, self.draws_noise = own.dropout, own.use_gumbel_softmax
        self.slices_follow_states = own.use_overparameterization
        self.temperature_activation: slices.TemperatureActivation = (
            own.temperature_activation or "clamp"
        )
        self.backend, self.chunk_size = own.backend, own.chunk_size
        width, bias = own.head_dim, own.bias

        self.bias = nn.Parameter(torch.full((1, self.num_heads, 1, 1), _FIRST_TEMPERATURE))
        self.proj_temperature = (
            nn.Sequential(
                Projection(width, self.num_slices, bias=bias),
                nn.GELU(),
                Projection(self.num_slices, 1, bias=bias),
                nn.GELU(),
            )
            if own.use_adaptive_temperature
            else None
        )
        self.in_project_x = nn.Linear(self.hidden_dim, self.hidden_dim, bias=bias)
        self.in_project_slice = (
            Projection(width, self.num_slices, bias=bias)
            if self.slices_follow_states
            else Projection(self.hidden_dim, self.num_heads * self.num_slices, bias=bias)
        )
        self.q = Projection(width, width, bias=bias)
        self.k = Projection(width, width, bias=bias)
        self.v = Projection(width, width, bias=bias)
        output = Projection(self.hidden_dim, self.hidden_dim, bias=bias)
        # The paper's code has its dropout beside it; here `forward` drops, and no module idles.
        self.to_out = nn.Sequential(output)
        init_weights_(self, own.init_weights, output=output.project)
        if own.init_weights != "zeros":
            start_with_(
                self.in_project_slice.project,
                orthogonal_,
                zero_bias=own.init_weights != "torch",
            )
        accept_fused_(self, fused="qkv", parts=("q", "k", "v"))
        expect_biases_(self, bias=bias)

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

    def reset_parameters(self) -> None:
        """Start with the temperatures of a new module; layers have a function of their own."""
        nn.init.constant_(self.bias, _FIRST_TEMPERATURE)

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
            seed: Decides noise and dropout in training: the ``seed`` of another part's summary.
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

    @property
    def is_noisy(self) -> bool:
        """Whether noise is drawn."""
        return self.training and self.draws_noise

    def streamed(self, x: Tensor) -> slices.Streamed | None:
        """Return the weights of the linear layers, or None where one of them must be called."""
        layers = [
            self.in_project_x,
            self.in_project_slice,
            self.q,
            self.k,
            self.v,
            self.to_out[0],
        ]
        if self.proj_temperature is not None:
            if not _is_plain_mlp(self.proj_temperature):
                return None
            layers += [self.proj_temperature[0], self.proj_temperature[2]]
        plain = plain_linears(*layers)
        if plain is None:
            return None
        states, to_slices, queries, keys, values, output, *temperature = plain
        if self.slices_follow_states:
            logits = slices.logits_from_states(to_slices, states, self.num_heads)
        else:
            logits = slices.logits_from_tokens(to_slices, self.num_heads)
        qkv = slices.stack_layers(queries, keys, values)

        operands = slices.Operands(
            x,
            logit_weight=logits.weight,
            logit_bias=logits.bias,
            state_weight=states.weight,
            feature_weight=None,  # the states are the features
            folded_feature_weight=None,
            feature_bias=states.bias,
            qkv_weight=qkv.weight,
            qkv_bias=qkv.bias,
            out_weight=output.weight,
            out_bias=output.bias,
            temperature=self.bias.view(-1),
        )
        if temperature:
            inner, outer = temperature
            operands = operands._replace(
                inner_weight=inner.weight,
                inner_bias=slices.logits_from_states(inner, states, self.num_heads).bias,
                outer_weight=outer.weight.view(-1),
                outer_bias=outer.bias,
            )
        settings = slices.Settings(
            logits_from_tokens=not self.slices_follow_states,
            temperature_activation=self.temperature_activation,
        )
        return slices.Streamed(operands, settings)

    def weigh(self, x: Tensor, drawing: Drawing) -> slices.Weighed:
        """Return how much tokens belong to each slice, and their features."""
        states = project_heads(x, self.in_project_x, self.num_heads)
        return slices.Weighed(self._slice_weights(x, states, drawing), lambda: states)

    def mix(self, gathered: Tensor, seed: Tensor | None) -> Tensor:
        """Let slices attend to each other."""
        dropout = self.dropout if self.training else 0.0
        queries, keys, values = self.q(gathered), self.k(gathered), self.v(gathered)
        return attend_slices(
            queries, keys, values, dropout=dropout, seed=seed, backend=self.backend
        )

    def project(self, read: Tensor) -> Tensor:
        """Return the output of tokens, from what their heads read of the slices."""
        y: Tensor = self.to_out[0](read)
        return y

    def _slice_weights(self, x: Tensor, states: Tensor, drawing: Drawing) -> Tensor:
        """Return how much each token belongs to each slice, ``(batch, heads, tokens, slices)``.

        The weights of a token add up to 1.
        """
        logits: Tensor
        if self.slices_follow_states:
            logits = self.in_project_slice(states)
        else:
            logits = split_heads(self.in_project_slice(x), self.num_heads)
        if self.is_noisy:
            logits = logits + gumbel(uniform_of(logits, drawing)).to(logits.dtype)

        raw = self._raw_temperature(states)
        return slices.soft_slices(logits, raw, self.temperature_activation)

    def _raw_temperature(self, states: Tensor) -> Tensor:
        """Return temperatures before their activation, ``(batch, heads, tokens or 1, 1)``."""
        raw: Tensor = self.bias
        if self.proj_temperature is not None:
            raw = self.proj_temperature(states) + raw
        return raw


def uniform_of(logits: Tensor, drawing: Drawing) -> Tensor:
    """Return the numbers that become noise: uniform in ``[0, 1)``, one for each logit.

    They follow from the seed and from batch, head, token and slice, the same as where tokens
    stream.

    Args:
        logits: ``(batch, heads, tokens, slices)``.
        drawing: The seed, and the number of the first token.

    Returns:
        The same shape, in float64 for float64 and in float32 for everything narrower.
    """
    assert drawing.seed is not None  # noqa: S101  where there is noise, it was drawn
    batch, heads, tokens, columns = logits.shape
    rows = token_rows(batch * heads, tokens, logits.device, first=drawing.first_token)
    dtype = dtype_of_sums(logits.dtype)
    return uniform_at(drawing.seed, rows, columns, dtype=dtype).view(logits.shape)


def _is_plain_mlp(layers: nn.Module) -> bool:
    """Return whether *layers* are those that the module was made with, by their classes."""
    if type(layers) is not nn.Sequential or not is_untouched(layers):
        return False
    activations = [layers[1], layers[3]]
    return all(
        type(each) is nn.GELU and each.approximate == "none" and is_untouched(each)
        for each in activations
    )
