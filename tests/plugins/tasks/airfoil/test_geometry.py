import numpy as np
import pytest

from noether_plugins.tasks.airfoil.contours import (
    close_contour,
    distances,
    is_inside,
    node_normals,
    signed_area,
)
from noether_plugins.tasks.airfoil.geometry import (
    NacaSection,
    naca_contour,
    turn_into_stream,
    turn_to_chord,
)

NACA_2412 = NacaSection(camber=0.02, camber_position=0.4, thickness=0.12)

# Abbott and von Doenhoff, Theory of Wing Sections, appendix III: NACA 0012, in percent of the
# chord.
NACA_0012_STATIONS = [2.5, 5.0, 10.0, 20.0, 30.0, 50.0, 70.0, 90.0, 95.0]
NACA_0012_ORDINATES = [2.615, 3.555, 4.683, 5.737, 6.002, 5.294, 3.664, 1.448, 0.807]

L_SHAPE = [(2, 0), (2, 1), (1, 1), (1, 2), (1, 3), (0, 3), (0, 2), (0, 1), (0, 0), (1, 0)]


def circle(n_panels):
    angles = 2 * np.pi * np.arange(n_panels) / n_panels
    return close_contour(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_a_symmetric_section_has_the_tabulated_ordinates_less_what_closes_the_tail():
    nodes = naca_contour(NacaSection(camber=0, camber_position=0.4, thickness=0.12), 4000)
    x = np.array(NACA_0012_STATIONS) / 100
    expected = np.array(NACA_0012_ORDINATES) / 100 - 5 * 0.12 * (0.1036 - 0.1015) * x**4

    upper = np.interp(x, nodes[2000::-1, 0], nodes[2000::-1, 1])
    lower = np.interp(x, nodes[2000:, 0], nodes[2000:, 1])

    np.testing.assert_allclose(
        upper, expected, atol=1e-5
    )  # the table has five decimals of the chord
    np.testing.assert_allclose(lower, -expected, atol=1e-5)


def test_the_mean_line_peaks_at_the_camber_where_the_camber_position_says():
    nodes = naca_contour(NacaSection(camber=0.05, camber_position=0.3, thickness=0.1), 4000)

    upper = np.interp(0.3, nodes[2000::-1, 0], nodes[2000::-1, 1])
    lower = np.interp(0.3, nodes[2000:, 0], nodes[2000:, 1])

    assert (upper + lower) / 2 == pytest.approx(0.05, abs=1e-6)


def test_a_cambered_section_is_as_thick_at_right_angles_to_its_mean_line_as_without_camber():
    section = NacaSection(camber=0.06, camber_position=0.4, thickness=0.15)
    flat = naca_contour(NacaSection(camber=0, camber_position=0.4, thickness=0.15), 60)
    nodes = naca_contour(section, 60)

    across = (
        nodes[1:30] - nodes[59:30:-1]
    )  # upper minus lower node of the same place on the mean line
    np.testing.assert_allclose(np.hypot(*across.T), 2 * flat[1:30, 1], atol=1e-12)
    x = flat[1:30, 0]
    slopes = 2 * 0.06 / np.where(x < 0.4, 0.4, 0.6) ** 2 * (0.4 - x)
    np.testing.assert_allclose(across[:, 0] + slopes * across[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize("n_panels", [8, 61, 160])
def test_a_section_goes_once_around_counter_clockwise_from_its_closed_tail(n_panels):
    nodes = naca_contour(NACA_2412, n_panels)

    assert nodes.shape == (n_panels + 1, 2)
    assert np.array_equal(nodes[0], nodes[-1])
    np.testing.assert_allclose(nodes[0], [1, 0], atol=1e-12)
    assert nodes[1, 1] > nodes[-2, 1]
    assert signed_area(nodes) > 0


def test_nodes_gather_at_nose_and_tail():
    lengths = np.hypot(*np.diff(naca_contour(NACA_2412, 160), axis=0).T)

    assert lengths[0] < lengths[40] / 10
    assert lengths[80] < lengths[40] / 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("camber", -0.01),
        ("camber", 0.1),
        ("camber_position", 0.0),
        ("thickness", 12),
        ("thickness", float("nan")),
    ],
)
def test_a_section_outside_its_family_is_refused_with_the_value(name, value):
    with pytest.raises(
        ValueError, match=rf"^{name}: {value} is outside .*; give it as a fraction of the chord"
    ):
        NacaSection(**{"camber": 0.02, "camber_position": 0.4, "thickness": 0.12, name: value})


def test_too_few_panels_are_refused_with_their_number():
    with pytest.raises(ValueError, match=r"^n_panels: 7 is too few .* at least 8"):
        naca_contour(NACA_2412, 7)


def test_closing_orients_a_clockwise_contour_and_keeps_its_first_point():
    clockwise = [L_SHAPE[0], *L_SHAPE[:0:-1]]

    nodes = close_contour(clockwise)

    assert np.array_equal(nodes, [*L_SHAPE, L_SHAPE[0]])
    assert np.array_equal(close_contour(nodes), nodes)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((9, 3)), r"shape \(9, 3\), expected \(count, 2\)"),
        (np.full((9, 2), np.nan), "NaN or infinity"),
        (L_SHAPE[:7], "7 panels, expected at least 8"),
        (np.empty((0, 2)), "0 panels, expected at least 8"),
        ([*L_SHAPE[:3], *L_SHAPE[2:]], "points 2 and 3 coincide"),
        ([(x, 0) for x in (0, 1, 2, 3, 4, 3, 2, 1)], "enclose no area"),
    ],
)
def test_points_that_are_no_contour_are_refused_with_the_reason(points, message):
    with pytest.raises(ValueError, match=f"^points: .*{message}"):
        close_contour(points)


def test_node_normals_point_outward_and_converge_at_second_order_on_a_smooth_body():
    errors = []
    for n_panels in (40, 80):
        nodes = turn_into_stream(
            circle(n_panels) * [1.0, 0.5], 20
        )  # an ellipse, where they are not exact by symmetry
        angles = np.linspace(0, 2 * np.pi, n_panels + 1)
        exact = np.stack([0.5 * np.cos(angles), np.sin(angles)], axis=1)
        exact = turn_into_stream(exact / np.hypot(*exact.T)[:, None] + [0.5, 0], 20) - [0.5, 0]
        errors.append(np.abs(node_normals(nodes) - exact)[1:-1].max())

    assert errors[0] < 0.02
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_inside_and_distance_agree_with_a_circle():
    points = np.random.default_rng(0).uniform(-2, 2, (500, 2))
    radii = np.hypot(*points.T)
    nodes = circle(4000)

    sagitta = 1 - np.cos(np.pi / 4000)  # how far the polygon lies inside the circle
    np.testing.assert_allclose(distances(nodes, points), np.abs(radii - 1), atol=sagitta)
    assert np.array_equal(is_inside(nodes, points), radii < 1)


def test_inside_and_distance_hold_for_a_contour_with_a_hollow():
    nodes = close_contour(L_SHAPE)
    points = np.array([(0.5, 2.5), (1.5, 0.5), (1.5, 1.5), (1.5, 2.0), (-1.0, 1.0), (3.0, -1.0)])

    assert is_inside(nodes, points).tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(distances(nodes, points), [0.5, 0.5, 0.5, 0.5, 1.0, np.sqrt(2)])


def test_a_positive_angle_of_attack_raises_the_nose_and_leaves_mid_chord():
    turned = turn_into_stream(np.array([(0.0, 0.0), (0.5, 0.0), (1.0, 0.0)]), 30)

    root = np.sqrt(3) / 4
    np.testing.assert_allclose(
        turned, [(0.5 - root, 0.25), (0.5, 0.0), (0.5 + root, -0.25)], atol=1e-12
    )


def test_turning_to_the_chord_undoes_turning_into_the_stream():
    nodes = naca_contour(NACA_2412, 60)

    np.testing.assert_allclose(turn_to_chord(turn_into_stream(nodes, 7.0), 7.0), nodes, atol=1e-12)


def test_an_angle_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"^angle_of_attack: nan .*finite degrees"):
        turn_into_stream(np.zeros((3, 2)), float("nan"))
