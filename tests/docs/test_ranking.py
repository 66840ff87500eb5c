"""The ranking page has every built-in variant, and each of its experiments."""

import re

import pytest

from noether_core import load, registry
from noether_plugins.workbench.experiment import Experiment
from tests.docs.ranking import EXPERIMENTS, IMAGES, PAGE

TEXT = PAGE.read_text(encoding="utf-8")

BUILT_IN = {
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
}


def _rows_of(subject):
    """Return the types of the lines of a table of the page."""
    (table,) = re.findall(rf"<!-- ranking: {subject} -->(.*?)<!-- end -->", TEXT, re.DOTALL)
    names = re.findall(r"^\| (?:`|(?:\d+|-) \| )([\w\\]+)`? \|", table, re.MULTILINE)
    return [name.replace("\\", "") for name in names]


@pytest.mark.parametrize("subject", ["all", "airfoil", "darcy", "potential"])
def test_each_table_has_every_built_in_variant_once(subject):
    assert sorted(_rows_of(subject)) == sorted(BUILT_IN)


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.iterdir()), ids=lambda file: file.stem)
def test_each_experiment_is_on_the_page_with_its_picture(file):
    assert load(file, Experiment).task.type == file.stem
    assert f"noether compare docs/examples/ranking/{file.name} --all" in TEXT
    picture = f"ranking-{file.stem}.png"
    assert f"images/{picture}" in TEXT
    assert (IMAGES / picture).exists()
