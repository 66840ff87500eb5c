"""Tasks in every command of ``noether``, as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tomllib

import pytest
from jsonschema import Draft202012Validator

from tests.light_environment import task_source, variant_source

NOETHER = shutil.which(
    "noether", path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
)
REGISTERS = f"""
{task_source("mine", module="mine:Task")}
from noether_core import registry

registry().register(noether_task())
"""


@pytest.fixture
def run(site, tmp_path):
    """Return what runs a command where the task 'flow' is there, and 'near' as both."""
    site.install_task("flow", module="flow_module:Task")
    files = {
        "flow_module.py": "class Task: ...",
        "near_variant.py": variant_source("near"),
        "near_task.py": task_source("near", module="flow_module:Task"),
        "mine.py": REGISTERS,
    }
    site.install(
        "acme", attention={"near": "near_variant"}, tasks={"near": "near_task"}, files=files
    )

    def call(*arguments, status=0, **variables):
        done = subprocess.run(
            [NOETHER, *arguments],
            cwd=tmp_path,
            env=site.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def rows(done):
    return {row["type"]: row for row in json.loads(done.stdout)}


def test_list_has_tasks_on_demand(run):
    lines = [line.split("\t") for line in run("list", "--tasks").stdout.splitlines()]
    assert lines[0] == ["type", "distribution", "version", "plugin", "summary", "note"]
    summary = "Points that are what they were."
    assert ["flow", "flow", "1.2.0", "task_of_flow_flow", summary, ""] in lines
    found = rows(run("list", "--tasks", "--json", NOETHER_BLOCK="flow:flow"))
    assert {"flow", "near", "airfoil", "darcy", "points", "potential"} <= found.keys()
    assert (found["flow"]["note"], found["near"]["note"]) == ("blocked", "")
    details = rows(run("list", "--tasks", "--json", "--details"))
    assert (details["flow"]["summary"], details["flow"]["reference"]) == (summary, "Nowhere, 2026")
    assert "flow" not in rows(run("list", "--json"))


def test_a_task_that_a_module_registers_is_one_like_others(run):
    found = rows(run("list", "--tasks", "--json", NOETHER_REGISTER="mine"))
    assert (found["mine"]["distribution"], found["mine"]["summary"]) == (
        "in-process",
        "Points that are what they were.",
    )
    shown = json.loads(run("show", "mine", "--json", NOETHER_REGISTER="mine").stdout)
    assert (shown["kind"], shown["module"]) == ("task", "mine:Task")


def test_show_says_that_a_type_is_a_task(run):
    shown = json.loads(run("show", "flow", "--json").stdout)
    assert (shown["kind"], shown["provider"], shown["reference"]) == (
        "task",
        "flow 1.2.0",
        "Nowhere, 2026",
    )
    assert [option["option"] for option in shown["options"]] == ["type", "n_train"]
    assert "interface" not in shown
    assert "kind\ttask\n" in run("show", "flow").stdout
    wrong = run("show", "floww", status=1).stderr
    assert "'floww' is not installed" in wrong
    assert "there is a task 'flow'." in wrong


def test_of_a_type_that_is_both_either_can_be_had(run):
    both = run("show", "near")
    assert "kind\tattention variant\n" in both.stdout
    assert both.stderr == "noether: there is a task 'near' as well; say --task for that one\n"
    task = run("show", "near", "--task")
    assert ("kind\ttask\n" in task.stdout, task.stderr) == (True, "")
    assert "acme:near of acme 1.2.0" in run("why", "near").stdout
    assert "near_task" in run("why", "near", "--task").stdout
    assert "n_train" in json.loads(run("schema", "near", "--task").stdout)["properties"]
    assert "hidden_dim" in json.loads(run("schema", "near").stdout)["properties"]


def test_why_says_what_becomes_of_a_task(run):
    assert run("why", "flow").stdout.endswith("'flow' is flow:flow of flow 1.2.0.\n")
    blocked = run("why", "flow", "--block", "flow", status=1).stdout
    assert "the task 'flow' is not installed; flow:flow is blocked." in blocked
    assert "did you mean" in run("why", "flov", "--task", status=1).stdout


def test_validate_checks_tasks_alone_and_in_any_file(run, tmp_path):
    (tmp_path / "task.yaml").write_text("type: flow\nn_train: 3\n")
    (tmp_path / "run.yaml").write_text("task: {type: flow, n_train: 0}\nblocks: [{type: flw}]\n")
    assert run("validate", "task.yaml").stdout == "task.yaml: good: flow\n"
    done = run("validate", "--plain", "run.yaml", "--at", "task", status=1)
    assert done.stderr == (
        "run.yaml:1:29: task.n_train: expected an integer of at least 1, got 0\n"
    )
    done = run("validate", "--plain", "run.yaml", "--at", "blocks[*]", status=1)
    assert "blocks[0].type: the task 'flw' is not installed; did you mean 'flow'?" in done.stderr


def test_a_task_is_locked_and_held_to_it(run, tmp_path):
    (tmp_path / "task.yaml").write_text("type: flow\n")
    assert run("lock", "task.yaml").stdout == "noether.lock: flow: flow 1.2.0\n"
    lock = tomllib.loads((tmp_path / "noether.lock").read_text())
    assert (lock["types"], lock["tasks"][0]["distribution"]) == ([], "flow")
    assert run("validate", "task.yaml", "--locked").stdout == "task.yaml: good: flow\n"
    lost = run("validate", "task.yaml", "--locked", status=1, NOETHER_BLOCK="flow").stderr
    assert "missing of 'flow': locked to flow 1.2.0, here nothing provides it" in lost


def test_schema_has_one_task_or_all(run):
    one = json.loads(run("schema", "flow").stdout)
    assert one["properties"]["type"]["enum"] == ["flow", "flow:flow"]
    every = json.loads(run("schema", "--tasks").stdout)
    assert {"flow", "near", "airfoil"} <= set(every["properties"]["type"]["enum"])
    validator = Draft202012Validator(every)
    assert validator.is_valid({"type": "flow", "n_train": 3})
    assert not validator.is_valid({"type": "flow", "n_train": 0})
    assert run("schema", "--tasks", "--experiment", status=2).stdout == ""


def test_doctor_imports_and_checks_tasks(run, site):
    torn = task_source("torn", module="nowhere:Task")
    files = {"torn.py": torn, "broken_task.py": "raise OSError('no disk')"}
    site.install("torn", tasks={"torn": "torn", "broken": "broken_task"}, files=files)
    site.install_task("flow", "other-flow", module="flow_module:Task")
    done = run("doctor", "--json", status=1, NOETHER_BLOCK="noether-attention")
    diagnosis = json.loads(done.stdout)
    found = {
        (finding["check"], finding["plugin"]): finding["message"]
        for finding in diagnosis["findings"]
    }
    assert found["import", "torn:broken"] == "broken_task cannot be imported: OSError: no disk"
    assert found["module", "torn:torn"] == "nowhere:Task cannot be imported: there is no nowhere"
    assert found["clash", "flow:flow"] == (
        "the task 'flow' is provided by flow 1.2.0 and other-flow 1.2.0; its bare name is refused"
    )
    assert {row["plugin"] for row in diagnosis["imports"]} >= {"flow:flow", "acme:near"}


def test_doctor_makes_tasks_when_it_looks_deep(run):
    blocked = "noether-attention,acme"
    done = run("doctor", "--deep", "--json", status=1, NOETHER_BLOCK=blocked)
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["message"] == "flow_module:Task is no subclass of Task"


def test_a_shell_completes_types_of_tasks(site, run, tmp_path):
    pytest.importorskip("argcomplete")
    line = "noether show fl"
    variables = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    offered = tmp_path / "offered"
    script = f"'{NOETHER}' 8>'{offered}' 9>/dev/null"
    subprocess.run(["sh", "-c", script], env=site.environment(**variables), check=True)
    assert {"flow", "flare"} <= {word.strip() for word in offered.read_text().splitlines()}


def test_help_names_tasks(run):
    assert "--tasks" in run("--help").stdout
    assert "tasks" in run("list", "--help").stdout
