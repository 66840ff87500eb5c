"""Fields at points in your own files: meshes, tables and arrays."""

from __future__ import annotations

from noether_core import TaskRecord, hookimpl
from noether_plugins.tasks.points.config import PointsConfig


@hookimpl
def noether_task() -> TaskRecord:
    """Return the record of the task."""
    return TaskRecord(
        config=PointsConfig,
        module="noether_plugins.tasks.points.task:PointsTask",
        example={
            "train": "data/train/*.vtu",
            "test": "data/test/*.vtu",
            "groups": {"volume": {"fields": ["pressure"]}},
        },
    )
