"""Which named groups of tokens there are, and how many tokens they have."""

import re

import pytest

from noether_core import TokenGroupError, TokenSpec
from noether_core.nn import group_sizes, layout_of

TOKENS = 15
TOTAL = "token_specs: Token specs total size"


def test_groups_stand_in_the_order_of_their_specs():
    specs = [TokenSpec("volume", 5), TokenSpec("wake", 7), TokenSpec("surface", 3)]
    sizes = group_sizes(layout_of(specs), TOKENS)
    assert list(sizes.items()) == [("volume", 5), ("wake", 7), ("surface", 3)]


def test_a_group_without_tokens_has_none_and_one_of_size_none_is_not_in_the_input():
    specs = [
        TokenSpec("surface", 3),
        TokenSpec("volume", None),
        TokenSpec("wake", 0),
        TokenSpec("rest", 2),
    ]
    assert group_sizes(layout_of(specs), 5) == {"surface": 3, "volume": None, "wake": 0, "rest": 2}


def test_no_groups_are_the_groups_of_no_tokens():
    assert group_sizes(layout_of([]), 0) == {}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [TokenSpec("surface", 3), TokenSpec("volume", None), TokenSpec("wake", 7)],
            (
                f"{TOTAL} 10 is not the number of tokens 15; "
                "the groups are surface 3, volume None, wake 7"
            ),
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
        group_sizes(layout_of(specs), TOKENS)
    assert isinstance(caught.value, ValueError)
