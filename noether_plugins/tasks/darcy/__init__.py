"""Flow through ground of random permeability, solved by finite volumes."""

from __future__ import annotations

from noether_core import TaskRecord, hookimpl
from noether_plugins.tasks.darcy.config import DarcyTaskConfig


@hookimpl
def noether_task() -> TaskRecord:
    """Return the record of the task."""
    return TaskRecord(
        config=DarcyTaskConfig,
        module="noether_plugins.tasks.darcy.task:DarcyTask",
        reference="Li et al., Fourier Neural Operator, 2021 (arXiv 2010.08895), section 5.2",
        example={"n_train": 4, "n_test": 2, "grid": 8},
    )
