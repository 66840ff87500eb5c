"""FLARE over chunks of tokens: the numbers of all tokens at once, and memory that does not grow
with them.
"""

import pytest
import torch

from noether_core import ConfigError, TokenSpec
from noether_core.testing.measuring import Consumption, Operations
from noether_plugins.attention.flare.config import FLAREAttentionConfig
from noether_plugins.attention.flare.module import FLAREAttention
from tests.plugins.attention.formulas import with_own_norms

BATCH, HEADS, TOKENS, WIDTH, LATENTS = 2, 3, 31, 5, 7
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS, "num_latents": LATENTS}
REAL = torch.arange(TOKENS) < torch.tensor([[23], [17]])

MASKS = {
    "no mask": None,
    "some real": REAL,
    "one sample empty": REAL & torch.tensor([[True], [False]]),
    "nothing real": torch.zeros_like(REAL),
}
GROUPS = {
    "no groups": None,
    "no anchors": [TokenSpec("a", 11), TokenSpec("b", 20)],
    "anchors apart and side by side": [
        TokenSpec("a", 3),
        TokenSpec("a_anchors", 8),
        TokenSpec("b", 4),
        TokenSpec("b_anchors", 7),
        TokenSpec("c_anchors", 9),
    ],
    "anchors empty": [TokenSpec("a", 19), TokenSpec("a_anchors", 0), TokenSpec("b", 12)],
}


def twins(chunk_size, dtype=torch.float64, **options):
    """Return a module that takes all tokens at once, and one that takes a few: its twin."""
    options = SIZES | {"init_weights": "torch", "latent_init_std": 1.0} | options
    whole = with_own_norms(FLAREAttention(FLAREAttentionConfig(**options))).to(dtype).eval()
    streaming = (
        FLAREAttention(FLAREAttentionConfig(**options, chunk_size=chunk_size)).to(dtype).eval()
    )
    streaming.load_state_dict(whole.state_dict())
    return whole, streaming


def tokens(count=TOKENS, dtype=torch.float64):
    return torch.randn(BATCH, count, HIDDEN, dtype=dtype)


def products(module, *arguments, **options):
    """Return the number of products of matrices in a call."""
    with Operations() as operations:
        module(*arguments, **options)
    return sum("addmm" in name for name, _ in operations.seen)


@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
@pytest.mark.parametrize("specs", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
@torch.no_grad()
def test_chunks_of_tokens_give_the_numbers_of_all_at_once(real, specs, backend):
    x = tokens()
    for chunk_size in (1, 13, 30):
        whole, streaming = twins(chunk_size, backend=backend)
        got = streaming(x, key_padding_mask=real, token_specs=specs)
        torch.testing.assert_close(
            got, whole(x, key_padding_mask=real, token_specs=specs), rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("norms", [{"rmsnorm": False}, {"rmsnorm": True}], ids=str)
@pytest.mark.parametrize(
    "options", [{"num_layers_k_proj": -1, "attn_scale": 0.37}, {"v_proj_mlp_ratio": 1.5}], ids=str
)
@torch.inference_mode()
def test_chunks_of_tokens_give_the_same_numbers_with_every_norm_and_width(options, norms):
    whole, streaming = twins(13, qk_norm=True, **norms, **options)
    x = tokens()
    torch.testing.assert_close(streaming(x), whole(x), rtol=0, atol=1e-13)


@torch.no_grad()
def test_tokens_are_streamed_exactly_where_there_are_more_than_the_chunk_size():
    x = tokens()
    whole, streaming = twins(13)
    assert products(streaming, x) == 3 * products(whole, x)  # keys are not made a second time
    assert products(twins(TOKENS)[1], x) == products(whole, x)


@torch.no_grad()
def test_sizes_choose_the_chunk_where_the_config_does_not(monkeypatch):
    whole, streaming = twins(None), twins(None, num_heads=1)
    x = tokens(count=1009)
    few = products(whole[0], x)
    monkeypatch.setattr("noether_core.nn.streaming._BYTES_IN_CACHE", BATCH * HIDDEN * 8 * 128)
    assert products(whole[0], x) > few
    torch.testing.assert_close(streaming[0](x), streaming[1](x), rtol=0, atol=0)


def test_where_gradients_are_needed_the_chunk_size_changes_nothing():
    (whole, streaming), x = twins(13), tokens()
    assert torch.equal(streaming(x), whole(x))
    assert streaming(x).requires_grad
    frozen = streaming.requires_grad_(requires_grad=False)
    assert products(frozen, x) > products(frozen, x.requires_grad_())


def test_training_with_dropout_takes_all_tokens_at_once():
    _, streaming = twins(13, dropout=0.5)
    x = tokens()
    with torch.no_grad():
        assert products(streaming.train(), x) < products(streaming.eval(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_chunks_keep_the_dtype_and_its_digits(dtype):
    whole, streaming = twins(13, dtype=dtype)
    x = tokens(dtype=dtype)
    y = streaming(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, whole(x), rtol=0, atol=16 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("qk_norm", [True, False])
@torch.no_grad()
def test_autocast_is_what_it_is_with_all_tokens_at_once(qk_norm):
    whole, streaming = twins(13, dtype=torch.float32, qk_norm=qk_norm)
    x = tokens(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got, wanted = streaming(x), whole(x)
    assert got.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(got, wanted, rtol=0, atol=2**-6)


@torch.no_grad()
def test_memory_beyond_tokens_and_result_does_not_grow_with_the_tokens():
    peaks = []
    for count in (1024, 4096):
        _, streaming = twins(64)
        x, real = tokens(count), torch.ones(BATCH, count, dtype=torch.bool)
        with Consumption() as consumption:
            y = streaming(x, key_padding_mask=real)
        peaks.append(consumption.peak - y.nbytes)
    assert peaks[0] == peaks[1] < 40 * BATCH * 64 * HIDDEN * 8


@pytest.mark.parametrize("chunk_size", [0, -1, 7.0, True, "7"])
def test_a_chunk_holds_at_least_one_token(chunk_size):
    with pytest.raises(
        ConfigError, match="chunk_size: expected an integer of at least 1 or None"
    ) as caught:
        FLAREAttentionConfig(**SIZES, chunk_size=chunk_size)
    assert caught.value.problems[0].keys == ("chunk_size",)
