"""Attention to chunks of keys against attention to all of them, written out in float64."""

import itertools
import math

import pytest
import torch

from noether_core.errors import DerivativeError
from noether_core.nn import Attended
from noether_core.nn.partial_attention import (
    KeyChunk,
    attend_to_chunks,
    attend_to_part,
    has_fused_kernel,
)
from tests.plugins.attention.formulas import assert_same_numbers

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 7, 11, 5

each_backend = pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])


def operands(scale=1.0, dtype=torch.float64):
    queries = scale * torch.randn(BATCH, HEADS, QUERIES, WIDTH, dtype=dtype)
    return queries, *torch.randn(2, BATCH, HEADS, KEYS, WIDTH, dtype=dtype)


def formula(queries, keys, values, *, added=0.0, scale=None):
    scale = 1 / math.sqrt(WIDTH) if scale is None else scale
    logits = torch.einsum("bhid,bhjd->bhij", queries, keys) * scale + added
    reads = (logits > -math.inf).any(-1, keepdim=True)
    weights = logits.masked_fill(~reads, 0.0).softmax(-1) * reads
    return torch.einsum("bhij,bhjd->bhid", weights, values)


def cut(keys, values, sizes, mask=None):
    """Yield chunks of keys of the given sizes."""
    start = 0
    for size in sizes:
        span = slice(start, start := start + size)
        of_mask = mask if mask is None or mask.shape[-1] == 1 else mask[..., span]
        yield KeyChunk(keys[:, :, span], values[:, :, span], of_mask)


SIZES = [[11], [1] * 11, [4, 4, 3], [0, 5, 0, 6, 0]]


@each_backend
@pytest.mark.parametrize("scale", [None, 0.37])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_chunks_of_any_size_are_merged_to_all_keys(sizes, scale, backend):
    queries, keys, values = operands()
    got = attend_to_chunks(queries, cut(keys, values, sizes), scale=scale, backend=backend)
    torch.testing.assert_close(got, formula(queries, keys, values, scale=scale), rtol=0, atol=1e-14)


@each_backend
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize(
    "shape", list(itertools.product((1, BATCH), (1, HEADS), (1, QUERIES), (1, KEYS))), ids=str
)
def test_masks_of_every_shape_hide_what_they_hide_of_all_keys(shape, kind, backend):
    (queries, keys, values), kept = operands(), torch.rand(shape) < 0.4
    added = torch.zeros(shape, dtype=torch.float64).where(kept, -math.inf)
    if kind == "float":
        added += torch.randn(shape)
    mask = kept if kind == "bool" else added
    for sizes in SIZES:
        got = attend_to_chunks(queries, cut(keys, values, sizes, mask), backend=backend)
        torch.testing.assert_close(
            got, formula(queries, keys, values, added=added), rtol=0, atol=1e-14
        )


@each_backend
def test_sums_of_weights_that_no_number_holds_are_merged_all_the_same(backend):
    queries, keys, values = operands(scale=1e4)
    keys[:, :, ::2] *= -1
    got = attend_to_chunks(queries, cut(keys, values, [4, 4, 3]), backend=backend)
    torch.testing.assert_close(got, formula(queries, keys, values), rtol=0, atol=1e-11)


@each_backend
def test_without_keys_everything_read_is_zero(backend):
    queries, keys, values = operands()
    nothing = torch.zeros_like(queries)
    hidden = torch.zeros(1, 1, 1, KEYS, dtype=torch.bool)
    assert torch.equal(attend_to_chunks(queries, [], backend=backend), nothing)
    assert torch.equal(attend_to_chunks(queries, cut(keys, values, [0]), backend=backend), nothing)
    assert torch.equal(
        attend_to_chunks(queries, cut(keys, values, [4, 7], hidden), backend=backend), nothing
    )


@each_backend
def test_without_queries_nothing_is_read(backend):
    queries, keys, values = operands()
    assert attend_to_chunks(
        queries[:, :, :0], cut(keys, values, [4, 7]), backend=backend
    ).shape == (2, 3, 0, 5)


@each_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_parts_are_merged_in_more_digits_than_they_are_read_in(dtype, backend):
    given = operands(dtype=dtype)
    queries, keys, values = (tensor.double() for tensor in given)
    got = attend_to_chunks(given[0], cut(*given[1:], [1] * KEYS), backend=backend)
    assert got.dtype == dtype
    torch.testing.assert_close(
        got.double(), formula(queries, keys, values), rtol=0, atol=6 * torch.finfo(dtype).eps
    )


@each_backend
def test_autocast_says_in_which_digits(backend):
    queries, keys, values = operands(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got = attend_to_chunks(queries, cut(keys, values, [4, 7]), backend=backend)
    assert got.dtype == torch.bfloat16
    assert (
        attend_to_chunks(queries, cut(keys, values, [4, 7]), backend=backend).dtype == torch.float32
    )


@each_backend
@pytest.mark.parametrize("asks", range(3))
def test_a_gradient_that_would_be_missing_is_refused(asks, backend):
    queries, keys, values = (
        tensor.requires_grad_(place == asks) for place, tensor in enumerate(operands())
    )
    with pytest.raises(DerivativeError, match="attention to chunks of keys has no gradient"):
        attend_to_chunks(queries, cut(keys, values, [4, 7]), backend=backend)


def test_only_kernels_of_the_processor_tell_sums():
    x = torch.zeros(1)
    assert has_fused_kernel(x, "auto")
    assert not has_fused_kernel(x, "math")
    assert not has_fused_kernel(x.to("meta"), "auto")


HIDDEN = {
    "no mask": None,
    "some real": torch.arange(KEYS) < torch.tensor([[7], [5]]),
    "one sample empty": torch.ones(BATCH, KEYS, dtype=torch.bool) & torch.tensor([[True], [False]]),
}


def part_by_formula(queries, keys, values, real):
    """Return the mean and the logarithm of sums, with zeros for what is nothing."""
    real = torch.ones(BATCH, KEYS, dtype=torch.bool) if real is None else real
    weights = (torch.einsum("bhid,bhjd->bhij", queries, keys) * 0.37).exp() * real[:, None, None]
    sums = weights.sum(-1, keepdim=True)
    sums = sums.masked_fill(sums == 0, 1.0)
    return torch.cat([torch.einsum("bhij,bhjd->bhid", weights / sums, values), sums.log()], -1)


@each_backend
@pytest.mark.parametrize("real", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_parts_have_gradients_of_means_and_masses_whatever_the_split(sizes, real, backend):
    given = [tensor.requires_grad_() for tensor in operands()]
    parts, start = [], 0
    for size in sizes:
        span = slice(start, start := start + size)
        mask = None if real is None else real[:, span]
        keys, values = (tensor[:, :, span] for tensor in given[1:])
        parts.append(
            attend_to_part(
                given[0], keys, values, key_padding_mask=mask, scale=0.37, backend=backend
            )
        )
    mean, log_mass = Attended.merged(parts)

    got = torch.cat([mean, log_mass.masked_fill(log_mass == -math.inf, 0.0)], -1)
    assert_same_numbers(got, part_by_formula(*given, real), given)
    with torch.no_grad():
        alone = attend_to_part(*given, key_padding_mask=real, scale=0.37, backend=backend)
    torch.testing.assert_close(alone, Attended(mean, log_mass))


def test_parts_without_keys_are_nothing_and_keep_their_gradients():
    queries, keys, values = (tensor.requires_grad_() for tensor in operands())
    part = attend_to_part(queries, keys[:, :, :0], values[:, :, :0])
    assert not part.mean.any()
    assert (part.log_mass == -math.inf).all()
    (gradient,) = torch.autograd.grad(part.mean.sum(), queries)
    assert not gradient.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_are_in_the_dtype_of_sums_and_compile_whole(dtype):
    given = [tensor.requires_grad_() for tensor in operands(dtype=dtype)]
    real = HIDDEN["some real"]

    def gradients(function):
        part = function(*given, key_padding_mask=real)
        assert part.mean.dtype == part.log_mass.dtype == torch.float32
        return part, torch.autograd.grad(part.mean.sin().sum() + part.log_mass.cos().sum(), given)

    compiled = torch.compile(attend_to_part, fullgraph=True, backend="aot_eager")
    eager = gradients(attend_to_part)
    torch.testing.assert_close(gradients(compiled), eager)

    exact = [tensor.double() for tensor in given]
    wanted = attend_to_part(*exact, key_padding_mask=real, backend="math")
    atol = 6 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        [tensor.double() for tensor in eager[0]], list(wanted), rtol=0, atol=atol
    )


def test_second_derivatives_of_a_part_are_refused_or_right():
    given = [tensor.requires_grad_() for tensor in operands()]
    (slope,) = torch.autograd.grad(
        attend_to_part(*given).log_mass.square().sum(), given[0], create_graph=True
    )
    with pytest.raises(DerivativeError, match="take backend 'math'"):
        slope.sum().backward()

    def by_products(*tensors):
        return tuple(attend_to_part(*tensors, backend="math"))

    assert torch.autograd.gradgradcheck(by_products, given, fast_mode=True)
