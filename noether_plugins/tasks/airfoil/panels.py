"""Ideal flow around a contour: a vortex panel method with the Kutta condition."""

import attrs
import numpy as np
from numpy.typing import ArrayLike

from noether_plugins.tasks.airfoil.contours import (
    SHARP,
    ComplexArray,
    FloatArray,
    as_contour,
    end_tangents,
    outline,
    panel_lengths,
    to_complex,
)

_INSIDE = 0.1
"""Panels. How far inside a sharp tail the fluid is at rest along its bisector."""


@attrs.frozen(eq=False)
class PanelFlow:
    """A solved flow; the free stream has speed 1 along +x."""

    nodes: FloatArray
    """``(panels + 1, 2)``: the contour, counter-clockwise from the trailing edge and back to it.

    Where the tail is blunt, the last is not the first, and the base between them is open.
    """

    speeds: FloatArray
    """``(panels + 1,)``: tangential speed at the nodes, positive along the contour. On the upper
    side of a lifting section it is negative, for the contour runs against the stream there."""

    base: complex = 0j
    """What the base of a blunt tail sheds, per length: its circulation, positive counter-clockwise,
    and as the imaginary part the fluid that it emits."""

    @property
    def outline(self) -> FloatArray:
        """The contour as a loop, ``(count, 2)``, the base included."""
        return outline(self.nodes)

    @property
    def pressure_coefficients(self) -> FloatArray:
        """Cp at the nodes, ``(panels + 1,)``: 1 at a stagnation point, 0 at the stream's speed."""
        return 1.0 - self.speeds**2

    @property
    def circulation(self) -> float:
        """Circulation, positive counter-clockwise."""
        # exact, since the speed is linear along each panel
        around = float(panel_lengths(self.nodes) @ (self.speeds[:-1] + self.speeds[1:])) / 2
        start, end = _base_of(self.nodes)
        return around + self.base.real * float(abs(end - start))

    def lift_coefficient(self, chord: float = 1.0) -> float:
        """Lift over dynamic pressure and chord, by the theorem of Kutta and Joukowski.

        It holds for a sharp tail. Behind a blunt one fluid leaves the base, and lift is that of
        `lift_of_pressure`.
        """
        return -2 * self.circulation / chord

    def lift_of_pressure(self, chord: float = 1.0) -> float:
        """Lift over dynamic pressure and chord: Cp over all panels and the base, linear on each."""
        around, pressures = self.outline, self.pressure_coefficients
        pressures = np.append(pressures, pressures[0])[: len(around)]
        means = (pressures[1:] + pressures[:-1]) / 2
        return float(means @ np.diff(around[:, 0])) / chord

    def velocity(self, points: FloatArray) -> FloatArray:
        """Velocity at points around the body; inside it is nearly zero.

        Within a fraction of a panel's length of the surface the corners of the polygon show; on it,
        take `speeds`.

        Args:
            points: ``(count, 2)``. Memory grows with count times panels.

        Returns:
            ``(count, 2)``: u and v over the free stream.

        Raises:
            ValueError: If a point is a node of the contour, where the velocity of a corner is
                infinite.
        """
        z, nodes = to_complex(points), to_complex(self.nodes)
        at_node = np.isin(z, nodes)
        if at_node.any():
            raise ValueError(
                f"points: {points[at_node][0]} is a node of the contour; "
                "move it off, or take speeds there"
            )
        conjugate = 1 + induced_velocity(z, nodes, self.speeds)
        if self.base:
            conjugate += induced_velocity(z, _base_of(self.nodes), np.full(2, self.base))
        return np.stack([conjugate.real, -conjugate.imag], axis=1)


def solve(contour: ArrayLike) -> PanelFlow:
    """Find the flow around a contour that leaves it smoothly at its tail.

    The contour carries a vortex sheet that is linear on each panel. The streamfunction is made the
    same at every node; then the fluid inside is at rest and the sheet's strength is the surface
    speed. (A condition on the streamfunction, not on the normal velocity at panel middles, keeps
    the method free of saw-tooth solutions and second order in the length of panels.) The speeds on
    the two sides of the tail agree (Kutta). All as in Drela, XFOIL (1989).

    A sharp trailing edge is one point but two nodes, so its equation counts once, and one more
    closes the system: just inside the tail, no fluid moves along its bisector. (Where the tail is
    thin and curved, XFOIL's bisector may leave the body, and its numbers go wrong; here it stays
    inside.) The base of a blunt one is a panel that carries vortices and sources of constant
    strength, in proportion to what the speeds at its two ends differ by.

    A smooth body has its rear stagnation point at the first node: a cylinder whose contour starts
    downstream carries no circulation.

    Args:
        contour: ``(count, 2)`` corners around the body from the trailing edge and back to it, as
            `as_contour` takes them. Where the last is not the first, the tail is blunt. The contour
            must not cross itself, which is not checked.

    Returns:
        The flow, in the frame of *contour*.

    Raises:
        ValueError: If *contour* is not one that `as_contour` takes, or has no flow of its own.
    """
    nodes = as_contour(contour)
    z = to_complex(nodes)
    count = len(z)
    # unknown: the strength at each node, and behind them the streamfunction on the body
    matrix = np.zeros((count + 1, count + 1))
    right = np.zeros(count + 1)

    # on every node, sheet and stream add up to it
    matrix[:count, :count] = induced_streamfunction(z, z)
    matrix[:count, count] = -1.0
    right[:count] = -z.imag
    matrix[count, [0, count - 1]] = 1.0

    first, last = end_tangents(nodes)
    bisector = (last - first) / 2
    shed = 0j if _is_sharp(z) else _shed_by_base(z, bisector)
    if shed:
        influence = _streamfunction_of_base(z, shed)
        matrix[:count, 0] += influence
        matrix[:count, count - 1] -= influence
    else:
        # the trailing edge counts once
        bisector = _within_tail(z, bisector)
        matrix[count - 1] = 0.0
        matrix[count - 1, :count] = _velocity_inside_tail(z, bisector)
        right[count - 1] = -bisector.real

    try:
        speeds = np.linalg.solve(matrix, right)[:count].astype(np.float64, copy=False)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "points: no flow around them is determined; do two sides touch?"
        ) from error
    return PanelFlow(nodes, speeds, complex(shed * (speeds[0] - speeds[-1])))


def _base_of(nodes: FloatArray) -> ComplexArray:
    """Return the two ends of the base, in the direction of the contour."""
    return to_complex(nodes[[-1, 0]])


def _is_sharp(z: ComplexArray) -> bool:
    tail = (z[0] + z[-1]) / 2
    return bool(abs(z[0] - z[-1]) < SHARP * np.abs(z - tail).max())


def _shed_by_base(z: ComplexArray, bisector: complex) -> complex:
    """Return what the base sheds for each unit by which the speed of its end exceeds its start's.

    The real part is circulation, the imaginary one fluid, both per length.
    """
    base = z[0] - z[-1]
    # Along the base, and across it. The bisector is as long as the cosine of half the tail's angle.
    share = bisector.conjugate() * base / abs(base)
    return -complex(share) / 2


def _streamfunction_of_base(z: ComplexArray, shed: complex) -> FloatArray:
    """Return at each node the streamfunction of a base that sheds *shed* per length.

    The cut of the sources' streamfunction leaves the base on its outer side, downstream.
    """
    base = z[[-1, 0]]
    span = base[1] - base[0]
    height = abs(span)
    local = (z - base[0]) * (span.conjugate() / height)
    # The frame of the base, exactly at its own ends: along it, and inward.
    local[-1], local[0] = 0.0, height
    sources = (_of_sources(local) - _of_sources(local - height)) / (2 * np.pi)
    vortices = induced_streamfunction(z, base).sum(axis=1)
    return np.asarray(shed.real * vortices + shed.imag * sources)


def _of_sources(local: ComplexArray) -> FloatArray:
    """Return the antiderivative along the base of the angle from its inward normal."""
    along, inward = local.real, local.imag
    # Where it is 0, any number will do for the logarithm, which meets that zero.
    squares = np.where(local == 0, 1.0, along**2 + inward**2)
    return np.asarray(along * np.arctan2(-along, inward) + inward * np.log(squares) / 2)


def _within_tail(z: ComplexArray, bisector: complex) -> complex:
    """Return the bisector of a sharp tail, or that of its last panels where it leaves the body.

    It does so where the tail is thin and curved: the tangents at its end lean out of the polygon.
    There, the condition would be one on the fluid outside, and speeds of hundreds come out.
    """
    first, last = z[1] - z[0], z[-2] - z[-1]
    inward = -bisector
    is_within = ((inward / first).imag > 0) != ((inward / last).imag > 0)
    if is_within:
        return bisector
    return -complex(first / abs(first) + last / abs(last)) / 2


def _velocity_inside_tail(z: ComplexArray, bisector: complex) -> FloatArray:
    """Return what unit strength at each node adds to the velocity along the bisector of the tail.

    The point is a tenth of the shorter of the last panels inside the tail.
    """
    step = _INSIDE * min(abs(z[1] - z[0]), abs(z[-1] - z[-2]))
    offsets = (z[0] + z[-1]) / 2 - step * bisector / abs(bisector) - z
    log_ratios, _ = _logarithms(offsets[None])
    spans = np.diff(z)
    turns = spans.conj() / np.abs(spans)
    along = offsets[:-1] / spans  # in the frame of each panel: 0 where it starts, 1 where it ends

    influence = np.zeros(len(z), dtype=np.complex128)
    influence[:-1] = turns * (log_ratios[0] * (1 - along) + 1)
    influence[1:] += turns * (log_ratios[0] * along - 1)
    return np.asarray((influence * bisector / (2j * np.pi)).real)


# What a loop of straight panels with linearly varying vorticity induces, in closed form: sums of
# integrals of log(z - s) and 1 / (z - s) along each panel, times a strength that is linear on it
# (Katz and Plotkin, Low-Speed Aerodynamics, section 11.4.2, in complex form). Strength is positive
# counter-clockwise.


def induced_streamfunction(points: ComplexArray, nodes: ComplexArray) -> FloatArray:
    """Return the streamfunction of unit strength at one node, zero at its neighbours.

    Args:
        points: ``(count,)`` points ``x + i y``; they may be nodes.
        nodes: ``(panels + 1,)`` ends of the panels.

    Returns:
        ``(count, panels + 1)``: row per point, column per node.
    """
    offsets = points[:, None] - nodes
    # at a node any number will do: its logarithm meets a zero or cancels
    offsets_in_log = np.where(offsets == 0, 1, offsets)
    spans = np.diff(nodes)
    lengths = np.abs(spans)
    # the panel's own frame: it starts at 0 and runs along +x
    local = offsets[:, :-1] * (spans.conj() / lengths)

    log_ratios, log_ends = _logarithms(offsets_in_log)

    wholes = (local * log_ratios).real + lengths * (log_ends - 1)
    moments = 0.5 * ((local * (local * log_ratios - lengths)).real + lengths**2 * (log_ends - 0.5))

    influence = np.zeros(offsets.shape)
    influence[:, :-1] = wholes - moments / lengths
    influence[:, 1:] += moments / lengths
    return -influence / (2 * np.pi)


def induced_velocity(
    points: ComplexArray, nodes: ComplexArray, strengths: FloatArray | ComplexArray
) -> ComplexArray:
    """Return the velocity ``u - i v`` that the panels induce at points off the contour.

    Args:
        points: ``(count,)`` points ``x + i y``, none of them a node.
        nodes: ``(panels + 1,)`` ends of the panels.
        strengths: ``(panels + 1,)`` circulation per length at the nodes; what is imaginary of it is
            fluid that comes out.

    Returns:
        ``(count,)`` conjugate velocities.
    """
    offsets = points[:, None] - nodes
    spans = np.diff(nodes)
    turns = spans.conj() / np.abs(spans)
    slopes = turns * np.diff(strengths) / spans
    levels = turns * strengths[:-1] - slopes * nodes[:-1]

    # Each panel adds log_ratio * (level + slope * point) - turn * rise. (By einsum, since `@` would
    # wake BLAS threads, which cost more than these sums when the cores are busy.)
    log_ratios, _ = _logarithms(offsets)
    level_sums = np.einsum("ij,j->i", log_ratios, levels)
    slope_sums = np.einsum("ij,j->i", log_ratios, slopes)
    total = level_sums + points * slope_sums - turns @ np.diff(strengths)
    return np.asarray(total / (2j * np.pi))


def _logarithms(offsets: ComplexArray) -> tuple[ComplexArray, FloatArray]:
    """Return for each panel the log of its start's offset over its end's, and of the end's length.

    The ratio's angle is the one that the panel subtends, so that the cut is the panel itself.
    """
    # one complex logarithm of the ratio is the same and takes twice the time
    lengths = 0.5 * np.log(offsets.real**2 + offsets.imag**2)
    ratios = np.empty((offsets.shape[0], offsets.shape[1] - 1), dtype=np.complex128)
    ratios.real = lengths[:, :-1] - lengths[:, 1:]
    ratios.imag = np.angle(offsets[:, :-1] * offsets[:, 1:].conj())
    return ratios, lengths[:, 1:]
