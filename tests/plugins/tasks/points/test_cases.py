"""Which files make up which cases, which are held out, and everything wrong with them at once."""

import numpy as np
import pytest

from noether_core.tasks import Quantity, TaskError
from tests.plugins.tasks.points.made import arrays, task_of, write_cases, write_csv, write_npz

P = {"fields": ["pressure"]}


def problems_of(folder, **options):
    """All problems of a task, their folder left out."""
    with pytest.raises(TaskError) as caught:
        _ = task_of(folder, **options).layout
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def names(samples):
    return [sample.name for sample in samples]


def test_the_seed_says_which_files_are_held_out(tmp_path):
    write_cases(tmp_path, ".npz", range(7))
    splits = {tuple(names(task_of(tmp_path, seed=seed).test)) for seed in (0, 0, 1, 2, 3)}
    assert 1 < len(splits) <= 4
    for seed in range(3):
        task = task_of(tmp_path, seed=seed)
        assert len(task.test) == 3
        everything = sorted(names(task.train) + names(task.test))
        assert everything == [f"case_{number}" for number in range(7)]


@pytest.mark.parametrize(("share", "held"), [(0.01, 1), (0.5, 2), (0.99, 4)])
def test_some_are_held_out_and_some_are_not(tmp_path, share, held):
    write_cases(tmp_path, ".npz", range(5))
    assert len(task_of(tmp_path, hold_out=share).test) == held


def test_patterns_may_be_several_and_reach_into_folders(tmp_path, monkeypatch):
    write_cases(tmp_path / "a", ".npz", [0])
    write_cases(tmp_path / "b" / "c", ".csv", [1])
    monkeypatch.chdir(tmp_path)
    group = {"positions": ["x", "y", "z"], "fields": ["p"]}
    task = task_of(tmp_path, train=["b/**/*.csv"], test="b/c/../c/*.cs?", group=group)
    with pytest.raises(TaskError, match="is a file of test and of train as well"):
        _ = task.layout
    write_csv(tmp_path / "b" / "case_2.csv", arrays(2))
    task = task_of(tmp_path, train=["b/c/*.csv", "b/case_2.csv", "b/*.csv"], group=group)
    assert sorted(names(task.train) + names(task.test)) == ["case_1", "case_2"]


def test_a_folder_for_each_case_names_it(tmp_path):
    for number in range(3):
        write_cases(tmp_path / f"run_{number}", ".npz", [0])
    task = task_of(tmp_path, train=str(tmp_path / "*" / "case_0.npz"))
    everything = sorted(names(task.train) + names(task.test))
    assert everything == [f"run_{number}/case_0" for number in range(3)]


def test_patterns_that_match_nothing_are_told(tmp_path):
    assert problems_of(tmp_path, train=[str(tmp_path / "*.vtx"), str(tmp_path)], test="no.npz") == [
        "train: *.vtx: matches no file",
        f"train: {tmp_path}: is a folder; write a pattern, *.vtu",
        "test: no.npz: matches no file",
    ]


def test_stems_that_cannot_be_told_apart_are_refused(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    write_npz(tmp_path / "case_0.x.npz", arrays(0))
    (tmp_path / "case_0.x.npz").rename(tmp_path / "case_0.csv")
    problems = problems_of(tmp_path, train=str(tmp_path / "case*"), group=P)
    assert problems[0] == (
        "case_0.npz: has the same stem as case_0.csv, and one of them cannot be told from the other"
    )


def test_a_file_is_never_learnt_from_and_held_out(tmp_path):
    write_cases(tmp_path, ".npz", range(3))
    (tmp_path / "other.npz").symlink_to(tmp_path / "case_1.npz")
    problems = problems_of(tmp_path, test=str(tmp_path / "other.npz"), train=f"{tmp_path}/case*")
    assert problems == ["other.npz: is a file of test and of train as well"]


SURFACE = {"file": "{stem}_surface.npz", "fields": ["pressure"]}


def test_the_files_of_a_case_lie_beside_it(tmp_path):
    for number in range(3):
        write_npz(tmp_path / f"a{number}.npz", arrays(number))
        write_npz(tmp_path / f"a{number}_surface.npz", arrays(number + 10, points=5))
    task = task_of(tmp_path, groups={"volume": P, "surface": SURFACE})
    assert sorted(names(task.train) + names(task.test)) == ["a0", "a1", "a2"]
    assert task.layout.field_names == ("volume.pressure", "surface.pressure")
    sample = task.read(tmp_path / "a1.npz", task.layout)
    expected = arrays(11, points=5)["pressure"]
    np.testing.assert_array_equal(sample.groups["surface"].fields["pressure"][:, 0], expected)

    (tmp_path / "out").mkdir()
    predicted = {"volume": {"pressure": np.ones((11, 1))}, "surface": {"pressure": np.ones((5, 1))}}
    written = task.write(tmp_path / "a1.npz", predicted, tmp_path / "out")
    assert sorted(path.name for path in written) == ["a1.npz", "a1_surface.npz"]
    for path in written:
        with np.load(path) as new:
            assert set(new["predicted_pressure"]) == {1}

    (tmp_path / "a1_surface.npz").unlink()
    assert problems_of(tmp_path, groups={"volume": P, "surface": SURFACE}) == [
        "a1_surface.npz: no such file or directory"
    ]
    with pytest.raises(TaskError, match=r"a1_surface\.npz: no such file"):
        task.read(tmp_path / "a1.npz", task.layout)


def test_a_file_of_the_same_name_in_another_folder_is_written_beside(tmp_path):
    for folder in ("volume", "surface"):
        write_cases(tmp_path / folder, ".npz", range(2))
    groups = {"volume": P, "surface": {**P, "file": "../surface/{stem}.npz"}}
    task = task_of(tmp_path, train=str(tmp_path / "volume" / "*"), groups=groups)
    (tmp_path / "out").mkdir()
    predicted = {name: {"pressure": np.ones((11, 1))} for name in groups}
    written = task.write(tmp_path / "volume" / "case_0.npz", predicted, tmp_path / "out")
    assert [path.name for path in written] == ["case_0.npz", "surface_case_0.npz"]


def test_predictions_never_take_the_place_of_the_file(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    task = task_of(tmp_path)
    before = (tmp_path / "case_0.npz").read_bytes()
    with pytest.raises(TaskError, match=r"the prediction would take its place; give another"):
        task.write(tmp_path / "case_0.npz", {"volume": {"pressure": np.ones((11, 1))}}, tmp_path)
    assert (tmp_path / "case_0.npz").read_bytes() == before


def test_every_problem_of_every_file_is_said_at_once(tmp_path):
    write_cases(tmp_path, ".npz", range(6))
    cases = {number: arrays(number) for number in range(6)}
    cases[1]["pressure"][[2, 7]] = np.nan
    cases[2]["velocity"] = cases[2]["velocity"][:, :2]
    cases[3].pop("pressure")
    cases[3]["presure"] = np.zeros(11)
    cases[4]["sdf"] = np.zeros(10)
    for number in (1, 2, 3, 4):
        write_npz(tmp_path / f"case_{number}.npz", cases[number])
    (tmp_path / "case_5.npz").write_bytes(b"")
    assert problems_of(tmp_path) == [
        "case_1.npz: volume.pressure: 2 of 11 values are not finite; "  # noqa: ISC004  one line
        "the first, nan, is at row 2, counted from 0",
        "case_3.npz: volume.pressure: there is no 'pressure'; did you mean 'presure'?",
        "case_4.npz: volume.sdf: has 10 rows, and there are 11 points",
        "case_5.npz: is empty",
        "case_2.npz: volume.velocity: 2 numbers at a point, and 3 numbers in case_0.npz",
    ]


def test_thousands_of_problems_are_not_all_listed(tmp_path):
    for number in range(400):
        (tmp_path / f"{number:03}.npz").write_bytes(b"")
    problems = problems_of(tmp_path)
    assert len(problems) == 302
    assert problems[-1] == "99 more files were not looked at"


def test_groups_in_the_plane_and_in_space_do_not_go_together(tmp_path):
    for number in range(2):
        case = arrays(number)
        write_npz(tmp_path / f"a{number}.npz", case)
        write_npz(tmp_path / f"a{number}_surface.npz", {**case, "points": case["points"][:, :2]})
    (problem,) = problems_of(tmp_path, groups={"volume": P, "surface": SURFACE})
    assert problem == (
        "groups: points have different numbers of coordinates: 3 in 'volume' (a0.npz), "
        "2 in 'surface' (a0_surface.npz)"
    )


def test_units_come_from_the_config_or_else_from_the_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("x,y,p [kPa],t [K]\n1,2,3,4\n")
    group = {"positions": ["x", "y"], "inputs": {"t": "t"}, "fields": {"pressure": "p"}}
    task = task_of(tmp_path, ".csv", group=group, units={"volume.t": "degC"})
    volume = task.layout.groups["volume"]
    assert volume.fields["pressure"] == Quantity(unit="kPa")
    assert volume.inputs["t"] == Quantity(unit="degC")

    (tmp_path / "b.csv").write_text("x,y,p [Pa],t\n1,2,3,4\n")
    assert problems_of(tmp_path, train=f"{tmp_path}/*.csv", group=group) == [
        "b.csv: volume.t: is in no unit, and in K in a.csv",
        "b.csv: volume.pressure: is in Pa, and in kPa in a.csv",
    ]


def parameters(folder, text, **options):
    write_cases(folder, ".npz", range(2))
    (folder / "cases.csv").write_text(text)
    options = {"inputs": ["mach", "angle"], "parameters": str(folder / "cases.csv"), **options}
    return {"group": P, **options}


def test_a_table_of_parameters_has_a_row_for_each_case(tmp_path):
    text = "case;mach;angle\ncase_1;0,7;3\ncase_0;0,3;2\nother;1;1\n"
    task = task_of(tmp_path, **parameters(tmp_path, text, units={"angle": "deg"}))
    assert dict(task.layout.inputs) == {"mach": Quantity(), "angle": Quantity(unit="deg")}
    by_name = {sample.name: sample for sample in (*task.train, *task.test)}
    assert by_name["case_0"].inputs["mach"].tolist() == [0.3]
    assert by_name["case_1"].inputs["angle"].tolist() == [3]
    assert task.read(tmp_path / "case_1.npz", task.layout).inputs["mach"].tolist() == [0.7]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("case,mach,angle\ncase_0,1,2\n", ["cases.csv: has no row for 'case_1'"]),
        ("case,mach,angle\ncase_0,1,2\ncase_1,x,\n", [
            "cases.csv: case_1: 'mach' is 'x', no finite number",
            "cases.csv: case_1: 'angle' is '', no finite number",
        ]),
        ("case,mach,angel\ncase_0,1,2\ncase_1,1,2\n", [
            "cases.csv: case_0: has no column 'angle'; did you mean 'angel'?",
            "cases.csv: case_1: has no column 'angle'; did you mean 'angel'?",
        ]),
        ("case,mach,angle\ncase_0,1,2\ncase_0,1,2\n", ["cases.csv: has two rows for 'case_0'"]),
        ("case,mach,angle\n", ["cases.csv: has no rows"]),
        ("", ["cases.csv: is empty"]),
        ("case,mach,angle\ncase_0,1\n", ["cases.csv: line 2 has 2 values, expected 3"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_parameters_is_told(tmp_path, text, problems):
    assert problems_of(tmp_path, **parameters(tmp_path, text)) == problems


def test_parameters_may_have_a_file_for_each_case_or_stand_in_it(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    for number in range(2):
        (tmp_path / f"case_{number}.csv").write_text(f"mach,angle\n0.{number},{number}\n")
    task = task_of(tmp_path, group=P, inputs=["mach"], parameters="{stem}.csv")
    assert {sample.inputs["mach"][0] for sample in (*task.train, *task.test)} == {0.0, 0.1}

    for number in range(2):
        write_npz(tmp_path / f"case_{number}.npz", arrays(number), mach=number, wind=[1.0, 2, 3])
    task = task_of(tmp_path, group=P, inputs=["mach", "wind"])
    assert task.layout.inputs["wind"].width == 3
    write_npz(tmp_path / "case_1.npz", arrays(1), mach=np.nan)
    assert problems_of(tmp_path, group=P, inputs=["mach", "wind"]) == [
        "case_1.npz: 'mach' is [nan], not finite",
        "case_1.npz: has no array 'wind' for the case as a whole",
    ]


def test_a_column_of_one_value_is_about_the_case(tmp_path):
    for number in range(2):
        write_csv(tmp_path / f"{number}.csv", arrays(number), mach=np.full(11, 0.1 * number))
    group = {"positions": ["x", "y", "z"], "fields": ["p"]}
    task = task_of(tmp_path, ".csv", group=group, inputs=["mach"])
    assert {sample.inputs["mach"][0] for sample in (*task.train, *task.test)} == {0.0, 0.1}
    write_csv(tmp_path / "1.csv", arrays(1), mach=np.arange(11.0))
    (problem,) = problems_of(tmp_path, train=f"{tmp_path}/*.csv", group=group, inputs=["mach"])
    assert problem == (
        "1.csv: 'mach' is about the case as a whole, but its rows differ: the first that does is "
        "line 3"
    )


def test_truth_that_is_not_there_is_not_read(tmp_path):
    write_cases(tmp_path, ".npz", range(2))
    task = task_of(tmp_path)
    assert len(task.train) == 1  # the new files are none of these
    case = arrays(7)
    case.pop("velocity")
    case["pressure"][:] = np.nan
    write_npz(tmp_path / "new.npz", case)
    assert task.read(tmp_path / "new.npz", task.layout).groups["volume"].fields == {}

    case["pressure"][:] = 1
    case["pressure"][3] = np.inf
    case["sdf"] = np.zeros((11, 2))
    write_npz(tmp_path / "new.npz", case)
    with pytest.raises(TaskError) as caught:
        task.read(tmp_path / "new.npz", task.layout)
    told = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert told == [
        "new.npz: volume.pressure: 1 of 11 values are not finite; "  # noqa: ISC004  one line
        "the first, inf, is at row 3, counted from 0",
        "new.npz: volume.sdf: has the width 2, and the model knows 1",
    ]
