"""Options of physics attention with sharper slices."""

from __future__ import annotations

from typing import Literal

import attrs

from noether_plugins.attention.transolver.config import TransolverAttentionConfig

TemperatureActivation = Literal["sigmoid", "softplus", "exp"]


@attrs.frozen(kw_only=True)
class TransolverPlusPlusAttentionConfig(TransolverAttentionConfig):
    """Slices as in transolver, made distinct by a temperature of every token and by noise."""

    type: Literal["transolver_plusplus"] = "transolver_plusplus"  # type: ignore[assignment]  # a variant of its own
    """Tokens exchange through shared slices, each by a temperature of its own."""

    use_overparameterization: bool = True
    """Whether slice weights are made from states of the tokens, by two layers; else from the
    tokens, by one.
    """

    use_adaptive_temperature: bool = True
    """Whether every token has a temperature of its own; else every head has one."""

    temperature_activation: TemperatureActivation | None = None
    """Smooth map that makes the temperature positive; None cuts it off at 0.01."""

    use_gumbel_softmax: bool = True
    """Whether Gumbel noise is added to the slice logits in training."""
