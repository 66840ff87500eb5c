"""Every block of code in the README and the documentation does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from sybil import Sybil
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from noether_core import ConfigError, json_schema, load, registry, structure
from noether_core.plugins.registry import IN_PROCESS
from noether_plugins.workbench.experiment import Experiment
from tests.docs.pages import blocks, follow
from tests.fresh_environment import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = {
    "tutorial.md": ("runs/transolver/picture.png", "runs/dot_product/result.json"),
    "configs.md": ("attention.schema.json",),
    "saving.md": ("attention.safetensors", "noether.lock"),
    "your-data.md": ("runs/flow/picture.png", "predicted/case_0_surface.vtp"),
}
"""Pages whose commands a reader can follow, and files that lie in the reader's folder afterwards.
"""


@pytest.fixture
def registry_stays():
    """Take what a page registers out of the process's registry again."""
    installation = registry()._installation
    before = dict(installation._added)
    yield
    installation._added = before
    for known in (registry(), registry().tasks):
        for entry in [entry for entry in known._records if entry.distribution == IN_PROCESS]:
            if entry not in before.values():
                del known._records[entry]
        known._forget_names()


@pytest.mark.usefixtures("registry_stays")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page):
    if page.name == "exporting.md":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    sybil = Sybil([PythonCodeBlockParser()])
    for example in Document.parse(str(page), *sybil.parsers).examples():
        example.evaluate()


def test_no_page_leaves_a_type_in_the_registry_of_the_process():
    entries = [entry for known in registry().kinds() for entry in known.providers()]
    added = [entry for entry in entries if entry.distribution == IN_PROCESS]
    # Other tests in this process may have added types of their own.
    assert [entry for entry in added if not entry.value.startswith("tests.")] == []


def test_the_readme_has_code_to_run():
    assert any(block.language == "python" for block in blocks(README))


def test_the_readmes_config_is_one():
    (text,) = (block.text for block in blocks(README) if block.language == "yaml")
    assert structure(yaml.safe_load(text)).type == "transolver"


@pytest.mark.parametrize(
    "type",
    [entry.name for entry in registry().providers() if entry.distribution == "noether-attention"],
)
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_built_in_type_fits_into_the_transformer_of_the_page(page, type):
    (code,) = (
        block.text
        for block in blocks((ROOT / page).read_text(encoding="utf-8"))
        if "class PointTransformer" in block.text
    )
    options = {**registry().get(type).example, "type": type, "hidden_dim": 64, "num_heads": 4}
    swapped, count = re.subn(r"structure\(\{.*\}\)", f"structure({options!r})", code)
    assert count == 1
    exec(f"import torch\nfrom noether_core import structure\n{swapped}", {})  # noqa: S102


def test_the_readmes_problems_are_what_such_a_file_gets(tmp_path, monkeypatch):
    problems = next(block.text for block in blocks(README) if block.language == "text")
    lines = dict(re.findall(r"^ +(\d) \| (.*)$", problems, flags=re.MULTILINE))
    file = tmp_path / "attention.yaml"
    file.write_text("type: transolver\nhidden_dim: 256\n" + f"{lines['3']}\n{lines['4']}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load("attention.yaml")
    assert str(caught.value) == problems.rstrip()


def test_the_readmes_commands_are_the_two_that_do_everything():
    first, second = (block.text.strip() for block in blocks(README) if block.language == "bash")
    install = "python -m pip install -c constraints.txt '.[run]'"
    assert first == f"{install} && noether run docs/examples/airfoil.yaml"
    assert second == "python -m pip install -c constraints.txt -e '.[test]' && python -m pytest"
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace("--quiet ", "")
    assert set(second.split(" && ")) <= set(script.splitlines())


@pytest.mark.parametrize(("page", "files"), MADE.items(), ids=MADE)
def test_a_reader_who_follows_a_page_sees_what_it_shows(page, files, tmp_path):
    if page == "your-data.md":
        pytest.importorskip("pyvista", reason="the extra pyvista is not installed")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(script):
        return subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )

    follow((ROOT / "docs" / page).read_text(encoding="utf-8"), tmp_path, run)
    assert [file for file in files if not (tmp_path / file).exists()] == []


def test_the_pages_editor_line_names_a_schema_that_its_file_obeys(tmp_path):
    page = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")
    (text,) = (block.text for block in blocks(page) if block.file == "completed.yaml")
    assert text.splitlines()[0] in README
    validator = Draft202012Validator(json_schema())
    validator.validate(yaml.safe_load(text))
    assert not validator.is_valid({**yaml.safe_load(text), "num_slices": 3})


@pytest.mark.parametrize(
    "example",
    sorted((ROOT / "docs" / "examples").rglob("*.*")),
    ids=lambda example: f"{example.parent.name}/{example.name}",
)
def test_examples_are_sound(example):
    assert load(example, Experiment)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
