"""The task acme_pipe."""

from acme_pipe.config import PipeConfig
from noether_core import TaskRecord, hookimpl


@hookimpl
def noether_task() -> TaskRecord:
    """Return the record of the task."""
    return TaskRecord(
        config=PipeConfig,
        module="acme_pipe.task:PipeTask",
        reference="Sutera and Skalak, The History of Poiseuille's Law, 1993",
        example={"n_train": 6, "n_test": 3, "points": 40},
    )
