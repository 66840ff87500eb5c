"""Ideal flow around a closed contour: a vortex panel method with the Kutta condition."""

import attrs
import numpy as np
from numpy.typing import ArrayLike

from noether_plugins.tasks.airfoil.contours import (
    ComplexArray,
    FloatArray,
    close_contour,
    panel_lengths,
    to_complex,
)


@attrs.frozen(eq=False)
class PanelFlow:
    """A solved flow; the free stream has speed 1 along +x."""

    nodes: FloatArray
    """``(panels + 1, 2)``: the contour, counter-clockwise from the trailing edge and back to it."""

    speeds: FloatArray
    """``(panels + 1,)``: tangential speed at the nodes, positive along the contour. On the upper
    side of a lifting section it is negative, for the contour runs against the stream there."""

    @property
    def pressure_coefficients(self) -> FloatArray:
        """Cp at the nodes, ``(panels + 1,)``: 1 at a stagnation point, 0 at the stream's speed."""
        return 1.0 - self.speeds**2

    @property
    def circulation(self) -> float:
        """Circulation, positive counter-clockwise."""
        # exact, since the speed is linear along each panel
        return float(panel_lengths(self.nodes) @ (self.speeds[:-1] + self.speeds[1:])) / 2

    def lift_coefficient(self, chord: float = 1.0) -> float:
        """Lift over dynamic pressure and chord, by the theorem of Kutta and Joukowski."""
        return -2 * self.circulation / chord

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
        return np.stack([conjugate.real, -conjugate.imag], axis=1)


def solve(contour: ArrayLike) -> PanelFlow:
    """Find the flow around a contour that leaves it smoothly at its first node.

    The contour carries a vortex sheet that is linear on each panel. The streamfunction is made the
    same at every node; then the fluid inside is at rest and the sheet's strength is the surface
    speed. (A condition on the streamfunction, not on the normal velocity at panel middles, keeps
    the method free of saw-tooth solutions and second order in the length of panels.) The trailing
    edge is one point but two nodes, so its equation counts once and two more close the system, both
    as in Drela, XFOIL (1989): the speeds on the two sides agree (Kutta), and their mean continues
    the mean of the two sides upstream in a straight line, which stays well posed for a cusp, where
    the two sides are parallel and nothing else distinguishes their strengths.

    A smooth body has its rear stagnation point at the first node: a cylinder whose contour starts
    downstream carries no circulation.

    Args:
        contour: ``(count, 2)`` corners around the body from the trailing edge on, as
            `close_contour` takes them.

    Returns:
        The flow, in the frame of *contour*.

    Raises:
        ValueError: If *contour* is not one that `close_contour` takes.
    """
    nodes = close_contour(contour)
    z = to_complex(nodes)
    count = len(z)
    # unknown: the strength at each node, and behind them the streamfunction on the body
    matrix = np.zeros((count + 1, count + 1))
    right = np.zeros(count + 1)

    # on every node but the last, the trailing edge once more: sheet and stream add up to it
    matrix[: count - 1, :count] = induced_streamfunction(z[:-1], z)
    matrix[: count - 1, count] = -1.0
    right[: count - 1] = -z[:-1].imag
    matrix[count - 1, [0, count - 1]] = 1.0
    matrix[count, :count] = _continued_trailing_edge(z)

    speeds = np.linalg.solve(matrix, right)[:count].astype(np.float64, copy=False)
    return PanelFlow(nodes=nodes, speeds=speeds)


def _continued_trailing_edge(nodes: ComplexArray) -> FloatArray:
    """Return the row that is zero when the mean speed continues linearly to the trailing edge."""
    lengths = np.abs(np.diff(nodes))
    row = np.zeros(len(nodes))
    first, last = lengths[0] / lengths[1], lengths[-1] / lengths[-2]
    row[:3] += [1.0, -1.0 - first, first]
    # the contour runs on, so on its way back speeds have the other sign
    row[-3:] -= [last, -1.0 - last, 1.0]
    return row


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
    points: ComplexArray, nodes: ComplexArray, strengths: FloatArray
) -> ComplexArray:
    """Return the velocity ``u - i v`` that the panels induce at points off the contour.

    Args:
        points: ``(count,)`` points ``x + i y``, none of them a node.
        nodes: ``(panels + 1,)`` ends of the panels.
        strengths: ``(panels + 1,)`` circulation per length at the nodes.

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
