import csv
import os

import numpy as np
import pytest

from noether_core import ConfigError
from noether_core.tasks import TaskError, check_sample
from noether_plugins.tasks.airfoil import (
    NacaSection,
    flow_around,
    generate,
    naca_contour,
    turn_to_chord,
)
from noether_plugins.tasks.airfoil.config import AirfoilTaskConfig
from noether_plugins.tasks.airfoil.contours import distances, is_inside, outline
from noether_plugins.tasks.airfoil.dataset import CLEARANCE
from noether_plugins.tasks.airfoil.folder import open_folder, open_section, split
from noether_plugins.tasks.airfoil.panels import solve
from noether_plugins.tasks.airfoil.task import AirfoilTask
from tests.plugins.tasks.airfoil.test_sections import BLUNT, OBLIQUE, SHARP

PNG = b"\x89PNG\r\n\x1a\n"


def written(folder, name, nodes, header=""):
    file = folder / name
    file.write_text(
        f"{header}{name}\n" + "\n".join(f"{x:.9f} {y:.9f}" for x, y in np.asarray(nodes))
    )
    return file


@pytest.fixture
def folder(tmp_path):
    """Five sections: sharp, blunt, in percent of a chord elsewhere, clockwise, of few points."""
    made = tmp_path / "sections"
    made.mkdir()
    written(made, "a sharp one (1).dat", SHARP)
    written(made, "blunt.DAT", BLUNT)
    written(made, "percent.txt", 100 * OBLIQUE - [20, 1])
    written(made, "turned", SHARP[::-1])
    written(made, "few.dat", SHARP[::4])
    (made / ".hidden").write_text("no section")
    (made / "folder").mkdir()
    return made


def task_of(folder=None, seed=3, **options):
    where = None if folder is None else str(folder)
    small = {"n_train": 11, "n_test": 5, "n_surface": 13, "n_volume": 17, **options}
    return AirfoilTask(AirfoilTaskConfig(contours=where, **small), seed=seed)


def test_samples_are_those_that_generate_makes_of_the_seed_and_the_held_out_one():
    task = task_of()

    for samples, batch in (
        (task.train, generate(3, 11, 13, 17)),
        (task.test, generate(3 + 1_000_003, 5, 13, 17)),
    ):
        assert len(samples) == len(batch.sections)
        for number, sample in enumerate(samples):
            surface, volume = sample.groups["surface"], sample.groups["volume"]
            for found, made in (
                (surface.positions, batch.surface_positions),
                (surface.inputs["normal"], batch.surface_normals),
                (surface.fields["pressure"][:, 0], batch.surface_pressures),
                (volume.positions, batch.volume_positions),
                (volume.inputs["distance"][:, 0], batch.volume_distances),
                (volume.fields["velocity"], batch.volume_velocities),
            ):
                assert found.dtype == np.float32
                assert np.array_equal(found, made[number])


def test_samples_are_what_the_layout_says(folder):
    for task in (task_of(), task_of(folder)):
        for sample in (*task.train, *task.test):
            check_sample(sample, task.layout)
    assert task.layout.field_names == ("surface.pressure", "volume.velocity")
    assert task.layout.length == 1.0


def test_a_section_of_a_file_is_held_out_or_learnt_from(folder):
    sections = open_folder(folder)
    parts = split(sections, 0.4, seed=3)

    assert [len(part) for part in parts] == [3, 2]
    names = {section.section.name for section in sections}
    assert {section.section.name for part in parts for section in part} == names
    again = split(open_folder(folder), 0.4, seed=3)
    assert [each.section.name for each in parts.test] == [each.section.name for each in again.test]
    drawn = {
        tuple(each.section.name for each in split(sections, 0.4, seed).test) for seed in range(9)
    }
    assert len(drawn) > 3


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.5, 3), (0.99, 4)])
def test_some_sections_are_held_out_and_some_are_not(folder, share, count):
    assert len(split(open_folder(folder), share, seed=0).test) == count


def test_a_share_is_held_out_of_a_folder_alone():
    with pytest.raises(ConfigError, match="hold_out: is a share of the sections in contours"):
        AirfoilTaskConfig(hold_out=0.3)


def test_sections_of_files_take_turns_at_angles_of_their_own(folder):
    task = task_of(folder, hold_out=0.4)
    surfaces = [sample.groups["surface"].positions for sample in task.train]

    assert len({positions.tobytes() for positions in surfaces}) == 11
    more = task_of(folder, hold_out=0.4, n_train=13).train
    assert np.array_equal(more[2].groups["surface"].positions, surfaces[2])


@pytest.mark.parametrize("nodes", [SHARP, BLUNT, OBLIQUE, SHARP[::4]])
def test_tokens_of_a_file_lie_on_its_section_and_around_it_and_have_its_flow(nodes, tmp_path):
    for name in ("one.dat", "other.dat"):
        written(tmp_path, name, nodes)
    task = task_of(tmp_path, n_train=1, n_surface=101, n_volume=211)
    case = task._cases(is_held_out=False)(0)
    tokens, body = case.tokens, outline(case.contour)

    np.testing.assert_allclose(distances(body, tokens.surface_positions), 0, atol=1e-9)
    step = 1e-6 * tokens.surface_normals
    np.testing.assert_allclose(np.hypot(*tokens.surface_normals.T), 1, atol=1e-9)
    assert not is_inside(body, tokens.surface_positions + step).any()
    assert not is_inside(body, tokens.volume_positions).any()
    assert distances(body, tokens.volume_positions).min() >= CLEARANCE
    np.testing.assert_allclose(
        tokens.volume_velocities, solve(case.contour).velocity(tokens.volume_positions), atol=1e-12
    )
    # one in each stretch from tail to nose and back, so that none lies on a base or at its ends
    x = turn_to_chord(tokens.surface_positions, case.angle_of_attack)[:, 0]
    assert 0 < x.min() < 0.003
    assert np.all(np.diff(x[1 : x.argmin()]) < 0)
    assert np.all(np.diff(x[x.argmin() + 1 : -1]) > 0)
    to_ends = [
        np.linalg.norm(tokens.surface_positions - end, axis=1) for end in case.contour[[0, -1]]
    ]
    assert 0 < np.min(to_ends) < 0.003


def test_tokens_of_a_file_do_not_follow_its_nodes(tmp_path):
    # half of all nodes lie on a fiftieth of the upper side
    x = np.concatenate([np.linspace(1, 0.51, 20), np.linspace(0.509, 0.49, 60)])
    upper = np.interp(x, SHARP[50::-1, 0], SHARP[50::-1, 1])
    nose = SHARP[(SHARP[:, 0] < 0.48) | (np.arange(101) > 60)]
    written(tmp_path, "one.dat", np.concatenate([np.stack([x, upper], axis=1), nose]))
    written(tmp_path, "other.dat", SHARP)
    sections = {each.section.name: each for each in open_folder(tmp_path)}

    def shares_near_the_middle(name):
        task = task_of(tmp_path, n_surface=400, n_volume=1000)
        case = task._file_case(np.random.default_rng(0), sections[name])
        near = case.tokens.volume_positions[case.tokens.volume_distances < 0.05]
        return [
            np.mean(np.abs(turn_to_chord(points, case.angle_of_attack)[:, 0] - 0.5) < 0.02)
            for points in (case.tokens.surface_positions, near)
        ]

    clustered, even = shares_near_the_middle("one.dat"), shares_near_the_middle("other.dat")
    np.testing.assert_allclose(clustered, even, atol=0.02)
    assert np.max(clustered) < 0.1


def test_files_that_are_no_sections_are_refused_all_at_once_by_name_and_reason(folder):
    crossed = np.concatenate([SHARP[:20], SHARP[22:19:-1], SHARP[23:]])
    written(folder, "crossed.dat", crossed)
    written(folder, "few points.dat", SHARP[:5])
    written(folder, "flat.dat", SHARP * [1, 0])
    (folder / "README.md").write_text("These are sections.\n")
    (folder / "mühle.dat").write_text("Mühle\n1 0\n0.5 O.1\n")

    with pytest.raises(TaskError) as caught:
        task_of(folder).test  # noqa: B018  looking is the test
    lines = str(caught.value).splitlines()

    assert lines[0].startswith("task.contours: 5 of 10 files are no sections")
    assert [line.removeprefix(f"  {folder}/") for line in lines[1:]] == [
        "README.md: it holds no points; give a file of Selig's or Lednicer's format",
        f"crossed.dat: panels cross or touch, {str(lines[2]).split('touch, ')[1]}",
        "few points.dat: 4 panels, expected at least 8; add points",
        "flat.dat: they enclose no area; give a contour that goes around a body",
        "mühle.dat, line 3: '0.5 O.1' is no point; give x and y",
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_and_links_that_lead_nowhere_are_no_files(folder):
    os.mkfifo(folder / "pipe.dat")
    (folder / "link.dat").symlink_to(folder / "gone")

    with pytest.raises(TaskError, match=r"2 of 7 files") as caught:
        open_folder(folder)

    assert "link.dat: cannot be read: No such file" in str(caught.value)
    assert "pipe.dat: is no file of points" in str(caught.value)


def test_a_contour_whose_flow_no_equations_determine_is_refused_by_name(tmp_path, monkeypatch):
    file = written(tmp_path, "one.dat", SHARP)
    monkeypatch.setattr("noether_plugins.tasks.airfoil.folder._FASTEST", 1.0)

    with pytest.raises(
        TaskError, match=r"one\.dat: its flow cannot be found: the speed on it .*1\.\d"
    ):
        open_section(file)


def test_folders_without_two_files_are_refused(tmp_path):
    with pytest.raises(TaskError, match=r"^task\.contours: .*nowhere: cannot be listed"):
        task_of(tmp_path / "nowhere").train  # noqa: B018  looking is the test
    written(tmp_path, "one.dat", SHARP)
    with pytest.raises(TaskError, match=r"holds 1 files; give at least 2 coordinate files"):
        task_of(tmp_path).train  # noqa: B018  looking is the test


def test_nothing_is_read_before_samples_are_looked_at(tmp_path):
    assert task_of(tmp_path / "nowhere").layout.coordinates == 2


def rows_of(file):
    with file.open(newline="") as text:
        header, *rows = csv.reader(text)
    return header, np.array(rows, dtype=float)


@pytest.mark.parametrize(
    "nodes",
    [
        SHARP,
        np.concatenate([BLUNT, BLUNT[:1]]),
        (100 * np.concatenate([BLUNT[-1:], BLUNT]) - [20, 1])[::-1],
    ],
    ids=["sharp", "along the base", "clockwise in percent"],
)
def test_what_is_predicted_for_a_file_is_written_at_its_own_nodes(nodes, tmp_path):
    file = written(tmp_path, "one.dat", nodes, header="# angle_of_attack: 4\n")
    task = task_of()
    sample = task.read(file, task.layout)
    check_sample(sample, task.layout)
    truth = {name: points.fields for name, points in sample.groups.items()}
    out = tmp_path / "out"
    out.mkdir()

    files = task.write(file, truth, out)

    assert files == (out / "one_surface.csv", out / "one_volume.csv")
    header, surface = rows_of(files[0])
    assert header == ["x", "y", "pressure"]
    np.testing.assert_allclose(surface[:, :2], nodes, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(surface[:, 2], flow_around(nodes, 4.0).pressure, atol=1e-4)
    header, volume = rows_of(files[1])
    assert header == ["x", "y", "velocity_x", "velocity_y"]
    assert len(volume) == 17
    chord = np.ptp(nodes[:, 0])
    away = distances(
        nodes if np.array_equal(nodes[0], nodes[-1]) else outline(nodes), volume[:, :2]
    )
    np.testing.assert_allclose(
        away / chord, sample.groups["volume"].inputs["distance"][:, 0], rtol=0.02, atol=1e-3
    )


def test_velocities_of_a_file_are_along_its_own_axes(tmp_path):
    needle = naca_contour(NacaSection(camber=0, camber_position=0.4, thickness=0.01), 80)
    file = written(tmp_path, "needle.dat", needle, header="# angle_of_attack: 9\n")
    task = task_of(n_volume=499)
    truth = {name: points.fields for name, points in task.read(file, task.layout).groups.items()}

    _, volume = rows_of(task.write(file, truth, tmp_path)[1])

    u, v = volume[volume[:, 0] < -0.5, 2:].mean(axis=0)
    angle = np.rad2deg(np.arctan2(v, u))
    assert 9 < angle < 15  # that of the stream, and some upwash before the nose


def test_a_file_without_an_angle_is_at_none(tmp_path):
    file = written(tmp_path, "one.dat", SHARP)
    task = task_of()

    found = task.read(file, task.layout).groups["surface"].fields["pressure"][:, 0]

    np.testing.assert_allclose(found, flow_around(SHARP, 0.0).pressure, atol=1e-5)


def test_a_file_that_is_no_section_is_not_predicted_for(tmp_path):
    task = task_of()
    with pytest.raises(TaskError, match=r"nothing\.dat: cannot be read: No such file"):
        task.read(tmp_path / "nothing.dat", task.layout)


def test_the_picture_shows_what_a_model_predicts_in_handfuls_as_large_as_samples(folder):
    pytest.importorskip("matplotlib")
    sizes = set()

    def predict(sample):
        surface, volume = sample.groups["surface"], sample.groups["volume"]
        sizes.add((len(surface), len(volume)))
        return {
            "surface": {"pressure": np.zeros((len(surface), 1), np.float32)},
            "volume": {"velocity": np.ones((len(volume), 2), np.float32)},
        }

    for file in folder.glob("[a-z]*.*"):  # a name that would be a faulty formula
        file.write_text("$\\frac{ 50% $\n" + file.read_text().split("\n", 1)[1])
    assert task_of(folder, n_volume=997).picture(predict).startswith(PNG)
    assert sizes == {(13, 997)}
