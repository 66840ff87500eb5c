"""Samples to learn from: random sections at random incidence, seen at random tokens."""

import attrs
import numpy as np
from numpy.typing import NDArray

from noether_plugins.tasks.airfoil.contours import (
    FloatArray,
    distances,
    is_inside,
    node_normals,
    panel_lengths,
)
from noether_plugins.tasks.airfoil.geometry import (
    DEFAULT_PANELS,
    NacaSection,
    naca_contour,
    turn_into_stream,
)
from noether_plugins.tasks.airfoil.panels import PanelFlow, solve

BOX = ((-0.75, 1.75), (-1.0, 1.0))
"""Range of x and of y, in chords, that volume tokens are drawn from."""

CLEARANCE = 0.005
"""Least distance of a volume token from the surface, in chords: nearer, panels have corners."""


CAMBERS = (0.0, 0.06)
"""Range of camber drawn, in chords."""

CAMBER_POSITIONS = (0.3, 0.6)
"""Range of where the camber is greatest, in chords."""

THICKNESSES = (0.08, 0.20)
"""Range of thickness drawn, in chords."""

ANGLES_OF_ATTACK = (-6.0, 10.0)
"""Range of the angle of attack drawn, in degrees."""

MIN_SURFACE_TOKENS = 4
"""Fewest surface tokens: nose, tail and both sides."""

_NEAR_SHARE = 0.5  # of the volume tokens; the others are spread evenly over the box
_NEAR_REACH = 0.5  # chords from the surface to the farthest of them, which keeps them in the box


@attrs.frozen(eq=False)
class AirfoilTokens:
    """What is seen of the flow around a body in a stream along +x.

    Lengths are in chords; positions are in the frame of the stream, with the middle of the chord at
    (0.5, 0). So positions and normals show the angle of attack.
    """

    surface_positions: FloatArray
    """``(n_surface, 2)``, from the trailing edge over the upper side to the nose and back below."""

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
class AirfoilSample(AirfoilTokens):
    """One section, turned by its angle of attack, and what is seen of its flow."""

    section: NacaSection
    """The section."""

    angle_of_attack: float
    """Degrees, positive nose up."""


@attrs.frozen(eq=False)
class AirfoilBatch:
    """Samples stacked along a first axis, in single precision; see `AirfoilSample`."""

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
    """Draw a section and an angle of attack, solve the flow and evaluate it at random tokens.

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
    angle_of_attack = draw_angle(rng)

    flow = solve(turn_into_stream(naca_contour(section, n_panels), angle_of_attack))
    tokens = draw_tokens(rng, flow, n_surface=n_surface, n_volume=n_volume)
    return AirfoilSample(
        section=section, angle_of_attack=angle_of_attack, **attrs.asdict(tokens, recurse=False)
    )


def draw_angle(rng: np.random.Generator) -> float:
    """Draw an angle of attack in degrees."""
    return rng.uniform(*ANGLES_OF_ATTACK)


def draw_tokens(
    rng: np.random.Generator,
    flow: PanelFlow,
    *,
    n_surface: int,
    n_volume: int,
    ruler: FloatArray | None = None,
) -> AirfoilTokens:
    """Draw tokens on and around a body, and evaluate its flow there.

    Args:
        rng: Source of all randomness.
        flow: The flow, in the frame of the stream.
        n_surface: Number of surface tokens.
        n_volume: Number of volume tokens.
        ruler: Where along the body they are dense, as `ruler_of` says; None spreads them over
            equally many panels.
    """
    surface_positions, surface_normals, surface_pressures = draw_surface_tokens(
        rng, flow, n_surface, ruler
    )
    volume_positions, volume_distances = draw_volume_positions(rng, flow.outline, n_volume, ruler)
    return AirfoilTokens(
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
    samples = [
        sample(
            np.random.default_rng(stream), n_surface=n_surface, n_volume=n_volume, n_panels=n_panels
        )
        for stream in np.random.SeedSequence(seed).spawn(count)
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


def ruler_of(flow: PanelFlow) -> FloatArray:
    """Return a ruler that spreads tokens by length along a body, wherever its nodes lie.

    They are denser at nose and tail: each side counts as the half circle over it, seen from which
    length is (1 + cos b) / 2, as x is of the nodes of a NACA section. A base counts by its length.

    Args:
        flow: The flow around the body.

    Returns:
        ``(outline,)``: for each node of the outline, which share of tokens lies before it.
    """
    arc = np.concatenate([[0.0], np.cumsum(panel_lengths(flow.outline))])
    tail = len(flow.nodes) - 1
    middle = (flow.nodes[0] + flow.nodes[tail]) / 2
    nose = int(np.hypot(*(flow.nodes - middle).T).argmax())

    ruler = 2 * np.pi * arc / arc[tail]
    above = arc[: nose + 1] / arc[nose]
    below = (arc[nose : tail + 1] - arc[nose]) / (arc[tail] - arc[nose])
    ruler[: nose + 1] = np.arccos(1 - 2 * above)
    ruler[nose : tail + 1] = np.pi + np.arccos(1 - 2 * below)
    return np.asarray(ruler / ruler[-1])


def draw_surface_tokens(
    rng: np.random.Generator, flow: PanelFlow, count: int, ruler: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw points along a contour, in order: one in each of *count* stretches of it.

    Where panels are shorter at nose and tail, so are stretches of equally many; those of a ruler
    always are. Everything is linear between nodes, as the surface speed is in the panel method; Cp
    is made from the speed, so that it never exceeds 1. The base of a blunt tail, on which no speed
    is known, gets none.

    Returns:
        Positions ``(count, 2)``, outward unit normals ``(count, 2)`` and pressure coefficients
        ``(count,)``.
    """
    n_panels = len(flow.nodes) - 1
    stretches = np.arange(count) + rng.random(count)
    if ruler is None:
        where = stretches * n_panels / count
    else:
        where = _along(ruler, stretches * ruler[n_panels] / count)
    positions, normals = _on_contour(flow.nodes, where)
    speeds = _between_nodes(flow.speeds[:, None], where)[:, 0]
    return positions, normals, 1.0 - speeds**2


def draw_volume_positions(
    rng: np.random.Generator, nodes: FloatArray, count: int, ruler: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Draw points in the fluid inside `BOX`.

    About half are spread evenly, half lie near the surface, log-uniform in distance.

    Returns:
        Positions ``(count, 2)`` in no particular order and their distances ``(count,)`` from the
        surface.
    """
    positions, clearances = np.empty((0, 2)), np.empty(0)
    while len(positions) < count:
        # few are refused, so that one round does
        candidates = _draw_candidates(rng, nodes, count + count // 8 + 8, ruler)
        away = distances(nodes, candidates)
        accepted = (away >= CLEARANCE) & ~is_inside(nodes, candidates)
        positions = np.concatenate([positions, candidates[accepted]])
        clearances = np.concatenate([clearances, away[accepted]])
    return positions[:count], clearances[:count]


def _draw_candidates(
    rng: np.random.Generator, nodes: FloatArray, count: int, ruler: FloatArray | None
) -> FloatArray:
    """Draw points around a contour, some of which may lie in the body or too near."""
    where = rng.uniform(0, len(nodes) - 1, count)
    if ruler is not None:
        where = _along(ruler, where / (len(nodes) - 1))
    feet, normals = _on_contour(nodes, where)
    reach = np.exp(rng.uniform(np.log(CLEARANCE), np.log(_NEAR_REACH), count))
    near = feet + reach[:, None] * normals
    anywhere = np.stack([rng.uniform(low, high, count) for low, high in BOX], axis=1)
    return np.where(rng.random((count, 1)) < _NEAR_SHARE, near, anywhere)


def _along(ruler: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the fractional node numbers at which *shares* of a ruler lie."""
    return np.interp(shares, ruler, np.arange(len(ruler), dtype=np.float64))


def _on_contour(nodes: FloatArray, where: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points and outward unit normals at fractional node numbers *where*."""
    normals = _between_nodes(node_normals(nodes), where)
    return _between_nodes(nodes, where), normals / np.hypot(*normals.T)[:, None]


def _between_nodes(values: FloatArray, where: FloatArray) -> FloatArray:
    """Interpolate values ``(nodes, width)`` linearly at fractional node numbers."""
    before = np.minimum(where.astype(np.intp), len(values) - 2)
    share = (where - before)[:, None]
    return np.asarray((1 - share) * values[before] + share * values[before + 1])


def _check_at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name}: {value} is too small; give at least {low}")
