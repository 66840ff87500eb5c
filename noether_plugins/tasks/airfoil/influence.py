"""What a loop of straight panels with linearly varying vorticity induces, in closed form.

Sums of integrals of ``log(z - s)`` and ``1 / (z - s)`` along each panel, times a strength that is
linear on it (Katz and Plotkin, Low-Speed Aerodynamics, section 11.4.2, in complex form). Strength
is positive counter-clockwise.
"""

import numpy as np

from noether_plugins.tasks.airfoil.contours import ComplexArray, FloatArray


def induced_streamfunction(points: ComplexArray, nodes: ComplexArray) -> FloatArray:
    """Streamfunction at points for unit strength at one node, falling linearly to zero at its
    neighbours.

    Args:
        points: ``(count,)`` places ``x + i y``; they may be nodes.
        nodes: ``(panels + 1,)`` ends of the panels.

    Returns:
        ``(count, panels + 1)``: row per point, column per node.
    """
    offsets = points[:, None] - nodes
    offsets_in_log = np.where(
        offsets == 0, 1, offsets
    )  # any number: its logarithm meets a zero or cancels
    spans = np.diff(nodes)
    lengths = np.abs(spans)
    local = offsets[:, :-1] * (
        spans.conj() / lengths
    )  # the panel's own frame: it starts at 0 and runs along +x

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
    """Velocity ``u - i v`` that the panels induce at points off the contour.

    Args:
        points: ``(count,)`` places ``x + i y``, none of them a node.
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

    # Each panel adds log_ratio * (level + slope * point) - turn * rise. (einsum, for `@` would wake
    # BLAS threads, which cost more than these sums when the cores are busy.)
    log_ratios, _ = _logarithms(offsets)
    level_sums = np.einsum("ij,j->i", log_ratios, levels)
    slope_sums = np.einsum("ij,j->i", log_ratios, slopes)
    total = level_sums + points * slope_sums - turns @ np.diff(strengths)
    return np.asarray(total / (2j * np.pi))


def _logarithms(offsets: ComplexArray) -> tuple[ComplexArray, FloatArray]:
    """For each panel the log of its start's offset over its end's, and the log of the end's length.

    The ratio's angle is the one that the panel subtends, so that the cut is the panel itself. (One
    complex logarithm of the ratio is the same and takes twice the time.)
    """
    lengths = 0.5 * np.log(offsets.real**2 + offsets.imag**2)
    ratios = np.empty((offsets.shape[0], offsets.shape[1] - 1), dtype=np.complex128)
    ratios.real = lengths[:, :-1] - lengths[:, 1:]
    ratios.imag = np.angle(offsets[:, :-1] * offsets[:, 1:].conj())
    return ratios, lengths[:, 1:]
