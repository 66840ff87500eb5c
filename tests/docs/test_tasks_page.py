"""The page of tasks says what the built-in ones are, and examples show those solved here."""

import re

import pytest

from noether_core import load, registry
from noether_core.building import make_task
from noether_plugins.workbench.experiment import Experiment
from tests.fresh_environment import ROOT

PAGE = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
BUILT_IN = [
    entry.name
    for entry in registry().tasks.providers()
    if entry.distribution == "noether-attention"
]
SOLVED_HERE = [name for name in BUILT_IN if name != "points"]


def section_of(name):
    return re.split(r"^## ", PAGE.split(f"## `{name}`\n", 1)[1], flags=re.MULTILINE)[0]


def test_the_page_has_a_row_for_every_built_in_task():
    rows = re.findall(r"^\| \[?`(\w+)`", PAGE.split("An experiment names", 1)[0], re.MULTILINE)
    assert sorted(rows) == sorted(BUILT_IN)


@pytest.mark.parametrize("name", SOLVED_HERE)
def test_its_section_names_every_group_input_and_field(name):
    record = registry().tasks.get(name)
    layout = make_task({"type": name, **record.example}, seed=0).layout
    names = {*layout.groups, *layout.inputs}
    for group in layout.groups.values():
        names |= {*group.inputs, *group.fields}

    words = set(re.findall(r"[a-z_]+", section_of(name)))
    assert names - words == set()


@pytest.mark.parametrize("name", SOLVED_HERE)
def test_an_example_shows_it(name):
    assert load(ROOT / "docs" / "examples" / f"{name}.yaml", Experiment).task.type == name
