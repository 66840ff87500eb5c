"""Which bodies there are, and how finely their flow is seen."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Interval

from noether_core import Problem
from noether_core.schemas import invariant
from noether_core.schemas.task import TaskConfig
from noether_plugins.tasks import MOST_SAMPLES


@attrs.frozen(kw_only=True)
class PotentialTaskConfig(TaskConfig):
    """Ideal flow past ellipsoids, exactly: pressure and velocity on them, velocity around them.

    Raises:
        ConfigError: If an option has the wrong type or is out of bounds.
    """

    type: Literal["potential"] = "potential"

    n_train: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 256
    """Bodies to learn from."""

    n_test: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 32
    """Held-out bodies."""

    n_surface: Annotated[int, Interval(ge=8, le=1_000_000)] = 512
    """Points on the surface of each body."""

    n_volume: Annotated[int, Interval(ge=8, le=1_000_000)] = 512
    """Points in the fluid around each body."""

    points_per_sample: Annotated[int, Interval(ge=16, le=2_000_000)] | None = None
    """Points of a body that one step of the training sees, of both groups in proportion, drawn
    anew each time; None for all of them, the same each time.
    """

    axis_ratio: Annotated[float, Interval(ge=1, le=10)] = 3.0
    """Most that the longest semi-axis of a body, which is 1, is of its shortest; 1 for spheres."""

    yaw: Annotated[float, Interval(ge=0, le=180)] = 30.0
    """Most degrees by which the stream is turned to either side, from the x axis towards y."""

    pitch: Annotated[float, Interval(ge=0, le=90)] = 30.0
    """Most degrees by which it is raised or lowered towards z."""

    @invariant
    @staticmethod
    def steps_see_no_more_than_samples_have(
        points_per_sample: int | None, n_surface: int, n_volume: int
    ) -> Problem | None:
        """Return a problem if a step is to see more points than a sample has."""
        most = n_surface + n_volume
        if points_per_sample is None or points_per_sample <= most:
            return None
        return Problem(
            keys=("points_per_sample",),
            message=f"{points_per_sample} is more than n_surface + n_volume, {most}",
            value=points_per_sample,
            suggestion="lower it, or leave it out to see all points",
        )
