"""When tokens are computed in chunks, and in which."""

import pytest
import torch
from torch import nn

from noether_core.nn.operators import dtype_of_results
from noether_core.nn.streaming import choose_chunk_size, chunks_of


def frozen():
    return nn.Linear(3, 3).requires_grad_(requires_grad=False)


def at_once(tokens, *, batch=1, width=256, dtype=torch.float32, **options):
    x = torch.empty(batch, tokens, 3, dtype=dtype, device="meta")
    return choose_chunk_size(frozen(), x, width=width, **options)


def test_more_tokens_than_four_chunks_of_a_mebibyte_are_computed_in_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "noether_core.nn.streaming._BYTES_TO_BE_BUSY", 1 << 20
        )  # tensors without memory are no CPU's
        assert at_once(4 * 1024) is None
        assert at_once(4 * 1024 + 1) == 1024
        assert at_once(10**6, batch=3) == 256
        assert at_once(10**6, width=300) == 512
        assert at_once(10**6, dtype=torch.bfloat16) == 2048
        assert at_once(10**6, width=10**6) == 64
        assert at_once(10**6, least=5000) == 5000
        assert at_once(4 * 5000, least=5000) is None


def test_on_a_processor_a_chunk_is_a_mebibyte_and_elsewhere_64():
    x = torch.empty(1, 1, 1).expand(1, 10**7, 1)
    assert choose_chunk_size(frozen(), x, width=256) == 1024
    assert at_once(10**7) == 65536


def test_a_chosen_number_of_tokens_is_taken_where_there_are_more():
    assert at_once(7, chosen=7) is None
    assert at_once(8, chosen=7, least=100) == 7
    assert at_once(0, chosen=1) is None


def test_of_no_samples_nothing_is_too_much():
    assert at_once(10**9, batch=0) == 1 << 26


def test_where_a_gradient_may_be_asked_for_all_tokens_are_computed_at_once():
    x, y = torch.zeros(1, 8, 3), torch.zeros(3, requires_grad=True)
    assert choose_chunk_size(frozen(), x, width=3, chosen=5) == 5
    assert choose_chunk_size(nn.Linear(3, 3), x, width=3, chosen=5) is None
    assert choose_chunk_size(frozen(), x, y, width=3, chosen=5) is None
    assert choose_chunk_size(frozen(), x.clone().requires_grad_(), width=3, chosen=5) is None
    with torch.no_grad():
        assert choose_chunk_size(nn.Linear(3, 3), x, y, width=3, chosen=5) == 5


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch.func.jvp
def test_transforms_and_derivatives_in_forward_mode_get_all_tokens_at_once():
    module, found = frozen(), []

    def call(x):
        with torch.no_grad():
            found.append(choose_chunk_size(module, x, width=3, chosen=5))
        return x

    x = torch.zeros(1, 8, 3)
    torch.func.vmap(call)(x[None])
    torch.func.jvp(call, (x,), (x,))
    torch.func.grad(lambda x: call(x).sum())(x)
    with torch.autograd.forward_ad.dual_level():
        call(x)
    assert found == [None] * 4
    assert call(x) is x
    assert found[-1] == 5


def test_spans_are_cut_into_chunks_and_what_is_left():
    spans = [slice(2, 9), slice(9, 9), slice(11, 14), slice(20, 21)]
    assert [(chunk.start, chunk.stop) for chunk in chunks_of(spans, 3)] == [
        (2, 5),
        (5, 8),
        (8, 9),
        (11, 14),
        (20, 21),
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_results_have_the_dtype_of_products(dtype):
    x = torch.zeros(2, 2, dtype=dtype)
    assert dtype_of_results(x) == (x @ x).dtype
    with torch.autocast("cpu", torch.bfloat16):
        assert dtype_of_results(x) == (x @ x).dtype
