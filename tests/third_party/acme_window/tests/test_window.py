"""Sliding-window attention against its formula, and what it promises."""

from __future__ import annotations

import pytest
import torch
from acme_window.cost import pairs
from acme_window.module import WindowAttention
from torch import Tensor

from noether_core import build, registry
from noether_core.nn import RopeFrequency, rotate
from noether_core.testing import VariantTests

BATCH, HEADS, WIDTH, TOKENS = 2, 3, 6, 29
HIDDEN = HEADS * WIDTH


class TestContract(VariantTests):
    """Everything that Noether checks of a variant."""

    type = "acme_window"


def attention(window: int = 4, **options: object) -> WindowAttention:
    torch.manual_seed(5)
    options = {"hidden_dim": HIDDEN, "num_heads": HEADS, "init_weights": "torch", **options}
    module = build("acme_window", window=window, **options).double()
    assert isinstance(module, WindowAttention)
    return module


def tokens(number: int = TOKENS) -> Tensor:
    torch.manual_seed(7)
    return torch.randn(BATCH, number, HIDDEN, dtype=torch.float64)


def formula(
    module: WindowAttention, x: Tensor, *, freqs: Tensor | None = None, real: Tensor | None = None
) -> Tensor:
    """Full attention with a band for a mask."""
    q, k, v = (
        layer(x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for layer in (module.q, module.k, module.v)
    )
    q, k = module.q_norm(q), module.k_norm(k)
    if freqs is not None:
        q, k = rotate(q, freqs), rotate(k, freqs)
    positions = torch.arange(x.shape[1])
    seen = (positions[:, None] - positions).abs() <= module.window
    if real is not None:
        seen = seen & real[:, None, None, :]
    logits = torch.einsum("bhid,bhjd->bhij", q, k) / WIDTH**0.5
    weights = logits.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num(0.0)
    return module.proj(torch.einsum("bhij,bhjd->bihd", weights, v).flatten(2))


@pytest.mark.parametrize("window", [1, 4, 7, 28, 29, 1000])
@pytest.mark.parametrize("number", [1, 2, 28, 29])
def test_it_is_full_attention_with_a_band_for_a_mask(window: int, number: int) -> None:
    module, x = attention(window), tokens(number)

    torch.testing.assert_close(module(x), formula(module, x))


def test_its_gradients_are_those_of_the_formula() -> None:
    module, x = attention(), tokens().requires_grad_()
    weights = torch.randn_like(x)

    ours = torch.autograd.grad((module(x) * weights).sum(), (x, *module.parameters()))
    theirs = torch.autograd.grad((formula(module, x) * weights).sum(), (x, *module.parameters()))

    torch.testing.assert_close(ours, theirs)


def test_rotation_and_norm_come_before_the_window() -> None:
    module, x = attention(use_rope=True, qk_norm=True), tokens()
    freqs = RopeFrequency(WIDTH, 2)(torch.rand(BATCH, TOKENS, 2))

    torch.testing.assert_close(module(x, freqs=freqs), formula(module, x, freqs=freqs))


def test_no_token_attends_to_padding() -> None:
    module, x = attention(), tokens()
    real = torch.arange(TOKENS) < torch.tensor([[TOKENS], [13]])

    y = module(x, key_padding_mask=real)

    # The rows of padding mean nothing.
    torch.testing.assert_close(y[real], formula(module, x, real=real)[real])
    torch.testing.assert_close(y[1, :13], module(x[1:, :13])[0])


def test_a_token_without_a_real_neighbour_gets_zeros_and_passes_no_gradient() -> None:
    module, x = attention(bias=False), tokens().requires_grad_()
    real = torch.zeros(BATCH, TOKENS, dtype=torch.bool)

    y = module(x, key_padding_mask=real)
    (gradient,) = torch.autograd.grad(y.sum(), x)

    assert y.eq(0).all()
    assert gradient.eq(0).all()


def test_a_token_sees_nothing_beyond_its_window() -> None:
    module, x = attention(), tokens().requires_grad_()

    (gradient,) = torch.autograd.grad(module(x)[:, 11].sum(), x)

    assert gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == list(
        range(11 - 4, 11 + 4 + 1)
    )


def test_no_tokens_give_no_tokens() -> None:
    assert attention()(tokens(0)).shape == (BATCH, 0, HIDDEN)


def test_dropout_acts_in_training_and_only_there() -> None:
    module, x = attention(dropout=0.5), tokens()

    assert not torch.equal(module(x), module(x))
    torch.testing.assert_close(module.eval()(x), formula(module, x))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("attn_mask", torch.ones(TOKENS, TOKENS, dtype=torch.bool)),
        ("positions", torch.zeros(BATCH, TOKENS, 2)),
    ],
)
def test_what_it_cannot_honour_python_refuses_by_name(argument: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{argument}'"):
        attention()(tokens(), **{argument: value})


def test_memory_grows_with_the_tokens_and_not_with_their_square() -> None:
    kept = []
    for number in (512, 1024):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, s=sizes: s.append(t.numel()), lambda _: None
        ):
            attention()(tokens(number).requires_grad_())
        kept.append(max(sizes))

    assert kept[1] <= 2 * kept[0]


def test_the_record_makes_its_own_example() -> None:
    variant = registry().get("acme_window")

    assert build({"type": "acme_window", **variant.example}).config.window == 4


@pytest.mark.parametrize("number", [1, 2, 13])
@pytest.mark.parametrize("window", [1, 5, 13, 40])
def test_pairs_are_counted_as_the_mask_counts_them(number: int, window: int) -> None:
    positions = torch.arange(number)
    distances = (positions[:, None] - positions).abs()

    assert pairs(number, window) == int((distances <= window).sum())
