"""What an experiment file may say: the schema of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import attrs
from annotated_types import Ge, Gt, Interval, Lt

from noether_core import AttentionConfig, ConfigError, Problem
from noether_core.schemas import Schema, invariant
from noether_core.schemas.rules import Rule
from noether_core.schemas.task import TaskConfig
from noether_plugins.workbench import intervals
from noether_plugins.workbench.attention_options import rule_of_options

if TYPE_CHECKING:
    from noether_core.tasks import Layout


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
    """Samples of each update."""

    accumulate: Annotated[int, Ge(1)] = 1
    """Parts that the samples of an update are computed in, one after the other.

    More of them take less memory, and give the same gradient up to rounding.
    """

    learning_rate: Annotated[float, Interval(gt=0, le=1)] = 2e-3
    """Learning rate at its highest."""

    weight_decay: Annotated[float, Interval(ge=0, le=1)] = 1e-4
    """Decay of the weights towards zero."""

    warmup: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Share of the steps in which the learning rate rises."""

    ema: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Decay of the moving average of the weights, such as 0.999, which then is what is evaluated
    and saved; None for the weights themselves.

    Over the first steps it is lower, ``(1 + step) / (10 + step)``.
    """

    validation: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the training samples that the model does not learn from.

    The weights with the least loss on them are the ones that are kept.
    """

    validate_every: str = "100 steps"
    """How often that loss is computed; at the last step always."""

    checkpoint_every: str = "2 minutes"
    """How often the training is saved, so that it can go on: ``20 steps``, ``2 minutes``."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; with ``bfloat16`` its weights stay in single precision."""

    tensorboard: bool = False
    """Whether losses are written for TensorBoard too, where it is installed."""

    compile: bool = False
    """Whether the model goes through ``torch.compile``; where a run then goes on, numbers may
    differ in their last digits.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; ``auto`` takes a GPU where there is one."""

    @property
    def checkpoint_interval(self) -> intervals.Interval:
        """The value of `checkpoint_every`."""
        return _checked_interval(self.checkpoint_every)

    @property
    def validation_steps(self) -> int:
        """The value of `validate_every`, in steps."""
        return _checked_interval(self.validate_every).steps or 1

    @invariant
    @staticmethod
    def parts_have_samples(accumulate: int, batch_size: int) -> Problem | None:
        """Return a problem if there are more parts of a batch than samples in it."""
        if accumulate <= batch_size:
            return None
        return Problem(
            keys=("accumulate",),
            message=f"{accumulate} parts of a batch of {batch_size} samples",
            value=accumulate,
            suggestion=f"write {batch_size} or less, or raise batch_size",
        )

    @invariant
    @staticmethod
    def checkpoints_are_at_times(checkpoint_every: str) -> Problem | None:
        """Return a problem if a text names neither steps nor a time."""
        if intervals.Interval.parse(checkpoint_every) is not None:
            return None
        return Problem(
            keys=("checkpoint_every",),
            message="expected steps or a time",
            value=checkpoint_every,
            suggestion="write '20 steps' or '2 minutes'",
        )

    @invariant
    @staticmethod
    def validation_is_at_steps(validate_every: str) -> Problem | None:
        """Return a problem if a text names no steps.

        At times, the clock would choose which weights are kept.
        """
        interval = intervals.Interval.parse(validate_every)
        if interval is not None and interval.steps is not None:
            return None
        return Problem(
            keys=("validate_every",),
            message="expected a number of steps",
            value=validate_every,
            suggestion="write '100 steps'; at times, equal runs would keep other weights",
        )


def _checked_interval(text: str) -> intervals.Interval:
    interval = intervals.Interval.parse(text)
    if interval is None:  # which an invariant has ruled out
        raise AssertionError(text)
    return interval


@attrs.frozen(kw_only=True)
class Experiment(Schema):
    """A task, an attention variant to learn it with, and all that surrounds it in one run.

    Raises:
        ConfigError: If an option has the wrong type, is out of bounds or contradicts another.
    """

    task: TaskConfig
    """What is learnt."""

    attention: AttentionConfig
    """The attention of every block."""

    model: ModelConfig = ModelConfig()
    """The transformer around it."""

    training: TrainingConfig = TrainingConfig()
    """How the model learns."""

    seed: Annotated[int, Interval(ge=0, lt=2**32)] = 0
    """Seed of everything random: samples, weights, batches, dropout."""

    memory_limit: Annotated[float, Gt(0)] | None = None
    """Most memory that the run may take, in GiB; None for all that the machine has."""

    attention_options: Mapping[str, Mapping[str, Any]] = {}
    """By type, options that ``noether compare`` gives attention of that type; a run has none of
    them.
    """

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:
        """Return the rule of a field; the options of other types are looked up there."""
        if option == "attention_options":
            return rule_of_options(annotation)
        return super().rule_of(option, annotation)


def check_fits(experiment: Experiment, layout: Layout) -> None:
    """Check what depends on the task: whether its attention can look at points of this kind.

    Raises:
        ConfigError: If heads are too narrow to rotate by that many coordinates, or the attention is
            one for other points.
    """
    attention, coordinates = experiment.attention, layout.coordinates
    problems: list[Problem] = []
    narrowest = 2 * coordinates  # two features for each coordinate
    if attention.use_rope and attention.head_dim < narrowest:
        head_dim = attention.head_dim
        problem = Problem(
            keys=("attention", "num_heads"),
            message=f"heads of width {head_dim} cannot rotate by {coordinates} coordinates",
            value=attention.num_heads,
            suggestion=f"with use_rope, hidden_dim / num_heads must be at least {narrowest}",
        )
        problems.append(problem)

    input_dim = getattr(attention, "input_dim", None)
    if input_dim not in (None, coordinates):
        problem = Problem(
            keys=("attention", "input_dim"),
            message=f"{input_dim}, and points of the task have {coordinates} coordinates",
            value=input_dim,
            suggestion=f"write {coordinates}",
        )
        problems.append(problem)
    if problems:
        raise ConfigError(problems)


def check_batch(experiment: Experiment, n_samples: int) -> None:
    """Check that there are as many samples to learn from as a batch holds.

    Args:
        experiment: The experiment.
        n_samples: Samples to learn from, without those that are kept aside.

    Raises:
        ConfigError: If there are fewer.
    """
    batch_size = experiment.training.batch_size
    if batch_size <= n_samples or not n_samples:  # that there are none is for the task to explain
        return
    problem = Problem(
        keys=("training", "batch_size"),
        message=f"{batch_size} is more than the {n_samples} samples to learn from",
        value=batch_size,
        suggestion=f"write {n_samples} or less, or give the task more samples",
    )
    raise ConfigError([problem])
