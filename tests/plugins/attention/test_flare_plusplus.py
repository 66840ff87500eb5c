"""FLARE++ against its formula, written out in float64, for all tokens at once and in chunks."""

import itertools
import math

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, build, structure
from noether_core.errors import OutdatedOptionWarning, SummaryError
from noether_core.nn import dropped_attention, latents
from noether_core.nn.noise import drop_tokens
from noether_core.testing.measuring import Consumption, Operations
from noether_plugins.attention.flare_plusplus.config import FLAREPlusPlusAttentionConfig
from noether_plugins.attention.flare_plusplus.module import FLAREPlusPlusAttention
from tests.plugins.attention.formulas import assert_same_numbers, linear, with_own_norms

BATCH, HEADS, TOKENS, WIDTH, LATENTS = 2, 3, 11, 5, 7
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS, "num_latents": LATENTS}
SWITCHES = ("share_k0_v0", "k_norm", "rmsnorm", "bias", "q_fixed_norm")
SETTINGS = list(itertools.product([True, False], repeat=len(SWITCHES)))

EVERYTHING = torch.ones(BATCH, TOKENS, dtype=torch.bool)
REAL = {
    "no mask": None,
    "all real": EVERYTHING,
    "some real": torch.arange(TOKENS) < torch.tensor([[7], [5]]),
    "one sample empty": EVERYTHING & torch.tensor([[True], [False]]),
}


def make(**options):
    """Return a module in float64, all of whose weights differ."""
    module = with_own_norms(
        FLAREPlusPlusAttention(FLAREPlusPlusAttentionConfig(**SIZES | options))
    ).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def tokens(count=TOKENS):
    return torch.randn(BATCH, count, HIDDEN, dtype=torch.float64, requires_grad=True)


def normed(x, config, state, name=None):
    """Return *x* normalised over its last axis, with the weights that *state* has for *name*."""
    if config.rmsnorm:
        y = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    else:
        centred = x - x.mean(-1, keepdim=True)
        y = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return y if name is None else y * state[f"{name}.weight"] + state.get(f"{name}.bias", 0.0)


def formula(state, x, config, real=None):
    """Return the output, from plain sums and exponentials."""
    scale = config.attn_scale or WIDTH**-0.5
    real = torch.ones(x.shape[:2], dtype=torch.bool) if real is None else real

    def heads(name):
        return linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)

    def attended(queries, keys, values):
        weights = (scale * torch.einsum("bhmd,bhnd->bhmn", queries, keys)).exp()
        weights = weights * real[:, None, None, :]
        sums = weights.sum(-1, keepdim=True)
        return torch.einsum("bhmn,bhnd->bhmd", weights / sums.masked_fill(sums == 0, 1), values)

    first_keys = normed(heads("k0_proj"), config, state)
    first_values = first_keys if config.share_k0_v0 else normed(heads("v0_proj"), config, state)
    first = normed(state["latent_q0"], config, state, "q0_norm").expand(BATCH, -1, -1, -1)
    gate = (1 / (1 + (-state["gate_logit"]).exp()))[:, None, None]
    fixed = state["latent_q_fixed"]
    fixed = normed(fixed, config, state) if config.q_fixed_norm else fixed
    queries = fixed + gate * attended(first, first_keys, first_values)

    keys = heads("k_proj")
    keys = normed(keys, config, state, "k_norm") if config.k_norm else keys
    gathered = attended(queries, keys, heads("v_proj"))
    shares = (scale * torch.einsum("bhnd,bhmd->bhnm", keys, queries)).softmax(-1)
    return linear(state, "out_proj", torch.einsum("bhnm,bhmd->bnhd", shares, gathered).flatten(2))


def assert_formula(module, real=None):
    """Compare outputs and the gradients of the input and of every parameter."""
    x = tokens()
    wanted = formula(dict(module.named_parameters()), x, module.config, real)
    assert_same_numbers(module(x, key_padding_mask=real), wanted, [x, *module.parameters()])


@pytest.mark.parametrize("switches", SETTINGS)
def test_it_is_its_formula_with_every_switch(switches):
    assert_formula(make(**dict(zip(SWITCHES, switches, strict=True))))


@pytest.mark.parametrize("options", [{"attn_scale": 0.37}, {"backend": "math"}], ids=str)
@pytest.mark.parametrize("real", REAL.values(), ids=REAL)
def test_it_is_its_formula_with_padding(real, options):
    assert_formula(make(**options), real)


@pytest.mark.parametrize(
    "options", [{}, {"share_k0_v0": False, "rmsnorm": True}, {"k_norm": False}], ids=str
)
@pytest.mark.parametrize("real", REAL.values(), ids=REAL)
@torch.no_grad()
def test_chunks_of_tokens_give_the_numbers_of_the_formula(real, options):
    x = tokens()
    for backend, chunk_size in (("auto", 4), ("auto", 10), ("math", 1)):
        module = make(**options, backend=backend, chunk_size=chunk_size)
        wanted = formula(module.state_dict(), x, module.config, real)
        got = module(x, key_padding_mask=real)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def products(module, x):
    """Return the number of products of matrices in a call."""
    with Operations() as operations:
        module(x)
    return sum("addmm" in name for name, _ in operations.seen)


def test_no_layer_is_called_twice_for_a_token():
    module, x = make(chunk_size=4), tokens()
    with torch.no_grad():
        assert products(module, x) == 3 * 4  # chunks, and layers
    assert products(module, x) == 4  # where gradients are needed, all tokens at once
    with torch.no_grad():
        assert products(make(chunk_size=4, dropout=0.5).train(), x) == 4


@torch.no_grad()
def test_memory_beyond_tokens_and_result_does_not_grow_with_the_tokens():
    peaks, module = [], make(chunk_size=16)
    for count in (128, 256):
        x, real = tokens(count), torch.ones(BATCH, count, dtype=torch.bool)
        with Consumption() as consumption:
            y = module(x, key_padding_mask=real)
        peaks.append(consumption.peak - y.nbytes)
    assert peaks[0] == peaks[1] < 40 * BATCH * 16 * HIDDEN * 8


def test_where_latents_have_no_keys_every_row_is_the_bias_of_the_output():
    module, x = make(), tokens()
    y = module(x, key_padding_mask=~EVERYTHING)
    y.square().sum().backward()
    assert torch.equal(y, module.out_proj.bias.expand_as(y))
    assert not x.grad.any()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_queries_are_mixed_in_the_bits_of_sums():
    """What latents saw is small beside the fixed part here, and would be lost in 8 bits."""
    module = make(q_fixed_norm=False).bfloat16()
    with torch.no_grad():
        module.latent_q_fixed.fill_(1.0)
        module.gate_logit.fill_(-math.log(3.0))  # a quarter, which bfloat16 holds
    dynamic = torch.full((1, HEADS, LATENTS, WIDTH), 2**-8 + 2**-6).bfloat16()
    mixed = module._queries(dynamic, torch.bfloat16)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, torch.full_like(dynamic, 1 + (2**-8 + 2**-6) / 4))


def test_dropout_falls_on_all_three_attentions_and_on_the_output(monkeypatch):
    seeds = []

    def recording(x, probability, drawing):
        seeds.append(drawing.seed.item())
        return drop_tokens(x, probability, drawing)

    for file in (dropped_attention, latents):
        monkeypatch.setattr(file, "drop_tokens", recording)
    module, x = make(dropout=0.5).train(), tokens(count=101)
    y = module(x)
    assert len(set(seeds)) == 4  # each draws numbers of its own
    assert 0.4 < (y == 0).double().mean() < 0.6
    assert not torch.allclose(y[y != 0], 2 * module.eval()(x)[y != 0])


SPLITS = [(11,), (4, 7), (0, 11), (1, 3, 0, 7)]


def in_parts(module, x, sizes, real=None):
    """Return what the module makes of parts of *x*, each gathered and read by itself."""
    real = EVERYTHING if real is None else real
    parts = list(zip(x.split(sizes, dim=1), real.split(sizes, dim=1), strict=True))
    summaries = []
    for _ in range(module.rounds):
        first, *others = [
            module.gather(part, *summaries, key_padding_mask=mask) for part, mask in parts
        ]
        summaries.append(first.merge(*others))
    outputs = [module.read(part, *summaries, key_padding_mask=mask) for part, mask in parts]
    return torch.cat(outputs, dim=1), summaries


@pytest.mark.parametrize("options", [{}, {"backend": "math", "share_k0_v0": False}], ids=str)
@pytest.mark.parametrize("real", REAL.values(), ids=REAL)
def test_parts_gathered_twice_and_read_give_the_numbers_of_all_tokens(real, options):
    module, x = make(**options), tokens()
    inputs = [x, *module.parameters()]
    for sizes in SPLITS:
        y, _ = in_parts(module, x, sizes, real)
        assert_same_numbers(y, module(x, key_padding_mask=real), inputs)


@torch.no_grad()
def test_chunks_of_parts_give_the_numbers_of_all_tokens():
    module, x = make(chunk_size=3), tokens()
    y, (first, second) = in_parts(module, x, (4, 7), REAL["some real"])
    torch.testing.assert_close(y, module(x, key_padding_mask=REAL["some real"]))
    few = module.gather(x[:, :1])
    assert few.nbytes == first.nbytes == second.nbytes == BATCH * HEADS * LATENTS * (WIDTH + 1) * 8


def test_gradients_flow_through_summaries_into_a_frozen_module():
    module = make(chunk_size=3).requires_grad_(requires_grad=False)
    x, others = tokens(), tokens(7).detach()
    first = module.gather(x)
    y = module.read(others, first, module.gather(x, first))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.any(-1).all()


def test_summaries_of_other_rounds_are_refused_by_name():
    module, x = make(), tokens()
    first = module.gather(x)
    second = module.gather(x, first)
    for call, message in [
        (lambda: module.gather(x, first, second), "gather got 2, wanted none, or that of the"),
        (lambda: module.read(x, first), "read got 1, wanted those of both rounds: flare_plusplus"),
        (lambda: module.read(x, second, first), "gathered with round 2, and the call has 1"),
        (lambda: module.gather(x, second), "gathered with round 2, and the call has 1"),
        (lambda: first.merge(second), "gathered with round 1, and another one has 2"),
        (lambda: make().gather(x, first), "gathered by another module"),
    ]:
        with pytest.raises(SummaryError, match=message):
            call()


LAYERS = {"k0_proj", "v0_proj", "k_proj", "v_proj", "out_proj"}


@pytest.mark.parametrize("switches", SETTINGS[::2])
def test_parameters_have_the_names_and_shapes_of_stored_weights(switches):
    shared, has_k_norm, rmsnorm, bias, _ = switches
    wanted = dict.fromkeys(("latent_q0", "latent_q_fixed"), (HEADS, LATENTS, WIDTH))
    wanted["gate_logit"] = (HEADS,)
    for norm in ("q0_norm", "k_norm") if has_k_norm else ("q0_norm",):
        wanted[f"{norm}.weight"] = (WIDTH,)
        if not rmsnorm:
            wanted[f"{norm}.bias"] = (WIDTH,)
    for layer in LAYERS - {"v0_proj"} if shared else LAYERS:
        wanted[f"{layer}.weight"] = (HIDDEN, HIDDEN)
        if bias:
            wanted[f"{layer}.bias"] = (HIDDEN,)

    module = make(share_k0_v0=shared, k_norm=has_k_norm, rmsnorm=rmsnorm, bias=bias)
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == wanted


@pytest.mark.parametrize("mode", ["truncnormal002", "truncnormal002-identity", "xavier", "torch"])
def test_keys_and_values_start_near_the_tokens_in_every_mode_but_zeros(mode):
    options = {"hidden_dim": 120, "num_heads": 2, "share_k0_v0": False, "init_weights": mode}
    module = build("flare_plusplus", **options, num_latents=101, gate_logit_init=-0.5)
    for name in LAYERS - {"out_proj"}:
        layer = module.get_submodule(name)
        noise = layer.weight.detach() - torch.eye(120)
        assert noise.abs().max() < 0.2, name
        assert noise.std() == pytest.approx(0.02, rel=0.05), name
        assert layer.bias.any() == (mode == "torch"), name
    assert not torch.equal(module.k_proj.weight, module.v_proj.weight)
    for drawn in (module.latent_q0, module.latent_q_fixed):
        assert drawn.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(module.gate_logit, torch.full((2,), -0.5))


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("num_latents", [0, -1, 7.0, True, "7"], "an integer of at least 1"),
        ("attn_scale", [0, 0.0, -1.0, math.nan, math.inf, True, "1"], "a number above 0 or None"),
        ("gate_logit_init", [None, math.nan, math.inf, True, "1"], "a number"),
        ("chunk_size", [0, -1, 7.0, True, "7"], "an integer of at least 1 or None"),
        *[(name, [0, 1, None, "true"], "true or false") for name in SWITCHES],
    ],
)
def test_options_out_of_their_bounds_are_refused_by_name(option, values, expected):
    for value in values:
        with pytest.raises(ConfigError, match=f"^{option}: expected {expected}, got ") as caught:
            FLAREPlusPlusAttentionConfig(**SIZES | {option: value})
        assert caught.value.problems[0].keys == (option,)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("use_rope", "latents have no position to rotate by"),
        ("qk_norm", "k_norm and q_fixed_norm say what is normalised"),
    ],
)
def test_options_that_mean_nothing_here_are_refused_with_the_reason(option, reason):
    with pytest.raises(ConfigError, match=f"^{option}: expected False, got True: {reason}"):
        FLAREPlusPlusAttentionConfig(**SIZES, **{option: True})
    assert FLAREPlusPlusAttentionConfig(**SIZES, **{option: False})


def test_options_have_the_defaults_of_the_paper():
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS}
    assert FLAREPlusPlusAttentionConfig(**sizes) == FLAREPlusPlusAttentionConfig(
        **sizes,
        num_latents=64,
        share_k0_v0=True,
        k_norm=True,
        q_fixed_norm=True,
        rmsnorm=False,
        attn_scale=None,
        gate_logit_init=0.25,
        backend="auto",
        chunk_size=None,
    )


def test_a_config_of_the_authors_code_is_read():
    theirs = {"channel_dim": HIDDEN, "num_heads": HEADS, "kind": "flarepp", "rmsnorm": None}
    with pytest.warns(OutdatedOptionWarning, match="kind: was left out: it is the type"):
        config = structure({"type": "flare_plusplus", **theirs}, origin="vpuri3/FLARE.py")
    assert config == FLAREPlusPlusAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS)


def test_a_config_of_another_variant_is_refused():
    with pytest.raises(ConfigError, match="flare_plusplus"):
        FLAREPlusPlusAttention(AttentionConfig(type="flare", hidden_dim=8, num_heads=2))
