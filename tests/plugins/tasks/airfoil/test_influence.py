import numpy as np
import pytest

from noether_plugins.tasks.airfoil.influence import induced_streamfunction, induced_velocity

NODES = np.array(
    [0.1 + 0.2j, 0.9 + 0.5j, 1.1 + 1.4j, -0.3 + 0.8j]
)  # three panels, of three lengths, left open
POINTS = np.array([0.5 + 0.9j, -1.0 + 0.3j, 3.0 - 2.0j, 0.95 + 0.4j])
STRENGTHS = np.array([0.7, -1.3, 0.4, 2.1])


def integrate(kernel, points):
    """Sum the strengths times *kernel* of the offset along the panels, by Gauss and Legendre's
    rule.
    """
    abscissae, weights = np.polynomial.legendre.leggauss(200)
    share, weights = (abscissae + 1) / 2, weights / 2
    total = np.zeros(len(points), dtype=complex)
    for start, end, first, last in zip(
        NODES[:-1], NODES[1:], STRENGTHS[:-1], STRENGTHS[1:], strict=True
    ):
        offsets = points[:, None] - (start + share * (end - start))
        total += kernel(offsets) @ (weights * (first + share * (last - first))) * abs(end - start)
    return total


def test_the_streamfunction_is_the_integral_of_vortices_along_the_panels():
    exact = integrate(lambda offsets: -np.log(np.abs(offsets)) / (2 * np.pi), POINTS).real

    np.testing.assert_allclose(induced_streamfunction(POINTS, NODES) @ STRENGTHS, exact, atol=1e-12)


def test_the_streamfunction_stays_exact_on_the_nodes_themselves():
    exact = integrate(lambda offsets: -np.log(np.abs(offsets)) / (2 * np.pi), NODES).real

    # The rule loses digits at the logarithm's end: its error there is of the order of 1 / 200^2.
    np.testing.assert_allclose(induced_streamfunction(NODES, NODES) @ STRENGTHS, exact, atol=1e-5)


def test_the_velocity_is_the_integral_of_vortices_along_the_panels():
    exact = integrate(lambda offsets: 1 / (2j * np.pi * offsets), POINTS)

    np.testing.assert_allclose(induced_velocity(POINTS, NODES, STRENGTHS), exact, atol=1e-12)


@pytest.mark.parametrize("column", range(4))
def test_each_column_of_the_streamfunction_is_what_its_own_node_adds(column):
    alone = np.eye(4)[column]
    step = 1e-5

    streamfunction = [
        induced_streamfunction(POINTS + move, NODES) @ alone
        for move in (step, -step, 1j * step, -1j * step)
    ]
    velocity = induced_velocity(POINTS, NODES, alone)

    # u is the streamfunction's slope in y, v its fall in x; central differences are good to step^2
    # and to 1e-16 / step.
    np.testing.assert_allclose(
        (streamfunction[2] - streamfunction[3]) / (2 * step), velocity.real, atol=1e-7
    )
    np.testing.assert_allclose(
        (streamfunction[0] - streamfunction[1]) / (2 * step), velocity.imag, atol=1e-7
    )
