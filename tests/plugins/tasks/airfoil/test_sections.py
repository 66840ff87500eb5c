import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from noether_plugins.tasks.airfoil import NacaSection, flow_around, naca_contour, read_section
from noether_plugins.tasks.airfoil.contours import first_crossing, to_complex
from noether_plugins.tasks.airfoil.panels import solve

_PARITY = os.environ.get("NOETHER_PARITY") or Path(__file__).parents[5] / "shared" / "parity"
_FILE = Path(_PARITY).with_name("airfoil") / "xfoil.json"
_SECTIONS = json.loads(_FILE.read_text()).get("sections") if _FILE.is_file() else []
CASES = [
    pytest.param(section["nodes"], result, id=f"{section['name']} at {result['alpha']:g} degrees")
    for section in _SECTIONS
    for result in section["results"]
]
NO_CASES = pytest.param(None, None, marks=pytest.mark.skip(reason="no numbers of XFOIL at hand"))

SHARP = naca_contour(NacaSection(camber=0.02, camber_position=0.4, thickness=0.12), 100)


def with_base(upper=0.01, lower=0.01, swept=0.0):
    """Return a section whose tail is cut: how high its base is, and how far its top is swept."""
    x, y = SHARP.T
    above = np.arange(len(x)) < len(x) // 2
    return np.stack(
        [
            x + np.where(above, swept, 0.0) * x**4,
            y + np.where(above, upper, -lower) * x,
        ],
        axis=1,
    )


BLUNT = with_base()
OBLIQUE = with_base(upper=0.02, swept=-0.02)


@pytest.mark.parametrize(("nodes", "result"), CASES or [NO_CASES])
def test_lift_and_pressure_are_those_of_xfoil(nodes, result):
    flow = flow_around(nodes, result["alpha"])

    assert flow.lift == pytest.approx(result["cl"], abs=6e-5)  # it prints four decimals
    np.testing.assert_allclose(flow.pressure, result["cp"], atol=6e-6)  # and five


@pytest.mark.parametrize("nodes", [SHARP, BLUNT, OBLIQUE], ids=["sharp", "blunt", "oblique"])
def test_a_section_may_go_either_way_round(nodes):
    flow, turned = flow_around(nodes, 3.0), flow_around(nodes[::-1], 3.0)

    assert turned.lift == pytest.approx(flow.lift, abs=1e-12)
    np.testing.assert_allclose(turned.pressure[::-1], flow.pressure, atol=1e-12)


@pytest.mark.parametrize(
    ("closed", "given"),
    [
        (np.concatenate([BLUNT, BLUNT[:1]]), slice(0, -1)),
        (np.concatenate([BLUNT[-1:], BLUNT]), slice(1, None)),
        (np.concatenate([BLUNT, BLUNT[:1]])[::-1], slice(None, 0, -1)),
    ],
    ids=["from the upper tail", "from the lower tail", "clockwise"],
)
def test_a_blunt_section_may_run_along_its_base(closed, given):
    flow = flow_around(closed, 3.0)

    assert flow.pressure.shape == (len(closed),)
    assert flow.pressure[0] == flow.pressure[-1]
    np.testing.assert_allclose(flow.pressure[given], flow_around(BLUNT, 3.0).pressure, atol=1e-12)


def test_an_open_tail_of_hardly_any_height_is_a_sharp_one():
    nodes = with_base(upper=1e-5, lower=1e-5)

    open_tail, closed = flow_around(nodes, 3.0).pressure, flow_around(SHARP, 3.0).pressure
    np.testing.assert_allclose(open_tail[2:-2], closed[2:-2], atol=5e-3)


@pytest.mark.parametrize(
    "nodes",
    [SHARP, BLUNT, np.concatenate([BLUNT[-1:], BLUNT])[::-1]],
    ids=["sharp", "blunt", "along the base, clockwise"],
)
def test_points_may_come_several_times(nodes):
    places = np.sort(np.append(np.arange(len(nodes)), [0, 0, 17, 50, len(nodes) - 1]))

    flow, once = flow_around(nodes[places], 3.0), flow_around(nodes, 3.0)

    assert flow.lift == once.lift
    np.testing.assert_array_equal(flow.pressure, once.pressure[places])


@pytest.mark.parametrize("gap", [1e-12, 1e-6])
def test_a_tail_that_rounding_opens_is_a_sharp_one(gap):
    nodes = SHARP.copy()
    nodes[-1] -= [gap, 0.0]

    np.testing.assert_allclose(
        flow_around(nodes, 3.0).pressure[3:-3], flow_around(SHARP, 3.0).pressure[3:-3], atol=5e-3
    )


def test_a_thin_tail_that_curves_within_its_last_panels_changes_no_more_than_they_do():
    nodes = SHARP * [1.0, 0.2]
    nodes[:, 1] += 2.0 * np.maximum(nodes[:, 0] - 0.9, 0.0) ** 2

    # of a quarter of the nodes, the tangents at the tail lean out of it
    fine, coarse = flow_around(nodes, 0.0), flow_around(nodes[::4], 0.0)

    assert coarse.lift == pytest.approx(fine.lift, rel=0.05)
    assert coarse.pressure.min() > -4  # of a tail outside, Cp comes out as -60,000


def test_a_mirrored_section_at_the_opposite_angle_has_the_opposite_lift():
    mirrored = OBLIQUE * [1, -1]

    assert flow_around(mirrored, -4.0).lift == pytest.approx(-flow_around(OBLIQUE, 4.0).lift)


def streamfunction(flow, points):
    """Integrate vortices and sources along the panels and the base, by Gauss's rule."""
    abscissae, weights = np.polynomial.legendre.leggauss(60)
    share, weights = (abscissae + 1) / 2, weights / 2
    ends = to_complex(flow.outline)
    strengths = np.append(flow.speeds, flow.speeds[0]).astype(complex)
    total = points.imag.copy()
    for at, (start, end) in enumerate(pairwise(ends)):
        offsets = points[:, None] - (start + share * (end - start))
        at_base = at == len(ends) - 2
        values = (
            np.full(len(share), flow.base)
            if at_base
            else strengths[at] + share * (strengths[at + 1] - strengths[at])
        )
        # The angle counts from the inward normal, so that its cut runs downstream.
        angles = np.angle(offsets / (1j * (end - start)))
        kernel = -values.real * np.log(np.abs(offsets)) + values.imag * angles
        total += kernel @ weights * abs(end - start) / (2 * np.pi)
    return total


def test_the_body_with_an_oblique_base_is_a_streamline():
    flow = solve(OBLIQUE)
    # Inside, a third of the way from the surface to the mean line, at mid-panel distances.
    x = np.linspace(0.1, 0.9, 9)
    upper = np.interp(x, OBLIQUE[:51, 0][::-1], OBLIQUE[:51, 1][::-1])
    lower = np.interp(x, OBLIQUE[50:, 0], OBLIQUE[50:, 1])
    inside = np.concatenate([x + 1j * (upper + 2 * lower) / 3, x + 1j * (2 * upper + lower) / 3])

    found = streamfunction(flow, inside)

    assert np.ptp(inside.imag) > 0.04  # of which a stream alone would show everything
    assert np.ptp(found) < 2e-4


def test_the_base_sheds_by_the_angles_that_it_makes_with_the_bisector():
    flow = solve(OBLIQUE)
    base = complex(*(OBLIQUE[0] - OBLIQUE[-1]))
    last = complex(*(OBLIQUE[-1] - OBLIQUE[-2]))
    first = complex(*(OBLIQUE[1] - OBLIQUE[0]))
    bisector = (last / abs(last) - first / abs(first)) / 2

    across = bisector.conjugate() * base / abs(base)
    assert abs(across.real) > 0.2  # it is oblique
    assert flow.speeds[0] == pytest.approx(-flow.speeds[-1], abs=1e-12)
    assert flow.base == pytest.approx(
        -across / 2 * (flow.speeds[0] - flow.speeds[-1]), rel=0.02
    )  # chords for tangents


def test_velocity_around_a_blunt_section_comes_from_panels_and_base():
    flow = solve(OBLIQUE)
    points = np.array([(1.3, 0.2), (-0.4, 0.1), (0.5, 0.5), (1.05, -0.1)])
    step = 1e-5
    right, up = step * np.eye(2)

    def psi(moved):
        return streamfunction(flow, to_complex(moved))

    u = (psi(points + up) - psi(points - up)) / (2 * step)
    v = (psi(points - right) - psi(points + right)) / (2 * step)

    np.testing.assert_allclose(flow.velocity(points), np.stack([u, v], axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (SHARP[:5], "4 panels, expected at least 8"),
        (np.where(np.arange(101)[:, None] == 30, np.nan, SHARP), "NaN or infinity"),
        (SHARP * [1, 0], "enclose no area"),
        (SHARP[:, :1], r"shape \(101, 1\)"),
        (SHARP[0], r"shape \(2,\)"),
        (SHARP[:0], "0 panels"),
        (SHARP[[0] * 20], "0 panels"),
        (np.concatenate([SHARP[:20], SHARP[22:19:-1], SHARP[23:]]), "panels cross or touch"),
        (with_base(upper=-0.02, lower=-0.02), r"panels cross or touch, the one from \(.*\) and"),
        (np.zeros((4001, 2)), "4001 of them, and the flow around at most 4000 is found"),
        (SHARP[:60], "apart; give a contour that goes around a section"),
        (SHARP[:-1], r"the tail at \(1, 0\) is sharp, .*repeat the first point at the end"),
        (
            np.concatenate([SHARP[50:], SHARP[1:51]]),
            r"begin at \(0, 0\), which is not the tail; begin at \(1, ",
        ),
    ],
)
def test_what_is_no_section_is_refused_with_the_reason(nodes, message):
    with pytest.raises(ValueError, match=f"^points: .*{message}"):
        flow_around(nodes, 0.0)


def test_an_angle_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^angle_of_attack: nan is not an angle"):
        flow_around(SHARP, float("nan"))


def test_panels_that_only_touch_count_as_crossing():
    points = [(0, 0), (2, 0), (2, 2), (1, 0), (0, 2)]

    assert first_crossing(np.array([*points, points[0]], dtype=float)) == (0, 2)
    assert first_crossing(np.array(points[:3], dtype=float)) is None


SELIG = "A section  12%\n" + "\n".join(f"  {x:9.6f}  {y:9.6f}" for x, y in BLUNT) + "\n"
LEDNICER = (
    "A section  12%\n   51.       51.\n\n"
    + "\n".join(f"{x:9.6f} {y:9.6f}" for x, y in BLUNT[50::-1])
    + "\n\n"
    + "\n".join(f"{x:9.6f} {y:9.6f}" for x, y in BLUNT[50:])
    + "\n"
)


POINTS = SELIG.split("\n", 1)[1]
WRITTEN = {
    "Selig": SELIG,
    "Lednicer": LEDNICER,
    "ends of lines of Windows": SELIG.replace("\n", "\r\n"),
    "ends of lines of old Macs": SELIG.replace("\n", "\r"),
    "an end of file of DOS": SELIG + "\x1a",
    "a byte order mark": "\ufeff" + SELIG,
    "separated by commas": SELIG.replace("  0.", ", 0."),
    "notes behind": SELIG + "http://example.org/a section\n20 nov 2005\n",
    "comments": "# made by hand\n" + SELIG.replace("\n", "\n! a comment 1 2\n"),
    "a number of points": SELIG.replace("\n", "\n 101\n", 1),
    "a grid of MSES": SELIG.replace("\n", "\n -2.0 3.0 -2.5 3.5\n", 1),
    "a second line of names": SELIG.replace("\n", "\nMH 32\n", 1),
    "points twice": SELIG.replace("\n", "\n  1.000000 0.010000\n", 1),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_files_of_all_kinds_give_the_same_section(text, tmp_path):
    file = tmp_path / "section.dat"
    file.write_bytes(text.encode())

    section = read_section(file)

    assert section.name == "A section  12%"
    np.testing.assert_allclose(section.nodes, BLUNT, atol=1e-6)


def test_a_file_may_have_no_name_or_one_of_another_code_page(tmp_path):
    file = tmp_path / "e423.dat"
    file.write_text(POINTS)
    assert read_section(file).name == "e423"

    file.write_bytes(b"G\xf6ttingen\n" + POINTS.encode())
    np.testing.assert_allclose(read_section(file).nodes, BLUNT, atol=1e-6)


def test_a_name_of_two_numbers_is_no_count_of_points(tmp_path):
    file = tmp_path / "section.dat"
    file.write_text("63 215\n" + POINTS)

    section = read_section(file)

    assert section.name == "63 215"
    np.testing.assert_allclose(section.nodes, BLUNT, atol=1e-6)


@pytest.mark.parametrize("comment", ["# angle_of_attack: 4.5", "!Angle of attack = 4.5 degrees"])
def test_a_comment_may_say_the_angle_of_attack(comment, tmp_path):
    file = tmp_path / "section.dat"
    file.write_text(f"{comment}\n{SELIG}")
    assert read_section(file).angle_of_attack == 4.5

    file.write_text(f"# angle_of_attack: steep\n{SELIG}")
    with pytest.raises(ValueError, match=r"section\.dat, line 1: 'steep' is no angle of attack"):
        read_section(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no points"),
        ("A section\n", "holds no points"),
        (SELIG.replace("\n", "\nhalf way\n"), "line 4: 'half way' is no point"),
        (SELIG + "0.1 0.2 0.3\n", "line 103: .* is no point"),
        (SELIG + "0.1 O.2\n", "line 103: '0.1 O.2' is no point"),
        (SELIG.replace("1.000000", "1,000000", 1), "line 2: .* is no point"),
        (SELIG.replace("\n", "\n100\n", 1), "it says 100 points, and holds 101"),
        (LEDNICER.replace("51.       51.", "51.       40."), "51 points above and 40 below"),
    ],
)
def test_files_of_anything_else_are_refused_with_name_and_line(text, message, tmp_path):
    file = tmp_path / "section.dat"
    file.write_text(text)

    with pytest.raises(ValueError, match=rf"section\.dat.*{message}"):
        read_section(file)
