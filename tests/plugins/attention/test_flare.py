"""FLARE against its formula, written out in float64."""

import math

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, TokenGroupError, TokenSpec, build
from noether_plugins.attention.flare.config import FLAREAttentionConfig
from noether_plugins.attention.flare.module import FLAREAttention
from tests.plugins.attention.formulas import assert_same_numbers, linear, rms_normed, with_own_norms

BATCH, HEADS, TOKENS, WIDTH, LATENTS = 2, 3, 11, 5, 7
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS}
RATIOS = {0.01: 1, 0.5: 7, 1.0: HIDDEN, 1.06: HIDDEN, 1.5: 22}  # the inner widths that they give
LAYERS = [-1, 0, 1, 3]

ACTIVATIONS = {
    "GELU": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "GELU_TANH": lambda x: x / 2 * (1 + ((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)).tanh()),
    "SILU": lambda x: x / (1 + (-x).exp()),
}


def make(**options):
    """Return a module in float64 with latents that differ, whose norms have weights of
    their own.
    """
    options = (
        SIZES | {"num_latents": LATENTS, "init_weights": "torch", "latent_init_std": 1.0} | options
    )
    return with_own_norms(FLAREAttention(FLAREAttentionConfig(**options)))


def residual_mlp(state, name, x, *, layers, activate):
    """Return the output of the MLP; where widths agree, the outer steps add their inputs too."""
    if layers == -1:
        return x + linear(state, f"{name}.fc", x)
    z = activate(linear(state, f"{name}.fc1", x))
    agree = z.shape == x.shape
    z = z + x if agree else z
    for i in range(layers):
        z = z + activate(linear(state, f"{name}.fcs.{i}", z))
    y = linear(state, f"{name}.fc2", z)
    return y + z if agree else y


def normed(x, state, name, *, rmsnorm):
    if rmsnorm:
        return rms_normed(x, state[f"{name}.weight"])
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]


def formula(state, x, config, attended=None):
    """Return the output where latents attend to the tokens *attended*, ``(batch, tokens)``."""
    activate = ACTIVATIONS[config.activation]
    keys, values = (
        residual_mlp(state, name, x, layers=layers, activate=activate)
        .unflatten(-1, (HEADS, WIDTH))
        .transpose(1, 2)
        for name, layers in [
            ("k_proj", config.num_layers_k_proj),
            ("v_proj", config.num_layers_v_proj),
        ]
    )
    latents = state["latent_q"].flatten().view(HEADS, config.num_latents, WIDTH)
    if config.qk_norm:
        latents = normed(latents, state, "q_norm", rmsnorm=config.rmsnorm)
        keys = normed(keys, state, "k_norm", rmsnorm=config.rmsnorm)

    if attended is None:
        attended = torch.ones(x.shape[:2], dtype=torch.bool)
    likeness = config.attn_scale * torch.einsum("hmd,bhnd->bhmn", latents, keys)
    weights = likeness.exp() * attended[:, None, None, :]
    sums = weights.sum(-1, keepdim=True)
    gathered = torch.einsum("bhmn,bhnd->bhmd", weights / sums.masked_fill(sums == 0, 1.0), values)
    handed_out = torch.einsum("bhmn,bhmd->bnhd", likeness.softmax(2), gathered)
    return linear(state, "out_proj", handed_out.flatten(-2))


def tokens(count=TOKENS):
    return torch.randn(BATCH, count, HIDDEN, dtype=torch.float64, requires_grad=True)


def assert_formula(module, attended=None, **arguments):
    """Compare outputs and the gradients of the input and of every parameter."""
    x = tokens()
    wanted = formula(dict(module.named_parameters()), x, module.config, attended)
    assert_same_numbers(module(x, **arguments), wanted, [x, *module.parameters()])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("values", LAYERS)
@pytest.mark.parametrize("keys", LAYERS)
def test_it_is_its_formula_with_any_number_of_layers(keys, values, bias):
    assert_formula(make(num_layers_k_proj=keys, num_layers_v_proj=values, bias=bias))


@pytest.mark.parametrize("values", RATIOS)
@pytest.mark.parametrize("keys", RATIOS)
def test_it_is_its_formula_with_any_inner_width(keys, values):
    assert_formula(make(k_proj_mlp_ratio=keys, v_proj_mlp_ratio=values))


@pytest.mark.parametrize("attn_scale", [1.0, 0.37])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norms", [{}, {"rmsnorm": False}, {"rmsnorm": True}], ids=str)
def test_it_is_its_formula_with_every_activation_norm_and_scale(norms, activation, attn_scale):
    assert_formula(make(**norms, qk_norm=bool(norms), activation=activation, attn_scale=attn_scale))


EVERYTHING = torch.ones(TOKENS, dtype=torch.bool)
REAL = {
    "no mask": None,
    "all real": EVERYTHING.expand(BATCH, TOKENS),
    "some real": torch.arange(TOKENS) < torch.tensor([[7], [5]]),
    "one sample empty": torch.tensor([[True], [False]]).expand(BATCH, TOKENS),
}
GROUPS = {
    "no groups": (None, EVERYTHING),
    "no anchors": ([TokenSpec("a", 4), TokenSpec("anchors_b", 7)], EVERYTHING),
    "one group of anchors": (
        [TokenSpec("a", 2), TokenSpec("b_anchors", 3), TokenSpec("c", 6)],
        torch.tensor([0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]).bool(),
    ),
    "anchors apart and side by side": (
        [
            TokenSpec("a_anchors", 2),
            TokenSpec("a", 4),
            TokenSpec("b_anchors", 1),
            TokenSpec("c_anchors", 4),
        ],
        torch.tensor([1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1]).bool(),
    ),
    "some anchors empty": (
        [TokenSpec("a_anchors", 0), TokenSpec("a", 8), TokenSpec("b_anchors", 3)],
        torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]).bool(),
    ),
    "anchors empty": (
        [TokenSpec("a", 5), TokenSpec("a_anchors", 0), TokenSpec("b", 6)],
        ~EVERYTHING,
    ),
}


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize(("specs", "anchors"), GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("real", REAL.values(), ids=REAL)
def test_it_is_its_formula_with_padding_and_groups(real, specs, anchors, qk_norm):
    attended = anchors.expand(BATCH, TOKENS) if real is None else anchors & real
    assert_formula(make(qk_norm=qk_norm), attended, key_padding_mask=real, token_specs=specs)


def test_the_suffix_of_anchors_is_that_of_the_config():
    specs = [TokenSpec("a_anchors", 4), TokenSpec("a_pivots", 5), TokenSpec("b", 2)]
    attended = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]).bool().expand(BATCH, TOKENS)
    assert_formula(make(anchor_suffix="_pivots"), attended, token_specs=specs)


def test_tokens_that_no_latent_attends_to_attend_all_the_same():
    module, x = make(), tokens()
    specs, anchors = GROUPS["one group of anchors"]
    changed = torch.where(anchors[:, None], x, x + 1)

    y, y_changed = module(x, token_specs=specs), module(changed, token_specs=specs)

    torch.testing.assert_close(y_changed[:, anchors], y[:, anchors], rtol=0, atol=1e-12)
    assert not y_changed[:, ~anchors].isclose(y[:, ~anchors]).any()


def test_where_latents_have_no_keys_every_row_is_the_bias_of_the_output():
    module, x = make(), tokens()
    y = module(x, key_padding_mask=torch.zeros(BATCH, TOKENS, dtype=torch.bool))
    y.square().sum().backward()
    torch.testing.assert_close(
        y, module.out_proj.bias.expand(BATCH, TOKENS, HIDDEN), rtol=0, atol=0
    )
    assert not x.grad.any()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_latents_are_shared_out_row_by_row_to_heads_and_then_to_latents():
    module, x = make(), tokens()
    with torch.no_grad():
        module.out_proj.weight.copy_(torch.eye(HIDDEN))
        before = module(x).unflatten(-1, (HEADS, WIDTH))
        module.latent_q.view(-1)[(1 * LATENTS + 4) * WIDTH + 3] += 1.0
        changed = (module(x).unflatten(-1, (HEADS, WIDTH)) != before).any(-1)
    assert changed[..., 1].all()
    assert not changed[..., [0, 2]].any()


def test_dropout_falls_on_both_attentions_and_on_the_output():
    module, x = make(num_latents=1, num_layers_v_proj=-1, dropout=0.5), tokens(count=101)
    with torch.no_grad():
        module.v_proj.fc.weight.copy_(-torch.eye(HIDDEN))
        module.v_proj.fc.bias.fill_(
            1.0
        )  # every value is 1, so a latent is the sum of weights that were not dropped
        module.out_proj.weight.copy_(torch.eye(HIDDEN))
        module.out_proj.bias.zero_()
        heads = (
            module(x).unflatten(-1, (HEADS, WIDTH)) / 4
        )  # a token keeps its one latent, and features, as doubles

        kept = (heads != 0).any(-1)
        assert 0.4 < kept.double().mean() < 0.6
        assert 0.4 < (heads[kept] != 0).double().mean() < 0.65
        gathered = heads.amax((1, 3))
        assert torch.allclose(heads, gathered[:, None, :, None].where(heads != 0, 0.0))
        assert ((gathered - 1).abs() > 1e-3).all()
        assert torch.allclose(module.eval()(x), torch.ones(()).double())


REFUSED_BY_FUSED_KERNELS = (
    "derivative for aten::_scaled_dot_product_flash_attention_for_cpu_backward is not implemented"
)


@pytest.mark.parametrize(
    "specs", [None, GROUPS["one group of anchors"][0]], ids=["all tokens", "anchors"]
)
def test_the_math_kernel_has_second_derivatives(specs):
    module, real = (
        make(backend="math", num_latents=2, num_layers_k_proj=0, num_layers_v_proj=-1),
        REAL["some real"],
    )
    x = tokens()
    latents = module.latent_q.detach().clone().requires_grad_()

    def call(x, latents):
        given = {"key_padding_mask": real, "token_specs": specs}
        return torch.func.functional_call(module, {"latent_q": latents}, (x,), given)

    assert torch.autograd.gradgradcheck(call, (x, latents), fast_mode=True)


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
def test_fused_kernels_refuse_second_derivatives(backend):
    x = tokens()
    (slope,) = torch.autograd.grad(make(backend=backend)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=REFUSED_BY_FUSED_KERNELS):
        slope.square().sum().backward()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch.func.jvp
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_the_math_kernel_has_derivatives_in_forward_mode(chunk_size):
    module, x = make(backend="math", chunk_size=chunk_size), tokens().detach()
    direction = torch.randn_like(x)
    with torch.no_grad():
        _, slope = torch.func.jvp(module, (x,), (direction,))
        steps = (module(x + 1e-6 * direction) - module(x - 1e-6 * direction)) / 2e-6
    torch.testing.assert_close(slope, steps, rtol=1e-6, atol=1e-7)
    assert slope.any()


@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
def test_every_kernel_computes_the_formula(backend):
    assert_formula(make(backend=backend), REAL["some real"], key_padding_mask=REAL["some real"])


def test_it_compiles_whole_with_groups_of_other_sizes():
    module, graphs = make(chunk_size=3), []
    torch._dynamo.reset()
    compiled = torch.compile(
        module, fullgraph=True, backend=lambda graph, _: graphs.append(graph) or graph
    )
    with torch.no_grad():
        for sizes in ((4, 7, 2), (5, 7, 3), (6, 11, 4)):
            names = ("a", "a_anchors", "b_anchors")
            specs = [TokenSpec(name, size) for name, size in zip(names, sizes, strict=True)]
            x = tokens(sum(sizes))
            torch.testing.assert_close(compiled(x, token_specs=specs), module(x, token_specs=specs))
    assert len(graphs) <= 3


def names(projection, layers, *leaves):
    layers = ["fc"] if layers == -1 else ["fc1", *(f"fcs.{i}" for i in range(layers)), "fc2"]
    return {f"{projection}.{layer}.{leaf}" for layer in layers for leaf in leaves}


@pytest.mark.parametrize(("keys", "values"), [(-1, 3), (0, -1), (1, 0), (3, 1)])
def test_parameters_have_the_names_of_stored_weights(keys, values):
    for bias, leaves in [(True, ("weight", "bias")), (False, ("weight",))]:
        state = make(num_layers_k_proj=keys, num_layers_v_proj=values, bias=bias).state_dict()
        wanted = names("k_proj", keys, *leaves) | names("v_proj", values, *leaves)
        assert set(state) == {"latent_q", *wanted, *(f"out_proj.{leaf}" for leaf in leaves)}


@pytest.mark.parametrize(("deep", "flat"), [("k", "v"), ("v", "k")])
@pytest.mark.parametrize(("ratio", "inner"), RATIOS.items())
def test_parameters_have_the_shapes_of_stored_weights(ratio, inner, deep, flat):
    options = {
        f"{deep}_proj_mlp_ratio": ratio,
        f"num_layers_{deep}_proj": 1,
        f"num_layers_{flat}_proj": -1,
    }
    assert {name: tuple(value.shape) for name, value in make(**options).state_dict().items()} == {
        "latent_q": (HIDDEN, LATENTS),
        f"{deep}_proj.fc1.weight": (inner, HIDDEN),
        f"{deep}_proj.fc1.bias": (inner,),
        f"{deep}_proj.fcs.0.weight": (inner, inner),
        f"{deep}_proj.fcs.0.bias": (inner,),
        f"{deep}_proj.fc2.weight": (HIDDEN, inner),
        f"{deep}_proj.fc2.bias": (HIDDEN,),
        f"{flat}_proj.fc.weight": (HIDDEN, HIDDEN),
        f"{flat}_proj.fc.bias": (HIDDEN,),
        "out_proj.weight": (HIDDEN, HIDDEN),
        "out_proj.bias": (HIDDEN,),
    }


@pytest.mark.parametrize(("rmsnorm", "leaves"), [(False, ("weight", "bias")), (True, ("weight",))])
def test_norms_have_the_names_and_shapes_of_stored_weights(rmsnorm, leaves):
    state = make(qk_norm=True, rmsnorm=rmsnorm).state_dict()
    norms = {name: tuple(value.shape) for name, value in state.items() if "norm" in name}
    assert norms == {f"{norm}.{leaf}": (WIDTH,) for norm in ("q_norm", "k_norm") for leaf in leaves}


@pytest.mark.parametrize("std", [0.1, 0.7])
@pytest.mark.parametrize(
    "mode", ["truncnormal002", "truncnormal002-identity", "xavier", "zeros", "torch"]
)
def test_latents_start_normal_with_their_own_deviation_in_every_mode(mode, std):
    latents = make(num_latents=1009, init_weights=mode, latent_init_std=std).latent_q.detach() / std
    count = latents.numel()
    assert abs(latents.mean()) < 5 / math.sqrt(count)
    assert abs(latents.square().mean() - 1) < 5 * math.sqrt(2 / count)
    assert abs((latents.abs() < 1).double().mean() - 0.6827) < 5 * math.sqrt(
        0.6827 * 0.3173 / count
    )


def test_a_group_that_is_not_in_the_input_is_refused_by_name():
    specs = [TokenSpec("a", TOKENS), TokenSpec("b_anchors", None)]
    with pytest.raises(
        TokenGroupError, match="'b_anchors' is of size None, and flare keeps no keys in a cache"
    ):
        make()(tokens(), token_specs=specs)


@pytest.mark.parametrize("size", [0, 5, 13])
def test_groups_that_do_not_add_up_are_refused_with_both_numbers(size):
    wanted = (
        f"Token specs total size {4 + size} is not the number of tokens 11; "
        f"the groups are a_anchors 4, b {size}$"
    )
    with pytest.raises(TokenGroupError, match=wanted):
        make()(tokens(), token_specs=[TokenSpec("a_anchors", 4), TokenSpec("b", size)])


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("num_latents", [0, -1, 7.0, True, "7"], "an integer of at least 1"),
        ("attn_scale", [0, 0.0, -1.0, math.nan, math.inf, True, "1"], "a number above 0"),
        ("num_layers_k_proj", [-2, 1.0, None], "an integer of at least -1"),
        ("num_layers_v_proj", [-2, 1.0, None], "an integer of at least -1"),
        ("k_proj_mlp_ratio", [0, -0.5, None], "a number above 0"),
        ("v_proj_mlp_ratio", [0, -0.5, None], "a number above 0"),
        ("latent_init_std", [0, -0.1, None], "a number above 0"),
        ("rmsnorm", [0, 1, None, "true"], "true or false"),
        ("activation", ["gelu", "RELU", None], "'GELU', 'GELU_TANH' or 'SILU'"),
        ("anchor_suffix", [None, 7], "text"),
    ],
)
def test_options_out_of_their_bounds_are_refused_by_name(option, values, expected):
    for value in values:
        with pytest.raises(ConfigError, match=f"^{option}: expected {expected}, got ") as caught:
            FLAREAttentionConfig(**SIZES, **{option: value})
        assert caught.value.problems[0].keys == (option,)


def test_options_at_their_bounds_pass():
    bounds = {
        "num_latents": 1,
        "num_layers_k_proj": -1,
        "num_layers_v_proj": -1,
        "anchor_suffix": "",
    }
    config = FLAREAttentionConfig(**SIZES, **bounds)
    assert {name: getattr(config, name) for name in bounds} == bounds


def test_rotary_embeddings_are_refused_with_the_reason():
    with pytest.raises(ConfigError, match="latents have no position to rotate by") as caught:
        FLAREAttentionConfig(**SIZES, use_rope=True)
    assert caught.value.problems[0].keys == ("use_rope",)
    assert FLAREAttentionConfig(**SIZES, use_rope=False) == FLAREAttentionConfig(**SIZES)


def test_options_have_the_defaults_of_stored_configs():
    config = FLAREAttentionConfig(**SIZES)
    assert config == FLAREAttentionConfig(
        **SIZES,
        qk_norm=False,
        num_latents=512,
        attn_scale=1.0,
        num_layers_k_proj=3,
        num_layers_v_proj=3,
        k_proj_mlp_ratio=1.0,
        v_proj_mlp_ratio=1.0,
        latent_init_std=0.1,
        rmsnorm=False,
        activation="GELU",
        anchor_suffix="_anchors",
        backend="auto",
        chunk_size=None,
    )


def test_a_generic_config_builds_it():
    generic = AttentionConfig(type="flare", **SIZES, num_latents=LATENTS, activation="SILU")
    concrete = FLAREAttentionConfig(**SIZES, num_latents=LATENTS, activation="SILU")
    assert FLAREAttention(generic).config == concrete
    assert FLAREAttention(concrete).config is concrete
    assert build(generic).config == concrete


def test_a_config_of_another_variant_is_refused():
    with pytest.raises(ConfigError, match="dot_product"):
        FLAREAttention(AttentionConfig(type="dot_product", **SIZES))
