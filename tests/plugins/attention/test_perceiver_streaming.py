"""Cross-attention over chunks of queries and of keys: the numbers of all at once, and memory that
does not grow.
"""

import itertools
import math

import pytest
import torch

from noether_core import ConfigError, ShapeError
from noether_core.nn import KVCache, RopeFrequency
from noether_core.testing.measuring import Consumption, Operations
from noether_plugins.attention.perceiver import chunks
from noether_plugins.attention.perceiver.config import PerceiverAttentionConfig
from noether_plugins.attention.perceiver.module import PerceiverAttention
from tests.plugins.attention.formulas import with_own_norms

BATCH, HEADS, QUERIES, KEYS, WIDTH, KV_DIM, POINTS = 2, 3, 19, 31, 5, 13, 2
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS, "kv_dim": KV_DIM}
REAL = torch.arange(KEYS) < torch.tensor([[23], [17]])
SHAPES = [
    shape
    for axes in range(5)
    for shape in itertools.product(
        *((1, size) for size in (BATCH, HEADS, QUERIES, KEYS)[4 - axes :])
    )
]
CHUNKS = [1, 7, 23]
"""Tokens at once: of these the last is more than there are queries."""


def twins(chunk_size, dtype=torch.float64, **options):
    """Return a module that takes all tokens at once, and one that takes a few: its twin."""
    options = SIZES | {"init_weights": "torch"} | options
    whole = with_own_norms(PerceiverAttention(PerceiverAttentionConfig(**options))).to(dtype).eval()
    streaming = (
        PerceiverAttention(PerceiverAttentionConfig(**options, chunk_size=chunk_size))
        .to(dtype)
        .eval()
    )
    streaming.load_state_dict(whole.state_dict())
    return whole, streaming


def tokens(queries=QUERIES, keys=KEYS, dtype=torch.float64):
    return torch.randn(BATCH, queries, HIDDEN, dtype=dtype), torch.randn(
        BATCH, keys, KV_DIM, dtype=dtype
    )


def products(module, *arguments, **options):
    """Return the number of products of matrices in a call."""
    with Operations() as operations:
        module(*arguments, **options)
    return sum("addmm" in name for name, _ in operations.seen)


@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
@pytest.mark.parametrize("chunk_size", CHUNKS)
@torch.no_grad()
def test_chunks_give_the_numbers_of_all_at_once(chunk_size, backend):
    (whole, streaming), (q, kv) = twins(chunk_size, qk_norm=True, backend=backend), tokens()
    for real in (None, REAL, REAL & torch.tensor([[True], [False]]), torch.zeros_like(REAL)):
        wanted = whole(q, kv, key_padding_mask=real)
        torch.testing.assert_close(
            streaming(q, kv, key_padding_mask=real), wanted, rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_masks_of_every_shape_are_cut_with_queries_and_keys(shape, kind):
    (whole, streaming), (q, kv), kept = twins(7), tokens(), torch.rand(shape) < 0.4
    mask = kept if kind == "bool" else torch.randn(shape).where(kept, -math.inf)
    for real in (None, REAL):
        wanted = whole(q, kv, attn_mask=mask, key_padding_mask=real)
        got = streaming(q, kv, attn_mask=mask, key_padding_mask=real)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("batch", [(), (1,), (BATCH,)], ids=str)
@pytest.mark.parametrize("form", ["complex", "real"])
@torch.no_grad()
def test_frequencies_are_cut_with_their_tokens(form, batch):
    (whole, streaming), (q, kv) = twins(7, use_rope=True), tokens()
    rope = RopeFrequency(WIDTH, POINTS, implementation=form)
    freqs = {
        "q_freqs": rope(torch.rand(*batch, QUERIES, POINTS)),
        "k_freqs": rope(torch.rand(*batch, KEYS, POINTS)),
    }
    torch.testing.assert_close(streaming(q, kv, **freqs), whole(q, kv, **freqs), rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_cache_is_filled_whole_and_read_by_chunks_of_queries():
    (whole, streaming), (q, kv) = twins(7), tokens()
    cache, of_whole = KVCache(), KVCache()
    wanted = whole(q, kv, key_padding_mask=REAL, kv_cache=of_whole)
    torch.testing.assert_close(
        streaming(q, kv, key_padding_mask=REAL, kv_cache=cache), wanted, rtol=0, atol=1e-13
    )
    assert cache.nbytes == of_whole.nbytes
    torch.testing.assert_close(streaming(q, None, kv_cache=cache), wanted, rtol=0, atol=1e-13)


@torch.no_grad()
def test_keys_that_can_be_kept_are_made_once_for_all_chunks_of_queries(monkeypatch):
    (_, streaming), (q, kv) = twins(None), tokens(queries=2000, keys=4000)
    monkeypatch.setattr("noether_core.nn.streaming._BYTES_IN_CACHE", BATCH * HIDDEN * 8 * 64)
    queries_that_a_cache_would_have_to_fit = 1
    assert products(streaming, q, kv) == queries_that_a_cache_would_have_to_fit + 2 + 2 * math.ceil(
        2000 / 64
    )


@torch.no_grad()
def test_many_keys_are_made_anew_for_every_chunk_of_queries(monkeypatch):
    (whole, streaming), (q, kv) = twins(None), tokens(queries=2000, keys=4000)
    wanted = whole(q, kv)
    monkeypatch.setattr("noether_core.nn.streaming._BYTES_IN_CACHE", BATCH * HIDDEN * 8 * 64)
    monkeypatch.setattr(chunks, "_KEPT", 2 * BATCH * 4000 * HIDDEN * 8 - 1)
    of_queries, of_keys = 16 * KV_DIM, 512
    assert products(streaming, q, kv) == math.ceil(2000 / of_queries) * (
        2 + 2 * math.ceil(4000 / of_keys)
    )
    torch.testing.assert_close(streaming(q, kv), wanted, rtol=0, atol=1e-13)


@torch.no_grad()
def test_few_queries_attend_to_many_keys_chunk_by_chunk(monkeypatch):
    (whole, streaming), (q, kv) = twins(None), tokens(keys=4000)
    wanted = whole(q, kv)
    monkeypatch.setattr("noether_core.nn.streaming._BYTES_IN_CACHE", BATCH * HIDDEN * 8 * 64)
    assert products(streaming, q, kv) == 2 + 2 * math.ceil(4000 / 512)
    torch.testing.assert_close(streaming(q, kv), wanted, rtol=0, atol=1e-13)


GRADIENTS = {
    "queries": lambda q, kv, mask: q.requires_grad_(),
    "keys": lambda q, kv, mask: kv.requires_grad_(),
    "mask": lambda q, kv, mask: mask.requires_grad_(),
}


@pytest.mark.parametrize("require", GRADIENTS.values(), ids=GRADIENTS)
def test_where_gradients_are_needed_the_chunk_size_changes_nothing(require):
    (whole, streaming), (q, kv) = twins(7), tokens()
    mask = torch.randn(QUERIES, KEYS, dtype=torch.float64)
    frozen = streaming.requires_grad_(requires_grad=False)
    torch.testing.assert_close(
        frozen(q, kv, attn_mask=mask), whole(q, kv, attn_mask=mask), rtol=0, atol=1e-13
    )
    assert products(frozen, q, kv, attn_mask=mask) > 4
    source = require(q, kv, mask)
    assert products(frozen, q, kv, attn_mask=mask) == 4
    assert torch.autograd.grad(frozen(q, kv, attn_mask=mask).sum(), source)[0].any()


def test_frequencies_may_require_gradients_too():
    (_, streaming), (q, kv) = twins(7, use_rope=True), tokens()
    streaming.requires_grad_(requires_grad=False)
    points = torch.rand(KEYS, POINTS, requires_grad=True)
    for form in ("complex", "real"):
        rope = RopeFrequency(WIDTH, POINTS, implementation=form)
        freqs = {"q_freqs": rope(torch.rand(QUERIES, POINTS)), "k_freqs": rope(points)}
        (slope,) = torch.autograd.grad(streaming(q, kv, **freqs).square().sum(), points)
        assert slope.any()


@torch.no_grad()
def test_training_with_dropout_takes_all_tokens_at_once():
    (_, streaming), (q, kv) = twins(7, dropout=0.5), tokens()
    assert products(streaming.train(), q, kv) == 4 < products(streaming.eval(), q, kv)


@torch.no_grad()
def test_bad_masks_are_refused_before_anything_is_computed():
    (_, streaming), (q, kv) = twins(7), tokens()
    with pytest.raises(ShapeError, match=r"^attn_mask: got shape \(19, 17\), wanted"):
        streaming(q, kv, attn_mask=torch.zeros(QUERIES, 17))
    with pytest.raises(
        ShapeError, match=r"^kv: got None, wanted \(batch, keys, 13\), or a kv_cache"
    ):
        streaming(q, None)


@torch.no_grad()
def test_where_there_are_no_keys_every_row_is_the_bias_of_the_projection():
    (_, streaming), (q, kv) = twins(7), tokens()
    wanted = streaming.proj.bias.expand(BATCH, QUERIES, HIDDEN)
    torch.testing.assert_close(streaming(q, kv[:, :0]), wanted, rtol=0, atol=0)
    torch.testing.assert_close(
        streaming(q, kv, key_padding_mask=torch.zeros_like(REAL)), wanted, rtol=0, atol=0
    )
    assert streaming(q[:, :0], kv).shape == (BATCH, 0, HIDDEN)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_chunks_keep_the_dtype_and_its_digits(dtype):
    (whole, streaming), (q, kv) = twins(7, dtype=dtype), tokens(dtype=dtype)
    y = streaming(q, kv)
    assert y.dtype == dtype
    torch.testing.assert_close(y, whole(q, kv), rtol=0, atol=16 * torch.finfo(dtype).eps)


@torch.no_grad()
def test_autocast_is_what_it_is_with_all_tokens_at_once():
    (whole, streaming), (q, kv) = twins(7, dtype=torch.float32), tokens(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got, wanted = streaming(q, kv), whole(q, kv)
    assert got.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(got, wanted, rtol=0, atol=2**-6)


@pytest.mark.parametrize("grows", ["queries", "keys", "both"])
@torch.no_grad()
def test_memory_beyond_tokens_and_result_does_not_grow_with_the_tokens(grows):
    _, streaming = twins(64)
    peaks = []
    for count in (1024, 4096):
        sizes = {
            "queries": {"queries": count},
            "keys": {"keys": count},
            "both": {"queries": count, "keys": count},
        }
        q, kv = tokens(**sizes[grows])
        with Consumption() as consumption:
            y = streaming(q, kv)
        peaks.append(consumption.peak - y.nbytes)
    assert peaks[0] == peaks[1] < 40 * BATCH * 64 * HIDDEN * 8


@pytest.mark.parametrize("chunk_size", [0, -1, 7.0, True, "7"])
def test_a_chunk_holds_at_least_one_token(chunk_size):
    with pytest.raises(
        ConfigError, match="chunk_size: expected an integer of at least 1 or None"
    ) as caught:
        PerceiverAttentionConfig(**SIZES, chunk_size=chunk_size)
    assert caught.value.problems[0].keys == ("chunk_size",)
