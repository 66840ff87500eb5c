"""How many aerofoils there are, and how finely each is seen."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Interval, MinLen

from noether_core import Problem
from noether_core.schemas import invariant
from noether_core.schemas.task import TaskConfig
from noether_plugins.tasks import MOST_SAMPLES


@attrs.frozen(kw_only=True)
class AirfoilTaskConfig(TaskConfig):
    """Ideal flow around aerofoils at an angle of attack: pressure on them, velocity around them.

    Raises:
        ConfigError: If an option has the wrong type is out of bounds or contradicts another.
    """

    type: Literal["airfoil"] = "airfoil"

    n_train: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 512
    """Aerofoils to learn from."""

    n_test: Annotated[int, Interval(ge=1, le=MOST_SAMPLES)] = 64
    """Held-out aerofoils."""

    n_surface: Annotated[int, Ge(8)] = 64
    """Surface tokens of each aerofoil."""

    n_volume: Annotated[int, Ge(8)] = 128
    """Volume tokens of each aerofoil."""

    contours: Annotated[str, MinLen(1)] | None = None
    """Folder of coordinate files, in the format of Selig or of Lednicer, whose sections are taken;
    None draws NACA four-digit sections.
    """

    hold_out: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Share of the sections of *contours* that held-out aerofoils have, and no others do; None for
    0.2.
    """

    @invariant
    @staticmethod
    def only_folders_are_split(contours: str | None, hold_out: float | None) -> Problem | None:
        """Return a problem if there is nothing of which a share could be held out."""
        if contours is not None or hold_out is None:
            return None
        return Problem(
            keys=("hold_out",),
            message="is a share of the sections in contours, which names no folder",
            value=hold_out,
            suggestion="leave it out, or say contours; drawn sections are n_train and n_test",
        )
