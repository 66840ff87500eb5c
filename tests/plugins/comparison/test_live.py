"""What is shown while runs are at work."""

import io
import sys

import attrs
import pytest
from rich.console import Console

from noether_core import load
from noether_plugins.comparison import live
from noether_plugins.comparison.live import _Picture, _State, displayed
from noether_plugins.comparison.plan import Request, make_plan
from noether_plugins.comparison.processes import Active, Run
from noether_plugins.workbench.experiment import Experiment


@pytest.fixture(scope="module")
def rows(tiny):
    names = ("transolver", "flare", "linear", "galerkin")
    return make_plan(Request(file=str(tiny), types=names, seeds=2)).rows


@pytest.fixture
def active(tiny, tmp_path):
    run = Run(row="flare", seed=0, experiment=load(tiny, Experiment), folder=tmp_path / "seed-0")
    log = run.folder / "unfinished" / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("step,loss,learning_rate,seconds,validation_loss\n3,1.25,0.1,0.5,\n")
    return Active(run, None, None)


def _done(row):
    return attrs.evolve(row, ratios={"a.b": (0.25, None)})


def test_without_a_terminal_there_is_a_line_for_each_run_and_now_and_then_one(
    rows, active, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(live, "_BETWEEN_LINES", 0.0)
    with displayed(rows, n_seeds=2, jobs=1) as display:
        display.look([active], 7)
        display.over(active.run, _done(rows[1]), "")
        display.over(attrs.evolve(active.run, row="linear"), rows[2], "seed 0: no memory")
    assert sys.stderr.getvalue().splitlines() == [
        "flare, seed 0: step 3/4, loss 1.2500; 8 runs left",
        "flare, seed 0: complete, error over that of the mean 0.250 so far",
        "linear, seed 0: failed: seed 0: no memory",
    ]


def test_nobody_who_reads_it_is_needed(rows, active, monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(live, "_BETWEEN_LINES", 0.0)
    with displayed(rows, n_seeds=2, jobs=1) as display:
        display.look([active], 0)
        display.over(active.run, rows[1], "")


def _drawn(rows, active, *, height):
    console = Console(file=io.StringIO(), width=80, height=height)
    state = _State(rows, 2, 1)
    state.over(attrs.evolve(active.run, row="transolver"), _done(rows[0]))
    state.look([active], 3)
    picture = _Picture(state, None, console)
    console.print(picture._table([active]))
    return console.file.getvalue()


def test_the_table_says_of_each_row_how_far_it_is(rows, active):
    text = _drawn(rows, active, height=30)
    (line,) = [line for line in text.splitlines() if line.startswith("transolver")]
    assert line.split() == ["transolver", "1/2", "0.250", "waiting"]
    (line,) = [line for line in text.splitlines() if line.startswith("flare")]
    assert line.split() == ["flare", "0/2", "3/4", "1.2500", "seed", "0"]
    assert "4 runs left" in text


def test_rows_at_work_are_seen_however_low_the_terminal(rows, active):
    text = _drawn(rows, active, height=7)
    assert "flare" in text
    assert "and 2 more" in text
    assert "galerkin" not in text


def test_a_training_that_is_over_is_not_shown_as_one_that_has_not_begun(rows, active):
    state = _State(rows, 2, 1)
    before = state.pace(active)
    (active.run.folder / "unfinished" / "log.csv").unlink()
    assert state.pace(active) == before
