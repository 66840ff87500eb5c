"""How slices attend to a context beside each other: by its layers, and forward and backward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from noether_core.nn.layers import is_untouched, plain_linear
from noether_core.nn.noise import seed_beside
from noether_core.nn.slices.reference import attend_slices, drop_slice_weights
from noether_core.nn.streaming import is_traced

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.context import ContextLayers, ProjectedContext
    from noether_core.nn.slices.plan import Operands, Settings
    from noether_core.nn.slices.tiles import OperandGradients

_MOST_WEIGHTS = 1 << 24
"""Weights of slices for tokens of a context up to which the operator makes them all at once."""


class ContextWeights(NamedTuple):
    """Operands of the operator that streams, by their names there."""

    context_keys: Tensor
    context_values: Tensor
    context_query_weight: Tensor
    context_query_bias: Tensor | None
    context_gate: Tensor | None
    mixing_weight: Tensor | None
    mixing_bias: Tensor | None


class SliceContext(NamedTuple):
    """A context, and the layers by which slices attend to it."""

    layers: ContextLayers

    projected: ProjectedContext

    def mix(self, means: Tensor, attended: Tensor, seed: Tensor | None) -> Tensor:
        """Return what slices get of each other and of the context, by calls of its layers.

        Args:
            means: ``(batch, heads, slices, head_dim)``, the slices.
            attended: What they get of each other, of the same shape.
            seed: Decides which weights are dropped; None where none are.
        """
        own = self.layers
        crossed = attend_slices(
            own.make_queries(means),
            *self.projected,
            dropout=own.dropout if own.training else 0.0,
            seed=_seed_beside_slices(seed),
            backend=own.backend,
        )
        return own.mix_with_context(attended, crossed)

    def weights(self, num_slices: int) -> ContextWeights | None:
        """Return the weights of plain layers, or None where the operator is not to attend.

        That is where one of the layers must be called, or where the context is large: other kernels
        hold no weight of each slice for each of its tokens. Compilers get one form for all sizes.
        """
        own, (keys, values) = self.layers, self.projected
        queries = None if own.cross_q is None else plain_linear(own.cross_q)
        if queries is None:
            return None
        if not is_traced() and keys[..., 0].numel() * num_slices > _MOST_WEIGHTS:
            return None
        mixing = None
        if own.concat_project is not None:
            mixing = _plain_mixing(own.concat_project)
            if mixing is None:
                return None
        return ContextWeights(
            keys,
            values,
            queries.weight,
            queries.bias,
            own.state_mixing,
            None if mixing is None else mixing.weight,
            None if mixing is None else mixing.bias,
        )


def _plain_mixing(layers: nn.Module) -> nn.Linear | None:
    """Return the linear layer before an activation, if these are the layers and nothing more."""
    if type(layers) is not nn.Sequential or not is_untouched(layers):
        return None
    layer, activation = layers
    is_gelu = type(activation) is nn.GELU and activation.approximate == "none"
    return plain_linear(layer) if is_gelu and is_untouched(activation) else None


class ContextSteps(NamedTuple):
    """The steps of attention to a context, each ``(batch, heads, slices, ...)``."""

    queries: Tensor
    weights: Tensor

    kept: Tensor
    """The weights after dropout."""

    attended: Tensor
    """What slices get of each other."""

    crossed: Tensor
    """What they get of the context."""

    inner: Tensor | None
    """What a layer makes of both, before its activation; None where a gate mixes them."""

    mixed: Tensor


def attend_to_context(
    means: Tensor, attended: Tensor, operands: Operands, settings: Settings
) -> ContextSteps | None:
    """Return the steps from slices to what they get of each other and of a context.

    None without a context.

    Args:
        means: ``(batch, heads, slices, head_dim)``, the slices.
        attended: What they get of each other.
        operands: The tensors.
        settings: The rest.
    """
    if operands.context_keys is None:
        return None
    own = _Wide.of(operands, means)
    queries = functional.linear(means, own.query_weight, own.query_bias)
    logits = queries @ own.keys.mT / math.sqrt(means.shape[-1])
    weights = logits.softmax(dim=-1)
    kept = _drop(weights, settings)
    crossed = kept @ own.values

    if own.gate is not None:
        mixed = torch.lerp(crossed, attended, own.gate.sigmoid())
        return ContextSteps(queries, weights, kept, attended, crossed, None, mixed)
    both = torch.cat([attended, crossed], dim=-1)
    inner = functional.linear(both, own.mixing_weight, own.mixing_bias)
    mixed = functional.gelu(inner)
    return ContextSteps(queries, weights, kept, attended, crossed, inner, mixed)


class ContextGradients(NamedTuple):
    """The gradients of what slices start from."""

    grad_attended: Tensor
    """That of what they get of each other."""

    grad_means: Tensor
    """That of the slices, by way of their queries."""


def context_backward_(  # noqa: PLR0917  all of them are of one kind
    grads: OperandGradients,
    gradient: Tensor,
    steps: ContextSteps,
    means: Tensor,
    operands: Operands,
    settings: Settings,
) -> ContextGradients:
    """Add to *grads* what the context gives, and return the gradients of the slices.

    Args:
        grads: Gradients of the operands.
        gradient: That of ``steps.mixed``.
        steps: The steps.
        means: ``(batch, heads, slices, head_dim)``.
        operands: The tensors.
        settings: The rest.
    """
    own = _Wide.of(operands, means)
    grad_attended, grad_crossed = _mixing_backward_(grads, gradient, steps, own)

    # The softmax backward, dl = w (dw - sum w dw).
    grad_weights = _drop(grad_crossed @ own.values.mT, settings)
    weighted = (grad_weights * steps.weights).sum(dim=-1, keepdim=True)
    grad_logits = steps.weights * (grad_weights - weighted) / math.sqrt(means.shape[-1])

    grads.context_keys.add_(grad_logits.mT @ steps.queries)
    grads.context_values.add_(steps.kept.mT @ grad_crossed)
    grad_queries = grad_logits @ own.keys
    flat = grad_queries.flatten(0, -2)
    grads.context_query_weight.add_product_(flat.t(), means.flatten(0, -2))
    grads.context_query_bias.add_(flat.sum(dim=0))
    return ContextGradients(grad_attended, grad_queries @ own.query_weight)


def _mixing_backward_(
    grads: OperandGradients, gradient: Tensor, steps: ContextSteps, own: _Wide
) -> tuple[Tensor, Tensor]:
    """Return the gradients of what slices get of each other, and of what of the context."""
    if own.gate is not None:
        share = own.gate.sigmoid()
        grad_share = (gradient * (steps.attended - steps.crossed)).sum()
        grads.context_gate.add_(grad_share * share * (1 - share))
        return gradient * share, gradient * (1 - share)

    grad_inner = torch.ops.aten.gelu_backward(gradient, steps.inner)
    flat = grad_inner.flatten(0, -2)
    both = torch.cat([steps.attended, steps.crossed], dim=-1)
    grads.mixing_weight.add_product_(flat.t(), both.flatten(0, -2))
    grads.mixing_bias.add_(flat.sum(dim=0))
    grad_both = grad_inner @ own.mixing_weight
    grad_attended, grad_crossed = grad_both.chunk(2, dim=-1)
    return grad_attended, grad_crossed


class _Wide(NamedTuple):
    """The operands of a context in the dtype of sums: their few products cost nothing."""

    keys: Tensor
    values: Tensor
    query_weight: Tensor
    query_bias: Tensor | None
    gate: Tensor | None
    mixing_weight: Tensor
    mixing_bias: Tensor | None

    @classmethod
    def of(cls, operands: Operands, means: Tensor) -> _Wide:
        """Return those of some operands, in the dtype of *means*."""
        given = [getattr(operands, name) for name in ContextWeights._fields]
        return cls._make(None if each is None else each.to(means.dtype) for each in given)


def _drop(weights: Tensor, settings: Settings) -> Tensor:
    """Drop weights of slices for tokens of the context, or their gradients."""
    seed = _seed_beside_slices(settings.dropout_seed)
    return weights if seed is None else drop_slice_weights(weights, settings.dropout, seed)


def _seed_beside_slices(seed: Tensor | None) -> Tensor | None:
    """Return the seed for attention to a context, from that for attention among slices."""
    return seed_beside(seed, 2)  # what is between them drops the output
