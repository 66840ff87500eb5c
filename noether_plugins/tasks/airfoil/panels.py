"""Ideal flow around a closed contour: a linear-strength vortex panel method with the Kutta
condition.
"""

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
from noether_plugins.tasks.airfoil.influence import induced_streamfunction, induced_velocity


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
        """Cp at the nodes, ``(panels + 1,)``: 1 at a stagnation point, 0 where the free stream's
        speed is met.
        """
        return 1.0 - self.speeds**2

    @property
    def circulation(self) -> float:
        """Circulation, positive counter-clockwise; the speed is linear along each panel, so this
        sum is exact.
        """
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
                f"points: {points[at_node][0]} is a node of the contour; move it off, or take speeds there"
            )
        conjugate = 1 + induced_velocity(z, nodes, self.speeds)
        return np.stack([conjugate.real, -conjugate.imag], axis=1)


def solve(contour: ArrayLike) -> PanelFlow:
    """Find the flow around a contour that leaves it smoothly at its first node.

    The contour carries a vortex sheet that is linear on each panel. The streamfunction is made the
    same at every node; then the fluid inside is at rest and the sheet's strength is the surface
    speed. (Asking for the streamfunction, not for zero normal velocity at panel middles, keeps the
    method free of saw-tooth solutions and second order in the length of panels.) The trailing edge
    is one place but two nodes, so its equation counts once and two more close the system, both as
    in Drela, XFOIL (1989): the speeds on the two sides agree (Kutta), and their mean continues the
    mean of the two sides upstream in a straight line, which stays well posed for a cusp, where the
    two sides are parallel and nothing else tells their strengths apart.

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
    matrix = np.zeros(
        (count + 1, count + 1)
    )  # a strength for each node, then the streamfunction on the body
    right = np.zeros(count + 1)

    matrix[: count - 1, :count] = induced_streamfunction(z[:-1], z)
    matrix[: count - 1, count] = -1.0
    right[: count - 1] = -z[:-1].imag
    matrix[count - 1, [0, count - 1]] = 1.0
    matrix[count, :count] = _continued_trailing_edge(z)

    speeds = np.linalg.solve(matrix, right)[:count].astype(np.float64, copy=False)
    return PanelFlow(nodes=nodes, speeds=speeds)


def _continued_trailing_edge(nodes: ComplexArray) -> FloatArray:
    """Row that is zero when the trailing edge's mean speed continues the panels before it linearly."""
    lengths = np.abs(np.diff(nodes))
    row = np.zeros(len(nodes))
    for sign, near, next_one in ((1.0, lengths[0], lengths[1]), (-1.0, lengths[-1], lengths[-2])):
        ratio = near / next_one
        side = slice(None, 3) if sign > 0 else slice(-1, -4, -1)
        row[side] = sign * np.array([1.0, -1.0 - ratio, ratio])
    return row
