"""Random sections at random incidence, solved: samples of the problem, one by one and in batches."""

import attrs
import numpy as np
from numpy.typing import NDArray

from noether_plugins.tasks.airfoil.contours import FloatArray
from noether_plugins.tasks.airfoil.geometry import (
    DEFAULT_PANELS,
    NacaSection,
    naca_contour,
    turn_into_stream,
)
from noether_plugins.tasks.airfoil.panels import solve
from noether_plugins.tasks.airfoil.tokens import draw_surface_tokens, draw_volume_positions

CAMBERS = (0.0, 0.06)
"""Range of camber drawn, in chords."""

CAMBER_POSITIONS = (0.3, 0.6)
"""Range of the place of greatest camber drawn, in chords."""

THICKNESSES = (0.08, 0.20)
"""Range of thickness drawn, in chords."""

ANGLES_OF_ATTACK = (-6.0, 10.0)
"""Range of the angle of attack drawn, in degrees."""

MIN_SURFACE_TOKENS = 4
"""Fewest surface tokens: nose, tail and both sides."""


@attrs.frozen(eq=False)
class AirfoilSample:
    """One section in a stream along +x, turned by its angle of attack, which positions and normals
    thereby show.

    Lengths are in chords; positions are in the frame of the stream, with the middle of the chord at
    (0.5, 0).
    """

    section: NacaSection
    """The section."""

    angle_of_attack: float
    """Degrees, positive nose up."""

    surface_positions: FloatArray
    """``(n_surface, 2)``, in order from the trailing edge over the upper side to the nose and back
    below.
    """

    surface_normals: FloatArray
    """``(n_surface, 2)``: unit vectors out of the body."""

    surface_pressures: FloatArray
    """``(n_surface,)``: pressure coefficients Cp, at most 1."""

    volume_positions: FloatArray
    """``(n_volume, 2)``: points in the fluid, denser near the surface, in no order."""

    volume_distances: FloatArray
    """``(n_volume,)``: how far each is from the surface."""

    volume_velocities: FloatArray
    """``(n_volume, 2)``: u and v over the free stream."""


@attrs.frozen(eq=False)
class AirfoilBatch:
    """Samples stacked along a first axis, in single precision; see `AirfoilSample` for what each
    array holds.
    """

    sections: tuple[NacaSection, ...]
    """The sections, ``count`` of them."""

    angles_of_attack: NDArray[np.float32]
    """``(count,)``, degrees."""

    surface_positions: NDArray[np.float32]
    """``(count, n_surface, 2)``."""

    surface_normals: NDArray[np.float32]
    """``(count, n_surface, 2)``."""

    surface_pressures: NDArray[np.float32]
    """``(count, n_surface)``."""

    volume_positions: NDArray[np.float32]
    """``(count, n_volume, 2)``."""

    volume_distances: NDArray[np.float32]
    """``(count, n_volume)``."""

    volume_velocities: NDArray[np.float32]
    """``(count, n_volume, 2)``."""


def sample(
    rng: np.random.Generator,
    *,
    n_surface: int = 128,
    n_volume: int = 256,
    n_panels: int = DEFAULT_PANELS,
) -> AirfoilSample:
    """Draw a section and an angle of attack, solve the flow and read it off at random tokens.

    Args:
        rng: Source of all randomness.
        n_surface: Number of surface tokens, at least 4.
        n_volume: Number of volume tokens, at least 1.
        n_panels: Panels that the flow is solved with, at least 8.

    Raises:
        ValueError: If a number is too small.
    """
    _check_at_least("n_surface", n_surface, MIN_SURFACE_TOKENS)
    _check_at_least("n_volume", n_volume, 1)
    section = _draw_section(rng)
    angle_of_attack = rng.uniform(*ANGLES_OF_ATTACK)

    flow = solve(turn_into_stream(naca_contour(section, n_panels), angle_of_attack))
    surface_positions, surface_normals, surface_pressures = draw_surface_tokens(
        rng, flow, n_surface
    )
    volume_positions, volume_distances = draw_volume_positions(rng, flow.nodes, n_volume)

    return AirfoilSample(
        section=section,
        angle_of_attack=angle_of_attack,
        surface_positions=surface_positions,
        surface_normals=surface_normals,
        surface_pressures=surface_pressures,
        volume_positions=volume_positions,
        volume_distances=volume_distances,
        volume_velocities=flow.velocity(volume_positions),
    )


def generate(
    seed: int,
    count: int,
    n_surface: int = 128,
    n_volume: int = 256,
    *,
    n_panels: int = DEFAULT_PANELS,
) -> AirfoilBatch:
    """Make a batch of samples that depends on nothing but these arguments.

    Sample *i* has a random stream of its own, so a larger *count* adds samples and changes none.

    Args:
        seed: 0 or more; other seeds give other sections, so that held-out sections are those of
            another seed.
        count: Number of samples, at least 1.
        n_surface: Number of surface tokens of each, at least 4.
        n_volume: Number of volume tokens of each, at least 1.
        n_panels: Panels that each flow is solved with, at least 8.

    Raises:
        ValueError: If a number is too small.
    """
    _check_at_least("seed", seed, 0)
    _check_at_least("count", count, 1)
    streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(count))
    samples = [
        sample(rng, n_surface=n_surface, n_volume=n_volume, n_panels=n_panels) for rng in streams
    ]
    return AirfoilBatch(
        sections=tuple(each.section for each in samples),
        angles_of_attack=_stack(samples, "angle_of_attack"),
        surface_positions=_stack(samples, "surface_positions"),
        surface_normals=_stack(samples, "surface_normals"),
        surface_pressures=_stack(samples, "surface_pressures"),
        volume_positions=_stack(samples, "volume_positions"),
        volume_distances=_stack(samples, "volume_distances"),
        volume_velocities=_stack(samples, "volume_velocities"),
    )


def _stack(samples: list[AirfoilSample], name: str) -> NDArray[np.float32]:
    return np.stack([getattr(each, name) for each in samples]).astype(np.float32)


def _draw_section(rng: np.random.Generator) -> NacaSection:
    return NacaSection(
        camber=rng.uniform(*CAMBERS),
        camber_position=rng.uniform(*CAMBER_POSITIONS),
        thickness=rng.uniform(*THICKNESSES),
    )


def _check_at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name}: {value} is too small; give at least {low}")
