"""Keys and values that a cache keeps, and what it refuses to hand out."""

import copy
import gc
import pickle
import re
import weakref

import pytest
import torch
from torch import nn

from noether_core import ShapeError
from noether_core.errors import CacheError
from noether_core.nn import KeyValues, KVCache
from noether_core.nn.cache import join_key_values

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 7, 5
QUERIES = torch.zeros(BATCH, HEADS, 11, WIDTH)


def group(tokens=TOKENS, padded=False, requires_grad=False):
    """Return a group whose tensors are views of larger ones, as those of a forward are."""
    keys, values = (
        torch.randn(BATCH, tokens + 4, HEADS, WIDTH, requires_grad=requires_grad) for _ in range(2)
    )
    real = (torch.arange(tokens) < torch.tensor([[3], [5]])) if padded else None
    return KeyValues(keys[:, 4:].transpose(1, 2), values[:, 4:].transpose(1, 2), real)


@pytest.fixture
def module():
    return nn.Identity()


@pytest.fixture
def cache(module):
    """Return a cache with two groups, one of them padded."""
    cache = KVCache()
    cache.store(module, "surface", group())
    cache.store(module, "volume", group(tokens=13, padded=True))
    return cache


def tensors(cache):
    return [tensor for stored in cache._groups.values() for tensor in stored if tensor is not None]


def test_a_new_cache_is_empty():
    cache = KVCache()
    assert (len(cache), list(cache), cache.nbytes, repr(cache)) == (0, [], 0, "KVCache(empty)")
    assert "surface" not in cache
    assert not cache.keep_graph


def test_a_cache_tells_its_groups_in_the_order_in_which_they_came(cache):
    assert len(cache) == 2
    assert list(cache) == ["surface", "volume"]
    assert "volume" in cache
    assert "wake" not in cache
    assert None not in cache
    assert repr(cache) == "KVCache(surface 7, volume 13)"


@pytest.mark.parametrize("padded", [True, False])
def test_what_is_read_is_what_was_stored(module, padded):
    cache, stored = KVCache(), group(padded=padded)
    cache.store(module, "surface", stored)
    read = cache.read(module, "surface", QUERIES)
    assert torch.equal(read.keys, stored.keys)
    assert torch.equal(read.values, stored.values)
    assert torch.equal(read.real, stored.real) if padded else read.real is None


def test_stored_tensors_are_contiguous_and_hold_no_memory_but_their_own(cache):
    stored = tensors(cache)
    assert len(stored) == 5
    for tensor in stored:
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_bytes_are_those_of_keys_values_and_masks(cache):
    assert cache.nbytes == 2 * BATCH * HEADS * (7 + 13) * WIDTH * 4 + BATCH * 13


def test_a_mask_that_is_spread_over_the_batch_is_stored_at_its_full_size(module):
    cache, spread = KVCache(), torch.ones(1, TOKENS, dtype=torch.bool).expand(BATCH, TOKENS)
    cache.store(module, "surface", group()._replace(real=spread))
    real = cache.read(module, "surface", QUERIES).real
    assert real.untyped_storage().nbytes() == BATCH * TOKENS


def test_a_group_stored_again_replaces_the_first(module, cache):
    again = group(tokens=17)
    cache.store(module, "volume", again)
    read = cache.read(module, "volume", QUERIES)
    assert torch.equal(read.keys, again.keys)
    assert read.real is None
    assert repr(cache) == "KVCache(surface 7, volume 17)"


def test_what_is_stored_does_not_follow_later_changes(module):
    cache, stored = KVCache(), group(padded=True)
    cache.store(module, "surface", stored)
    before = [tensor.clone() for tensor in tensors(cache)]
    for tensor in stored:
        tensor.zero_()
    assert all(
        torch.equal(tensor, copied) for tensor, copied in zip(tensors(cache), before, strict=True)
    )


def test_no_graph_is_kept_unless_it_is_asked_for(module):
    stored = group(requires_grad=True)
    plain, keeping = KVCache(), KVCache(keep_graph=True)
    for cache in (plain, keeping):
        cache.store(module, "surface", stored)
    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in tensors(plain))
    assert all(tensor.grad_fn for tensor in tensors(keeping))
    assert all(tensor.is_contiguous() for tensor in tensors(keeping))


def test_a_cleared_cache_frees_its_tensors_and_takes_those_of_any_module(cache):
    kept = [weakref.ref(tensor) for tensor in tensors(cache)]
    cache.clear()
    assert (len(cache), cache.nbytes, repr(cache)) == (0, 0, "KVCache(empty)")
    assert [reference() for reference in kept] == [None] * 5
    other = nn.Identity()
    cache.store(other, "surface", group())
    assert cache.read(other, "surface", QUERIES).keys.shape == (BATCH, HEADS, TOKENS, WIDTH)


def test_copies_hold_the_same_and_share_nothing(module, cache):
    twin = copy.deepcopy(cache)
    for tensor, copied in zip(tensors(cache), tensors(twin), strict=True):
        assert torch.equal(tensor, copied)
        assert tensor.data_ptr() != copied.data_ptr()
    twin.store(module, "wake", group())
    cache.clear()
    assert repr(twin) == "KVCache(surface 7, volume 13, wake 7)"
    assert twin.read(module, "surface", QUERIES).keys.shape[2] == 7


def test_a_cache_does_not_keep_a_module_alive(cache):
    module = nn.Identity()
    cache.clear()
    cache.store(module, "surface", group())
    reference = weakref.ref(module)
    del module
    gc.collect()
    assert reference() is None
    with pytest.raises(CacheError, match="another module filled this cache"):
        cache.read(nn.Identity(), "surface", QUERIES)


@pytest.mark.parametrize(
    ("groups", "held"),
    [((), "nothing"), (("surface",), "surface"), (("surface", "volume"), "surface, volume")],
)
def test_a_group_that_is_not_there_is_told_beside_those_that_are(module, groups, held):
    cache = KVCache()
    for name in groups:
        cache.store(module, name, group())
    message = f"kv_cache: 'wake' is not in the cache, which holds {held}"
    with pytest.raises(CacheError, match=f"^{re.escape(message)}$"):
        cache.read(module, "wake", QUERIES)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (torch.zeros(17, HEADS, 11, WIDTH), "batch 2, and the queries have batch 17"),
        (torch.zeros(1, HEADS, 11, WIDTH), "batch 2, and the queries have batch 1"),
        (torch.zeros(BATCH, 13, 11, WIDTH), "heads 3, and the queries have heads 13"),
        (torch.zeros(BATCH, HEADS, 11, 19), "head width 5, and the queries have head width 19"),
        (QUERIES.double(), "dtype torch.float32, and the queries have dtype torch.float64"),
        (QUERIES.bfloat16(), "dtype torch.float32, and the queries have dtype torch.bfloat16"),
        (QUERIES.to("meta"), "device cpu, and the queries have device meta"),
    ],
)
def test_queries_that_stored_keys_do_not_fit_are_refused_with_both_values(
    module, cache, queries, message
):
    with pytest.raises(
        CacheError, match=f"^kv_cache: 'surface' is cached with {re.escape(message)}$"
    ) as caught:
        cache.read(module, "surface", queries)
    assert isinstance(caught.value, ShapeError)
    assert isinstance(caught.value, ValueError)


def test_any_number_of_queries_fits(module, cache):
    for tokens in (0, 1, 23):
        assert (
            cache.read(module, "surface", torch.zeros(BATCH, HEADS, tokens, WIDTH)).keys.shape[2]
            == TOKENS
        )


USES = {
    "store": lambda cache: cache.store(nn.Identity(), "wake", group()),
    "read": lambda cache: cache.read(nn.Identity(), "surface", QUERIES),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_only_the_module_that_filled_a_cache_may_use_it(cache, use):
    message = (
        "kv_cache: another module filled this cache; "
        "give each module a cache of its own, or clear() this one"
    )
    with pytest.raises(CacheError, match=f"^{re.escape(message)}$"):
        use(cache)
    assert list(cache) == ["surface", "volume"]


BOTH = ("volume", "surface")


def test_groups_that_are_read_together_stand_one_behind_the_other(module, cache):
    groups = [cache.read(module, name, QUERIES) for name in BOTH]
    wanted = join_key_values(groups)
    for _ in range(2):
        read = cache.read_joined(module, BOTH, QUERIES)
        assert all(torch.equal(got, joined) for got, joined in zip(read, wanted, strict=True))
    assert wanted.real[:, -TOKENS:].all()
    assert (
        cache.read_joined(module, ("volume",), QUERIES).keys
        is cache.read(module, "volume", QUERIES).keys
    )


def test_groups_that_were_read_together_lie_together_and_take_no_more_memory(module, cache):
    bytes_before, before = cache.nbytes, [cache.read(module, name, QUERIES) for name in BOTH]
    first = cache.read_joined(module, BOTH, QUERIES)
    again = cache.read_joined(module, BOTH, QUERIES)
    assert again.keys is first.keys
    assert cache.nbytes == bytes_before
    assert {tensor.untyped_storage().data_ptr() for tensor in tensors(cache)} == {
        tensor.untyped_storage().data_ptr() for tensor in first
    }
    for name, group_before in zip(BOTH, before, strict=True):
        read = cache.read(module, name, QUERIES)
        assert torch.equal(read.keys, group_before.keys)
        assert torch.equal(read.values, group_before.values)
        assert (read.real is None) == (group_before.real is None)


def test_a_group_that_replaces_one_of_several_frees_it(module, cache):
    cache.read_joined(module, BOTH, QUERIES)
    again = group(tokens=17)
    cache.store(module, "volume", again)
    read = cache.read_joined(module, BOTH, QUERIES)
    assert torch.equal(read.keys[:, :, :17], again.keys)
    cache.store(module, "volume", again)
    for tensor in tensors(cache):
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_groups_with_a_graph_and_groups_that_overlap_are_joined_at_each_reading(module, cache):
    keeping = KVCache(keep_graph=True)
    for name in BOTH:
        keeping.store(module, name, group(requires_grad=True))
    with torch.no_grad():
        keeping.read_joined(module, BOTH, QUERIES)
    assert keeping.read_joined(module, BOTH, QUERIES).keys.grad_fn

    first = cache.read_joined(module, BOTH, QUERIES)
    other = cache.read_joined(module, BOTH[::-1], QUERIES)
    assert torch.equal(other.keys[:, :, TOKENS:], first.keys[:, :, :13])
    assert cache.read_joined(module, BOTH, QUERIES).keys is first.keys


def test_what_is_read_in_inference_mode_can_be_read_where_gradients_are_computed(module, cache):
    with torch.inference_mode():
        cache.read_joined(module, BOTH, QUERIES)
    keys = cache.read_joined(module, BOTH, QUERIES).keys
    assert not keys.is_inference()
    (QUERIES.clone().requires_grad_()[:, :, :1] * keys).sum().backward()


def test_a_cache_that_was_pickled_serves_the_first_module_that_uses_it(module, cache):
    cache.read_joined(module, BOTH, QUERIES)
    twin, user = pickle.loads(pickle.dumps(cache)), nn.Identity()  # noqa: S301  our own bytes
    for name in BOTH:
        got, wanted = twin.read(user, name, QUERIES), cache.read(module, name, QUERIES)
        assert torch.equal(got.keys, wanted.keys)
        assert torch.equal(got.values, wanted.values)
        assert got.keys.untyped_storage().nbytes() == got.keys.nbytes
    with pytest.raises(CacheError, match="another module filled this cache"):
        twin.read(module, "surface", QUERIES)
