import attrs
import numpy as np
import pytest

from noether_plugins.tasks.airfoil.contours import close_contour, node_normals, panel_lengths
from noether_plugins.tasks.airfoil.geometry import NacaSection, naca_contour, turn_into_stream
from noether_plugins.tasks.airfoil.panels import (
    induced_streamfunction,
    induced_velocity,
    solve,
)

NACA_2412 = NacaSection(camber=0.02, camber_position=0.4, thickness=0.12)


def points_of(z):
    return np.stack([z.real, z.imag], axis=-1)


def cylinder(n_panels):
    """The unit circle from its rear stagnation point on: no circulation, by the Kutta condition."""
    angles = np.linspace(0, 2 * np.pi, n_panels + 1)
    return close_contour(points_of(np.exp(1j * angles[:-1]))), angles


@attrs.frozen
class Joukowski:
    """The exact flow around the image of a circle under z = zeta + 1 / zeta, cusped at z = 2.

    Milne-Thomson, Theoretical Aerodynamics, chapter 6: the flow around the circle with the
    circulation that puts the rear stagnation point at zeta = 1, over the derivative of the map, all
    turned so that the stream is along +x.
    """

    center: complex
    angle_of_attack: float  # degrees

    @property
    def radius(self):
        return abs(1 - self.center)

    @property
    def turn(self):
        return np.exp(-1j * np.deg2rad(self.angle_of_attack))

    @property
    def circulation(self):
        """Positive counter-clockwise, so negative with positive lift."""
        below = np.arcsin(self.center.imag / self.radius)
        return -4 * np.pi * self.radius * np.sin(np.deg2rad(self.angle_of_attack) + below)

    def circle(self, count, scale=1.0):
        start = np.angle(1 - self.center)
        return self.center + scale * self.radius * np.exp(
            1j * (start + 2 * np.pi * np.arange(count) / count)
        )

    def place(self, zeta):
        return self.turn * (zeta + 1 / zeta)

    def velocity(self, zeta):
        """Conjugate velocity u - i v at ``place(zeta)``."""
        away = zeta - self.center
        around = (
            self.turn
            - (self.radius / away) ** 2 / self.turn
            + self.circulation / (2j * np.pi * away)
        )
        return around / (1 - zeta**-2) / self.turn


JOUKOWSKI = Joukowski(center=-0.1 + 0.1j, angle_of_attack=5.0)  # 11 % thick, 5 % camber


def orders(errors):
    """Observed order between each resolution and its double."""
    return np.log2(np.array(errors[:-1]) / errors[1:])


def test_cp_on_a_cylinder_is_exact_to_second_order():
    errors = []
    for n_panels in (40, 80, 160, 320):
        nodes, angles = cylinder(n_panels)
        errors.append(
            np.abs(solve(nodes).pressure_coefficients - (1 - 4 * np.sin(angles) ** 2)).max()
        )

    assert errors[2] < 2e-3  # measured 1.5e-3, of a Cp that reaches -3
    np.testing.assert_allclose(orders(errors), 2, atol=0.05)


def test_speed_on_a_cylinder_has_the_sign_of_the_direction_along_the_contour():
    nodes, angles = cylinder(160)

    np.testing.assert_allclose(solve(nodes).speeds, -2 * np.sin(angles), atol=1e-3)


def test_velocity_around_a_cylinder_is_exact_to_second_order():
    z = 1.4 * np.exp(1j * np.linspace(0, 2 * np.pi, 37))
    exact = points_of(np.conj(1 - z**-2))

    errors = [
        np.abs(solve(cylinder(n)[0]).velocity(points_of(z)) - exact).max() for n in (40, 80, 160)
    ]

    assert errors[-1] < 1e-4
    np.testing.assert_allclose(orders(errors), 2, atol=0.05)


def test_the_fluid_inside_a_body_comes_to_rest_at_second_order():
    z = 0.5 * np.exp(1j * np.linspace(0, 2 * np.pi, 37))

    errors = [np.abs(solve(cylinder(n)[0]).velocity(points_of(z))).max() for n in (40, 80, 160)]

    assert errors[-1] < 2e-4
    np.testing.assert_allclose(orders(errors), 2, atol=0.05)


@pytest.mark.parametrize("center", [-0.1 + 0.1j, -0.05 + 0.02j, -0.15])
def test_lift_of_a_joukowski_section_is_exact_to_second_order(center):
    exact = Joukowski(center=center, angle_of_attack=5.0)
    errors = []
    for n_panels in (80, 160, 320):
        flow = solve(close_contour(points_of(exact.place(exact.circle(n_panels)))))
        errors.append(abs(flow.circulation / exact.circulation - 1))
        assert flow.lift_coefficient(chord=4) == pytest.approx(-flow.circulation / 2)

    assert errors[1] < 3e-4
    np.testing.assert_allclose(orders(errors), 2, atol=0.1)


def test_cp_of_a_joukowski_section_is_exact_up_to_its_cusp():
    errors = []
    for n_panels in (80, 160, 320):
        zeta = JOUKOWSKI.circle(n_panels)
        flow = solve(close_contour(points_of(JOUKOWSKI.place(zeta))))
        exact = (
            1 - np.abs(JOUKOWSKI.velocity(zeta[1:])) ** 2
        )  # without the cusp, where the map has no derivative
        errors.append(np.abs(flow.pressure_coefficients[1:-1] - exact))

    assert errors[1].max() < 0.025  # measured 0.021, at the nose, of a Cp that reaches -1.9
    assert errors[1].mean() < 0.0025
    off_cusp = [
        each[len(each) // 8 : -(len(each) // 8)].max() for each in errors
    ]  # at the cusp it is of first order
    assert np.all(orders(off_cusp) > 1.7)  # measured 1.8 and 2.0


def test_speed_at_a_cusp_is_the_same_on_both_sides_and_tends_to_the_exact_one():
    exact = abs(JOUKOWSKI.velocity(1 + 1e-6))
    errors = []
    for n_panels in (80, 160, 320):
        speeds = solve(close_contour(points_of(JOUKOWSKI.place(JOUKOWSKI.circle(n_panels))))).speeds
        assert speeds[0] == pytest.approx(-speeds[-1], abs=1e-9)
        errors.append(abs(speeds[-1] - exact))

    assert errors[-1] < 0.005
    assert np.all(
        orders(errors) > 0.7
    )  # the gap at a cusp closes faster than panels shrink: first order there, no more


def test_velocity_around_a_joukowski_section_is_exact_to_second_order():
    zeta = JOUKOWSKI.circle(37, scale=1.2)
    exact = points_of(np.conj(JOUKOWSKI.velocity(zeta)))

    errors = []
    for n_panels in (80, 160, 320):
        flow = solve(close_contour(points_of(JOUKOWSKI.place(JOUKOWSKI.circle(n_panels)))))
        errors.append(np.abs(flow.velocity(points_of(JOUKOWSKI.place(zeta))) - exact).max())

    assert errors[1] < 1e-3
    assert np.all(orders(errors) > 1.8)


@pytest.mark.parametrize("thickness", [0.02, 0.08, 0.2])
def test_a_symmetric_section_at_no_incidence_has_no_lift_and_equal_sides(thickness):
    flow = solve(naca_contour(NacaSection(camber=0, camber_position=0.4, thickness=thickness)))

    assert flow.lift_coefficient() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(flow.speeds, -flow.speeds[::-1], atol=1e-8)


def lift_slope(thickness):
    nodes = naca_contour(NacaSection(camber=0, camber_position=0.4, thickness=thickness))
    return solve(turn_into_stream(nodes, 1.0)).lift_coefficient() / np.sin(np.deg2rad(1.0))


def lift_slope_excess_per_thickness():
    """First-order growth of the lift slope over 2 pi, by conformal mapping (Theodorsen).

    The map of a flat plate to a circle takes a section of half thickness y to a near circle whose
    mean radius exceeds the plate's by 1 / pi times the integral of y / (x (1 - x)) over the chord,
    and lift grows with that radius.
    """
    angles = (np.arange(2000) + 0.5) * np.pi / 2000
    x = 0.5 * (1 + np.cos(angles))
    y = 5 * (0.2969 * np.sqrt(x) - 0.1260 * x - 0.3516 * x**2 + 0.2843 * x**3 - 0.1036 * x**4)
    return np.mean(2 * y / np.sin(angles))


def test_the_lift_slope_of_a_thin_section_tends_to_two_pi_in_proportion_to_its_thickness():
    slopes = {thickness: lift_slope(thickness) / (2 * np.pi) for thickness in (0.001, 0.01, 0.02)}

    assert slopes[0.001] == pytest.approx(
        1, abs=1e-3
    )  # thin-aerofoil theory, Katz and Plotkin, section 5.4
    for thickness, slope in slopes.items():
        assert slope - 1 == pytest.approx(lift_slope_excess_per_thickness() * thickness, rel=0.03)


def test_the_zero_lift_angle_of_a_thin_section_is_that_of_its_mean_line():
    nodes = naca_contour(NacaSection(camber=0.02, camber_position=0.4, thickness=0.001))
    at_rest, raised = (
        solve(turn_into_stream(nodes, angle)).lift_coefficient() for angle in (0.0, -2.0774)
    )

    assert at_rest == pytest.approx(
        2 * np.pi * np.deg2rad(2.0774), rel=5e-3
    )  # by Glauert's integral over the slope
    assert raised == pytest.approx(0, abs=1e-3)


def test_far_away_the_stream_is_free_and_what_is_left_is_that_of_a_vortex():
    flow = solve(turn_into_stream(naca_contour(NACA_2412), 4.0))
    directions = np.exp(1j * np.linspace(0, 2 * np.pi, 12))
    for distance in (100.0, 1e4):
        z = 0.5 + distance * directions
        vortex = flow.circulation / (2j * np.pi * (z - 0.5))
        left = flow.velocity(points_of(z)) - [1, 0]
        assert np.abs(left - points_of(np.conj(vortex))).max() < 0.01 * np.abs(vortex).max()


def test_beside_the_surface_the_fluid_moves_along_it_at_the_surface_speed():
    flow = solve(turn_into_stream(naca_contour(NACA_2412, 400), 4.0))
    middle = slice(
        20, -20
    )  # at the tail the sides are too near each other for a step of any length
    normals = ((node_normals(flow.nodes)[1:] + node_normals(flow.nodes)[:-1]) / 2)[middle]
    beside = ((flow.nodes[1:] + flow.nodes[:-1]) / 2)[middle] + 2e-4 * normals

    velocity = flow.velocity(beside)

    along = velocity @ np.array([[0, -1], [1, 0]])
    speeds = ((flow.speeds[1:] + flow.speeds[:-1]) / 2)[middle]
    # The step is 1/80 of the nose radius, and speeds up to 1.6 change by about that share across
    # it.
    np.testing.assert_allclose((velocity * normals).sum(axis=1), 0, atol=0.03)
    np.testing.assert_allclose((along * normals).sum(axis=1), speeds, atol=0.05)


def test_the_field_has_neither_sources_nor_vorticity():
    flow = solve(turn_into_stream(naca_contour(NACA_2412), 4.0))
    points = 0.5 * np.array([(-0.2, 0.1), (1.0, 0.4), (2.2, 0.2), (1.0, -0.3)])
    step = 2e-5
    d_dx, d_dy = (
        (flow.velocity(points + step * axis) - flow.velocity(points - step * axis)) / (2 * step)
        for axis in np.eye(2)
    )

    assert np.abs(d_dx).max() > 0.1  # or the next two would hold of a uniform stream
    np.testing.assert_allclose(
        d_dx[:, 0] + d_dy[:, 1], 0, atol=5e-7
    )  # step^2 times third derivatives of order 100
    np.testing.assert_allclose(d_dx[:, 1] - d_dy[:, 0], 0, atol=5e-7)


def test_pressure_adds_up_to_the_lift_of_the_circulation_and_to_no_drag():
    flow = solve(turn_into_stream(naca_contour(NACA_2412), 4.0))
    across = np.diff(flow.nodes, axis=0) @ np.array(
        [[0, -1], [1, 0]]
    )  # outward, as long as the panel
    pressures = (flow.pressure_coefficients[1:] + flow.pressure_coefficients[:-1]) / 2

    drag, lift = -pressures @ across

    assert lift == pytest.approx(flow.lift_coefficient(), rel=5e-3)
    assert drag == pytest.approx(0, abs=2e-3)  # d'Alembert, within the trapezoidal rule at the nose


def test_circulation_is_the_line_integral_of_velocity_around_the_body():
    flow = solve(turn_into_stream(naca_contour(NACA_2412), 4.0))
    ring = 1.5 * np.exp(2j * np.pi * np.arange(200) / 200)
    velocity = flow.velocity(points_of(0.5 + ring))

    around = (velocity * points_of(1j * ring)).sum() * 2 * np.pi / 200

    assert flow.circulation == pytest.approx(
        around, rel=1e-9
    )  # the rule is spectrally accurate on a ring
    assert panel_lengths(flow.nodes).sum() == pytest.approx(2.04, abs=0.01)


@pytest.mark.parametrize("n_panels", [160, 600])
def test_the_thinnest_section_is_solved_without_saw_teeth(n_panels):
    nodes = naca_contour(NacaSection(camber=0.06, camber_position=0.3, thickness=0.01), n_panels)
    speeds = np.abs(solve(turn_into_stream(nodes, 3.0)).speeds)

    quarter = (
        n_panels // 4
    )  # ends short of the kink in the mean line's curvature, where speed truly has a kink too
    for side in (speeds[1:quarter], speeds[-quarter:-1]):
        assert np.abs(np.diff(side, 3)).max() < 2e-3  # a saw-tooth of height h would show as 8 h
    assert (
        np.abs(np.diff(speeds))[[0, 1, -2, -1]].max() < 0.02
    )  # nor does the trailing edge itself jump


def test_the_direction_of_the_contour_does_not_matter():
    nodes = turn_into_stream(naca_contour(NACA_2412, 60), 4.0)

    np.testing.assert_allclose(solve(nodes[::-1]).speeds, solve(nodes).speeds, atol=1e-12)


def test_velocity_on_a_node_is_refused_with_the_point():
    flow = solve(cylinder(40)[0])

    with pytest.raises(
        ValueError, match=r"^points: \[1\. 0\.\] is a node of the contour; .* take speeds"
    ):
        flow.velocity(np.array([(3.0, 0.0), (1.0, 0.0)]))


def test_a_contour_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^points: 3 panels"):
        solve(cylinder(40)[0][:4])


# Three panels, of three lengths, left open
NODES = np.array([0.1 + 0.2j, 0.9 + 0.5j, 1.1 + 1.4j, -0.3 + 0.8j])
POINTS = np.array([0.5 + 0.9j, -1.0 + 0.3j, 3.0 - 2.0j, 0.95 + 0.4j])
STRENGTHS = np.array([0.7, -1.3, 0.4, 2.1])


def integrate(kernel, points):
    """Integrate the strengths times *kernel* of the offset along the panels, by Gauss's rule."""
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
