"""Attention under masks, against a softmax over the keys that are left."""

import math

import pytest
import torch

from noether_core.nn import attend, combine_masks

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 7, 11, 5
INF = float("inf")
SHAPES = [
    (),
    (KEYS,),
    (QUERIES, 1),
    (QUERIES, KEYS),
    (HEADS, 1, KEYS),
    (1, QUERIES, KEYS),
    (BATCH, 1, 1, KEYS),
    (BATCH, HEADS, QUERIES, KEYS),
]


def tensors(keys=KEYS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(BATCH, HEADS, tokens, WIDTH, generator=generator, dtype=dtype).requires_grad_()
        for tokens in (QUERIES, keys, keys)
    ]


def formula(queries, keys, values, added):
    """Attend one query at a time, over the keys whose *added* logit is not minus infinity."""
    rows = []
    added = added.expand(BATCH, HEADS, QUERIES, keys.shape[2])
    for index in torch.cartesian_prod(*(torch.arange(size) for size in (BATCH, HEADS, QUERIES))):
        b, h, i = index.tolist()
        allowed = added[b, h, i] > -INF
        logits = torch.einsum("d,kd->k", queries[b, h, i], keys[b, h, allowed]) / math.sqrt(WIDTH)
        rows.append((logits + added[b, h, i, allowed]).softmax(0) @ values[b, h, allowed])
    return torch.stack(rows).unflatten(0, (BATCH, HEADS, QUERIES))


def assert_same_numbers_and_gradients(attended, wanted, inputs):
    torch.testing.assert_close(attended, wanted, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(wanted)
    got = torch.autograd.grad(attended, inputs, cotangent)
    for gradient, gradient_wanted in zip(
        got, torch.autograd.grad(wanted, inputs, cotangent), strict=True
    ):
        torch.testing.assert_close(gradient, gradient_wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", ["bool", "float", "float with holes"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_masks_of_every_shape_and_kind_add_up(shape, kind, padded):
    inputs = tensors()
    kept = torch.rand(shape) < 0.7
    added = torch.zeros(()).where(kept, -INF) if kind == "bool" else torch.randn(shape)
    added = added.double() if kind != "float with holes" else added.double().where(kept, -INF)
    real = torch.rand(BATCH, KEYS) < 0.7 if padded else None
    total = added if real is None else added + torch.zeros(()).where(real, -INF)[:, None, None]

    attended = attend(*inputs, attn_mask=kept if kind == "bool" else added, key_padding_mask=real)

    assert_same_numbers_and_gradients(attended, formula(*inputs, total), inputs)


def test_without_masks_every_key_is_read():
    inputs = tensors()
    assert_same_numbers_and_gradients(attend(*inputs), formula(*inputs, torch.zeros(())), inputs)


DEAD = {
    "bool": {"attn_mask": (torch.arange(QUERIES) != 4)[:, None].expand(QUERIES, KEYS)},
    "float": {"attn_mask": torch.zeros(QUERIES, KEYS).index_fill(0, torch.tensor(4), -INF)},
    "padding": {"key_padding_mask": torch.zeros(BATCH, KEYS, dtype=torch.bool)},
    "float and padding": {
        "attn_mask": torch.zeros(QUERIES, KEYS),
        "key_padding_mask": torch.zeros(BATCH, KEYS, dtype=torch.bool),
    },
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("masks", DEAD.values(), ids=DEAD)
def test_a_query_without_a_key_reads_zeros_and_passes_no_gradient(masks, dropout, dtype):
    queries, keys, values = tensors(dtype=dtype)

    attended = attend(queries, keys, values, dropout=dropout, **masks)
    attended[:, :, 4].sum().backward()

    assert not attended[:, :, 4].any()
    for tensor in (queries, keys, values):
        assert not tensor.grad.any()


def test_a_learned_mask_with_dead_rows_gets_finite_gradients():
    mask = (
        torch.randn(QUERIES, KEYS, dtype=torch.float64)
        .index_fill(0, torch.tensor(4), -INF)
        .requires_grad_()
    )
    attend(*tensors(), attn_mask=mask).square().sum().backward()
    assert mask.grad.isfinite().all()
    assert mask.grad.any()


@pytest.mark.parametrize(
    "masks", [{}, {"key_padding_mask": torch.zeros(BATCH, 0, dtype=torch.bool)}]
)
def test_no_keys_at_all_are_read_as_zeros(masks):
    queries, keys, values = tensors(keys=0)
    attended = attend(queries, keys, values, **masks)
    attended.sum().backward()
    assert torch.equal(attended, torch.zeros(BATCH, HEADS, QUERIES, WIDTH, dtype=torch.float64))
    assert not queries.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_mask_of_another_floating_dtype_is_added_all_the_same(dtype):
    inputs = tensors(dtype=torch.float32)
    mask = torch.randint(-3, 4, (QUERIES, KEYS))
    torch.testing.assert_close(
        attend(*inputs, attn_mask=mask.to(dtype)), attend(*inputs, attn_mask=mask.float())
    )


def test_dropout_drops_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    queries, keys = torch.zeros(1, 1, 500, 2), torch.zeros(1, 1, 200, 2)
    attended = attend(queries, keys, torch.ones(1, 1, 200, 2), dropout=0.25)
    assert attended.std() == pytest.approx((0.25 / 0.75 / 200) ** 0.5, rel=0.1)
    assert attended.mean() == pytest.approx(1, abs=0.01)


def test_padding_alone_makes_no_mask_of_queries_times_keys():
    assert combine_masks(None, torch.ones(BATCH, KEYS, dtype=torch.bool)).shape == (
        BATCH,
        1,
        1,
        KEYS,
    )


def test_no_masks_are_no_mask():
    assert combine_masks(None, None) is None


def test_a_mask_is_never_changed_in_place():
    mask, real = torch.zeros(QUERIES, KEYS), torch.zeros(BATCH, KEYS, dtype=torch.bool)
    combine_masks(mask, real)
    assert not mask.any()
