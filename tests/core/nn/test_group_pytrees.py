"""Groups and patterns as compilers see them, and as files keep them."""

import io

import pytest
import torch
from torch.utils import _pytree as pytree

from noether_core import AttentionPattern, TokenSpec
from noether_core.nn.groups import register_groups

SPEC = TokenSpec("surface_anchors", 7)
PATTERN = AttentionPattern(["surface", "volume"], ["surface"])


@pytest.mark.parametrize(
    ("value", "leaves"), [(SPEC, [7]), (TokenSpec("volume", None), [None]), (PATTERN, [])]
)
def test_sizes_are_leaves_and_names_are_structure(value, leaves):
    found, structure = pytree.tree_flatten([value])
    assert found == leaves
    assert pytree.tree_unflatten(found, structure) == [value]


@pytest.mark.parametrize("value", [SPEC, PATTERN])
def test_structure_survives_being_written(value):
    structure = pytree.tree_flatten([value])[1]
    assert pytree.treespec_loads(pytree.treespec_dumps(structure)) == structure


def test_a_path_to_a_size_names_it():
    ((path, size),) = pytree.tree_flatten_with_path([SPEC])[0]
    assert (pytree.keystr(path), size) == ("[0].size", 7)


def test_a_group_may_hold_what_a_compiler_puts_in_place_of_its_size():
    marked = pytree.tree_map(lambda size: ("dynamic", size), [SPEC])
    assert (marked[0].name, marked[0].size) == ("surface_anchors", ("dynamic", 7))


@pytest.mark.parametrize("value", [SPEC, PATTERN])
def test_files_with_groups_load_where_only_weights_may(value):
    file = io.BytesIO()
    torch.save({"groups": [value]}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == {"groups": [value]}


def test_to_register_twice_changes_nothing():
    register_groups()
    assert pytree.tree_flatten([SPEC])[0] == [7]
