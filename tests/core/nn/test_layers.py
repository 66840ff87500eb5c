"""Splitting features into heads, merging them again, and what is done to heads in between."""

import pytest
import torch

from noether_core.nn import RMSNorm, RopeFrequency, merge_heads, project_heads, rotate, split_heads

BATCH, HEADS, TOKENS, WIDTH, FEATURES, POINTS = 2, 3, 11, 13, 17, 3


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


@pytest.mark.parametrize("parts", [1, 7])
def test_splitting_copies_nothing(parts):
    x = torch.randn(2, 7 * 11, 3 * 5)
    assert split_heads(x, 3, parts=parts).data_ptr() == x.data_ptr()


def test_each_share_of_the_tokens_becomes_an_entry_of_the_batch():
    x = torch.randn(2, 7 * 11, 3 * 5)
    heads = split_heads(x, 3, parts=7)
    assert heads.shape == (2 * 7, 3, 11, 5)
    for entry in range(2 * 7):
        own = x[entry // 7, entry % 7 * 11 :][:11]
        assert torch.equal(heads[entry], split_heads(own[None], 3)[0])
    assert torch.equal(merge_heads(heads, parts=7), x)


@pytest.fixture
def layer():
    return torch.nn.Linear(FEATURES, HEADS * WIDTH).double()


@pytest.fixture
def norm():
    """Return a norm whose weights do not commute with a rotation."""
    norm = RMSNorm(WIDTH).double()
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    return norm


@pytest.fixture
def x():
    return torch.randn(BATCH, TOKENS, FEATURES, dtype=torch.float64)


def projected(layer, x):
    """Return the heads of the tokens, feature ``j`` of head ``h`` from row ``h * 13 + j`` of the
    weight.
    """
    weight, bias = layer.weight.view(HEADS, WIDTH, FEATURES), layer.bias.view(HEADS, 1, WIDTH)
    return torch.einsum("bni,hji->bhnj", x, weight) + bias


def test_tokens_are_projected_to_heads_and_left_at_that(layer, x):
    torch.testing.assert_close(
        project_heads(x, layer, HEADS), projected(layer, x), rtol=0, atol=1e-12
    )


def test_shares_of_the_tokens_are_projected_like_the_whole(layer, norm):
    x = torch.randn(BATCH, 7 * TOKENS, FEATURES, dtype=torch.float64)
    freqs = RopeFrequency(WIDTH, POINTS)(torch.randn(BATCH, 7 * TOKENS, POINTS))
    whole = project_heads(x, layer, HEADS, norm=norm, freqs=freqs)

    shared = freqs.view(BATCH * 7, TOKENS, -1)
    got = project_heads(x, layer, HEADS, norm=norm, freqs=shared, parts=7)

    torch.testing.assert_close(merge_heads(got, parts=7), merge_heads(whole), rtol=0, atol=1e-12)


def test_heads_are_normalised_each_by_itself(layer, norm, x):
    heads = projected(layer, x)
    wanted = heads / (heads.square().mean(-1, keepdim=True) + 2.0**-23).sqrt() * norm.weight
    torch.testing.assert_close(
        project_heads(x, layer, HEADS, norm=norm), wanted, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("form", ["complex", "real"])
def test_heads_are_rotated_after_they_are_normalised(form, layer, norm, x):
    freqs = RopeFrequency(WIDTH, POINTS, implementation=form)(torch.randn(BATCH, TOKENS, POINTS))
    heads = projected(layer, x)

    got = project_heads(x, layer, HEADS, norm=norm, freqs=freqs)

    torch.testing.assert_close(got, rotate(norm(heads), freqs), rtol=0, atol=1e-12)
    assert not torch.allclose(got, norm(rotate(heads, freqs)), atol=1e-2)
    alone = project_heads(x, layer, HEADS, freqs=freqs)
    torch.testing.assert_close(alone, rotate(heads, freqs), rtol=0, atol=1e-12)
