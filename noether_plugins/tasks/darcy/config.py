"""How the ground varies, and how finely it is seen."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Interval

from noether_core import Problem
from noether_core.schemas import invariant
from noether_core.schemas.task import TaskConfig
from noether_plugins.tasks import MOST_SAMPLES


@attrs.frozen(kw_only=True)
class DarcyTaskConfig(TaskConfig):
    """Flow through ground of random permeability on the unit square: pressure and flux.

    Raises:
        ConfigError: If an option has the wrong type, is out of bounds or contradicts another.
    """

    type: Literal["darcy"] = "darcy"

    n_train: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 512
    """Fields of permeability to learn from."""

    n_test: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 64
    """Held-out fields of permeability."""

    grid: Annotated[int, Interval(ge=4, le=1024)] = 32
    """Cells along each side of the square, in which the flow is solved."""

    n_points: Annotated[int, Ge(8)] | None = None
    """Cells of each sample, drawn at random, whose centres are its points; None takes all."""

    permeability: Literal["lognormal", "two_values"] = "lognormal"
    """How it varies: its logarithm as a Gaussian field, or only by the sign of one, which makes
    two kinds of ground with sharp borders.
    """

    correlation_length: Annotated[float, Interval(ge=0.02, le=2)] = 0.2
    """How far permeability is alike, over the side of the square."""

    log_spread: Annotated[float, Interval(gt=0, le=5)] = 1.0
    """Standard deviation of the natural logarithm of the permeability."""

    @invariant
    @staticmethod
    def points_are_cells(n_points: int | None, grid: int) -> Problem | None:
        """Return a problem if more points are to be drawn than there are cells."""
        if n_points is None or n_points <= grid**2:
            return None
        return Problem(
            keys=("n_points",),
            message=f"{n_points} is more than the {grid**2} cells of grid {grid}",
            value=n_points,
            suggestion="lower n_points, or leave it out to take all cells",
        )
