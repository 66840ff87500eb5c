"""Masks that are described, against the same masks written out."""

import itertools
import pickle

import pytest
import torch

from noether_core.errors import MaskError, ShapeError
from noether_core.nn import (
    Causal,
    Packed,
    SlidingWindow,
    attend,
    check_attn_mask,
    structured_attention,
)
from tests.sampling import sampled

BATCH, HEADS, WIDTH = 2, 3, 5
INF = float("inf")


def tensors(queries, keys, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(BATCH, HEADS, tokens, WIDTH, generator=generator, dtype=dtype).requires_grad_()
        for tokens in (queries, keys, keys)
    ]


def written_out(mask, queries, keys):
    """Ask of every pair whether the query reads the key."""
    pairs = itertools.product(range(queries), range(keys))
    return torch.tensor([reads(mask, i, j) for i, j in pairs], dtype=torch.bool).view(queries, keys)


def reads(mask, i, j):
    if isinstance(mask, Causal):
        return j <= i
    if isinstance(mask, SlidingWindow):
        return -mask.before <= j - i <= mask.after
    return sample_at(mask.lengths, i) == sample_at(mask.key_lengths, j)


def sample_at(lengths, place):
    return next(sample for sample, end in enumerate(itertools.accumulate(lengths)) if place < end)


def formula(queries, keys, values, allowed, scale=WIDTH**-0.5):
    """Attend over the keys that *allowed* leaves; a query that it leaves none reads zeros."""
    logits = scale * torch.einsum("bhid,bhjd->bhij", queries, keys)
    weights = logits.masked_fill(~allowed, -1e300).softmax(-1) * allowed
    return torch.einsum("bhij,bhjd->bhid", weights, values)


def real_keys(keys):
    """Hide the first keys of one entry, some in the middle and one of three of the rest."""
    real = torch.rand(BATCH, keys, generator=torch.Generator().manual_seed(1)) < 0.7
    real[0, : keys // 3] = False
    return real


CASES = {
    "causal": (Causal(), 13, 13),
    "causal, more keys": (Causal(), 7, 13),
    "causal, more queries": (Causal(), 13, 7),
    "causal, no keys": (Causal(), 7, 0),
    "causal, no queries": (Causal(), 0, 7),
    "window": (SlidingWindow(3, 2), 37, 37),
    "window before": (SlidingWindow(3, 0), 37, 37),
    "window after": (SlidingWindow(0, 2), 37, 37),
    "window of itself": (SlidingWindow(0, 0), 37, 37),
    "window, more keys": (SlidingWindow(3, 2), 19, 61),
    "window, more queries": (SlidingWindow(3, 2), 61, 19),
    "window beyond everything": (SlidingWindow(101, 103), 37, 37),
    "window, one token": (SlidingWindow(3, 2), 1, 1),
    "window, no keys": (SlidingWindow(3, 2), 7, 0),
    "window, no queries": (SlidingWindow(3, 2), 0, 37),
    "packed": (Packed((5, 5, 5, 3, 7, 7)), 32, 32),
    "packed in one": (Packed((13,)), 13, 13),
    "packed with empty samples": (Packed((0, 5, 0, 0, 7)), 12, 12),
    "packed, other keys": (Packed((5, 2, 3), (3, 11, 0)), 10, 14),
    "packed, none": (Packed(()), 0, 0),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let few tokens fill several blocks."""
    monkeypatch.setattr(structured_attention, "_BLOCK", 4)


@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_described_mask_is_the_mask_written_out(case, padded, backend):
    mask, queries, keys = case
    inputs = tensors(queries, keys)
    real = real_keys(keys) if padded else None
    allowed = written_out(mask, queries, keys)
    allowed = allowed if real is None else allowed & real[:, None, None]

    attended = attend(*inputs, attn_mask=mask, key_padding_mask=real, backend=backend)
    wanted = formula(*inputs, allowed)

    torch.testing.assert_close(attended, wanted, rtol=0, atol=1e-12)
    cotangent = torch.randn_like(wanted)
    got = torch.autograd.grad(attended, inputs, cotangent)
    for gradient, gradient_wanted in zip(
        got, torch.autograd.grad(wanted, inputs, cotangent), strict=True
    ):
        torch.testing.assert_close(gradient, gradient_wanted, rtol=0, atol=1e-12)


MASKS = {"causal": Causal(), "window": SlidingWindow(3, 2), "packed": Packed((5, 2, 30))}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_it_is_the_same_in_every_dtype(mask, padded, dtype):
    inputs = tensors(37, 37, dtype)
    real = real_keys(37) if padded else None
    allowed = (
        written_out(mask, 37, 37)
        if real is None
        else written_out(mask, 37, 37) & real[:, None, None]
    )

    attended = attend(*inputs, attn_mask=mask, key_padding_mask=real)

    assert attended.dtype == dtype
    wanted = formula(*(tensor.double() for tensor in inputs), allowed)
    torch.testing.assert_close(attended.double(), wanted, rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("scale", [0.0, -0.7, 3.0])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_any_scale_hides_padding(mask, scale):
    inputs, real = tensors(37, 37), real_keys(37)
    attended = attend(*inputs, attn_mask=mask, key_padding_mask=real, scale=scale)
    wanted = formula(*inputs, written_out(mask, 37, 37) & real[:, None, None], scale)
    torch.testing.assert_close(attended, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_dropout_drops_weights_and_keeps_their_mean(mask, padded):
    torch.manual_seed(0)
    queries = torch.zeros(1, 1, 37, 2)
    real = torch.ones(1, 37, dtype=torch.bool) if padded else None
    drawn = torch.stack(
        [
            attend(
                queries,
                queries,
                torch.ones(1, 1, 37, 2),
                attn_mask=mask,
                key_padding_mask=real,
                dropout=0.25,
            )
            for _ in range(400)
        ]
    )
    assert drawn.mean() == pytest.approx(1, abs=0.02)
    assert drawn.std() > 0.1


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_math_kernel_differentiates_twice_and_forward(mask):
    inputs, real = tensors(7, 7), real_keys(7)
    mask = Packed((5, 2)) if isinstance(mask, Packed) else mask

    def function(*inputs):
        return attend(*inputs, attn_mask=mask, key_padding_mask=real, backend="math")

    torch.autograd.gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


class Fixed(torch.nn.Module):
    """Attention whose mask is made within."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, queries, keys, values, real):
        return attend(queries, keys, values, attn_mask=self.mask, key_padding_mask=real)


@pytest.mark.parametrize("dynamic", sampled([None, True], None))
@pytest.mark.parametrize("padded", sampled([False, True], True))
@pytest.mark.parametrize("mask", [Causal(), SlidingWindow(3, 2), SlidingWindow(23, 0)], ids=str)
def test_one_graph_serves_every_number_of_tokens(mask, padded, dynamic):
    graphs = []
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *inputs, real: attend(*inputs, attn_mask=mask, key_padding_mask=real),
        fullgraph=True,
        dynamic=dynamic,
        backend=lambda graph, _: graphs.append(graph) or graph,
    )
    for tokens in (37, 41, 3, 97, 8):
        inputs, real = tensors(tokens, tokens), real_keys(tokens) if padded else None
        wanted = attend(*inputs, attn_mask=mask, key_padding_mask=real)
        torch.testing.assert_close(compiled(*inputs, real=real), wanted, rtol=0, atol=1e-12)
    compilations = len(graphs)
    assert compilations <= (1 if dynamic else 2)


def test_masks_made_within_a_graph_are_traced():
    torch.compiler.reset()
    for make in (Causal, lambda: SlidingWindow(3, 2), lambda: Packed([5, 5, 1])):
        compiled = torch.compile(
            lambda *x, make=make: attend(*x, attn_mask=make()), fullgraph=True, backend="eager"
        )
        inputs = tensors(11, 11)
        torch.testing.assert_close(
            compiled(*inputs), attend(*inputs, attn_mask=make()), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("mask", [Causal(), SlidingWindow(3, 2)], ids=str)
def test_it_exports_with_any_number_of_tokens_and_comes_back_from_a_file(mask, tmp_path):
    tokens = torch.export.Dim("tokens", min=2, max=4096)
    example = (*(tensor.detach() for tensor in tensors(37, 37)), real_keys(37))
    sizes = ({2: tokens},) * 3 + ({1: tokens},)

    torch.export.save(
        torch.export.export(Fixed(mask), example, dynamic_shapes=sizes), tmp_path / "attention.pt2"
    )
    loaded = torch.export.load(tmp_path / "attention.pt2").module()

    for count in (2, 41, 97):
        inputs = (*(tensor.detach() for tensor in tensors(count, count)), real_keys(count))
        torch.testing.assert_close(loaded(*inputs), Fixed(mask)(*inputs), rtol=0, atol=1e-12)


def test_packed_samples_export(tmp_path):
    mask = Packed((5, 5, 1))
    example = (*(tensor.detach() for tensor in tensors(11, 11)), real_keys(11))
    torch.export.save(torch.export.export(Fixed(mask), example), tmp_path / "attention.pt2")
    loaded = torch.export.load(tmp_path / "attention.pt2").module()
    torch.testing.assert_close(loaded(*example), Fixed(mask)(*example), rtol=0, atol=1e-12)


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Keeps the number of entries of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return made


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "mask", [Causal(), SlidingWindow(3, 2), Packed((100,) * 20)], ids=["causal", "window", "packed"]
)
def test_nothing_of_size_queries_times_keys_is_made(mask, padded):
    tokens = 2000
    inputs, real = tensors(tokens, tokens, torch.float32), real_keys(tokens) if padded else None

    with Largest() as largest:
        attend(*inputs, attn_mask=mask, key_padding_mask=real).sum().backward()

    assert 0 < largest.entries < tokens * tokens / 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlidingWindow(-1, 2), "SlidingWindow: before: got -1, wanted at least 0"),
        (lambda: SlidingWindow(1, -2), "SlidingWindow: after: got -2, wanted at least 0"),
        (lambda: SlidingWindow(1.5, 2), "SlidingWindow: before: got 1.5, wanted an integer"),
        (lambda: Packed((5, -3)), "Packed: lengths[1]: got -3, wanted at least 0"),
        (lambda: Packed((5, "3")), "Packed: lengths[1]: got '3', wanted an integer"),
        (lambda: Packed((5, 3), (5, -3)), "Packed: key_lengths[1]: got -3, wanted at least 0"),
        (
            lambda: Packed((5, 3), (8,)),
            "Packed: got 1 key_lengths, wanted 2, one for each of the lengths",
        ),
    ],
)
def test_a_mask_that_means_nothing_is_refused_when_it_is_made(make, message):
    with pytest.raises(MaskError) as caught:
        make()
    assert str(caught.value) == message
    assert isinstance(caught.value, ShapeError)


X = torch.zeros(BATCH, 11, HEADS * WIDTH)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Packed((5, 5)), "attn_mask: got lengths of 10 queries, wanted 11"),
        (Packed((5, 6), (5, 5)), "attn_mask: got lengths of 10 keys, wanted 11"),
        (
            "causal",
            (
                "attn_mask: got str, wanted a tensor, Causal(), "
                "SlidingWindow(before, after) or Packed(lengths)"
            ),
        ),
    ],
)
def test_a_mask_that_does_not_fit_the_tokens_is_refused(mask, message):
    with pytest.raises(MaskError) as caught:
        check_attn_mask(mask, X, X, HEADS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "mask", [Causal(), SlidingWindow(100, 0), Packed((5, 6)), Packed((5, 6), (0, 11))], ids=str
)
def test_a_mask_that_fits_passes(mask):
    check_attn_mask(mask, X, X, HEADS)


def test_masks_are_values():
    assert SlidingWindow(3, 2) == SlidingWindow(3, 2) != SlidingWindow(2, 3)
    assert (
        Packed([5, 6]) == Packed(torch.tensor([5, 6])) == Packed((5, 6), (5, 6)) != Packed((6, 5))
    )
    assert Causal()
    assert Causal() == Causal() != SlidingWindow(0, 0)
    assert len({Causal(), Causal(), SlidingWindow(3, 2), SlidingWindow(3, 2)}) == 2
    assert repr(SlidingWindow(3, 2)) == "SlidingWindow(before=3, after=2)"
    for mask in MASKS.values():
        assert pickle.loads(pickle.dumps(mask)) == mask  # noqa: S301  our own bytes


@pytest.mark.parametrize("scale", [None, -0.3, 1e-6])
def test_padding_costs_causal_attention_no_digits(scale):
    width = 24  # its root is no power of two, so that scaled queries would be rounded
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(2, 3, 64, width).bfloat16() * 2 for _ in range(3))
    is_real = torch.ones(2, 64, dtype=torch.bool)
    is_real[:, 5] = False
    wide = (queries.double(), keys.double(), values.double())
    mask = torch.ones(64, 64, dtype=torch.bool).tril() & is_real[:, None, None]

    exact = attend(*wide, attn_mask=mask, scale=scale)
    causal = attend(
        queries, keys, values, attn_mask=Causal(), key_padding_mask=is_real, scale=scale
    )
    dense = attend(queries, keys, values, attn_mask=mask, scale=scale)
    assert (causal - exact).norm() < 1.2 * (dense - exact).norm()
