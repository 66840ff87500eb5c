"""Options of acme_pipe; this file imports no numpy."""

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Gt

from noether_core import Problem
from noether_core.schemas import invariant
from noether_core.schemas.task import TaskConfig


@attrs.frozen(kw_only=True)
class PipeConfig(TaskConfig):
    """Laminar flow through round pipes, from the gradient of the pressure."""

    type: Literal["acme_pipe"] = "acme_pipe"
    """Which task."""

    n_train: Annotated[int, Ge(1)] = 64
    """Pipes to learn from."""

    n_test: Annotated[int, Ge(1)] = 16
    """Held-out pipes."""

    points: Annotated[int, Ge(8)] = 64
    """Points of the fluid at most; at least half as many."""

    smallest: Annotated[float, Gt(0)] = 0.5
    """Radius of the narrowest pipe, in metres."""

    largest: Annotated[float, Gt(0)] = 1.5
    """Radius of the widest pipe, in metres."""

    viscosity: Annotated[float, Gt(0)] = 0.1
    """Dynamic viscosity, in Pa s."""

    @invariant
    @staticmethod
    def radii_are_in_order(smallest: float, largest: float) -> Problem | None:
        """Return a problem unless there are pipes between the two radii."""
        if smallest <= largest:
            return None
        message = f"{smallest} is above largest, {largest}"
        return Problem(keys=("smallest",), message=message, value=smallest)
