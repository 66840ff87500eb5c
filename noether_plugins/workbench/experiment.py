"""What an experiment file may say: the schema of runs."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt, Interval

from noether_core import AttentionConfig, Problem
from noether_core.schemas import Schema, invariant

_NARROWEST_ROTATION = 4
"""Width of a head that rotates by points in the plane: two features for each coordinate."""


@attrs.frozen(kw_only=True)
class DataConfig(Schema):
    """How many aerofoils there are, and how finely each is seen."""

    n_train: Annotated[int, Ge(1)] = 512
    """Aerofoils to learn from."""

    n_test: Annotated[int, Ge(1)] = 64
    """Held-out aerofoils."""

    n_surface: Annotated[int, Ge(8)] = 64
    """Surface tokens of each aerofoil."""

    n_volume: Annotated[int, Ge(8)] = 128
    """Volume tokens of each aerofoil."""


@attrs.frozen(kw_only=True)
class ModelConfig(Schema):
    """The transformer around the attention; its width is the attention's ``hidden_dim``."""

    depth: Annotated[int, Interval(ge=1, le=1000)] = 3
    """Blocks, each of attention and an MLP."""

    mlp_ratio: Annotated[float, Interval(gt=0, le=1000)] = 2.0
    """Width of the hidden layer of each MLP, over the width of a token."""


@attrs.frozen(kw_only=True)
class TrainingConfig(Schema):
    """How the model learns: by AdamW, its learning rate rising along a line, then a cosine down."""

    steps: Annotated[int, Ge(1)] = 700
    """Updates of the weights."""

    batch_size: Annotated[int, Ge(1)] = 8
    """Aerofoils per update."""

    learning_rate: Annotated[float, Interval(gt=0, le=1)] = 2e-3
    """Learning rate at its highest."""

    weight_decay: Annotated[float, Interval(ge=0, le=1)] = 1e-4
    """Decay of the weights towards zero."""

    warmup: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Share of the steps in which the learning rate rises."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; ``auto`` takes a GPU where there is one."""


@attrs.frozen(kw_only=True)
class Experiment(Schema):
    """An attention variant, and all that surrounds it in one run.

    Raises:
        ConfigError: If an option has the wrong type, is out of bounds or contradicts another.
    """

    attention: AttentionConfig
    """The attention of every block."""

    model: ModelConfig = ModelConfig()
    """The transformer around it."""

    data: DataConfig = DataConfig()
    """The aerofoils."""

    training: TrainingConfig = TrainingConfig()
    """How the model learns."""

    seed: Annotated[int, Interval(ge=0, lt=2**32)] = 0
    """Seed of everything random: aerofoils, weights, batches, dropout."""

    memory_limit: Annotated[float, Gt(0)] | None = None
    """Most memory that the run may take, in GiB; None for all that the machine has."""

    @invariant
    @staticmethod
    def heads_can_rotate(attention: AttentionConfig) -> Problem | None:
        """Return a problem if heads are too narrow to rotate by points in the plane."""
        if not attention.use_rope or attention.head_dim >= _NARROWEST_ROTATION:
            return None
        return Problem(
            keys=("attention", "num_heads"),
            message=f"heads of width {attention.head_dim} cannot rotate by two coordinates",
            value=attention.num_heads,
            suggestion="with use_rope, hidden_dim / num_heads must be at least "
            f"{_NARROWEST_ROTATION}",
        )

    @invariant
    @staticmethod
    def batches_are_drawn_from_data(training: TrainingConfig, data: DataConfig) -> Problem | None:
        """Return a problem if a batch holds more aerofoils than there are."""
        if training.batch_size <= data.n_train:
            return None
        return Problem(
            keys=("training", "batch_size"),
            message=f"{training.batch_size} is more than data.n_train {data.n_train}",
            value=training.batch_size,
            suggestion="raise n_train or lower batch_size",
        )
