import numpy as np
import pytest
from scipy.special import k1

from noether_plugins.tasks.darcy.permeability import gaussian_field
from noether_plugins.tasks.darcy.solver import cell_centres, solve

CELLS = (16, 32, 64)


def smooth(cells):
    """Return k and f of a made-up pressure, that pressure, and its flux; k is smooth."""
    x, y = np.moveaxis(cell_centres(cells), -1, 0)
    k = np.exp(0.7 * np.sin(2 * x + y))
    slope = 0.7 * k * np.cos(2 * x + y)

    p = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
    p_x = np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y)
    p_y = 2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
    laplacian = -5 * np.pi**2 * p
    source = -(2 * slope * p_x + slope * p_y + k * laplacian)
    return k, source, p, np.stack([-k * p_x, -k * p_y], axis=-1)


def layered(cells, left=1.0, right=20.0):
    """Return the same of a pressure X(x) sin(pi y), where k jumps at x = 1/2.

    X is the exact solution of one dimension whose k X' = cos(pi x) + c goes on across the jump, and
    c makes X zero at both ends.
    """
    x, y = np.moveaxis(cell_centres(cells), -1, 0)
    c = 2 / np.pi * (1 / right - 1 / left) / (1 / left + 1 / right)

    def to_the_left(x):
        return (np.sin(np.pi * x) / np.pi + c * x) / left

    def to_the_right(x):
        return to_the_left(0.5) + ((np.sin(np.pi * x) - 1) / np.pi + c * (x - 0.5)) / right

    assert to_the_right(1.0) == pytest.approx(0, abs=1e-12)
    profile = np.where(x < 0.5, to_the_left(x), to_the_right(x))
    k = np.where(x < 0.5, left, right)
    across, along = np.sin(np.pi * y), np.pi * np.cos(np.pi * y)
    source = (np.pi * np.sin(np.pi * x) + k * np.pi**2 * profile) * across
    flux = np.stack([-(np.cos(np.pi * x) + c) * across, -k * profile * along], axis=-1)
    return k, source, profile * across, flux


@pytest.mark.parametrize("problem", [smooth, layered])
def test_pressure_and_flux_are_exact_to_second_order(problem):
    errors = []
    for cells in CELLS:
        permeability, source, pressure, flux = problem(cells)
        flow = solve(permeability, source)
        errors.append(
            [
                np.abs(flow.pressure - pressure).max() / np.abs(pressure).max(),
                np.abs(flow.flux - flux).max() / np.abs(flux).max(),
            ]
        )

    assert np.max(errors[-1]) < 2e-3
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2, atol=0.06)


def test_what_the_sources_give_flows_out_through_the_sides():
    permeability = np.exp(2 * gaussian_field(np.random.default_rng(3), 24, 0.1))

    flow = solve(permeability, np.ones((24, 24)))

    x, y = flow.flux_through_x, flow.flux_through_y
    through = np.concatenate([x[-1], -x[0], y[:, -1], -y[:, 0]])
    assert through.sum() / 24 == pytest.approx(1, abs=1e-12)
    assert through.min() > 0
    assert flow.pressure.min() > 0


def test_a_ground_that_lets_twice_as_much_through_has_half_the_pressure_and_the_same_flux():
    permeability = np.exp(gaussian_field(np.random.default_rng(3), 12, 0.3))
    one, two = solve(permeability, np.ones((12, 12))), solve(2 * permeability, np.ones((12, 12)))

    np.testing.assert_allclose(two.pressure, one.pressure / 2, atol=1e-12)
    np.testing.assert_allclose(two.flux, one.flux, atol=1e-12)


def test_a_turned_ground_has_the_turned_flow():
    permeability = np.exp(gaussian_field(np.random.default_rng(3), 13, 0.3))
    flow, turned = (solve(k, np.ones((13, 13))) for k in (permeability, permeability.T))

    np.testing.assert_allclose(turned.pressure, flow.pressure.T, atol=1e-12)
    np.testing.assert_allclose(turned.flux, flow.flux.transpose(1, 0, 2)[..., ::-1], atol=1e-12)


@pytest.mark.parametrize("length", [0.05, 0.1])
def test_fields_have_mean_0_and_variance_1_and_the_correlation_asked_for(length):
    rng = np.random.default_rng(0)
    fields = np.stack([gaussian_field(rng, 31, length) for _ in range(600)])

    assert fields.mean() == pytest.approx(0, abs=0.05)
    assert fields.var() == pytest.approx(1, abs=0.05)
    # the covariance (tau^2 - Laplacian)^-2 in the whole plane (Whittle, 1954): the sides are far
    for step in (1, 2, 3):
        away = step / 31 / length
        found = np.corrcoef(fields[:, 15, 15], fields[:, 15 + step, 15])[0, 1]
        assert found == pytest.approx(away * k1(away), abs=0.06)


def test_a_finer_grid_shows_the_same_field_more_finely():
    coarse, fine = (gaussian_field(np.random.default_rng(5), cells, 0.3) for cells in (20, 60))

    # the middle of a cell is that of the middle one of nine
    np.testing.assert_allclose(fine[1::3, 1::3], coarse, atol=1e-10)
