"""How an axis of tokens is split, and groups are taken from it without needless copies."""

import pytest
import torch

from noether_core.nn.groups import SplitTokens, select_groups, split_groups

SIZES = {"surface": 3, "volume": 5, "nothing": 0, "wake": 7}
TOKENS = 15
ROWS = dict(zip(SIZES, torch.arange(TOKENS).split(list(SIZES.values())), strict=True))
WANTED = [
    ("volume",),
    ("surface", "wake"),
    ("wake", "surface"),
    ("surface", "volume", "surface"),
    ("surface", "nothing", "wake"),
    ("volume", "volume"),
    ("nothing",),
]


def numbers():
    return torch.arange(float(TOKENS**3)).view(TOKENS, TOKENS, TOKENS)


@pytest.mark.parametrize("dim", [0, 1, 2, -2])
@pytest.mark.parametrize("names", WANTED, ids=str)
def test_groups_come_in_the_order_that_is_wanted_whichever_their_axis(names, dim):
    index = torch.cat([ROWS[name] for name in names])
    assert torch.equal(
        select_groups(numbers(), split_groups(SIZES, [names]), dim=dim),
        numbers().index_select(dim, index),
    )


@pytest.mark.parametrize("dim", [0, 1, 2, -2])
def test_one_split_serves_every_selection(dim):
    split = split_groups(SIZES, WANTED)
    tokens = SplitTokens(numbers(), split.lengths, dim)
    for names, selection in zip(WANTED, split.selections, strict=True):
        index = torch.cat([ROWS[name] for name in names])
        assert torch.equal(tokens.take(selection), numbers().index_select(dim, index))


def test_an_axis_is_split_only_where_something_starts_or_ends():
    assert split_groups(SIZES, [("volume", "nothing"), ("wake",)]).lengths == (3, 5, 7)
    assert split_groups(SIZES, [tuple(SIZES)]).lengths == (TOKENS,)
    assert split_groups({}, []).lengths == ()


@pytest.mark.parametrize(
    "wanted",
    [
        [("surface",)],
        [("volume", "nothing", "wake")],
        [tuple(SIZES)],
        [("surface", "volume"), ("volume",)],
    ],
    ids=str,
)
def test_groups_that_stand_together_are_a_view(wanted):
    tensor, split = numbers(), split_groups(SIZES, wanted)
    taken = SplitTokens(tensor, split.lengths, 1).take(split.selections[0])
    assert taken.data_ptr() == tensor[:, ROWS[wanted[0][0]][0]].data_ptr()
    assert taken.stride() == tensor.stride()


def test_gradients_flow_to_every_token_that_was_taken_and_add_up():
    tensor = torch.zeros(TOKENS, requires_grad=True)
    select_groups(
        tensor, split_groups(SIZES, [("wake", "surface", "wake")]), dim=0
    ).sum().backward()
    assert tensor.grad.tolist() == [1] * 3 + [0] * 5 + [2] * 7
