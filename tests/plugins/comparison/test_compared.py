"""A whole comparison in real processes, interrupted once, and what lies in its folder then."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest
from jsonschema import Draft202012Validator

from noether_core import json_schema
from noether_plugins.comparison.comparing import How, compare
from noether_plugins.comparison.folder import Wish
from noether_plugins.comparison.plan import Request
from noether_plugins.comparison.record import Comparison
from noether_plugins.workbench import load_run


@pytest.fixture(scope="module")
def compared(tiny, tmp_path_factory):
    """What was there after Ctrl-C, and the folder after the comparison went on to its end."""
    folder = tmp_path_factory.mktemp("compared") / "out"
    request = Request(
        file=str(tiny),
        types=("transolver", "dot_product", "flare"),
        overrides=("attention_options={flare: {hidden_dim: 9}}",),
        seeds=2,
    )
    how = How(command=request.command_line, rounds=0)
    watching = threading.Thread(target=_interrupt, args=(folder,))
    watching.start()
    status = compare(request, Wish(file=str(tiny), output=str(folder)), how)
    watching.join()
    interrupted = json.loads((folder / "compare.json").read_text())
    results = [file.stat().st_mtime_ns for file in folder.glob("runs/*/*/result.json")]
    again = compare(request, Wish(file=str(tiny), output=str(folder), resume=True), how)
    return (status, again), interrupted, results, folder


def _interrupt(folder):
    """Press Ctrl-C once the first run is over and the second at work."""
    end = time.monotonic() + 300
    while not (folder / "runs" / "dot_product" / "seed-0.txt").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupted_it_keeps_what_is_finished_and_goes_on_with_the_rest(compared):
    statuses, interrupted, results, folder = compared
    assert statuses == (130, 0)
    assert len(results) == 1
    rows = {row["name"]: row for row in interrupted["rows"]}
    assert rows["transolver"]["status"] == "unfinished"
    assert None not in rows["transolver"]["errors"]["surface.pressure"][:1]
    assert rows["transolver"]["errors"]["surface.pressure"][1] is None
    first = folder / "runs" / "transolver" / "seed-0" / "result.json"
    assert first.stat().st_mtime_ns == results[0]  # it was not done again


def test_in_the_end_every_row_is_complete_but_the_one_that_cannot_run(compared):
    *_, folder = compared
    found = json.loads((folder / "compare.json").read_text())
    rows = {row["name"]: row for row in found["rows"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "transolver": "complete",
        "dot_product": "complete",
        "flare": "failed",
    }
    assert "num_heads" in rows["flare"]["error"]
    for name in ("transolver", "dot_product"):
        row = rows[name]
        assert row["provider"] == "noether-attention"
        for field in ("surface.pressure", "volume.velocity"):
            assert len(row["errors"][field]) == 2
            assert min(row["errors"][field]) > 0
            assert row["errors_of_mean"][field] > 0
        assert row["seconds_per_step"] > 0
        assert row["step_memory_bytes"] > 1000
        assert row["parameters"] > 1000
        assert row["same_as"] == []


def test_the_file_is_as_its_schema_says(compared):
    _, interrupted, _, folder = compared
    schema = json_schema(Comparison)
    Draft202012Validator.check_schema(schema)
    for found in (interrupted, json.loads((folder / "compare.json").read_text())):
        Draft202012Validator(schema).validate(found)
    assert set(schema["properties"]) == set(found)


def test_its_runs_are_runs_like_any_other(compared):
    *_, folder = compared
    run = load_run(folder / "runs" / "dot_product" / "seed-1")
    assert run.experiment.seed == 1
    assert run.experiment.attention.type == "dot_product"
    assert run.experiment.attention.hidden_dim == 8
