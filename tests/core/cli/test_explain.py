"""``noether explain``, in this process."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from noether_core import json_schema
from noether_core.cli import main
from noether_core.structuring.explaining import Explanation
from tests.docs.pages import blocks
from tests.fresh_environment import ROOT

GOOD = "type: linear\nhidden_dim: 8\nnum_heads: 2\n"
BAD = "type: linear\nhidden_dim: 8\nnum_heads: 3\nnum_head: 2\n"
EXPERIMENT = (
    "task: {type: darcy}\nattention: {type: linear, hidden_dim: 8, num_heads: 2}\n"
    "training: {batch_size: 2}\n"
)


@pytest.fixture
def explain(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(text, *arguments, name="a.yaml"):
        Path(name).write_text(text, encoding="utf-8")
        status = main(["explain", name, *arguments])
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def without_torch(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "torch" else find(name)
    )


def data_of(explain, text, *arguments):
    status, out, _ = explain(text, "--json", "--tokens", "100", *arguments)
    data = json.loads(out)
    Draft202012Validator(json_schema(Explanation)).validate(data)
    return status, data


def test_the_pages_example_is_what_is_printed(explain):
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    (config,) = (block.text for block in blocks(page) if block.file == "attention.yaml")
    (command, *_) = (block.text for block in blocks(page) if block.language == "bash")
    shown = next(block.text for block in blocks(page) if block.language == "text")
    _, _, file, *arguments = command.split()
    status, out, _ = explain(config, *arguments, name=file)

    def plain(text):
        return [line.rstrip().split("\t") for line in text.splitlines()]

    assert status == 0
    assert plain(re.sub(r" {2,}", "\t", shown)) == plain(out.replace(" 0.1.0", " 0.1.0"))


def test_a_config_is_explained_as_data_that_obeys_its_schema(explain):
    status, data = data_of(explain, GOOD, "dropout=0.5")
    (config,) = data["configs"]
    options = {option["path"]: option for option in config["options"]}
    assert (status, data["valid"], config["taken_as"], config["path"]) == (0, True, "variant", "")
    assert options["hidden_dim"] | {"help": ""} == {
        "path": "hidden_dim",
        "value": 8,
        "source": "file",
        "file": "a.yaml",
        "line": 2,
        "column": 13,
        "written_as": "",
        "derived_from": [],
        "help": "",
    }
    assert (options["dropout"]["value"], options["dropout"]["source"]) == (0.5, "override")
    (part,) = config["parts"]
    assert (part["provider"], part["interface"]) == ("noether-attention", "self")
    assert "summary" in part["capabilities"]
    forward, training = config["costs"]["counts"]
    assert (forward["part"], training["part"], forward["tokens"]) == ("forward", "training", 100)
    assert forward["operations"] > 4 * 2 * 100 * 8 * 8


def test_a_file_with_the_sections_of_an_experiment_is_taken_as_one_and_said_to_be(explain):
    status, out, _ = explain(EXPERIMENT, "model.depth=2", "--tokens", "64,128")
    assert status == 0
    assert out.startswith("a.yaml: taken as a whole experiment\n")
    assert "model.depth\t2\tthe command line\n" in out
    assert "training.batch_size\t2\ta.yaml:3:24\n" in out
    assert "\n64\t" in out
    assert "\n128\t" in out
    (config,) = data_of(explain, EXPERIMENT)[1]["configs"]
    assert [part["kind"] for part in config["parts"]] == ["task", "variant"]
    assert [count["samples"] for count in config["costs"]["counts"]] == [1, 2]


def test_the_config_of_a_task_has_no_costs(explain):
    status, data = data_of(explain, "type: darcy\nn_train: 3\n")
    (config,) = data["configs"]
    assert (status, config["taken_as"]) == (0, "task")
    assert "costs" not in config


def test_several_configs_of_a_file_are_explained_each(explain):
    text = "blocks:\n- {type: linear, hidden_dim: 8, num_heads: 2}\n" * 1
    text += "- {type: galerkin, hidden_dim: 8, num_heads: 4}\n"
    _, data = data_of(explain, text, "--at", "blocks[*]")
    found = [(each["path"], each["parts"][0]["type"]) for each in data["configs"]]
    assert found == [("blocks[0]", "linear"), ("blocks[1]", "galerkin")]
    paths = [option["path"] for option in data["configs"][1]["options"]]
    assert "blocks[1].num_heads" in paths


@pytest.mark.parametrize("text", [BAD, f"a:\n  b: {{{GOOD.replace(chr(10), ', ')}}}\n", "- 1\n"])
def test_bad_files_have_the_problems_of_validate(explain, text, capsys):
    status, out, problems = explain(text)
    assert main(["validate", "a.yaml"]) == 1
    validated = capsys.readouterr().err
    assert (status, out) == (1, "")
    assert problems == validated
    status, data = data_of(explain, text)
    assert (status, data["valid"], data["configs"]) == (1, False, [])
    assert data["problems"]


def test_problems_of_the_command_line_stand_there(explain):
    status, _, problems = explain(GOOD, "num_heads=3")
    assert status == 1
    assert problems.startswith("command line: num_heads: 3 does not divide hidden_dim 8")


def test_without_torch_values_are_shown_and_costs_say_which_extra_is_missing(
    explain, without_torch
):
    for text in (GOOD, EXPERIMENT):
        status, out, _ = explain(text)
        assert status == 0
        assert "hidden_dim\t8\ta.yaml:" in out
        assert "torch, which is not installed; pip install 'noether-attention[torch]'" in out


def test_an_experiment_that_does_not_fit_its_task_is_explained_all_the_same(explain):
    rope = "attention={type: linear, hidden_dim: 8, num_heads: 4, use_rope: true}"
    status, data = data_of(explain, EXPERIMENT, rope)
    (config,) = data["configs"]
    assert status == 0
    assert "heads of width 2 cannot rotate by 2 coordinates" in config["costs"]["error"]
    assert len(config["options"]) > 20


def test_a_lock_holds(explain):
    Path("noether.lock").write_text("format = 1\nnoether = '0'\ntypes = []\n", encoding="utf-8")
    status, out, problems = explain(GOOD, "--locked")
    assert (status, out) == (1, "")
    assert "noether.lock:2:11: noether: noether-attention is locked to 0" in problems


def test_numbers_of_tokens_are_numbers(explain):
    status, _, error = explain(GOOD, "--tokens", "many")
    assert status == 2
    assert "'many' is no list of numbers of tokens" in error


def test_lines_are_tab_separated_and_whole(explain):
    _, out, _ = explain(GOOD, "--plain", "--tokens", "100")
    assert "head_dim\t4\tfollows from hidden_dim, num_heads\n" in out
    assert re.search(r"^100\t[\d.]+ kFLOP\t[\d.]+ KiB\t[\d.]+ \w+\t[\d.]+ KiB$", out, re.MULTILINE)
