"""Ideal flow past ellipsoids, in closed form."""

from __future__ import annotations

from noether_core import TaskRecord, hookimpl
from noether_plugins.tasks.potential.config import PotentialTaskConfig


@hookimpl
def noether_task() -> TaskRecord:
    """Return the record of the task."""
    return TaskRecord(
        config=PotentialTaskConfig,
        module="noether_plugins.tasks.potential.task:PotentialTask",
        reference="Lamb, Hydrodynamics, 6th edition, 1932, articles 110 to 114",
        example={"n_train": 4, "n_test": 2, "n_surface": 16, "n_volume": 24},
    )
