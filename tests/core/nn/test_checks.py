"""What a forward refuses, and in which words."""

import re

import pytest
import torch

from noether_core import ShapeError
from noether_core.errors import CacheError, UnsupportedArgumentError
from noether_core.nn import (
    Projection,
    RopeFrequency,
    check_attn_mask,
    check_freqs,
    check_key_padding_mask,
    check_kv_cache,
    check_positions,
    check_tokens,
)

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 11, 13
X = torch.zeros(BATCH, TOKENS, HEADS * WIDTH)


def words(text):
    """Match *text* as it is written."""
    return {"match": f"^{re.escape(text)}$"}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(TOKENS, 39), "x: got shape (11, 39), wanted (batch, tokens, 39)"),
        (torch.zeros(BATCH, TOKENS, 40), "x: got shape (2, 11, 40), wanted (batch, tokens, 39)"),
        (
            torch.zeros(BATCH, 1, TOKENS, 39),
            "x: got shape (2, 1, 11, 39), wanted (batch, tokens, 39)",
        ),
        (torch.zeros(()), "x: got shape (), wanted (batch, tokens, 39)"),
        (X.long(), "x: got torch.int64, wanted a floating dtype"),
        (X.bool(), "x: got torch.bool, wanted a floating dtype"),
        (X.to(torch.complex64), "x: got torch.complex64, wanted a floating dtype"),
    ],
)
def test_tokens_are_floating_numbers_of_one_width(x, message):
    with pytest.raises(ShapeError, **words(message)):
        check_tokens(x, HEADS * WIDTH)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (None, "None"),
        ([[[0.0]]], "a list"),
        (X.numpy(), "a ndarray"),
        (X.to_sparse(), "a tensor with the layout torch.sparse_coo"),
        (
            torch.nested.nested_tensor([X[0], X[1, :3]], layout=torch.jagged),
            "a nested tensor",
        ),
    ],
    ids=["none", "list", "array", "sparse", "nested"],
)
def test_what_is_no_dense_tensor_is_named(x, got):
    wanted = f"(batch, tokens, {HEADS * WIDTH})"
    with pytest.raises(ShapeError, **words(f"x: got {got}, wanted a dense tensor {wanted}")):
        check_tokens(x, HEADS * WIDTH)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([[True]], "a list"),
        (X.bool().to_sparse(), "a tensor with the layout torch.sparse_coo"),
        (torch.nested.nested_tensor([X[0], X[1, :3]], layout=torch.jagged), "a nested tensor"),
    ],
    ids=["list", "sparse", "nested"],
)
def test_other_arguments_that_are_no_dense_tensors_are_named(value, got):
    with pytest.raises(ShapeError, match=f"^key_padding_mask: got {got}, wanted a dense tensor"):
        check_key_padding_mask(value, X)
    with pytest.raises(ShapeError, match=f"^positions: got {got}, wanted a dense tensor"):
        check_positions(value, X, 3)
    with pytest.raises(ShapeError, match=f"^attn_mask: got (a )?{got.removeprefix('a ')}, wanted"):
        check_attn_mask(value, X, X, HEADS)
    for freqs in (value, (value,)):
        with pytest.raises(ShapeError, match=f"^freqs: got {got}, wanted"):
            check_freqs(freqs, X, WIDTH, variant="acme", use_rope=True)


def test_a_cache_is_one():
    with pytest.raises(
        CacheError, **words("kv_cache: got a dict, wanted a noether_core.nn.KVCache")
    ):
        check_kv_cache({})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            X.double(),
            (
                "x: got torch.float64, wanted torch.float32, the dtype of the weights; "
                "pass x.to(torch.float32)"
            ),
        ),
        (
            X.to("meta"),
            "x: got a tensor on meta, wanted cpu, where the weights are; pass x.to('cpu')",
        ),
    ],
)
def test_tokens_are_of_the_dtype_and_on_the_device_of_a_plain_layer(x, message):
    layer = torch.nn.Linear(X.shape[-1], 5)
    check_tokens(X, HEADS * WIDTH, layer=layer)
    with pytest.raises(ShapeError, **words(message)):
        check_tokens(x, HEADS * WIDTH, layer=layer)
    layer.register_forward_hook(lambda *_: None)  # comes too late to change either
    with pytest.raises(ShapeError, **words(message)):
        check_tokens(x, HEADS * WIDTH, layer=layer)
    layer.register_forward_pre_hook(lambda *_: None)
    check_tokens(x, HEADS * WIDTH, layer=layer)


def test_autocast_takes_tokens_of_every_dtype_but_float64():
    layer = Projection(X.shape[-1], 5, bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            check_tokens(X.to(dtype), HEADS * WIDTH, layer=layer)
        with pytest.raises(ShapeError, match=r"^x: got torch.float64, wanted torch.float32"):
            check_tokens(X.double(), HEADS * WIDTH, layer=layer)


def test_a_message_carries_the_name_that_the_caller_used():
    with pytest.raises(ShapeError, match=r"^kv: got"):
        check_tokens(torch.zeros(3), 39, name="kv")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            torch.ones(TOKENS).bool(),
            "key_padding_mask: got shape (11,), wanted (batch, tokens) = (2, 11)",
        ),
        (
            torch.ones(1, TOKENS).bool(),
            "key_padding_mask: got shape (1, 11), wanted (batch, tokens) = (2, 11)",
        ),
        (
            torch.ones(TOKENS, BATCH).bool(),
            "key_padding_mask: got shape (11, 2), wanted (batch, tokens) = (2, 11)",
        ),
        (
            torch.ones(BATCH, TOKENS),
            "key_padding_mask: got torch.float32, wanted torch.bool, True for real tokens",
        ),
        (
            torch.ones(BATCH, TOKENS, device="meta").bool(),
            (
                "key_padding_mask: got a tensor on meta, wanted cpu, where the tokens are; "
                "pass key_padding_mask.to('cpu')"
            ),
        ),
    ],
)
def test_a_padding_mask_is_one_boolean_per_token(mask, message):
    with pytest.raises(ShapeError, **words(message)):
        check_key_padding_mask(mask, X)


WANTED = "wanted one that broadcasts to (batch, heads, queries, keys) = (2, 3, 11, 11)"


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            torch.ones(BATCH, TOKENS).bool(),
            (
                f"attn_mask: got shape (2, 11), {WANTED}; "
                "pass a mask of real tokens as key_padding_mask"
            ),
        ),
        (
            torch.ones(BATCH, TOKENS, TOKENS).bool(),
            (
                f"attn_mask: got shape (2, 11, 11), {WANTED}; "
                "pass one mask per batch entry as mask[:, None]"
            ),
        ),
        (torch.ones(10, TOKENS).bool(), f"attn_mask: got shape (10, 11), {WANTED}"),
        (
            torch.ones(1, BATCH, HEADS, TOKENS, TOKENS).bool(),
            f"attn_mask: got shape (1, 2, 3, 11, 11), {WANTED}",
        ),
        (
            torch.ones(TOKENS, TOKENS).int(),
            "attn_mask: got torch.int32, wanted torch.bool or a floating dtype",
        ),
        (
            torch.ones(TOKENS, TOKENS, device="meta"),
            (
                "attn_mask: got a tensor on meta, wanted cpu, where the tokens are; "
                "pass attn_mask.to('cpu')"
            ),
        ),
    ],
)
def test_an_attention_mask_can_be_laid_over_the_logits(mask, message):
    with pytest.raises(ShapeError, **words(message)):
        check_attn_mask(mask, X, X, HEADS)


@pytest.mark.parametrize(
    "shape",
    [(), (1,), (11,), (1, 11), (11, 1), (11, 11), (3, 11, 11), (2, 1, 1, 11), (2, 3, 11, 11)],
)
def test_every_attention_mask_that_broadcasts_passes(shape):
    check_attn_mask(torch.ones(shape), X, X, HEADS)


def test_queries_and_keys_may_differ_in_number():
    check_attn_mask(torch.ones(11, 7), X, torch.zeros(BATCH, 7, 5), HEADS)
    with pytest.raises(ShapeError, match=r"got shape \(7, 11\)"):
        check_attn_mask(torch.ones(7, 11), X, torch.zeros(BATCH, 7, 5), HEADS)


def test_absent_masks_and_tokens_of_any_floating_dtype_pass():
    check_key_padding_mask(None, X)
    check_attn_mask(None, X, X, HEADS)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        check_tokens(X.to(dtype), HEADS * WIDTH)


@pytest.mark.parametrize("form", ["complex", "real"])
@pytest.mark.parametrize("shape", [(BATCH, TOKENS, 3), (1, TOKENS, 3), (TOKENS, 3)])
def test_frequencies_of_the_tokens_pass(form, shape):
    freqs = RopeFrequency(WIDTH, 3, implementation=form)(torch.zeros(shape))
    check_freqs(freqs, X, WIDTH, variant="acme", use_rope=True)


@pytest.mark.parametrize(
    ("freqs", "message"),
    [
        (None, "freqs: RoPE usage mismatch: use_rope is true and none are given"),
        (
            torch.zeros(BATCH, TOKENS, 6),
            "freqs: got a tensor of torch.float32, wanted complex numbers or a tuple of angles",
        ),
        (
            torch.zeros(BATCH, TOKENS, 4, dtype=torch.complex64),
            "freqs: got 4 complex numbers, wanted 6 for heads of width 13",
        ),
        (
            torch.zeros(BATCH, 10, 6, dtype=torch.complex64),
            "freqs: got shape (2, 10, 6), wanted (batch, tokens, width) = (2, 11, ...)",
        ),
        (
            torch.zeros(3, TOKENS, 6, dtype=torch.complex64),
            "freqs: got shape (3, 11, 6), wanted (batch, tokens, width) = (2, 11, ...)",
        ),
        (
            torch.zeros(6, dtype=torch.complex64),
            "freqs: got shape (6,), wanted (batch, tokens, width) = (2, 11, ...)",
        ),
        (
            torch.zeros(BATCH, TOKENS, 6, dtype=torch.complex64, device="meta"),
            "freqs: got a tensor on meta, wanted cpu, where the tokens are; pass freqs.to('cpu')",
        ),
        ((), "freqs: got [], wanted floating angles for each coordinate"),
        (
            (torch.zeros(BATCH, TOKENS, 4).long(),),
            "freqs: got [torch.int64], wanted floating angles for each coordinate",
        ),
        (
            (torch.zeros(BATCH, TOKENS, 4), torch.zeros(BATCH, TOKENS, 6)),
            "freqs: got angles of widths [4, 6], wanted equal even ones within the head width 13",
        ),
        (
            (torch.zeros(BATCH, TOKENS, 3),),
            "freqs: got angles of widths [3], wanted equal even ones within the head width 13",
        ),
        (
            (torch.zeros(BATCH, TOKENS, 8),) * 2,
            "freqs: got angles of widths [8, 8], wanted equal even ones within the head width 13",
        ),
    ],
)
def test_frequencies_that_do_not_fit_are_refused(freqs, message):
    with pytest.raises(ShapeError, **words(message)):
        check_freqs(freqs, X, WIDTH, variant="acme", use_rope=True)


def test_frequencies_for_a_module_without_rotation_are_refused_by_name():
    freqs = RopeFrequency(WIDTH, 3)(torch.zeros(BATCH, TOKENS, 3))
    with pytest.raises(
        UnsupportedArgumentError, match="RoPE usage mismatch: use_rope is false"
    ) as caught:
        check_freqs(freqs, X, WIDTH, variant="acme", use_rope=False, name="k_freqs")
    assert (caught.value.variant, caught.value.argument) == ("acme", "k_freqs")


def test_no_frequencies_for_a_module_without_rotation_pass():
    check_freqs(None, X, WIDTH, variant="acme", use_rope=False)
