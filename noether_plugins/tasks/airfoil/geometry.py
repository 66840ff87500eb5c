"""NACA four-digit sections, and how they stand in the stream."""

import attrs
import numpy as np

from noether_plugins.tasks.airfoil.contours import MIN_PANELS, FloatArray, close_contour

DEFAULT_PANELS = 192
"""Panels around a section: ten or so go around the nose of the thinnest one drawn.

They make a system of fewer than 200 unknowns. Larger ones OpenBLAS factorises in several threads,
which gains nothing at this size and takes tens of times as long when other work keeps the cores
busy.
"""

PIVOT = (0.5, 0.0)
"""What a section turns about: the middle of its chord, so that it stays in the middle of the box
around it.
"""

_LIMITS = {"camber": (0.0, 0.09), "camber_position": (0.1, 0.9), "thickness": (0.001, 0.4)}

# The thickness over x: of its square root, and of x, x^2, x^3, x^4; the last one closes the tail.
_NOSE_COEFFICIENT = 0.2969
_THICKNESS_COEFFICIENTS = (-0.1260, -0.3516, 0.2843, -0.1036)


def _check_limits(_section: "NacaSection", field: "attrs.Attribute[float]", value: float) -> None:
    low, high = _LIMITS[field.name]
    if not low <= value <= high:
        raise ValueError(
            f"{field.name}: {value} is outside {low} to {high}; give it as a fraction of the chord"
        )


@attrs.frozen
class NacaSection:
    """A NACA four-digit section with a closed trailing edge; lengths are fractions of the chord.

    NACA 2412 is ``NacaSection(camber=0.02, camber_position=0.4, thickness=0.12)``.

    Raises:
        ValueError: If a value is not in the range of the family.
    """

    camber: float = attrs.field(validator=_check_limits)
    """Greatest height of the mean line, 0 to 0.09."""

    camber_position: float = attrs.field(validator=_check_limits)
    """Where along the chord the mean line is highest, 0.1 to 0.9; without camber, of no effect."""

    thickness: float = attrs.field(validator=_check_limits)
    """Greatest thickness, 0.001 to 0.4."""


def naca_contour(section: NacaSection, n_panels: int = DEFAULT_PANELS) -> FloatArray:
    """Return the panels of a section, from its trailing edge at (1, 0) over the top and back below.

    The nose is at (0, 0). Thickness is laid off at right angles to the mean line, and nodes are
    spaced evenly in the angle b of x = (1 + cos b) / 2, which gathers them at nose and tail.
    Source: Abbott and von Doenhoff, Theory of Wing Sections, section 6.4; the coefficient of x^4 is
    the usual -0.1036 for the printed -0.1015, so that the tail closes.

    Args:
        section: The section.
        n_panels: Number of panels, at least 8.

    Returns:
        ``(n_panels + 1, 2)`` nodes in chords, counter-clockwise, the last equal to the first.

    Raises:
        ValueError: If *n_panels* is too small.
    """
    if n_panels < MIN_PANELS:
        raise ValueError(
            f"n_panels: {n_panels} is too few to go around a section; give at least {MIN_PANELS}"
        )
    angles = 2 * np.pi * np.arange(n_panels) / n_panels
    x = 0.5 * (1 + np.cos(angles))
    heights, slopes = _mean_line(section, x)
    offsets = section.thickness * _signed_half_thickness(angles)
    normals = np.stack([-slopes, np.ones_like(x)], axis=1) / np.hypot(1, slopes)[:, None]
    return close_contour(np.stack([x, heights], axis=1) + offsets[:, None] * normals)


def _mean_line(section: NacaSection, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return height and slope of the mean line: two parabolas that meet, level, at its top."""
    m, p = section.camber, section.camber_position
    widths = np.where(x < p, p, 1 - p)
    away = (x - p) / widths
    return m * (1 - away**2), -2 * m * away / widths


def _signed_half_thickness(angles: FloatArray) -> FloatArray:
    """Return half thickness over thickness, positive on the upper half of the loop."""
    x = 0.5 * (1 + np.cos(angles))
    body = np.polynomial.polynomial.polyval(x, (0.0, *_THICKNESS_COEFFICIENTS))
    return np.asarray(5 * (_NOSE_COEFFICIENT * np.cos(angles / 2) + np.sign(np.pi - angles) * body))


def turn_into_stream(points: FloatArray, angle_of_attack: float) -> FloatArray:
    """Raise the nose of a section by its angle of attack, so that the free stream is along +x.

    Args:
        points: ``(..., 2)`` in the frame of the chord.
        angle_of_attack: Degrees.

    Returns:
        ``(..., 2)`` in the frame of the free stream, turned about `PIVOT`.

    Raises:
        ValueError: If *angle_of_attack* is NaN or infinite.
    """
    if not np.isfinite(angle_of_attack):
        raise ValueError(f"angle_of_attack: {angle_of_attack} is not an angle; give finite degrees")
    angle = np.deg2rad(float(angle_of_attack))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((points - PIVOT) @ rotation + PIVOT)


def turn_to_chord(points: FloatArray, angle_of_attack: float) -> FloatArray:
    """Undo `turn_into_stream`: return points ``(..., 2)`` in the frame of the chord."""
    return turn_into_stream(points, -angle_of_attack)
