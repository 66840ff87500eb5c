"""A comparison from its beginning to its end; its runs are over as soon as they begin."""

import json
import subprocess

import attrs
import pytest

from noether_core import NoetherError, unstructure
from noether_plugins.comparison import comparing, pictures, processes
from noether_plugins.comparison.budget import Budget
from noether_plugins.comparison.comparing import How, compare
from noether_plugins.comparison.folder import ComparisonError, Wish, read_comparison
from noether_plugins.comparison.plan import Request
from noether_plugins.comparison.record import Timing
from noether_plugins.comparison.timing import Cost
from noether_plugins.workbench.outputs import OutputError

ERRORS = {"surface.pressure": 0.5, "volume.velocity": 0.1}
MEANS = {"surface.pressure": 1.0, "volume.velocity": 0.4}


class Bench:
    """Runs that write a result at once, and remember that they were asked for."""

    def __init__(self):
        self.asked = []
        self.failing = set()
        self.signal_at = None
        self.steps = {}

    def start(self, run, jobs):
        self.asked.append((run.row, run.seed))
        self.steps[run.row] = run.experiment.training.steps
        run.folder.mkdir(parents=True, exist_ok=True)
        code = "kill -KILL $$" if run.row in self.failing else "true"
        if run.row not in self.failing:
            (run.folder / "result.json").write_text(json.dumps(_result(run)))
        process = subprocess.Popen(["sh", "-c", code], stdin=subprocess.PIPE)
        return processes.Active(run, process, run.output.open("wb"))


def _result(run):
    better = 0.9 if run.row == "flare" else 1.0
    return {
        "interrupted": False,
        "experiment": unstructure(run.experiment),
        "steps": run.experiment.training.steps,
        "relative_errors": {
            name: value * better * (1 + 0.01 * run.seed) for name, value in ERRORS.items()
        },
        "relative_errors_of_mean": MEANS,
        "seconds_per_step": 0.5,
        "step_memory_bytes": 1000 + run.seed,
        "parameters": 77,
    }


@pytest.fixture
def bench(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(processes, "start", bench.start)
    monkeypatch.setattr(processes, "_PAUSE", 0.01)
    monkeypatch.setattr(comparing, "find_same", lambda entries, **_: {e.name: () for e in entries})
    monkeypatch.setattr(comparing, "draw", lambda *_: [])  # which takes most of the time
    return bench


@pytest.fixture
def compared(tiny, tmp_path, bench, monkeypatch):
    """What compares in a folder of its own; returns the status and what was found."""
    monkeypatch.chdir(tmp_path)

    def run(*, rounds=0, jobs=1, **options):
        names = {field.name for field in attrs.fields(Wish)} - {"file"}
        wish = Wish(file=str(tiny), **{k: v for k, v in options.items() if k in names})
        asked = {k: v for k, v in options.items() if k not in names}
        request = Request(file=str(tiny), **{"types": ("transolver", "flare"), "seeds": 2} | asked)
        how = How(command=request.command_line, rounds=rounds, jobs=jobs)
        status = compare(request, wish, how)
        folder = wish.output or "comparisons/tiny"
        return status, read_comparison(tmp_path / folder / "compare.json")

    return run


def test_rows_have_errors_and_ratios_from_each_seed(compared, bench, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(comparing, "draw", pictures.draw)
    status, found = compared()
    assert status == 0
    assert bench.asked == [("transolver", 0), ("flare", 0), ("transolver", 1), ("flare", 1)]
    assert [row.name for row in found.rows] == ["flare", "transolver"]
    row = found.rows[1]
    assert row.status == "complete"
    assert row.errors["surface.pressure"] == (0.5, 0.505)
    assert row.ratios["volume.velocity"] == pytest.approx((0.25, 0.2525))
    assert dict(row.errors_of_mean) == MEANS
    assert (row.seconds_per_step, row.step_memory_bytes, row.parameters) == (0.5, 1001, 77)
    assert (row.rank, row.score) == (2, pytest.approx(0.375 * 1.005)) or row.tied_with
    files = {file.name for file in (tmp_path / "comparisons" / "tiny").iterdir()}
    drawn = {f"{name}.{kind}" for name in ("errors", "cost", "scaling") for kind in ("png", "svg")}
    assert files == {"compare.json", "experiment.yaml", "table.md", "runs", *drawn}
    printed = capsys.readouterr()
    assert "surface.pressure" in printed.out
    assert "from the file: hidden_dim=8, num_heads=2, num_latents=3" in printed.err


def test_a_row_that_fails_has_its_error_and_the_others_go_on(compared, bench, capsys):
    bench.failing = {"transolver"}
    status, found = compared()
    assert status == 0
    rows = {row.name: row for row in found.rows}
    assert (rows["flare"].status, rows["transolver"].status) == ("complete", "failed")
    assert rows["transolver"].error.startswith("seed 0: killed by SIGKILL")
    assert ("transolver", 1) not in bench.asked

    bench.failing = {"transolver", "flare"}
    status, _ = compared(output="none")
    assert status == 1


def test_a_comparison_is_never_replaced_unasked(compared, bench, tmp_path):
    compared(output="out")
    before = (tmp_path / "out" / "compare.json").read_bytes()
    with pytest.raises(OutputError, match="already holds a comparison; go on with it"):
        compared(output="out")
    assert (tmp_path / "out" / "compare.json").read_bytes() == before
    (tmp_path / "out" / "mine.txt").write_text("stays")
    bench.asked.clear()
    _, found = compared(output="out", overwrite=True, types=("linear",))
    assert [row.name for row in found.rows] == ["linear"]
    assert {file.name for file in (tmp_path / "out" / "runs").iterdir()} == {"linear"}
    assert (tmp_path / "out" / "mine.txt").exists()


def test_without_a_folder_each_comparison_gets_its_own(compared, tmp_path):
    compared()
    compared()
    assert {each.name for each in (tmp_path / "comparisons").iterdir()} == {"tiny", "tiny-2"}


def test_a_folder_of_a_run_is_refused(compared, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a run"):
        compared(output="out", overwrite=True)


def test_a_comparison_that_goes_on_may_get_rows_and_seeds(compared, bench):
    compared(output="out")
    bench.asked.clear()
    status, found = compared(
        output="out", resume=True, seeds=3, types=("transolver", "flare", "linear")
    )
    assert status == 0
    assert [row.status for row in found.rows] == ["complete"] * 3
    assert ("transolver", 0) not in bench.asked
    assert len(bench.asked) == 5


def test_what_failed_is_tried_again(compared, bench):
    bench.failing = {"flare"}
    compared(output="out")
    bench.asked.clear()
    bench.failing = set()
    _, found = compared(output="out", resume=True)
    assert bench.asked == [("flare", 0), ("flare", 1)]
    assert all(row.status == "complete" and not row.error for row in found.rows)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"overrides": ("model.depth=2",)}, "model.depth: 1 there, 2 here"),
        ({"overrides": ("attention.num_slices=4",)}, "attention.num_slices: 3 there, 4 here"),
        ({"types": ("transolver",)}, "flare: is a row there, and not here"),
        ({"seeds": 1}, "seeds: 1 there, and not here"),
        ({"budget": Budget("parameters", 2000)}, "--budget: None there, parameters=2000 here"),
    ],
)
def test_another_comparison_is_not_gone_on_with(compared, tmp_path, options, difference):
    compared(output="out")
    before = (tmp_path / "out" / "compare.json").read_bytes()
    with pytest.raises(ComparisonError) as caught:
        compared(output="out", resume=True, **options)
    assert difference in str(caught.value)
    assert "--types transolver,flare --seeds 2" in str(caught.value)
    assert (tmp_path / "out" / "compare.json").read_bytes() == before


def test_a_damaged_file_is_said_to_be(compared, tmp_path):
    compared(output="out")
    (tmp_path / "out" / "compare.json").write_text("{")
    with pytest.raises(NoetherError, match=r"is damaged: .*begin anew with --overwrite"):
        compared(output="out", resume=True)


@pytest.fixture
def costs(monkeypatch):
    measured = []

    def measure(entries, **_):
        measured.extend(entry.name for entry in entries)
        seconds = {"transolver": 0.25, "flare": 0.5}
        return {
            entry.name: Cost(
                step=Timing(median=seconds[entry.name], lower=0.1, upper=1, samples=3, dropped=0),
                tokens=100,
            )
            for entry in entries
        }

    monkeypatch.setattr(comparing, "measure_costs", measure)
    return measured


def test_a_budget_of_seconds_gives_each_row_its_steps(compared, bench, costs):
    _, found = compared(rounds=3, budget=Budget("seconds", 2.0), output="out")
    rows = {row.name: row for row in found.rows}
    assert bench.steps == {"transolver": 8, "flare": 4}
    assert {name: row.steps for name, row in rows.items()} == bench.steps
    assert rows["flare"].seconds_per_step == 0.5
    assert rows["flare"].tokens_per_second == 200
    costs.clear()
    compared(rounds=3, budget=Budget("seconds", 2.0), output="out", resume=True)
    assert not costs


def test_where_the_machine_was_busy_there_is_no_time_and_it_is_measured_again(
    compared, monkeypatch
):
    busy = Timing(median=None, lower=None, upper=None, samples=0, dropped=9)
    asked = []

    def measure(entries, **_):
        asked.append([entry.name for entry in entries])
        return {entry.name: Cost(step=busy, tokens=100) for entry in entries}

    monkeypatch.setattr(comparing, "measure_costs", measure)
    for is_resumed in (False, True):
        _, found = compared(rounds=3, output="out", resume=is_resumed)
        assert [row.seconds_per_step for row in found.rows] == [None, None]
    assert asked == [["transolver", "flare"]] * 2


def test_without_a_time_there_are_no_steps_in_some_seconds(compared, bench, monkeypatch):
    lost = {"transolver": Cost(error="it hangs"), "flare": Cost(error="it hangs")}
    monkeypatch.setattr(comparing, "measure_costs", lambda *_, **__: lost)
    status, found = compared(rounds=3, budget=Budget("seconds", 2.0))
    assert status == 1
    for row in found.rows:
        assert "the time of one could not be measured" in row.error
        assert "it hangs" in row.notes[-1]
    assert not bench.asked


def test_rows_that_are_trained_in_other_ways_are_not_asked_whether_they_are_one(
    compared, monkeypatch
):
    groups = []

    def find(entries, **_):
        groups.append([entry.name for entry in entries])
        return {}

    monkeypatch.setattr(comparing, "find_same", find)
    compared(grid=("training.learning_rate=0.001,0.01",))
    assert groups == [
        ["transolver training.learning_rate=0.001", "flare training.learning_rate=0.001"],
        ["transolver training.learning_rate=0.01", "flare training.learning_rate=0.01"],
    ]
