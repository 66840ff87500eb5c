"""The map of the house is true: rooms, modules, what imports torch, and every name on it."""

import pkgutil
import re
import tomllib

import pytest

from tests.docs.rooms import PACKAGES, PAGE, listed, modules
from tests.fresh_environment import ROOT

TEXT = PAGE.read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(noether_(?:core|plugins)(?:\.\w+)+)`", TEXT)))


def test_the_page_lists_every_module_and_no_other():
    on_page = [(module.room, module.name) for module in listed()]
    in_tree = [(module.room, module.name) for module in modules()]
    assert sorted(on_page) == sorted(in_tree)


def test_a_star_marks_what_imports_torch_at_its_top():
    assert sorted(listed()) == sorted(modules())


@pytest.mark.parametrize("name", NAMED)
def test_every_name_on_the_page_leads_somewhere(name):
    assert pkgutil.resolve_name(name) is not None


def test_core_names_the_plugins_that_ship_with_it_only_where_the_page_says():
    naming = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in (ROOT / "noether_core").rglob("*.py")
        if "noether_plugins" in file.read_text(encoding="utf-8")
    }
    (paragraph,) = (
        text for text in TEXT.split("\n\n") if "never imports `noether_plugins`" in text
    )
    assert naming == set(re.findall(r"`(noether_core[\w.]+)`", paragraph))


def test_levels_are_those_that_import_linter_holds():
    (levels,) = re.findall(r"<!-- levels -->(.*?)<!-- end -->", TEXT, flags=re.DOTALL)
    rows = re.findall(r"^\| (`.*?`) \| [^|]+ \|$", levels, flags=re.MULTILINE)[1:]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [row.replace("`", "").split(", ") for row in rows] == [
        sorted(layer.split(" | ")) for layer in layers
    ]


def test_rooms_stand_in_the_packages():
    assert {module.room.partition("/")[0] for module in listed()} == set(PACKAGES)
