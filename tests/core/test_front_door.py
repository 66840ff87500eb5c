"""The public names, each imported on first use."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import noether_core
from noether_core import errors

IMPORT_IN_EVERY_ORDER = """
import importlib, itertools, sys

names = (
    "plugins", "plugins.registry", "building", "structuring", "structuring.json_schema", "schemas"
)
for order in itertools.permutations(names, 2):
    for name in [name for name in sys.modules if name.startswith("noether_core")]:
        del sys.modules[name]
    for name in order:
        importlib.import_module(f"noether_core.{name}")
    from noether_core import build, json_schema, registry, structure
    for function in (build, json_schema, registry, structure):
        assert callable(function), (order, function)
    import noether_core
    assert noether_core.registry is noether_core.registry is registry, order
"""

IMPORT_NOTHING_MORE = """
import sys
import noether_core
noether_core.__all__, dir(noether_core)
heavy = {
    "torch", "numpy", "attrs", "attr", "cattrs", "yaml", "pluggy", "rich", "annotated_types",
    "noether_plugins",
}
print(*sorted(heavy & sys.modules.keys()))
"""

USE_SCHEMAS_ONLY = """
import sys
from noether_core import AttentionConfig, AttentionPattern, NoetherError, Problem, TokenSpec
heavy = {"torch", "numpy", "cattrs", "yaml", "pluggy", "noether_plugins"}
print(*sorted(heavy & sys.modules.keys()))
"""


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()


@pytest.mark.parametrize("name", noether_core.__all__)
def test_every_public_name_is_there_and_listed(name):
    value = getattr(noether_core, name)
    assert value is getattr(noether_core, name)
    assert name in dir(noether_core)


def imports_for_type_checkers():
    """Return the module of every name that type checkers see, by reading the file."""
    tree = ast.parse(Path(noether_core.__file__).read_text(encoding="utf-8"))
    (block,) = (statement for statement in tree.body if isinstance(statement, ast.If))
    found = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        if statement.module == "typing":
            continue
        for alias in statement.names:
            assert alias.asname == alias.name, "type checkers take only `a as a` for exported"
            assert alias.name not in found
            found[alias.name] = statement.module.removeprefix("noether_core.")
    return found


def test_type_checkers_and_the_interpreter_see_the_same_names():
    assert imports_for_type_checkers() == noether_core._MODULES


def test_the_public_names_are_sorted_and_at_most_thirty():
    assert noether_core.__all__ == sorted(set(noether_core.__all__))
    assert len(noether_core.__all__) <= 30


def test_errors_beyond_those_of_the_front_door_are_public_where_they_are_defined():
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.NoetherError)
    }
    assert {"CacheError", "ProvenanceError", "UnsupportedArgumentError"} < defined
    page = Path(__file__).parents[2].joinpath("docs", "errors.md").read_text(encoding="utf-8")
    assert [name for name in sorted(defined) if f"`{name}`" not in page] == []


def test_everything_can_be_imported_at_once():
    names: dict[str, object] = {}
    exec("from noether_core import *", names)  # noqa: S102
    assert set(noether_core.__all__) <= names.keys()


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match=r"module 'noether_core' has no attribute 'biuld'"):
        _ = noether_core.biuld
    with pytest.raises(ImportError, match="biuld"):
        from noether_core import biuld  # noqa: F401


def test_functions_stay_functions_whatever_was_imported_before_them():
    assert python(IMPORT_IN_EVERY_ORDER) == ""


def test_the_front_door_imports_nothing_until_it_is_used():
    assert python(IMPORT_NOTHING_MORE) == ""


def test_schemas_and_errors_need_neither_torch_nor_yaml_nor_plugins():
    assert python(USE_SCHEMAS_ONLY) == ""


def test_the_contract_has_a_version():
    assert noether_core.hookspec_version == 1
