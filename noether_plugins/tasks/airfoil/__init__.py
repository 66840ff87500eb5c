"""Ideal flow around aerofoils: sections, their flow by a panel method, samples to learn from.

Names are imported on first use, so that finding the task and checking its config import no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noether_core import TaskRecord, hookimpl
from noether_plugins.tasks.airfoil.config import AirfoilTaskConfig

if TYPE_CHECKING:
    from noether_plugins.tasks.airfoil.contours import as_contour as as_contour
    from noether_plugins.tasks.airfoil.contours import close_contour as close_contour
    from noether_plugins.tasks.airfoil.dataset import BOX as BOX
    from noether_plugins.tasks.airfoil.dataset import AirfoilBatch as AirfoilBatch
    from noether_plugins.tasks.airfoil.dataset import AirfoilSample as AirfoilSample
    from noether_plugins.tasks.airfoil.dataset import generate as generate
    from noether_plugins.tasks.airfoil.dataset import sample as sample
    from noether_plugins.tasks.airfoil.field import AirfoilField as AirfoilField
    from noether_plugins.tasks.airfoil.field import evaluate_field as evaluate_field
    from noether_plugins.tasks.airfoil.geometry import NacaSection as NacaSection
    from noether_plugins.tasks.airfoil.geometry import naca_contour as naca_contour
    from noether_plugins.tasks.airfoil.geometry import turn_into_stream as turn_into_stream
    from noether_plugins.tasks.airfoil.geometry import turn_to_chord as turn_to_chord
    from noether_plugins.tasks.airfoil.panels import PanelFlow as PanelFlow
    from noether_plugins.tasks.airfoil.panels import solve as solve
    from noether_plugins.tasks.airfoil.sections import Section as Section
    from noether_plugins.tasks.airfoil.sections import SectionFlow as SectionFlow
    from noether_plugins.tasks.airfoil.sections import flow_around as flow_around
    from noether_plugins.tasks.airfoil.sections import read_section as read_section

# The same names for run time, each with the module of this folder that it is imported from.
_MODULES = {
    "as_contour": "contours",
    "close_contour": "contours",
    "BOX": "dataset",
    "AirfoilBatch": "dataset",
    "AirfoilSample": "dataset",
    "generate": "dataset",
    "sample": "dataset",
    "AirfoilField": "field",
    "evaluate_field": "field",
    "NacaSection": "geometry",
    "naca_contour": "geometry",
    "turn_into_stream": "geometry",
    "turn_to_chord": "geometry",
    "PanelFlow": "panels",
    "solve": "panels",
    "Section": "sections",
    "SectionFlow": "sections",
    "flow_around": "sections",
    "read_section": "sections",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605  derived, so that no name stands here a third time


@hookimpl
def noether_task() -> TaskRecord:
    """Return the record of the task."""
    return TaskRecord(
        config=AirfoilTaskConfig,
        module="noether_plugins.tasks.airfoil.task:AirfoilTask",
        reference="Drela, XFOIL, 1989 (the panel method)",
        example={"n_train": 4, "n_test": 2, "n_surface": 16, "n_volume": 24},
    )


# No `__dir__` beside it: who looks for hooks looks at every name that it lists.
def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return globals()[name]
