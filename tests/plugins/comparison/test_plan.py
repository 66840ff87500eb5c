"""Which rows are compared, and where their options come from."""

import attrs
import pytest

from noether_core import ConfigError, registry
from noether_plugins.comparison.budget import Budget, nearest_width, steps_in
from noether_plugins.comparison.grid import read_axes
from noether_plugins.comparison.plan import Request, folder_of, make_plan, show_plan
from noether_plugins.comparison.record import Row
from tests.plugins.comparison.conftest import TINY


def _rows(file, **options):
    return {row.name: row for row in make_plan(Request(file=str(file), **options)).rows}


@pytest.fixture(scope="module")
def everything(tiny):
    return make_plan(Request(file=str(tiny), is_all=True, seeds=2))


def test_all_types_are_rows_and_each_can_run(everything):
    assert {row.name for row in everything.rows} == set(registry().types())
    assert everything.seeds == (0, 1)

    # Other tests in this process may have added types of their own.
    built_in = [row for row in everything.rows if row.provider == "noether-attention"]
    assert {row.name for row in built_in} <= {entry.name for entry in everything.entries}
    assert len(built_in) == 16
    for row in built_in:
        assert row.status == "unfinished"
        assert row.parameters > 0
        assert row.runs == (f"runs/{row.name}/seed-0", f"runs/{row.name}/seed-1")
        assert (row.attention["hidden_dim"], row.attention["num_heads"]) == (8, 2)


def test_options_come_from_the_file_or_the_task(everything):
    rows = {row.name: row for row in everything.rows}
    assert rows["flare"].attention["num_latents"] == 3
    assert rows["flare"].sources["num_latents"] == "file"
    assert rows["gale"].attention["num_slices"] == 3
    assert rows["irregular_nat"].attention["input_dim"] == 2
    assert rows["irregular_nat"].sources["input_dim"] == "task"
    assert list(rows["joint_anchor"].attention["branches"]) == ["surface", "volume"]
    assert rows["joint_anchor"].sources["branches"] == "task"
    assert "dropout" not in rows["linear"].sources


def test_runs_hold_nothing_of_other_types(tiny):
    file = tiny.with_name("others.yaml")
    file.write_text(TINY + "attention_options: {flare: {num_latents: 5}}\n")
    plan = make_plan(Request(file=str(file)))
    assert [row.name for row in plan.rows] == ["transolver", "flare"]
    assert plan.rows[1].attention["num_latents"] == 5
    assert plan.rows[1].sources["num_latents"] == "attention_options"
    for entry in plan.entries:
        assert not entry.experiment.attention_options


def test_counts_that_the_file_lacks_are_those_of_the_example_scaled(tiny):
    overrides = ("attention={type: linear, hidden_dim: 16, num_heads: 2}",)
    row = _rows(tiny, overrides=overrides, types=("flare",))["flare"]
    assert row.attention["num_latents"] == 8  # 4 at a width of 8
    assert row.sources["num_latents"] == "example"


def test_what_a_type_refuses_keeps_its_default_and_is_said(tiny):
    overrides = ("attention={type: dot_product, hidden_dim: 8, num_heads: 2, use_rope: true}",)
    row = _rows(tiny, overrides=overrides, types=("transolver",))["transolver"]
    assert row.attention["use_rope"] is False
    assert any("use_rope: True of the file is refused" in note for note in row.notes)


def test_a_row_that_cannot_run_has_failed_and_the_others_have_not(tiny):
    overrides = ("attention_options={cross_anchor: {branches: [surface, wake]}}",)
    rows = _rows(tiny, overrides=overrides)
    assert rows["transolver"].status == "unfinished"
    assert rows["cross_anchor"].status == "failed"
    assert "wake" in rows["cross_anchor"].error or "volume" in rows["cross_anchor"].error


def test_a_config_that_is_wrong_names_the_remedy(tiny):
    overrides = ("attention_options={flare: {hidden_dim: 9}}",)
    row = _rows(tiny, overrides=overrides)["flare"]
    assert row.status == "failed"
    assert "num_heads" in row.error
    assert "attention_options: {flare: ...}" in row.error


def test_a_grid_makes_rows_and_leaves_types_without_the_option_alone(tiny):
    rows = _rows(
        tiny, types=("transolver", "linear"), grid=("attention.num_slices=2,5", "model.depth=1,2")
    )
    assert [*rows] == [
        "transolver num_slices=2 model.depth=1",
        "transolver num_slices=5 model.depth=1",
        "transolver num_slices=2 model.depth=2",
        "transolver num_slices=5 model.depth=2",
        "linear model.depth=1",
        "linear model.depth=2",
    ]
    varied = rows["transolver num_slices=5 model.depth=2"]
    assert varied.attention["num_slices"] == 5
    assert varied.sources["num_slices"] == "grid"
    assert dict(varied.varied) == {"attention.num_slices": 5, "model.depth": 2}
    assert rows["linear model.depth=1"].notes == (
        "num_slices: not varied, since the type has no such option",
    )
    shallow, deep = (rows[f"linear model.depth={depth}"].parameters for depth in (1, 2))
    assert deep > shallow


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": ("flar",)}, "--types: 'flar' is not installed; did you mean 'flare'?"),
        ({"grid": ("attention.num_slice=2",)}, "none of the types has this option"),
        ({"grid": ("seed=1,2",)}, "write --seeds N"),
        ({"grid": ("attention.type=flare,linear",)}, "name types with --types"),
        ({"grid": ("model.depth",)}, "expected PATH=VALUE,VALUE"),
        ({"grid": ("model.depth=1", "model.depth=2")}, "--grid names it twice"),
        ({"grid": ("model.depth=0",)}, "model.depth: expected an integer from 1"),
        (
            {"grid": ("training.steps=2,3",), "budget": Budget("steps", 2)},
            "--budget steps=2 says it, and --grid varies it",
        ),
    ],
)
def test_what_is_wrong_for_all_rows_is_one_problem(tiny, options, message):
    with pytest.raises(ConfigError) as caught:
        make_plan(Request(file=str(tiny), **options))
    assert message in str(caught.value)


def test_values_of_a_grid_are_written_as_in_yaml():
    (axis,) = read_axes(["attention.branches=[surface, volume],[volume]"])
    assert axis.values == (["surface", "volume"], ["volume"])
    (axis,) = read_axes(["training.learning_rate=1e-3,0.01,1e-3"])
    assert axis.values == (1e-3, 0.01)


def test_a_budget_of_steps_is_that_of_the_training(tiny):
    plan = make_plan(Request(file=str(tiny), budget=Budget.parse("steps=7")))
    assert plan.entries[0].experiment.training.steps == plan.rows[0].steps == 7


def test_a_budget_of_parameters_chooses_the_nearest_width(tiny):
    rows = _rows(tiny, types=("transolver", "flare"), budget=Budget.parse("parameters=5000"))
    for row in rows.values():
        assert abs(row.parameters - 5000) < 900
        assert row.attention["num_heads"] == 2
        assert row.sources["hidden_dim"] == "budget"
        assert any(f"{row.parameters:,} parameters" in note for note in row.notes)


def test_the_nearest_width_is_found_among_those_that_a_variant_can_have():
    def count(width):
        return None if width % 4 else width * width

    assert nearest_width(10_000, 2, count) == (100, 10_000)
    assert nearest_width(10_300, 2, count) == (100, 10_000)
    assert nearest_width(1, 2, count) == (4, 16)
    assert nearest_width(100, 2, lambda _: None) is None


@pytest.mark.parametrize("text", ["", "steps", "steps=0", "steps=1.5", "seconds=nan", "hours=2"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError, match=r"expected|write"):
        Budget.parse(text)


def test_a_budget_of_seconds_is_steps_by_their_time():
    assert str(Budget.parse("seconds=1.5")) == "seconds=1.5"
    assert str(Budget.parse("parameters=2_000_000")) == "parameters=2000000"
    assert steps_in(1.5, 0.4) == 3
    assert steps_in(0.1, 0.4) == 1


def test_folders_are_named_as_file_systems_like_it():
    assert folder_of("transolver num_slices=16") == "transolver-num_slices=16"
    odd = [folder_of(name) for name in ("acme:window", "acme/window", "a" * 200)]
    assert len(set(odd)) == 3
    assert all(set(name) <= set("acmewindow-0123456789abcdef") for name in odd)


def test_the_plan_is_shown_with_where_each_option_comes_from(everything):
    lines: list[str] = []
    show_plan(everything, lines.append)
    text = "\n".join(lines)
    assert f"{len(everything.rows)} rows, each from 2 seeds" in text
    assert "from the file: hidden_dim=8, num_heads=2, num_latents=3" in text
    assert "from the task: branches=[surface, volume]" in text


def test_what_provides_a_row_has_a_version_where_it_has_one():
    row = Row(
        name="mine",
        type="mine",
        provider="in-process",
        version="",
        status="unfinished",
        attention={},
        sources={},
        runs=(),
    )
    assert row.provided_by == "in-process"
    assert attrs.evolve(row, provider="acme", version="1.2").provided_by == "acme 1.2"
