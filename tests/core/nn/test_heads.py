"""Splitting features into heads and merging them again."""

import pytest
import torch

from noether_core.nn import merge_heads, split_heads


def test_a_head_owns_a_contiguous_share_of_the_features():
    x = torch.randn(2, 11, 3 * 5)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 11, 5)
    for head in range(3):
        assert torch.equal(heads[:, head], x[:, :, head * 5 : (head + 1) * 5])


@pytest.mark.parametrize(("batch", "tokens"), [(2, 11), (2, 0), (0, 11)])
def test_merging_undoes_splitting_also_where_there_is_nothing(batch, tokens):
    x = torch.randn(batch, tokens, 3 * 5)
    assert torch.equal(merge_heads(split_heads(x, 3)), x)


def test_splitting_copies_nothing():
    x = torch.randn(2, 11, 3 * 5)
    assert split_heads(x, 3).data_ptr() == x.data_ptr()
