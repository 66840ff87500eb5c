"""How physics attention with sharper slices is computed, for few tokens and for many."""

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
    split_heads,
    uniform_at,
)
from noether_core.nn.noise import gumbel
from noether_core.nn.operators import dtype_of_sums
from noether_plugins.attention.transolver_plusplus.config import TransolverPlusPlusAttentionConfig


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

        self.bias = nn.Parameter(torch.full((1, self.num_heads, 1, 1), 0.5))
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
        self.to_out = nn.Sequential(output, nn.Dropout(self.dropout))
        init_weights_(self, own.init_weights, output=output.project)
        if own.init_weights != "zeros":
            _start_apart_(self.in_project_slice.project.weight)
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
        size = slices.choose_tile_size(self, x, draws_noise=self._is_noisy)
        if size is None:
            y = self._held(x, key_padding_mask, dropout)
        else:
            y = self._streamed(x, key_padding_mask, size, dropout)
        return functional.dropout(y, dropout) if dropout else y

    @property
    def _is_noisy(self) -> bool:
        """Whether noise is drawn."""
        return self.training and self.draws_noise

    def _streamed(self, x: Tensor, is_real: Tensor | None, size: int, dropout: float) -> Tensor:
        """Compute tokens in tiles of *size*."""
        states, to_slices = self.in_project_x, self.in_project_slice.project
        if self.slices_follow_states:
            logits = slices.logits_from_states(to_slices, states, self.num_heads)
        else:
            logits = slices.logits_from_tokens(to_slices, self.num_heads)
        qkv = slices.stack_layers(self.q.project, self.k.project, self.v.project)
        output = _linear(self.to_out, 0)

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
        if self.proj_temperature is not None:
            inner, outer = _linear(self.proj_temperature, 0), _linear(self.proj_temperature, 2)
            operands = operands._replace(
                inner_weight=inner.weight,
                inner_bias=slices.logits_from_states(inner, states, self.num_heads).bias,
                outer_weight=outer.weight.view(-1),
                outer_bias=outer.bias,
            )
        settings = slices.Settings(
            key_padding_mask=is_real,
            noise_seed=draw_seed(x.device) if self._is_noisy else None,
            dropout_seed=draw_seed(x.device) if dropout else None,
            dropout=dropout,
            num_heads=self.num_heads,
            tile_size=size,
            logits_from_tokens=not self.slices_follow_states,
            temperature_activation=self.temperature_activation,
        )
        return slices.attend_through_slices(operands, settings)

    def _held(self, x: Tensor, is_real: Tensor | None, dropout: float) -> Tensor:
        """Compute all tokens at once, and hold their slice weights."""
        if is_real is not None:  # whatever padding holds, NaN included, takes no part
            x = x.masked_fill(~is_real.unsqueeze(-1), 0.0)
        states = project_heads(x, self.in_project_x, self.num_heads)
        weights = self._slice_weights(x, states)

        gathered = gather_slices(weights, states, is_real)
        queries, keys, values = self.q(gathered), self.k(gathered), self.v(gathered)
        mixed = attend_slices(queries, keys, values, dropout=dropout, backend=self.backend)
        read = read_slices(weights, mixed, is_real)

        y: Tensor = self.to_out[0](merge_heads(read))
        return y

    def _slice_weights(self, x: Tensor, states: Tensor) -> Tensor:
        """Return how much each token belongs to each slice, ``(batch, heads, tokens, slices)``.

        The weights of a token add up to 1.
        """
        logits: Tensor
        if self.slices_follow_states:
            logits = self.in_project_slice(states)
        else:
            logits = split_heads(self.in_project_slice(x), self.num_heads)
        if self._is_noisy:
            logits = logits + gumbel(draw_uniform(logits)).to(logits.dtype)

        return (logits / self._temperature(states)).softmax(dim=-1)

    def _temperature(self, states: Tensor) -> Tensor:
        """Return the positive temperatures, ``(batch, heads, tokens or 1, 1)``."""
        raw: Tensor = self.bias
        if self.proj_temperature is not None:
            raw = self.proj_temperature(states) + raw
        temperature: Tensor = slices.TEMPERATURE_ACTIVATIONS[self.temperature_activation](raw)
        return temperature


def draw_uniform(logits: Tensor) -> Tensor:
    """Draw the numbers that become noise: uniform in ``[0, 1)``, one for each logit.

    They follow from one draw of torch's generator and from batch, head, token and slice, the same
    as where tokens stream.

    Args:
        logits: ``(batch, heads, tokens, slices)``.

    Returns:
        The same shape, in float64 for float64 and in float32 for everything narrower.
    """
    rows = torch.arange(logits[..., 0].numel(), device=logits.device).view(logits.shape[:-1])
    dtype = dtype_of_sums(logits.dtype)
    return uniform_at(draw_seed(logits.device), rows, logits.shape[-1], dtype=dtype)


def _start_apart_(slices: Tensor) -> None:
    """Make the weights of the slices orthogonal; on the meta device there is nothing to fill."""
    if slices.is_meta:
        return
    # There is no QR decomposition of 16-bit numbers.
    wide = torch.empty_like(slices, dtype=torch.float32)
    with torch.no_grad():
        slices.copy_(nn.init.orthogonal_(wide))


def _linear(layers: nn.Sequential, index: int) -> nn.Linear:
    """Return the linear layer that one of the projections among *layers* holds."""
    projection = layers[index]
    assert isinstance(projection, Projection)  # noqa: S101
    return projection.project
