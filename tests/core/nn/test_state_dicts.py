"""Stacked projections of older weights, read as their parts."""

import copy
import pickle

import pytest
import torch
from torch import nn

from noether_core.nn import Projection, accept_fused_


class Cross(nn.Module):
    """Keys and values of one source, stacked as ``kv`` in older weights; values are wider than
    keys.
    """

    def __init__(self, *, bias=True):
        super().__init__()
        self.q, self.k, self.v = (
            nn.Linear(5, 7, bias=bias),
            nn.Linear(3, 7, bias=bias),
            nn.Linear(3, 11, bias=bias),
        )
        accept_fused_(self, fused="kv", parts=("k", "v"))


class Sliced(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (Projection(5, 5, bias=False) for _ in range(3))
        accept_fused_(self, fused="qkv", parts=("q", "k", "v"))


def stacked(state, fused, parts, prefix=""):
    """Return *state* in the older layout."""
    older = dict(state)
    for name in state:
        head, _, leaf = name.removeprefix(prefix).partition(".")
        if name.startswith(prefix) and head == parts[0]:
            older[f"{prefix}{fused}.{leaf}"] = torch.cat(
                [older.pop(f"{prefix}{part}.{leaf}") for part in parts]
            )
    return older


def assert_equal_states(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_stacked_rows_are_read_part_by_part(bias, assign):
    source, target = Cross(bias=bias), Cross(bias=bias)
    older = stacked(source.state_dict(), "kv", ("k", "v"))
    assert older["kv.weight"].shape == (18, 3)

    target.load_state_dict(older, assign=assign)

    assert_equal_states(target.state_dict(), source.state_dict())


def test_names_below_a_part_are_kept():
    source, target = Sliced(), Sliced()
    older = stacked(source.state_dict(), "qkv", ("q", "k", "v"))
    assert list(older) == ["qkv.project.weight"]

    target.load_state_dict(older)

    assert_equal_states(target.state_dict(), source.state_dict())


def test_it_works_anywhere_in_a_model():
    source, target = (nn.ModuleDict({"blocks": nn.Sequential(Cross(), Sliced())}) for _ in range(2))
    older = stacked(source.state_dict(), "kv", ("k", "v"), "blocks.0.")
    older = stacked(older, "qkv", ("q", "k", "v"), "blocks.1.")
    assert "blocks.1.qkv.project.weight" in older

    target.load_state_dict(older)

    assert_equal_states(target.state_dict(), source.state_dict())


def test_the_mapping_that_is_loaded_stays_as_it_was():
    older = stacked(Cross().state_dict(), "kv", ("k", "v"))
    before = dict(older)
    Cross().load_state_dict(older)
    assert older.keys() == before.keys()
    assert all(older[name] is before[name] for name in older)


def test_assigned_parts_do_not_share_the_memory_of_the_stack():
    target, older = Cross(), stacked(Cross().state_dict(), "kv", ("k", "v"))
    target.load_state_dict(older, assign=True)
    before = older["kv.weight"].clone()
    with torch.no_grad():
        target.k.weight.zero_()
    assert torch.equal(older["kv.weight"], before)
    assert target.v.weight.untyped_storage().nbytes() == 11 * 3 * 4


def test_weights_are_saved_under_their_own_names():
    target = Cross()
    target.load_state_dict(stacked(Cross().state_dict(), "kv", ("k", "v")))
    assert sorted(target.state_dict()) == [
        "k.bias",
        "k.weight",
        "q.bias",
        "q.weight",
        "v.bias",
        "v.weight",
    ]


def test_a_stack_of_another_height_is_told_with_both_shapes():
    older = stacked(Cross().state_dict(), "kv", ("k", "v"))
    older["kv.weight"] = torch.zeros(17, 3)
    with pytest.raises(
        RuntimeError,
        match=r'"kv.weight": got shape \(17, 3\), wanted \(18, 3\), whose .* into 7, 11',
    ):
        Cross().load_state_dict(older)


def test_a_stack_of_another_width_is_told_with_both_shapes():
    older = stacked(Cross().state_dict(), "kv", ("k", "v"))
    older["kv.weight"] = torch.zeros(18, 4)
    with pytest.raises(RuntimeError, match=r'"kv.weight": got shape \(18, 4\), wanted \(18, 3\)'):
        Cross().load_state_dict(older)


def test_a_stack_beside_its_parts_is_told():
    state = Cross().state_dict()
    both = {**state, "kv.weight": torch.zeros(18, 3)}
    with pytest.raises(RuntimeError, match=r'"kv\.weight" stands beside "k\.weight"'):
        Cross().load_state_dict(both)


def test_a_stacked_bias_that_nothing_reads_is_told_as_unexpected():
    older = stacked(Cross(bias=True).state_dict(), "kv", ("k", "v"))
    with pytest.raises(RuntimeError, match=r"Unexpected key.*kv\.bias"):
        Cross(bias=False).load_state_dict(older)


def test_copies_read_older_weights_too():
    source = Cross()
    for twin in (copy.deepcopy(Cross()), pickle.loads(pickle.dumps(Cross()))):  # noqa: S301  our own bytes
        twin.load_state_dict(stacked(source.state_dict(), "kv", ("k", "v")))
        assert_equal_states(twin.state_dict(), source.state_dict())
