"""How many aerofoils there are, and how finely each is seen."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from annotated_types import Ge, Interval, MinLen

from noether_core.schemas.task import TaskConfig


@attrs.frozen(kw_only=True)
class AirfoilTaskConfig(TaskConfig):
    """Ideal flow around aerofoils at an angle of attack: pressure on them, velocity around them.

    Raises:
        ConfigError: If an option has the wrong type or is out of bounds.
    """

    type: Literal["airfoil"] = "airfoil"

    n_train: Annotated[int, Ge(1)] = 512
    """Aerofoils to learn from."""

    n_test: Annotated[int, Ge(1)] = 64
    """Held-out aerofoils."""

    n_surface: Annotated[int, Ge(8)] = 64
    """Surface tokens of each aerofoil."""

    n_volume: Annotated[int, Ge(8)] = 128
    """Volume tokens of each aerofoil."""

    contours: Annotated[str, MinLen(1)] | None = None
    """Folder of coordinate files, in the format of Selig or of Lednicer, whose sections are taken;
    None draws NACA four-digit sections.
    """

    hold_out: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """Share of the sections of *contours* that held-out aerofoils have, and no others do."""
