"""``noether report``: what it reads, what it writes, and what its page does in a browser."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noether_core import Registry
from noether_core.cli import main
from noether_plugins.report.folders import ReportError, find
from noether_plugins.report.making import Wish, make_report
from noether_plugins.report.runs import read_facts
from noether_plugins.report.tables import runs_table
from tests.plugins.report.folders import EVIL, make_comparison, make_run

pytest.importorskip("plotly", reason="the extra report is not installed")

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_MARKUP = "<img src=x onerror='window.owned = 1'>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of all tasks and in all states."""
    folder = tmp_path_factory.mktemp("runs")
    slices = {"type": "transolver", "num_slices": 3}
    make_run(folder / "airfoil", "airfoil", slices, validation=0.5, validate_every="2 steps")
    make_run(folder / f"darcy {_MARKUP}", "darcy", {"type": "linear"})
    make_run(folder / "potential", "potential", slices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noether_plugins.workbench.run.result_of", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_run(folder / "unfinished", "airfoil", slices, checkpoint_every="1 steps")

    shutil.copytree(folder / "airfoil", folder / "damaged")
    weights = folder / "damaged" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-9] ^= 1
    weights.write_bytes(content)

    (folder / "stranger").mkdir()
    result = json.loads((folder / "airfoil" / "result.json").read_text())
    result |= {"type": EVIL, "provider": EVIL, "relative_errors": {EVIL: 0.5}, "seconds": EVIL}
    result |= {"relative_errors_of_mean": {EVIL: 1.0}, "interrupted": True}
    result["experiment"]["task"] = {"type": EVIL, EVIL: EVIL}
    (folder / "stranger" / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="module")
def comparison(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparisons") / "variants"
    make_comparison(folder, runs / "airfoil")
    return folder


@pytest.fixture(scope="module")
def report(runs: Path, comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of all of them."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    assert make_report(_wish(runs, comparison, output=file)) == 0
    return file


def _wish(*folders: Path, output: Path, **options: Any) -> Wish:
    usual = {"overwrite": False, "samples": 2, "points": None}
    return Wish(folders=folders, output=output, **{**usual, **options})


def _data(report: Path) -> Any:
    (packed,) = re.findall(r'id="data">([^<]*)<', report.read_text(encoding="utf-8"))
    return json.loads(gzip.decompress(base64.b64decode(packed)))


# What is read


@pytest.mark.parametrize(
    ("name", "state", "has_problem"),
    [
        ("airfoil", "complete", False),
        ("unfinished", "unfinished", False),
        ("stranger", "interrupted", True),
    ],
)
def test_a_run_is_read_in_whatever_state_it_is(runs, name, state, has_problem):
    facts = read_facts(runs / name, name)
    assert (facts.state, bool(facts.problem)) == (state, has_problem)
    assert facts.result["steps"] == 5
    assert facts.options()["model.depth"] == "1"
    assert (facts.curve is None) == (name == "stranger")


def test_a_run_of_which_nothing_can_be_read_is_there_with_the_reason(tmp_path):
    (tmp_path / "result.json").write_text("{")
    facts = read_facts(tmp_path, "broken")
    assert facts.state == "unreadable"
    assert "weights.safetensors" in facts.problem
    assert "result.json" in facts.problem


def test_numbers_that_are_none_are_left_out(tmp_path):
    numbers = {"steps": 10**400, "parameters": "many", "seconds_per_step": float("nan")}
    (tmp_path / "result.json").write_text(json.dumps({**numbers, "relative_errors": [1]}))
    (tmp_path / "log.csv").write_text("step,loss\n1,inf\n2,0.5,7\nx,1\n3\n")
    facts = read_facts(tmp_path, "odd")
    assert (facts.errors, facts.ratio) == ({}, None)
    assert facts.curve.loss.steps == [1, 2, 3]
    assert facts.curve.loss.losses == [None, 0.5, None]
    assert "\N{EN DASH}</span>" in runs_table([facts])


def test_a_run_that_diverged_in_one_field_has_no_ratio_of_the_others(tmp_path):
    means = {"wall.p": 0.5, "fluid.u": 0.4, "fluid.zero": None}
    errors = {"wall.p": float("nan"), "fluid.u": 0.1, "fluid.zero": None}
    result = {"relative_errors": errors, "relative_errors_of_mean": means}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert read_facts(tmp_path, "diverged").ratio is None

    (tmp_path / "result.json").write_text(json.dumps({**result, "relative_errors": means}))
    assert read_facts(tmp_path, "sound").ratio == 1


def test_a_comparison_that_cannot_be_read_is_there_with_the_reason(tmp_path):
    (tmp_path / "compare.json").write_text('{"rows": [{"colour": 1}]}')
    run = tmp_path / "runs" / "linear" / "seed-0"
    run.mkdir(parents=True)
    (run / "result.json").write_text("{}")
    file = tmp_path / "report.html"
    assert make_report(_wish(tmp_path, output=file)) == 0
    assert "colour: unknown option" in file.read_text()
    assert [each["name"] for each in _data(file)["runs"]] == ["linear, seed-0"]


def test_losses_over_steps_and_time_are_those_of_the_log(runs):
    curve = read_facts(runs / "airfoil", "airfoil").curve
    rows = [line.split(",") for line in (runs / "airfoil/log.csv").read_text().split()[1:]]
    assert curve.loss.steps == [int(row[0]) for row in rows] == [1, 2, 3, 4, 5]
    assert curve.loss.losses == pytest.approx([float(row[1]) for row in rows], rel=1e-4)
    assert curve.validation.steps == [2, 4, 5]


def test_folders_of_runs_are_found_within_folders_and_each_once(runs, comparison):
    found = find([runs, runs / "airfoil", comparison])
    names = [run.name for run in found.runs]
    assert sorted(names)[:3] == ["airfoil", "damaged", f"darcy {_MARKUP}"]
    assert names[-2:] == ["transolver, seed-0", "linear num_heads=1, seed-0"]
    assert len(names) == len(set(names)) == 8


def test_runs_of_one_name_are_told_apart_by_their_folders(runs, tmp_path):
    for place in "ab":
        shutil.copytree(runs / "stranger", tmp_path / place / "run")
    found = find([tmp_path / "a", tmp_path / "b"])
    assert [run.name for run in found.runs] == ["a/run", "b/run"]


def test_a_comparison_names_no_runs_outside_of_its_folder(comparison, tmp_path):
    shutil.copytree(comparison, tmp_path / "copy")
    file = tmp_path / "copy" / "compare.json"
    data = json.loads(file.read_text())
    data["rows"][0]["runs"] = [str(comparison / "runs/transolver/seed-0"), "../secret"]
    file.write_text(json.dumps(data))
    (found,) = find([tmp_path / "copy"]).comparisons
    assert found.runs[0] == ()


def test_folders_without_runs_are_all_named(tmp_path):
    with pytest.raises(ReportError) as caught:
        find([tmp_path / "none", tmp_path])
    missing, empty = str(caught.value).splitlines()
    assert missing == f"{tmp_path}/none: there is no such folder"
    assert empty.startswith(f"{tmp_path}: holds no run and no comparison: neither result.json nor")


# What is written


def test_nothing_is_written_over_a_file_unasked(runs, tmp_path):
    file = tmp_path / "report.html"
    file.write_text("mine")
    wish = _wish(runs / "stranger", output=file, samples=0)
    with pytest.raises(ReportError, match=r"report\.html: is there already; name another file"):
        make_report(wish)
    assert file.read_text() == "mine"
    assert make_report(wish._replace(overwrite=True)) == 0
    assert file.read_text().startswith("<!DOCTYPE html>")


def test_without_samples_no_fields_are_predicted_and_a_file_is_written_there(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(runs / "airfoil"), "--samples", "0"]) == 0
    assert capsys.readouterr().out == "written to report.html, 1 run in 2.0 MB\n"
    (run,) = _data(tmp_path / "report.html")["runs"]
    assert "samples" not in run["fields"]
    assert "--samples 0" not in (tmp_path / "report.html").read_text()


def test_a_missing_library_is_named_with_the_extra_that_brings_it(runs, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "noether_plugins.report.command.find_spec",
        lambda name: None if name == "plotly" else real(name),
    )
    assert main(["report", str(runs / "airfoil")]) == 1
    assert "pip install 'noether-attention[report]'" in capsys.readouterr().err


def test_runs_without_fields_say_why(report):
    problems = re.findall(r"<dt>(.*?)</dt><dd><pre>(.*?)</pre>", report.read_text(), re.DOTALL)
    reasons = dict(problems)
    assert "digest" in reasons["damaged"] or "damaged" in reasons["damaged"]
    assert "neither" in reasons["stranger"]
    assert "airfoil" not in reasons


def test_a_run_whose_package_is_missing_is_there_without_fields(runs, tmp_path, monkeypatch):
    known = Registry(block=["noether-attention:transolver"])
    monkeypatch.setattr("noether_core.plugins.registry._default", known)
    file = tmp_path / "report.html"
    assert make_report(_wish(runs / "airfoil", output=file)) == 0
    (run,) = _data(file)["runs"]
    assert run["options"]["attention.num_slices"] == "3"
    assert len(run["curve"]["loss"]["steps"]) == 5
    assert "'transolver'" in run["fields"]["reason"]
    assert "no fields: " in file.read_text()


def test_fields_are_what_the_model_predicts_and_what_is_true(report, runs):
    from noether_plugins.workbench import load_run

    data = _data(report)
    run = load_run(runs / "potential")
    (shown,) = [each for each in data["runs"] if each["name"] == "potential"]
    assert shown["fields"]["samples_in_all"] == 3
    for place, sample in zip((0, 2), shown["fields"]["samples"], strict=True):
        truth, predicted = run.task.test[place], run.predict(run.task.test[place])
        assert sample["name"] == truth.name
        own = sample["groups"]["volume"]
        true = [_unpacked(data["arrays"][each]) for each in own["fields"]["velocity"]["true"]]
        away = [_unpacked(data["arrays"][each]) for each in own["fields"]["velocity"]["difference"]]
        for axis in range(3):
            expected = truth.groups["volume"].fields["velocity"][:, axis]
            assert true[axis] == pytest.approx(expected, abs=1e-4)
            guess = [a + b for a, b in zip(true[axis], away[axis], strict=True)]
            assert guess == pytest.approx(predicted["volume"]["velocity"][:, axis], abs=2e-4)


def _unpacked(packed: dict[str, Any]) -> list[float]:
    data = base64.b64decode(packed["data"])
    codes = [int.from_bytes(data[place : place + 2], "little") for place in range(0, len(data), 2)]
    return [packed["low"] + code * (packed["high"] - packed["low"]) / 65534 for code in codes]


def test_twelve_runs_with_many_points_take_less_than_5_mb(runs, tmp_path, monkeypatch):
    import numpy as np

    from noether_plugins.report import making
    from noether_plugins.report.fields import ShownField, ShownGroup, ShownSample

    rng = np.random.default_rng(0)
    shown = making.predict_fields(runs / "potential", making.HeldOut(1), points=10)

    def fields(*_: object, points: int):
        def field(width: int) -> ShownField:
            values = rng.normal(size=(2, points, width)).astype(np.float32)
            return ShownField(*values, error=0.5)

        def group(*widths: int) -> ShownGroup:
            named = {str(place): field(width) for place, width in enumerate(widths)}
            return ShownGroup(field(3).true, 9 * points, named)

        def sample() -> ShownSample:
            return ShownSample("wing", {}, {"surface": group(1, 3, 9), "volume": group(3, 9)})

        return shown._replace(samples=tuple(sample() for _ in range(4)))

    for number in range(12):
        (tmp_path / f"run-{number}").symlink_to(runs / "potential")
    monkeypatch.setattr(making, "predict_fields", fields)
    monkeypatch.setattr(Path, "resolve", Path.absolute)  # links are twelve runs here
    file = tmp_path / "report.html"
    assert make_report(_wish(tmp_path, output=file)) == 0
    assert 4_000_000 < file.stat().st_size < 5_000_000
    data = _data(file)
    assert len(data["runs"]) == 12
    sizes = {len(_unpacked(array)) for array in data["arrays"]}
    assert min(sizes) == max(sizes)
    assert 100 < max(sizes) < 1000


def test_nothing_from_outside_is_markup(report):
    text = report.read_text(encoding="utf-8")
    assert "<img" not in text
    assert text.count("<script") == text.count("</script>") == 4
    assert EVIL.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;") in text


def test_without_scripts_tables_and_configs_are_there(report):
    text = report.read_text(encoding="utf-8")
    assert "<noscript>" in text
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    for shown in ("potential", "attention.num_slices", "linear num_heads=1", "± 0.0141"):
        assert shown in body


# What the page does


class Shown:
    """The page of the report in a browser, with all that it complained of and asked for."""

    def __init__(self, page: Any, report: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self._hear("error", str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def until(self, condition: str, value: object = None) -> None:
        """Wait until a function of *value* is true; the page itself may evaluate nothing."""
        end = time.monotonic() + 60
        while not self.page.evaluate(condition, value):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(20)

    def rows(self, table: str) -> list[str]:
        """Return the heads of the rows of a table that are seen."""
        return self.page.eval_on_selector_all(
            f"#{table} tbody tr:not([hidden]) th .text", "all => all.map(one => one.textContent)"
        )

    def choose(self, *names: str) -> None:
        """Tick these runs and no others."""
        for row in self.page.locator("#runs-table tbody tr").all():
            name = row.locator("th .text").text_content()
            row.locator("input").set_checked(name in names)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed; one of {', '.join(_BROWSERS)} will do")
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=[*arguments, "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shown(browser: Any, report: Path) -> Shown:
    page = browser.new_page(
        viewport={"width": 900, "height": 900}, color_scheme="dark", reduced_motion="reduce"
    )
    page.set_default_timeout(60_000)
    return Shown(page, report)


def test_heads_of_columns_sort_up_and_down_with_what_is_missing_last(shown):
    button = shown.page.get_by_role("button", name="Error ratio").last
    for direction in ("ascending", "descending"):
        button.press("Enter")
        values = shown.page.eval_on_selector_all(
            "#runs-table tbody tr", "rows => rows.map(row => row.cells[5].dataset.value)"
        )
        known = [float(value) for value in values if value]
        assert known == sorted(known, reverse=direction == "descending")
        assert values == [*values[: len(known)], *[""] * (len(values) - len(known))]
        head = shown.page.locator("#runs-table th", has_text="Error ratio")
        assert head.get_attribute("aria-sort") == direction
    shown.page.get_by_role("button", name="Run", exact=True).press("Enter")
    assert shown.rows("runs-table")[:2] == ["airfoil", "damaged"]


def test_filters_leave_rows_out_and_say_how_many_are_left(shown):
    shown.page.fill("#runs-text", "airfoil transolver seed")
    assert shown.rows("runs-table") == ["linear num_heads=1, seed-0", "transolver, seed-0"]
    count = shown.page.locator("#runs-count")
    assert count.text_content() == "2 of 8 runs"
    assert count.get_attribute("aria-live") == "polite"
    shown.page.fill("#runs-text", "")
    shown.page.select_option("#runs-state", "unfinished")
    assert shown.rows("runs-table") == ["unfinished"]
    shown.page.select_option("#runs-state", "")
    shown.page.select_option("#runs-task", "darcy")
    assert shown.rows("runs-table") == [f"darcy {_MARKUP}"]
    shown.page.select_option("#runs-task", "")
    assert len(shown.rows("runs-table")) == 8


def test_two_ticked_runs_show_what_differs_between_them(shown):
    shown.choose("airfoil", "potential")
    options = shown.page.eval_on_selector_all(
        "#configs-table tbody tr", "rows => rows.map(row => [...row.cells].map(c => c.textContent))"
    )
    assert ["task.type", "airfoil", "potential"] in options
    assert ["training.validation", "0.5", "0.0"] in options
    assert "model.depth" not in [option[0] for option in options]
    assert "options differ" in shown.page.locator("#configs-count").text_content()
    shown.page.uncheck("#configs-differing")
    assert shown.page.locator("#configs-table th", has_text="model.depth").count() == 1
    shown.page.check("#configs-differing")


def test_losses_of_ticked_runs_are_drawn_and_in_a_table(shown):
    shown.choose("airfoil", f"darcy {_MARKUP}")
    traces = shown.page.evaluate(
        "document.getElementById('curves-chart').data.map(t => [t.name, t.x.length])"
    )
    escaped = _MARKUP.replace("<", "&lt;").replace(">", "&gt;")
    assert sorted(traces) == [["airfoil", 5], ["airfoil, validation", 3], [f"darcy {escaped}", 5]]
    shown.page.select_option("#curves-over", "seconds")
    shown.page.uncheck("#curves-validation")
    names = "document.getElementById('curves-chart').data.map(t => t.name)"
    assert len(shown.page.evaluate(names)) == 2
    heads = shown.page.locator("#curves-table tbody th").all_text_contents()
    assert heads == ["airfoil", f"darcy {_MARKUP}"]


def test_a_curve_says_its_numbers_where_the_mouse_is(shown):
    shown.page.select_option("#curves-over", "steps")
    shown.choose("airfoil")
    chart = shown.page.locator("#curves-chart")
    chart.scroll_into_view_if_needed()
    x, y = shown.page.evaluate(
        """() => {
          const chart = document.getElementById("curves-chart");
          const { xaxis, yaxis } = chart._fullLayout;
          const box = chart.querySelector(".main-svg").getBoundingClientRect();
          const point = chart.data[0];
          return [box.left + xaxis._offset + xaxis.d2p(point.x[2]),
                  box.top + yaxis._offset + yaxis.d2p(point.y[2])];
        }"""
    )
    shown.page.mouse.move(x, y)
    label = chart.locator(".hovertext").first
    assert "step 3" in label.text_content()


def test_arrow_keys_on_the_slider_go_through_held_out_samples(shown):
    shown.page.select_option("#fields-run", label="potential")
    shown.page.select_option("#fields-field", label="surface.velocity")
    name = shown.page.locator("#fields-sample-name")
    drawn = "document.getElementById('fields-true').data[0].marker.color[0]"
    first = name.text_content(), shown.page.evaluate(drawn)
    assert first[0].startswith("1 of 2: ")
    assert "stream" in first[0]
    shown.page.focus("#fields-sample")
    shown.page.keyboard.press("ArrowRight")
    second = name.text_content(), shown.page.evaluate(drawn)
    assert second[0].startswith("2 of 2: ")
    assert first[1] != second[1]
    slider = shown.page.locator("#fields-sample")
    assert slider.get_attribute("aria-valuetext") == second[0]
    shown.page.keyboard.press("ArrowLeft")
    assert name.text_content() == first[0]


def test_true_and_predicted_values_have_one_scale_and_vectors_parts(shown):
    ranges = """['true', 'predicted', 'difference'].map(name => {
      const { cmin, cmax } = document.getElementById(`fields-${name}`).data[0].marker;
      return [cmin, cmax];
    })"""
    parts = shown.page.locator("#fields-part option").all_text_contents()
    assert parts == ["magnitude", "x", "y", "z"]
    for part in ("magnitude", "0"):
        shown.page.select_option("#fields-part", part)
        true, predicted, difference = shown.page.evaluate(ranges)
        assert true == predicted
        assert difference[0] == (0 if part == "magnitude" else -difference[1])
    caption = shown.page.locator("#fields-numbers caption").text_content()
    assert caption.startswith("surface.velocity: relative L2 error ")


def test_points_in_space_turn_together_by_the_mouse_and_by_sliders(shown):
    eyes = """['true', 'predicted', 'difference'].map(name => {
      const { scene } = document.getElementById(`fields-${name}`)._fullLayout;
      const { x, y, z } = scene._scene.getCamera().eye;
      return [x, y, z].map(value => value.toFixed(3)).join();
    })"""
    (before,) = set(shown.page.evaluate(eyes))
    shown.page.focus("#fields-turn")
    shown.page.keyboard.press("ArrowRight")
    turned = f"(eye) => new Set({eyes}).size === 1 && {eyes}[0] !== eye"
    shown.until(turned, before)
    (by_slider,) = set(shown.page.evaluate(eyes))

    panel = shown.page.locator("#fields-predicted")
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    shown.page.mouse.move(x, y)
    shown.page.mouse.down()
    for step in range(1, 40):  # the library looks where the mouse is once for each picture
        shown.page.mouse.move(x + 2 * step, y)
        shown.page.wait_for_timeout(50)
        if by_slider not in shown.page.evaluate(eyes):
            break
    shown.page.mouse.up()
    shown.until(turned, by_slider)


def test_points_on_a_line_are_drawn_as_curves_with_the_truth_behind_what_is_predicted(shown):
    drawn = shown.page.evaluate(
        """() => {
          const positions = [Float64Array.of(2, 0, 1)];
          const [values, target] = [{ true: [5, 3, 4], predicted: [6, 3, 4] }, byId("fields-true")];
          drawOnLine({ target, positions, values, panel: "predicted", label: "", quantity: {} });
          return target.data.map(({ x, y }) => [x, y]);
        }"""
    )
    assert drawn == [[[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [3, 4, 6]]]


def test_a_run_without_fields_says_so_where_they_would_be(shown):
    shown.page.select_option("#fields-run", label="damaged (none)")
    reason = shown.page.locator("#fields-reason")
    assert "No fields are shown of this run" in reason.text_content()
    for part in ("#fields-drawn", "#fields-field", "#fields-part", "#fields-sample"):
        assert not shown.page.locator(part).is_visible()
    shown.page.select_option("#fields-run", label="airfoil")
    assert shown.page.locator("#fields-drawn").is_visible()


def test_a_comparison_draws_error_against_cost_and_growth_with_tokens(shown):
    chart = "document.getElementById('comparison-0-{}-chart').data.map(t => [t.name, t.x, t.y])"
    points = shown.page.evaluate(chart.format("cost"))
    assert points == [["transolver", [12.3], [0.51]], ["linear num_heads=1", [24.6], [0.61]]]
    shown.page.select_option("#comparison-0-cost", "parameters")
    shown.page.select_option("#comparison-0-error", "surface.pressure")
    (first, _) = shown.page.evaluate(chart.format("cost"))
    assert first[1:] == [[1234], [0.51]]
    (line, _) = shown.page.evaluate(chart.format("scaling"))
    assert line == ["transolver, tokens^1", [128, 256, 512], [10, 20, 40]]
    assert "shapes do not fit" in shown.page.locator("#comparison-0 .problems").text_content()


def test_logarithmic_axes_have_marks_however_near_the_values_are(shown):
    axes = shown.page.evaluate("[[23, 25.3], [3, 700], []].map(values => logAxis('', values))")
    near, far, none = [(axis.get("type"), axis.get("ticktext")) for axis in axes]
    assert near == none == (None, None)
    assert far[0] == "log"
    assert {"5", "10", "20", "500"} <= {*far[1]}


def test_ticks_of_a_comparison_are_those_of_its_runs(shown):
    shown.choose()
    row = shown.page.locator("#comparison-0-table tbody tr").nth(1)
    row.locator("input").press("Space")
    assert row.locator("input").is_checked()
    runs = shown.page.locator("#runs-table tbody tr.chosen th .text").all_text_contents()
    assert runs == ["linear num_heads=1, seed-0"]


def test_dark_and_light_follow_the_system_until_one_is_chosen_which_is_kept(shown):
    theme = "document.documentElement.dataset.theme"
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "document.getElementById('curves-chart')._fullLayout.font.color"
    button = shown.page.locator("#theme")
    assert shown.page.evaluate(theme) == "dark"
    dark = shown.page.evaluate(f"[{paper}, {ink}]")
    shown.page.emulate_media(color_scheme="light")
    shown.until(f"{theme} === 'light'")
    light = shown.page.evaluate(f"[{paper}, {ink}]")
    assert dark[0] != light[0]
    assert dark[1] != light[1]

    button.press("Enter")
    button.press("Enter")
    assert button.text_content() == "Theme: dark"
    assert shown.page.evaluate(f"[{paper}, {ink}]") == dark
    assert shown.page.evaluate("localStorage.getItem('noether-report-theme')") == "dark"
    button.press("Enter")
    assert shown.page.evaluate(theme) == "light"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_obstacles(shown, theme):
    module = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    shown.page.emulate_media(color_scheme=theme)
    found = module.Axe().run(shown.page, context="body")
    violations = [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found.response["violations"]
    ]
    assert violations == []


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(shown):
    shown.page.reload()
    shown.page.wait_for_selector("html[data-ready]", state="attached")
    shown.page.keyboard.press("Tab")
    focused = "document.activeElement.id || document.activeElement.textContent.trim()"
    assert shown.page.evaluate(focused) == "Skip to the content"
    assert shown.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tops = "[...document.querySelectorAll('[tabindex]')].map(one => one.tabIndex)"
    assert max(shown.page.evaluate(tops)) == 0
    shown.page.keyboard.press("Tab")
    assert shown.page.evaluate(focused) == "theme"


@pytest.mark.parametrize("width", [400, 900, 1600])
def test_no_width_makes_the_page_scroll_sideways(shown, width):
    shown.page.set_viewport_size({"width": width, "height": 900})
    shown.until("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_was_complained_of_run_from_outside_or_loaded(shown, report):
    assert shown.complaints == []
    assert shown.page.evaluate("window.owned") is None
    kinds = {url.partition(":")[0] for url in shown.requests if url != report.as_uri()}
    assert kinds == {"blob"}
