"""Where named groups of tokens stand, and taking them without copying what need not be copied."""

import re

import pytest
import torch

from noether_core import TokenGroupError, TokenSpec
from noether_core.nn import group_spans, take_tokens

SURFACE, VOLUME, WAKE = slice(0, 3), slice(3, 8), slice(8, 15)
TOKENS = 15
TOTAL = "token_specs: Token specs total size"


def test_groups_stand_one_behind_the_other_in_the_order_of_their_specs():
    specs = [TokenSpec("volume", 5), TokenSpec("wake", 7), TokenSpec("surface", 3)]
    spans = group_spans(specs, TOKENS)
    assert list(spans.items()) == [("volume", slice(0, 5)), ("wake", slice(5, 12)), ("surface", slice(12, 15))]


def test_a_group_without_tokens_has_an_empty_place_and_one_of_size_none_has_no_place():
    specs = [TokenSpec("surface", 3), TokenSpec("volume", None), TokenSpec("wake", 0), TokenSpec("rest", 2)]
    assert group_spans(specs, 5) == {"surface": slice(0, 3), "volume": None, "wake": slice(3, 3), "rest": slice(3, 5)}


def test_no_groups_are_the_groups_of_no_tokens():
    assert group_spans([], 0) == {}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [TokenSpec("surface", 3), TokenSpec("volume", None), TokenSpec("wake", 7)],
            f"{TOTAL} 10 is not the number of tokens 15; the groups are surface 3, volume None, wake 7",
        ),
        (
            [TokenSpec("surface", 17)],
            f"{TOTAL} 17 is not the number of tokens 15; the groups are surface 17",
        ),
        ([], f"{TOTAL} 0 is not the number of tokens 15; the groups are none"),
        (
            [TokenSpec("wake", 7), TokenSpec("surface", 3), TokenSpec("wake", 5)],
            "token_specs: 'wake' names two groups; give each a name of its own",
        ),
        (
            [TokenSpec("wake", None), TokenSpec("wake", TOKENS)],
            "token_specs: 'wake' names two groups; give each a name of its own",
        ),
        (
            [TokenSpec("surface", 3), ("wake", 12)],
            "token_specs: expected a list of TokenSpec, got ('wake', 12) in it",
        ),
        ({"wake": TOKENS}, "token_specs: expected a list of TokenSpec, got 'wake' in it"),
    ],
)
def test_specs_that_do_not_describe_the_tokens_are_refused(specs, message):
    with pytest.raises(TokenGroupError, match=f"^{re.escape(message)}$") as caught:
        group_spans(specs, TOKENS)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize(
    "spans",
    [
        (VOLUME,),
        (SURFACE, WAKE),
        (WAKE, SURFACE),
        (SURFACE, VOLUME, SURFACE),
        (SURFACE, slice(3, 3), WAKE),
        (VOLUME,) * 2,
    ],
    ids=str,
)
def test_tokens_come_in_the_order_of_their_spans_whichever_their_axis(spans, dim):
    tensor = torch.arange(float(TOKENS**3)).view(TOKENS, TOKENS, TOKENS)
    index = torch.cat([torch.arange(TOKENS)[span] for span in spans])
    assert torch.equal(take_tokens(tensor, spans, dim=dim), tensor.index_select(dim, index))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize(
    "spans",
    [(SURFACE,), (WAKE,), (SURFACE, VOLUME), (SURFACE, slice(3, 3), VOLUME, WAKE), (slice(3, 3), VOLUME)],
    ids=str,
)
def test_spans_that_lie_behind_each_other_are_a_view(spans, dim):
    tensor = torch.zeros(TOKENS, TOKENS, TOKENS)
    taken = take_tokens(tensor, iter(spans), dim=dim)
    assert taken.data_ptr() == tensor.select(dim, spans[0].start).data_ptr()
    assert taken.stride() == tensor.stride()
    assert taken.shape[dim] == spans[-1].stop - spans[0].start


@pytest.mark.parametrize("spans", [(SURFACE, WAKE), (VOLUME, SURFACE)], ids=str)
def test_spans_that_lie_apart_are_a_copy(spans):
    tensor = torch.zeros(2, TOKENS)
    assert take_tokens(tensor, spans, dim=1).untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_gradients_flow_to_every_place_that_was_taken_and_add_up():
    tensor = torch.zeros(TOKENS, requires_grad=True)
    take_tokens(tensor, [WAKE, SURFACE, WAKE], dim=0).sum().backward()
    assert tensor.grad.tolist() == [1] * 3 + [0] * 5 + [2] * 7
