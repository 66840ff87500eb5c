"""A package that strangers publish: installed beside the project, used, and removed again."""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh_environment import ROOT, FreshEnvironment

PACKAGE = Path(__file__).parent / "acme_window"

GOOD = """\
type: acme_window
hidden_dim: 32
num_heads: 4
window: 8
"""

EXPERIMENT = """\
attention: {type: acme_window, hidden_dim: 16, num_heads: 2, window: 4}
model: {depth: 1}
task: {type: airfoil, n_train: 8, n_test: 2, n_surface: 16, n_volume: 16}
training: {steps: 3, batch_size: 2}
"""

AGAINST_THE_FORMULA = """
import sys
import torch
from noether_core import build, load

config = load(sys.argv[1])
torch.manual_seed(2)
module = build(config).double()
x = torch.randn(2, 29, config.hidden_dim, dtype=torch.float64)

layers = (module.q, module.k, module.v)
q, k, v = (layer(x).unflatten(-1, (config.num_heads, -1)).transpose(1, 2) for layer in layers)
positions = torch.arange(29)
far = (positions[:, None] - positions).abs() > config.window
logits = torch.einsum("bhid,bhjd->bhij", q, k) / config.head_dim**0.5
heads = torch.einsum("bhij,bhjd->bihd", logits.masked_fill(far, -torch.inf).softmax(-1), v)

torch.testing.assert_close(module(x), module.proj(heads.flatten(2)))
assert far.any() and module.config is config
print(type(module).__module__)
"""

SUMMARY = "Every token attends to the tokens at most a window away."


@pytest.fixture(scope="module")
def wheel(fresh_environment: FreshEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as its authors upload it."""
    folder = tmp_path_factory.mktemp("dist")
    fresh_environment.pip("wheel", "--no-deps", "--wheel-dir", folder, PACKAGE)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(fresh_environment: FreshEnvironment, wheel: Path) -> Iterator[FreshEnvironment]:
    """The project, and the package beside it."""
    fresh_environment.pip("install", "-c", ROOT / "constraints.txt", f"{wheel}[test]")
    yield fresh_environment
    fresh_environment.pip("uninstall", "-y", "acme-window")


@pytest.fixture
def without_package(environment: FreshEnvironment, wheel: Path) -> Iterator[FreshEnvironment]:
    """The same environment after the package was uninstalled."""
    environment.pip("uninstall", "-y", "acme-window")
    yield environment
    environment.pip("install", "--no-deps", wheel)


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_the_wheel_holds_the_package_and_not_its_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert wheel.name == "acme_window-1.2.0-py3-none-any.whl"
    assert {Path(name).name for name in names if name.startswith("acme_window/")} == {
        "__init__.py",
        "config.py",
        "cost.py",
        "module.py",
        "py.typed",
    }
    assert all(name.startswith(("acme_window/", "acme_window-1.2.0.dist-info/")) for name in names)


@pytest.mark.nightly
def test_the_package_passes_its_own_tests_where_it_is_installed(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    own = ("-c", PACKAGE / "pyproject.toml", PACKAGE / "tests")
    tested = environment.run(
        "python", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *own, cwd=tmp_path
    )

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_list_names_its_type_with_distribution_and_version_as_json(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    listed = environment.run("noether", "list", "--json", cwd=tmp_path)

    assert listed.returncode == 0, listed.stderr
    assert {
        "type": "acme_window",
        "distribution": "acme-window",
        "version": "1.2.0",
        "plugin": "acme_window",
        "note": "",
        "interface": "self",
        "summary": SUMMARY,
    } in json.loads(listed.stdout)


def test_list_names_its_type_with_distribution_and_version_as_plain_lines(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    listed = environment.run("noether", "list", "--plain", cwd=tmp_path)

    assert listed.returncode == 0, listed.stderr
    assert ["acme_window", "acme-window", "1.2.0", "acme_window", "self", SUMMARY, ""] in [
        line.split("\t") for line in listed.stdout.splitlines()
    ]


def test_show_prints_its_provider_and_its_options(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    shown = environment.run("noether", "show", "acme_window", "--plain", cwd=tmp_path)

    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert shown.returncode == 0, shown.stderr
    assert ["provider", "acme-window 1.2.0"] in lines
    assert [
        "window",
        "an integer of at least 1",
        "256",
        "Tokens that each query sees on either side.",
    ] in lines


def test_a_file_of_its_type_is_good(environment: FreshEnvironment, tmp_path: Path) -> None:
    file = write(tmp_path, "window.yaml", GOOD)

    validated = environment.run("noether", "validate", file, cwd=tmp_path)

    assert (validated.returncode, validated.stdout) == (0, "window.yaml: good: acme_window\n"), (
        validated.stderr
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "windw: 8",
            "window.yaml:4:1: windw: unknown option of 'acme_window'; did you mean 'window'?",
        ),
        ("window: 0", "window.yaml:4:9: window: expected an integer of at least 1, got 0"),
    ],
)
def test_a_wrong_option_is_refused_with_its_position(
    line: str, message: str, environment: FreshEnvironment, tmp_path: Path
) -> None:
    file = write(tmp_path, "window.yaml", GOOD.replace("window: 8", line))

    validated = environment.run("noether", "validate", file, cwd=tmp_path)

    assert validated.returncode == 1
    assert validated.stdout == ""
    assert validated.stderr.splitlines()[:2] == [message, f"   4 | {line}"]


@pytest.mark.parametrize("spelling", ["acme_window", "acme-window:acme_window"])
def test_it_is_built_and_computes_full_attention_with_a_band_for_a_mask(
    spelling: str, environment: FreshEnvironment, tmp_path: Path
) -> None:
    file = write(tmp_path, "window.yaml", GOOD.replace("type: acme_window", f"type: {spelling}"))
    script = write(tmp_path, "compare.py", AGAINST_THE_FORMULA)

    compared = environment.run("python", script, file, cwd=tmp_path)

    assert (compared.returncode, compared.stdout) == (0, "acme_window.module\n"), compared.stderr


def test_its_command_is_one_of_noether(environment: FreshEnvironment, tmp_path: Path) -> None:
    listed = environment.run("noether", "--help", cwd=tmp_path)
    counted = environment.run(
        "noether", "acme-window-cost", "--tokens", "1024", "--window", "64", cwd=tmp_path
    )

    assert re.search(
        r"^ +acme-window-cost\s+from acme-window 1\.2\.0$", listed.stdout, re.MULTILINE
    )
    assert counted.returncode == 0, counted.stderr
    assert counted.stdout == "127,936 of 1,048,576 pairs of query and key (12.2%)\n"


def test_wrong_usage_of_its_command_is_reported_as_that_of_any_other(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    counted = environment.run(
        "noether", "acme-window-cost", "--tokens", "0", "--window", "64", cwd=tmp_path
    )

    assert counted.returncode == 2
    assert "argument --tokens: expected an integer of at least 1, got 0" in counted.stderr


def test_an_experiment_with_its_type_runs(environment: FreshEnvironment, tmp_path: Path) -> None:
    file = write(tmp_path, "experiment.yaml", EXPERIMENT)

    ran = environment.run("noether", "run", file, "--output", "out", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert (result["type"], result["provider"], result["steps"]) == (
        "acme_window",
        "acme-window 1.2.0",
        3,
    )


def test_its_type_is_compared_with_options_that_are_filled_in(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    file = write(tmp_path, "experiment.yaml", EXPERIMENT)

    ran = environment.run(
        *("noether", "compare", file, "attention={type: linear, hidden_dim: 16, num_heads: 2}"),
        *("--types", "acme_window", "--seeds", "1", "--rounds", "0", "--output", "compared"),
        cwd=tmp_path,
    )

    assert ran.returncode == 0, ran.stderr
    assert "from the file: hidden_dim=16, num_heads=2" in ran.stderr
    found = json.loads((tmp_path / "compared" / "compare.json").read_text(encoding="utf-8"))
    (row,) = found["rows"]
    assert (row["type"], row["provider"], row["version"], row["status"]) == (
        "acme_window",
        "acme-window",
        "1.2.0",
        "complete",
    )
    assert row["errors"].keys() == row["errors_of_mean"].keys() != set()


def test_without_the_package_its_type_is_reported_as_missing_beside_what_is_installed(
    without_package: FreshEnvironment, tmp_path: Path
) -> None:
    file = write(tmp_path, "window.yaml", GOOD)

    validated = without_package.run("noether", "validate", file, cwd=tmp_path)
    listed = without_package.run("noether", "list", "--json", cwd=tmp_path)
    helped = without_package.run("noether", "--help", cwd=tmp_path)

    installed = ", ".join(sorted(row["type"] for row in json.loads(listed.stdout)))
    assert "dot_product" in installed
    assert validated.returncode == 1
    assert validated.stderr.startswith("window.yaml:1:7: type: 'acme_window' is not installed; ")
    assert f"Installed: {installed}." in validated.stderr
    assert "acme" not in helped.stdout


def names_in(source: str) -> Iterator[str]:
    """Yield what the code calls things: identifiers, imports, and text that is nothing but a name.

    Prose, in docstrings or in messages, is no such text: it has spaces.
    """
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name", "asname", "module", "value"):
            name = getattr(node, field, None)
            if isinstance(name, str) and not re.search(r"\s", name):
                yield name


@pytest.mark.parametrize(
    "code",
    [
        "import acme_window",
        "from acme_window.config import A",
        "x = {'acme_window': 1}",
        "acme.x",
        "f('acme-window:acme_window')",
    ],
)
def test_code_that_names_a_package_is_found(code: str) -> None:
    assert any("acme" in name for name in names_in(code))


def test_no_code_of_the_project_names_the_package() -> None:
    files = [
        file
        for package in ("noether_core", "noether_plugins")
        for file in (ROOT / package).rglob("*.py")
    ]

    naming = [
        file
        for file in files
        if any("acme" in name.lower() for name in names_in(file.read_text("utf-8")))
    ]

    assert files
    assert naming == []
    assert "acme" not in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_wheel_of_the_project_is_without_the_package(
    fresh_environment: FreshEnvironment, tmp_path: Path
) -> None:
    fresh_environment.pip("wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (built,) = tmp_path.iterdir()

    names = zipfile.ZipFile(built).namelist()

    assert "noether_core/__init__.py" in names
    assert [name for name in names if "acme" in name] == []


def test_it_is_written_for_the_first_version_of_the_contract_for_good() -> None:
    hook = (PACKAGE / "src" / "acme_window" / "__init__.py").read_text(encoding="utf-8")

    assert (
        "api_version=1,\n" in hook
    )  # so that everything above says that plugins of that version still work
