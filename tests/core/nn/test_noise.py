"""Random numbers by place: what they are made of, how they are spread, and that nothing but the
place matters.
"""

import math
import shutil

import pytest
import torch

from noether_core.nn import draw_seed, dropout_at, uniform_at

SEED = torch.tensor([2**61 + 20011])
SEEDS = [0, 1, 2**31, 2**61 + 20011, 2**62 - 1]
MANY = torch.arange(1009)


def words(count, bits):
    """Return *count* as an unsigned number of so many bits."""
    return count & ((1 << bits) - 1)


def scrambled(key):
    key = words((key ^ key >> 30) * 0xBF58476D1CE4E5B9, 64)
    key = words((key ^ key >> 27) * 0x94D049BB133111EB, 64)
    return key ^ key >> 31


def number_at(seed, row, column):
    """Return one number, in integers that never overflow."""
    key = scrambled(words((row + scrambled(seed)) * 0x9E3779B97F4A7C15, 64))
    bits = words(key ^ column * 0x9E3779B9, 32)
    bits = words((bits ^ bits >> 16) * 0x7FEB352D + (key >> 32), 32)
    bits = words((bits ^ bits >> 15) * 0x846CA68B, 32)
    return ((bits ^ bits >> 16) >> 8) / 2**24


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_are_those_of_their_seed_row_and_column_in_every_release(seed):
    rows, columns = [0, 1, 7, 2**31 - 1, 2**31, 2**40 + 3, 2**62], 11
    wanted = [[number_at(seed, row, column) for column in range(columns)] for row in rows]
    assert uniform_at(torch.tensor([seed]), torch.tensor(rows), columns).tolist() == wanted


def standard(uniform):
    """Return numbers of mean 0 and variance 1, if *uniform* are what they are called."""
    return (uniform.double() - 0.5) * math.sqrt(12)


def assert_uncorrelated(one, other):
    """Check that the mean of products is 0 within 5 of the deviations that chance explains."""
    product = standard(one) * standard(other)
    assert abs(product.mean()) * math.sqrt(product.numel()) < 5


def assert_evenly_filled(bins, count):
    """Check by chi-square that *bins* from 0 to below *count* are hit equally often, within 5
    deviations.
    """
    hits = torch.bincount(bins.flatten().long(), minlength=count).double()
    expected = bins.numel() / count
    chi_square = ((hits - expected).square() / expected).sum()
    assert len(hits) == count
    assert abs(chi_square - (count - 1)) < 5 * math.sqrt(2 * (count - 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_are_uniform_from_0_to_below_1(seed):
    uniform = uniform_at(torch.tensor([seed]), MANY, 1013).double()
    count = uniform.numel()
    assert 0 <= uniform.min() < 1e-4
    assert 1 - 1e-4 < uniform.max() < 1
    assert abs(standard(uniform).mean()) < 5 / math.sqrt(count)
    assert abs(standard(uniform).square().mean() - 1) < 5 * math.sqrt(0.8 / count)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_part_of_the_bits_is_evenly_spread(seed):
    bits = uniform_at(torch.tensor([seed]), MANY, 1013, dtype=torch.float64) * 2**24
    assert torch.equal(bits, bits.round())
    for shift in (0, 8, 16):
        assert_evenly_filled((bits / 2**shift).floor() % 256, 256)


@pytest.mark.parametrize("shift", [1, 2, 3, 101])
def test_rows_columns_and_seeds_do_not_follow_each_other(shift):
    uniform, other = uniform_at(SEED, MANY, 1013), uniform_at(SEED + shift, MANY, 1013)
    for one, two in [
        (uniform[shift:], uniform[:-shift]),
        (uniform[:, shift:], uniform[:, :-shift]),
        (uniform[shift:, shift:], uniform[:-shift, :-shift]),
        (uniform, other),
    ]:
        assert_uncorrelated(one, two)
        assert_evenly_filled((one * 16).floor() * 16 + (two * 16).floor(), 256)


@pytest.mark.parametrize("of", ["seed", "row", "column"])
def test_every_bit_of_a_place_turns_half_of_the_bits(of):
    places = torch.randint(2**31, (1009,), generator=torch.Generator().manual_seed(0))
    for bit in range(9):
        if of == "column":
            columns = torch.arange(512)
            columns = columns[(columns >> bit) & 1 == 0]
            uniform = uniform_at(SEED, places, 512)
            one, other = uniform[:, columns], uniform[:, columns + (1 << bit)]
        elif of == "row":
            one, other = uniform_at(SEED, places, 7), uniform_at(SEED, places ^ (1 << 7 * bit), 7)
        else:
            one, other = uniform_at(SEED, places, 7), uniform_at(SEED ^ (1 << 7 * bit), places, 7)
        assert_uncorrelated(one, other)
        turned = (one * 2**24).long() ^ (other * 2**24).long()
        for place in (0, 11, 23):
            assert ((turned >> place) & 1).double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_rows_that_agree_in_their_lower_halves_differ():
    assert not (uniform_at(SEED, MANY, 101) == uniform_at(SEED, MANY + 2**32, 101)).any()


def test_no_row_is_repeated():
    assert len(uniform_at(SEED, torch.arange(100_003), 3).unique(dim=0)) == 100_003


@pytest.mark.parametrize("size", [1, 7, 100, 1009])
def test_numbers_do_not_depend_on_how_rows_are_cut(size):
    whole = uniform_at(SEED, MANY, 13)
    assert torch.equal(torch.cat([uniform_at(SEED, rows, 13) for rows in MANY.split(size)]), whole)


def test_numbers_do_not_depend_on_what_else_is_asked_for():
    whole, order = uniform_at(SEED, MANY, 13), torch.randperm(1009)
    assert torch.equal(uniform_at(SEED, order, 13), whole[order])
    assert torch.equal(uniform_at(SEED, MANY, 5), whole[:, :5])


@pytest.mark.parametrize("shape", [(30,), (2, 3, 5), (30, 1), (0,), (2, 0), ()], ids=str)
@pytest.mark.parametrize("columns", [7, 1, 0])
def test_rows_may_have_any_shape(shape, columns):
    rows = torch.arange(math.prod(shape)).view(shape)
    uniform = uniform_at(SEED, rows, columns)
    assert uniform.shape == (*shape, columns)
    assert torch.equal(uniform.flatten(), uniform_at(SEED, rows.flatten(), columns).flatten())


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_rows_may_be_integers_of_any_width(dtype):
    rows = torch.arange(101)
    assert torch.equal(uniform_at(SEED, rows.to(dtype), 7), uniform_at(SEED, rows, 7))


def test_both_dtypes_hold_the_same_numbers():
    single, double = (
        uniform_at(SEED, MANY, 13, dtype=dtype) for dtype in (torch.float32, torch.float64)
    )
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.equal(single.double(), double)


def test_rows_are_left_as_they_are():
    rows, seed = MANY.clone(), SEED.clone()
    uniform_at(seed, rows, 13)
    assert torch.equal(rows, MANY)
    assert torch.equal(seed, SEED)


def test_seeds_follow_torchs_seed_and_advance_its_generator():
    cpu, seeds = torch.device("cpu"), []
    for start in (0, 0, 1):
        torch.manual_seed(start)
        before = torch.get_rng_state()
        seeds.append(draw_seed(cpu))
        assert not torch.equal(torch.get_rng_state(), before)
    assert torch.equal(seeds[0], seeds[1])
    assert not torch.equal(seeds[0], seeds[2])
    assert not torch.equal(draw_seed(cpu), seeds[2])


def test_a_seed_is_one_integer_on_the_device_of_the_caller():
    for device in ("cpu", "meta"):
        seed = draw_seed(torch.device(device))
        assert (seed.shape, seed.dtype, seed.device.type) == ((1,), torch.int64, device)
    seeds = torch.cat([draw_seed(torch.device("cpu")) for _ in range(101)])
    assert seeds.min() >= 0
    assert 2**60 < seeds.max() < 2**62


def entries(dtype=torch.float64):
    """Return entries of three axes, none of them zero."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1009, 5, 7, dtype=torch.float64, generator=generator).add(0.5).to(dtype)


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.9])
def test_entries_are_dropped_with_the_probability_and_the_mean_stays(probability):
    x = torch.ones(1009, 5, 7, dtype=torch.float64)
    dropped = dropout_at(x, probability, SEED, MANY)
    deviation = math.sqrt(probability * (1 - probability) / x.numel())
    assert abs((dropped == 0).double().mean() - probability) < 5 * deviation
    assert abs(dropped.mean() - 1) < 5 * deviation / (1 - probability)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_what_is_kept_is_scaled_as_exactly_as_its_dtype_allows(dtype):
    x = entries(dtype)
    dropped = dropout_at(x, 0.3, SEED, MANY)
    kept = dropped != 0
    assert dropped.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(
        dropped[kept].double(), x[kept].double() / 0.7, rtol=1.01 * eps, atol=0
    )


def test_nothing_is_dropped_with_probability_0_and_everything_with_1():
    x = entries()
    assert dropout_at(x, 0.0, SEED, MANY) is x
    assert torch.equal(dropout_at(x, 1.0, SEED, MANY), torch.zeros_like(x))


def test_an_entry_is_dropped_where_its_place_says_so():
    x = entries()
    whole, rows = dropout_at(x, 0.3, SEED, MANY), torch.tensor([101, 7, 1008])
    assert torch.equal(whole == 0, (uniform_at(SEED, MANY, 35) < 0.3).view(x.shape))
    assert torch.equal(dropout_at(x[rows], 0.3, SEED, rows), whole[rows])
    assert not torch.equal(dropout_at(x, 0.3, SEED + 1, MANY), whole)


@pytest.mark.parametrize("shape", [(11,), (11, 0), (0, 7)])
def test_entries_of_a_row_may_be_one_or_none(shape):
    x = torch.ones(shape)
    assert dropout_at(x, 0.3, SEED, torch.arange(shape[0])).shape == shape


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_gradients_are_dropped_and_scaled_like_the_entries(probability):
    x, cotangent = entries().requires_grad_(), entries() + 1
    dropped = dropout_at(x, probability, SEED, MANY)
    (gradient,) = torch.autograd.grad(dropped, x, cotangent)
    torch.testing.assert_close(gradient * x, dropped * cotangent, rtol=1e-12, atol=0)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of torch's own compiler, about torch.jit
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("columns", [1, 5, 16, 64])
def test_compiled_code_draws_the_same_numbers(columns):
    torch._dynamo.reset()
    drawn = torch.compile(lambda seed: uniform_at(seed, torch.arange(1009), columns))(SEED)
    assert torch.equal(drawn, uniform_at(SEED, torch.arange(1009), columns))
