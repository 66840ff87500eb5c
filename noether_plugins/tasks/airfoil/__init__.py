"""Ideal flow around aerofoils: sections, their flow by a panel method, samples to learn from."""

from noether_plugins.tasks.airfoil.contours import as_contour, close_contour
from noether_plugins.tasks.airfoil.dataset import BOX, AirfoilBatch, AirfoilSample, generate, sample
from noether_plugins.tasks.airfoil.field import AirfoilField, evaluate_field
from noether_plugins.tasks.airfoil.geometry import (
    NacaSection,
    naca_contour,
    turn_into_stream,
    turn_to_chord,
)
from noether_plugins.tasks.airfoil.panels import PanelFlow, solve
from noether_plugins.tasks.airfoil.sections import (
    Section,
    SectionFlow,
    flow_around,
    read_section,
)

__all__ = [
    "BOX",
    "AirfoilBatch",
    "AirfoilField",
    "AirfoilSample",
    "NacaSection",
    "PanelFlow",
    "Section",
    "SectionFlow",
    "as_contour",
    "close_contour",
    "evaluate_field",
    "flow_around",
    "generate",
    "naca_contour",
    "read_section",
    "sample",
    "solve",
    "turn_into_stream",
    "turn_to_chord",
]
