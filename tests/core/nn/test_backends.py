"""What each kernel computes, and what it refuses."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from noether_core.errors import UnsupportedBackendError
from noether_core.nn import Causal, Packed, SlidingWindow, attend, structured_attention

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 7, 11, 5


def tensors(dtype=torch.float64):
    return [
        torch.randn(BATCH, HEADS, tokens, WIDTH, dtype=dtype, requires_grad=True)
        for tokens in (QUERIES, KEYS, KEYS)
    ]


MASKS = {
    "none": {},
    "boolean": {
        "attn_mask": (torch.arange(QUERIES * KEYS).view(QUERIES, KEYS) % 3 > 0)
        & (torch.arange(QUERIES) != 4)[:, None]
    },
    "numbers": {
        "attn_mask": torch.linspace(-2, 2, QUERIES * KEYS, dtype=torch.float64).view(QUERIES, KEYS)
    },
    "padding": {"key_padding_mask": torch.arange(KEYS) < torch.tensor([[7], [0]])},
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_the_math_kernel_computes_the_same_as_the_fused_ones(masks):
    inputs = tensors()
    torch.testing.assert_close(
        attend(*inputs, **masks, backend="math"),
        attend(*inputs, **masks, backend="sdpa"),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_the_math_kernel_has_derivatives_of_second_order_and_in_forward_mode(masks):
    def function(*inputs):
        return attend(*inputs, **masks, backend="math")

    inputs = tensors()
    assert gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True)
    _, tangents = torch.func.jvp(function, tuple(inputs), tuple(map(torch.ones_like, inputs)))
    assert tangents.any()


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_a_fused_kernel_raises_where_a_derivative_is_missing_and_gives_no_zeros(masks, backend):
    inputs = tensors()
    gradient, *_ = torch.autograd.grad(
        attend(*inputs, **masks, backend=backend).square().sum(), inputs, create_graph=True
    )
    with pytest.raises(RuntimeError, match="not implemented"):
        torch.autograd.grad(gradient.square().sum(), inputs)
    with pytest.raises(NotImplementedError, match="forward AD"):
        torch.func.jvp(
            lambda *x: attend(*x, **masks, backend=backend), tuple(inputs), tuple(inputs)
        )


def test_a_backend_that_is_not_there_is_refused_by_name():
    with pytest.raises(
        UnsupportedBackendError, match=r"^backend 'cuda': .* choose of auto, sdpa, math, flex"
    ) as caught:
        attend(*tensors(), backend="cuda")
    assert caught.value.backend == "cuda"


REFUSED = {
    "is a tensor": {"attn_mask": torch.ones(QUERIES, KEYS, dtype=torch.bool)},
    "cannot drop": {"dropout": 0.1},
    "no gradients": {},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_flex_refuses_by_name_what_it_cannot(reason):
    with pytest.raises(UnsupportedBackendError, match=reason) as caught:
        attend(*tensors(torch.float32), **REFUSED[reason], backend="flex")
    assert caught.value.backend == "flex"


def test_flex_refuses_float64_and_derivatives_in_forward_mode():
    inputs = tuple(tensor.detach() for tensor in tensors())
    with pytest.raises(UnsupportedBackendError, match="float64"):
        attend(*inputs, backend="flex")
    with pytest.raises(UnsupportedBackendError, match="forward mode"):
        torch.func.jvp(lambda *x: attend(*x, backend="flex"), inputs, inputs)


@pytest.mark.parametrize(
    "mask",
    [Causal(), SlidingWindow(70, 30), Packed((101, 199))],
    ids=["causal", "window", "packed"],
)
def test_flex_computes_the_same(mask):
    queries, keys, values = torch.randn(3, BATCH, HEADS, 300, 8)
    real = torch.rand(BATCH, 300) < 0.5
    with torch.no_grad():
        for padding in (None, real):
            wanted = attend(queries, keys, values, attn_mask=mask, key_padding_mask=padding)
            got = attend(
                queries, keys, values, attn_mask=mask, key_padding_mask=padding, backend="flex"
            )
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_packed_samples_are_handed_over_as_varlen_attention_takes_them(monkeypatch):
    """The kernel itself needs a GPU; what it is given is read here as its documentation says."""

    def varlen_attn(  # noqa: PLR0917  as torch's
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None
    ):
        ends = list(zip(cu_seq_q.tolist(), cu_seq_k.tolist(), strict=True))
        reads = []
        for (q, k), (q_end, k_end) in itertools.pairwise(ends):
            assert q_end - q <= max_q
            assert k_end - k <= max_k
            heads = (x.transpose(0, 1) for x in (query[q:q_end], key[k:k_end], value[k:k_end]))
            reads.append(
                torch.nn.functional.scaled_dot_product_attention(*heads, scale=scale).transpose(
                    0, 1
                )
            )
        return torch.cat(reads)

    varlen = pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    mask, inputs = Packed((2, 5), (8, 3)), tensors()
    got = structured_attention.attend_packed_at_once(mask, *inputs, scale=0.3)
    torch.testing.assert_close(got, attend(*inputs, attn_mask=mask, scale=0.3), rtol=0, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen attention runs on CUDA only")
def test_varlen_attention_computes_the_same():
    queries, keys, values = torch.randn(
        3, BATCH, HEADS, 300, 32, device="cuda", dtype=torch.bfloat16
    )
    mask = Packed((101, 199))
    assert structured_attention.is_packed_at_once(mask, queries, None, 0.0)
    wanted = attend(queries, keys, values, attn_mask=mask, backend="sdpa")
    torch.testing.assert_close(
        attend(queries, keys, values, attn_mask=mask), wanted, rtol=0, atol=2e-2
    )
