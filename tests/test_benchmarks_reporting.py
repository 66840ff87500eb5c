"""How benchmarks report what they measured: results, tables, pictures, a page, and the command."""

import functools
import json
import math
import re
import subprocess
import sys

import pytest
import torch

from noether_core import build, registry
from tests.benchmarks import __main__ as command
from tests.benchmarks import page, pictures, subjects
from tests.benchmarks.building import bare_layers
from tests.benchmarks.machine import facts
from tests.benchmarks.results import Beside, Bound, Claim, Curve, Growth
from tests.benchmarks.straightforward import FORMS
from tests.benchmarks.tables import amount, lines, markdown
from tests.benchmarks.workloads import FAMILIES, peers, step, variant, variants
from tests.fresh_environment import ROOT

CLAIM = Claim("ours / theirs", 0.5, [0.3, 0.6, 0.4, 0.5, 0.7], (0.0021, 0.0042), "seconds", 2)
SHOWN = Claim("shown / only", math.inf, [3.0], (3e7, 1e7), "bytes")
SQUARE = Growth("squares", 1.1, [3, 5, 7], [9.0, 25.0, 49.0])
BOUND = Bound("bytes held", 2000, 1500, "at 3 tokens")
LINE = Curve("slices", "transolver", "forward", "seconds", [16, 64], [0.001, 0.004])
OTHER = Curve("slices", "x-transformers", "forward", "seconds", [16, 64], [0.001, 0.016])
BESIDE = Beside("flare", "forward", 1024, "seconds", 0.5, {"x-transformers": (0.25, [2.0, 2.5])})


def test_a_ratio_is_the_median_of_its_rounds_with_quartiles():
    assert (CLAIM.median, CLAIM.quartiles) == (0.5, (0.4, 0.6))
    assert CLAIM.is_kept
    assert not CLAIM._replace(budget=0.49).is_kept


def test_an_exponent_is_that_of_the_power():
    assert SQUARE.exponent == pytest.approx(2)
    assert not SQUARE.is_kept
    assert LINE.exponent == pytest.approx(1)
    assert OTHER.exponent == pytest.approx(2)


@pytest.mark.parametrize(
    "result", [CLAIM, SHOWN, SQUARE, BOUND, LINE, BESIDE], ids=lambda result: result.name
)
def test_every_result_can_be_json(result):
    found = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert found["kind"]


def test_a_ratio_that_is_only_told_has_no_budget():
    assert SHOWN.is_kept
    assert SHOWN.as_dict()["budget"] is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5, "seconds", "2.50 s"),
        (0.0021, "seconds", "2.10 ms"),
        (3e-7, "seconds", "0.30 us"),
        (1.5e9, "bytes", "1.50 GB"),
        (123_400_000, "bytes", "123 MB"),
        (17.0, "bytes", "0.02 kB"),
    ],
)
def test_amounts_have_the_unit_in_which_they_read_best(value, unit, text):
    assert amount(value, unit) == text


def test_tables_tell_what_is_over_budget():
    text = "\n".join(lines([CLAIM, SHOWN, SQUARE, BOUND]))
    assert re.search(
        r"^ours / theirs +0\.500 +0\.400 to 0\.600 +0\.500 +2\.10 ms +4\.20 ms$",
        text,
        flags=re.MULTILINE,
    )
    assert re.search(
        r"^shown / only +3\.000 +3\.000 to 3\.000 +30\.0 MB +10\.0 MB$", text, flags=re.MULTILINE
    )
    assert re.search(r"^squares +2\.000 over budget +1\.100", text, flags=re.MULTILINE)
    assert re.search(r"^bytes held +1,500 +2,000 +at 3 tokens$", text, flags=re.MULTILINE)


def test_what_is_not_installed_is_told_in_its_column():
    other = BESIDE._replace(variant="mixed", others={"torch.nn.MultiheadAttention": (0.5, [1.0])})
    head, _, flare, mixed, _ = markdown([BESIDE, other])
    assert head.startswith("| variant | what | tokens | ours | x-transformers, and ours / it |")
    assert flare == "| flare | forward | 1,024 | 500 ms | 250 ms (2.12 to 2.38) | not installed |"
    assert mixed == "| mixed | forward | 1,024 | 500 ms | not installed | 500 ms (1.00 to 1.00) |"


def test_pages_get_tables_as_markdown():
    head, rule, row, _ = markdown([CLAIM])
    assert head == "| ours / reference | median | quartiles | budget | ours | reference |"
    assert rule == "|---|--:|--:|--:|--:|--:|"
    assert row == "| ours / theirs | 0.500 | 0.400 to 0.600 | 0.500 | 2.10 ms | 4.20 ms |"


def test_every_family_gets_a_picture_that_is_the_same_each_time(tmp_path):
    full = LINE._replace(family="full", line="dot_product", unit="bytes", fact="memory")
    drawn = pictures.draw([CLAIM, LINE, OTHER, full], tmp_path, "two cores")
    assert [file.name for file in drawn] == ["performance-slices.svg", "performance-full.svg"]
    slices = drawn[0].read_text()
    for label in ("transolver", "x-transformers", "forward", "two cores", "tokens"):
        assert f">{label}</text>" in slices
    pictures.draw([LINE, OTHER], tmp_path, "two cores")
    assert drawn[0].read_text() == slices


def test_a_page_is_filled_between_its_marks_alone(tmp_path):
    file = tmp_path / "page.md"
    marks = "<!-- measured: {} -->\n{}<!-- end -->\n"
    slices, peers = marks.format("slices", "old"), marks.format("peers", "kept")
    file.write_text(f"# A\n{slices}B\n{peers}{marks.format('pictures', '')}")
    page.fill(file, {"slices": [CLAIM, LINE]}, facts())
    text = file.read_text()
    assert text.startswith("# A\n<!-- measured: slices -->\n\nMeasured on CPU")
    assert "| ours / theirs | 0.500 |" in text
    assert "old" not in text
    assert marks.format("peers", "kept") in text
    assert "](images/performance-slices.svg)" in text
    page.fill(file, {"slices": [CLAIM, LINE]}, facts())
    assert file.read_text() == text


def test_the_header_names_what_numbers_depend_on():
    found = facts()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert {"processor", "cores", "memory", "system", "python", "device"} <= set(found)


@pytest.mark.parametrize("subject", subjects.SUBJECTS)
def test_every_subject_is_there(subject):
    assert subjects.is_there(subject)


def test_every_variant_is_in_a_picture():
    assert sorted(FAMILIES) == sorted(variants())


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script:DeprecationWarning"
)  # of x-transformers, at its import
@pytest.mark.parametrize("name", [*FAMILIES, *peers()])
def test_what_is_measured_of_a_variant_gives_every_weight_a_gradient(name):
    step(name, "forward and backward", 40)()
    assert step(name, "forward", 40)().shape[-1] == 256


@pytest.mark.parametrize("name", FAMILIES)
def test_bare_layers_have_the_weights_of_the_variant_and_no_code_of_it(name):
    module = build(name, **registry().get(name).example)
    bare = bare_layers(module)()
    assert {key: value.shape for key, value in bare.state_dict().items()} == {
        key: value.shape for key, value in module.state_dict().items()
    }
    assert {type(part).__module__.partition(".")[0] for part in bare.modules()} == {"torch"}


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_measures_what_it_is_asked_for(tmp_path):
    done = run("configs", "--quick", "--json", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["subjects"]) == ["configs"]
    assert found["machine"]["torch"] == torch.__version__
    assert "configs 1/3" in done.stderr
    assert json.loads((tmp_path / "results.json").read_text()) == found
    assert "structure 10 options / pydantic" in (tmp_path / "results.txt").read_text()


def test_an_unknown_subject_is_told_with_those_that_there_are():
    done = run("slcies")
    assert done.returncode == 2
    assert "no such subject: slcies; choose of startup, " in done.stderr


def test_a_subject_that_fails_takes_no_other_with_it(monkeypatch, capsys):
    def measure(subject, *, quick, report):
        if subject == "configs":
            raise ZeroDivisionError
        return [CLAIM]

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "configs", "building"])
    assert command.main() == 1
    out, err = capsys.readouterr()
    assert "ours / theirs" in out
    assert "ZeroDivisionError" in err
    assert "failed: configs" in err


@pytest.mark.parametrize(("budget", "status"), [(0.5, 0), (0.4, 1)])
def test_a_budget_that_is_exceeded_counts_where_that_is_asked_for(
    budget, status, monkeypatch, capsys
):
    monkeypatch.setattr(command, "measure", lambda *_, **__: [CLAIM._replace(budget=budget)])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "configs", "--check"])
    assert command.main() == status
    assert ("over budget" in capsys.readouterr().out) is bool(status)


NAMES = {
    "transolver": {
        "in_project_x": "x",
        "in_project_fx": "features",
        "in_project_slice": "slice",
        ".project": "",
    },
    "irregular_nat": {"relpos_fc1": "bias.0", "relpos_fc2": "bias.2"},
    "self_anchor": {"mixed_attention.": ""},
}
"""What the straightforward forms call weights otherwise."""


@pytest.mark.parametrize(("name", "family"), [(name, FAMILIES[name]) for name in NAMES])
def test_straightforward_forms_compute_what_the_first_variant_of_their_family_does(name, family):
    torch.manual_seed(0)
    module, arguments = variant(name, 50)
    form = FORMS[family](module.config)
    weights = {}
    for key, value in module.state_dict().items():
        renamed = functools.reduce(
            lambda text, names: text.replace(*names), NAMES[name].items(), key
        )
        weights[renamed] = 0.1 * torch.randn_like(value) if value.ndim < 4 else value
    form.load_state_dict(weights)
    module.load_state_dict(dict(zip(module.state_dict(), weights.values(), strict=True)))
    torch.testing.assert_close(form(**arguments), module.eval()(**arguments), rtol=1e-4, atol=1e-3)
