"""Physics attention with sharper slices against its formula, written out in float64."""

import copy
import math

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, build, structure
from noether_core.nn import draw_seed
from noether_core.nn.noise import Drawing
from noether_core.nn.noise import gumbel as gumbel_noise
from noether_plugins.attention.dot_product.module import DotProductAttention
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.transolver.config import TransolverAttentionConfig
from noether_plugins.attention.transolver.module import TransolverAttention
from noether_plugins.attention.transolver_plusplus import module as plusplus
from noether_plugins.attention.transolver_plusplus.config import TransolverPlusPlusAttentionConfig
from noether_plugins.attention.transolver_plusplus.module import TransolverPlusPlusAttention
from tests.plugins.attention.formulas import assert_same_numbers, linear

BATCH, HEADS, TOKENS, WIDTH, SLICES = 2, 3, 11, 5, 7
HIDDEN = HEADS * WIDTH
SIZES = {"hidden_dim": HIDDEN, "num_heads": HEADS}

POSITIVE = {
    None: lambda raw: raw.where(raw > 0.01, 0.01),
    "sigmoid": lambda raw: 1 / (1 + (-raw).exp()),
    "softplus": lambda raw: (1 + raw.exp()).log(),
    "exp": lambda raw: raw.exp(),
}


def make(**options):
    """Return a module in float64 with a temperature of its own in every head, some of which are cut
    off.
    """
    options = SIZES | {"num_slices": SLICES, "init_weights": "torch"} | options
    module = TransolverPlusPlusAttention(TransolverPlusPlusAttentionConfig(**options)).double()
    with torch.no_grad():
        module.bias.copy_(torch.tensor([-0.9, 0.3, 0.7]).view(1, HEADS, 1, 1))
    return module


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def split(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def gumbel(uniform, eps=2.0**-52):
    return -(-(uniform + eps).log() + eps).log()


def temperature(state, states, config):
    raw = state["bias"]
    if config.use_adaptive_temperature:
        inner = gelu(linear(state, "proj_temperature.0.project", states))
        raw = gelu(linear(state, "proj_temperature.2.project", inner)) + raw
    return POSITIVE[config.temperature_activation](raw)


def formula(state, x, config, *, real=None, uniform=None):
    """Return the output for tokens of which those with *real* 1 take part, and none else."""
    states = split(linear(state, "in_project_x", x))
    if config.use_overparameterization:
        logits = linear(state, "in_project_slice.project", states)
    else:
        logits = split(linear(state, "in_project_slice.project", x))
    added = 0.0 if uniform is None else gumbel(uniform)

    weights = ((logits + added) / temperature(state, states, config)).softmax(-1)
    weights = weights if real is None else torch.einsum("bhng,bn->bhng", weights, real.double())
    slices = torch.einsum("bhng,bhnd->bhgd", weights, states) / (weights.sum(2)[..., None] + 1e-5)
    q, k, v = (linear(state, f"{name}.project", slices) for name in "qkv")
    attention = (torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(WIDTH)).softmax(-1)
    read = torch.einsum("bhng,bhgd->bnhd", weights, torch.einsum("bhij,bhjd->bhid", attention, v))
    return linear(state, "to_out.0.project", read.flatten(-2))


def tokens(count=TOKENS):
    return torch.randn(BATCH, count, HIDDEN, dtype=torch.float64, requires_grad=True)


def assert_formula(module, *, real=None, uniform=None):
    """Compare outputs and the gradients of the input and of every parameter; weights are as sharp
    as 1 / 0.01.
    """
    x = tokens()
    wanted = formula(dict(module.named_parameters()), x, module.config, real=real, uniform=uniform)
    assert_same_numbers(
        module(x, key_padding_mask=real), wanted, [x, *module.parameters()], atol=1e-10
    )


def drawn_uniform(logits):
    """Return the numbers that the next call draws for *logits*."""
    return plusplus.uniform_of(logits, Drawing(draw_seed(logits.device)))


@pytest.fixture
def uniform(monkeypatch):
    """Return the numbers that are drawn in place of random ones, the least and the greatest among
    them.
    """
    uniform = torch.rand(BATCH, HEADS, TOKENS, SLICES, dtype=torch.float64)
    uniform[0, 0, 0, 0], uniform[1, 2, 5, 3] = 0.0, 1 - 2.0**-24
    monkeypatch.setattr(plusplus, "uniform_of", lambda logits, _: uniform.expand(logits.shape))
    return uniform


@pytest.fixture
def draws(monkeypatch):
    """Return the list that the shape of every draw is written to."""
    draws, draw = [], plusplus.uniform_of
    monkeypatch.setattr(
        plusplus, "uniform_of", lambda logits, by: draws.append(logits.shape) or draw(logits, by)
    )
    return draws


MASKS = {
    "no mask": None,
    "some real": torch.arange(TOKENS) < torch.tensor([[7], [5]]),
    "one sample empty": torch.tensor([[True], [False]]).expand(BATCH, TOKENS),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
def test_it_is_its_formula_without_noise_in_evaluation(real, bias):
    assert_formula(make(bias=bias).eval(), real=real)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
def test_it_is_its_formula_with_noise_in_training(real, bias, uniform):
    assert_formula(make(bias=bias), real=real, uniform=uniform)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("overparameterized", [True, False])
@pytest.mark.parametrize("activation", POSITIVE)
@pytest.mark.parametrize("adaptive", [True, False])
def test_its_options_do_what_they_say(adaptive, activation, overparameterized, bias, uniform):
    module = make(
        use_adaptive_temperature=adaptive,
        temperature_activation=activation,
        use_overparameterization=overparameterized,
        bias=bias,
    )
    assert_formula(module, real=MASKS["some real"], uniform=uniform)


def test_some_temperatures_of_these_tests_are_cut_off_and_some_are_not():
    module, x = make(), tokens()
    state = dict(module.named_parameters())
    is_cut = temperature(state, split(linear(state, "in_project_x", x)), module.config) == 0.01
    assert is_cut.any()
    assert not is_cut.all()


def test_evaluation_draws_no_noise(draws):
    module, x = make(), tokens()
    before = torch.get_rng_state()
    module.eval()(x)
    assert not draws
    assert torch.equal(torch.get_rng_state(), before)
    module.train()(x)
    assert draws == [(BATCH, HEADS, TOKENS, SLICES)]


def test_without_gumbel_softmax_training_draws_no_noise(draws):
    module, x = make(use_gumbel_softmax=False), tokens()
    before = torch.get_rng_state()
    assert torch.equal(module.train()(x), module.eval()(x))
    assert not draws
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_finite_for_every_uniform_number_and_that_of_its_formula(dtype):
    uniform = torch.cat([torch.arange(1009) / 1009, torch.tensor([2.0**-24, 1 - 2.0**-24])]).to(
        dtype
    )
    eps = torch.finfo(dtype).eps
    exact = gumbel(uniform.double(), eps)
    got = gumbel_noise(uniform)
    assert got.dtype == dtype
    assert got.isfinite().all()
    torch.testing.assert_close(got[:-1].double(), exact[:-1], rtol=0, atol=1e4 * eps)


def test_noise_follows_the_gumbel_distribution():
    count = 5 * 7 * 101 * 103
    got = gumbel_noise(drawn_uniform(torch.zeros(5, 7, 101, 103, dtype=torch.float64)))
    assert abs(got.mean() - 0.577216) < 5 * math.pi / math.sqrt(6 * count)
    assert got.var().item() == pytest.approx(math.pi**2 / 6, rel=0.02)
    assert (got < 0).double().mean().item() == pytest.approx(math.exp(-1), abs=0.005)


@pytest.mark.parametrize(
    ("dtype", "drawn"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_uniform_numbers_are_drawn_in_a_dtype_that_holds_them(dtype, drawn):
    uniform = drawn_uniform(torch.zeros(BATCH, HEADS, TOKENS, SLICES, dtype=dtype))
    assert (uniform.dtype, uniform.shape) == (drawn, (BATCH, HEADS, TOKENS, SLICES))
    assert len(uniform.unique()) == uniform.numel()


def test_uniform_numbers_follow_from_torchs_seed_and_their_place():
    draws = []
    for seed, batch in [(0, BATCH), (0, BATCH), (0, 1), (1, BATCH)]:
        torch.manual_seed(seed)
        draws.append(drawn_uniform(torch.zeros(batch, HEADS, TOKENS, SLICES)))
    again = drawn_uniform(torch.zeros(BATCH, HEADS, TOKENS, SLICES))
    assert torch.equal(draws[1], draws[0])
    assert torch.equal(draws[2], draws[0][:1])
    assert not (draws[3] == draws[0]).any()
    assert not (again == draws[3]).any()


def test_training_is_reproducible_from_torchs_seed():
    module, x, results = make(), tokens(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        y = module(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])])
    assert all(torch.equal(one, same) for one, same in zip(results[0], results[1], strict=True))
    assert not torch.isclose(results[0][0], results[2][0]).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_training_with_noise_in_few_bits_is_finite(dtype):
    module, x = make().to(dtype), torch.randn(BATCH, 1009, HIDDEN, dtype=dtype, requires_grad=True)
    y = module(x)
    y.float().square().mean().backward()
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert all(tensor.grad.isfinite().all() for tensor in [x, *module.parameters()])


def test_padding_reads_nothing_so_its_rows_are_the_bias_of_the_output():
    module, x, real = make(), tokens(), MASKS["some real"]
    y = module(x, key_padding_mask=real)
    bias = module.to_out[0].project.bias
    torch.testing.assert_close(y[~real], bias.expand(10, HIDDEN), rtol=0, atol=0)
    assert (y[real] != bias).any(-1).all()


def test_samples_of_padding_alone_have_finite_gradients():
    module, x = make(), tokens()
    y = module(x, key_padding_mask=torch.zeros(BATCH, TOKENS, dtype=torch.bool))
    y.square().sum().backward()
    torch.testing.assert_close(
        y, module.to_out[0].project.bias.expand(BATCH, TOKENS, HIDDEN), rtol=0, atol=0
    )
    assert not x.grad.any()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_dropout_falls_on_the_attention_of_slices_and_on_the_output():
    module, x = make(dropout=0.5), tokens(count=101)
    with torch.no_grad():
        module.bias.fill_(5.0)  # no slice is empty
        module.in_project_x.weight.zero_()
        module.in_project_x.bias.fill_(1.0)  # every slice is 1 (but for 1e-5), whatever the tokens
        for layer in (module.v, module.to_out[0]):
            layer.project.weight.copy_(torch.eye(*layer.project.weight.shape))
            layer.project.bias.zero_()
        y = module(x)
        kept = y[y != 0]
        assert 0.45 < len(kept) / y.numel() < 0.55
        assert kept.std() > 0.05
        assert torch.allclose(module.eval()(x), torch.ones(()).double(), atol=1e-4)


def shapes_of(**options):
    return {name: tuple(value.shape) for name, value in make(**options).state_dict().items()}


SHAPES = {
    "bias": (1, HEADS, 1, 1),
    "proj_temperature.0.project.weight": (SLICES, WIDTH),
    "proj_temperature.0.project.bias": (SLICES,),
    "proj_temperature.2.project.weight": (1, SLICES),
    "proj_temperature.2.project.bias": (1,),
    "in_project_x.weight": (HIDDEN, HIDDEN),
    "in_project_x.bias": (HIDDEN,),
    "in_project_slice.project.weight": (SLICES, WIDTH),
    "in_project_slice.project.bias": (SLICES,),
    **{f"{name}.project.weight": (WIDTH, WIDTH) for name in "qkv"},
    **{f"{name}.project.bias": (WIDTH,) for name in "qkv"},
    "to_out.0.project.weight": (HIDDEN, HIDDEN),
    "to_out.0.project.bias": (HIDDEN,),
}


def test_parameters_have_the_names_and_shapes_of_stored_weights():
    assert shapes_of() == SHAPES


def test_without_bias_no_linear_layer_has_one_and_the_temperature_keeps_its_own():
    wanted = {name: shape for name, shape in SHAPES.items() if not name.endswith(".bias")}
    assert shapes_of(bias=False) == wanted


def test_without_adaptive_temperature_there_is_no_projection_for_it():
    wanted = {
        name: shape for name, shape in SHAPES.items() if not name.startswith("proj_temperature")
    }
    assert shapes_of(use_adaptive_temperature=False) == wanted


def test_without_overparameterization_one_layer_makes_the_slices_of_all_heads():
    one_layer = {
        "in_project_slice.project.weight": (HEADS * SLICES, HIDDEN),
        "in_project_slice.project.bias": (HEADS * SLICES,),
    }
    assert shapes_of(use_overparameterization=False) == SHAPES | one_layer


@pytest.mark.parametrize(
    ("overparameterized", "slices"), [(True, SLICES), (True, 3), (False, SLICES), (False, 3)]
)
@pytest.mark.parametrize(
    "mode", ["truncnormal002", "truncnormal", "truncnormal002-identity", "xavier", "torch"]
)
def test_slices_start_orthogonal_in_every_mode_but_zeros(mode, overparameterized, slices):
    options = SIZES | {"num_slices": slices, "use_overparameterization": overparameterized}
    weight = build(
        "transolver_plusplus", **options, init_weights=mode
    ).in_project_slice.project.weight
    weight = weight if weight.shape[0] <= weight.shape[1] else weight.T
    torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), rtol=0, atol=1e-5)
    assert not build(
        "transolver_plusplus", **options, init_weights="zeros"
    ).in_project_slice.project.weight.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_slices_start_orthogonal_also_where_few_bits_are_the_default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        weight = build(
            "transolver_plusplus", **SIZES, num_slices=SLICES
        ).in_project_slice.project.weight
    finally:
        torch.set_default_dtype(before)
    assert weight.dtype == dtype
    exact = weight.float()
    torch.testing.assert_close(
        exact.T @ exact, torch.eye(WIDTH), rtol=0, atol=2 * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("mode", ["truncnormal002", "xavier", "zeros", "torch"])
def test_the_temperature_starts_at_a_half_in_every_mode(mode):
    module = build("transolver_plusplus", **SIZES, num_slices=SLICES, init_weights=mode)
    assert torch.equal(module.bias, torch.full((1, HEADS, 1, 1), 0.5))


@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_the_fused_layout_give_the_same_numbers(bias):
    module, twin, x = make(bias=bias).eval(), make(bias=bias).eval(), tokens()
    state = module.state_dict()
    for leaf in ["weight", "bias"] if bias else ["weight"]:
        state[f"qkv.project.{leaf}"] = torch.cat(
            [state.pop(f"{part}.project.{leaf}") for part in "qkv"]
        )
    assert not torch.equal(twin(x), module(x))

    twin.load_state_dict(state)

    assert torch.equal(twin(x), module(x))
    assert "qkv.project.weight" not in twin.state_dict()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("num_slices", 0, "an integer of at least 1"),
        ("use_overparameterization", 1, "true or false"),
        ("use_adaptive_temperature", None, "true or false"),
        ("use_gumbel_softmax", "true", "true or false"),
        ("temperature_activation", "relu", "'sigmoid', 'softplus' or 'exp' or None"),
        ("temperature_activation", False, "'sigmoid', 'softplus' or 'exp' or None"),
        ("use_rope", True, "False"),
        ("qk_norm", True, "False"),
    ],
)
def test_options_out_of_their_bounds_are_refused_by_name(option, value, expected):
    with pytest.raises(ConfigError, match=f"^{option}: expected {expected}, got ") as caught:
        TransolverPlusPlusAttentionConfig(**SIZES, **{option: value})
    assert caught.value.problems[0].keys == (option,)


def test_options_have_the_defaults_of_stored_configs():
    config = TransolverPlusPlusAttentionConfig(**SIZES)
    assert config == TransolverPlusPlusAttentionConfig(
        **SIZES,
        num_slices=512,
        use_overparameterization=True,
        use_adaptive_temperature=True,
        temperature_activation=None,
        use_gumbel_softmax=True,
        use_rope=False,
        qk_norm=False,
    )
    assert isinstance(config, TransolverAttentionConfig)


@pytest.mark.parametrize(
    ("module", "config", "type"),
    [
        (TransolverAttention, TransolverPlusPlusAttentionConfig(**SIZES), "transolver_plusplus"),
        (DotProductAttention, MixedAttentionConfig(**SIZES), "mixed"),
        (TransolverPlusPlusAttention, TransolverAttentionConfig(**SIZES), "transolver"),
    ],
)
def test_a_config_that_inherits_the_options_of_another_variant_builds_its_own_alone(
    module, config, type
):
    with pytest.raises(ConfigError, match=f"^type: expected '.*', got '{type}'") as caught:
        module(config)
    assert caught.value.problems[0].keys == ("type",)
    assert structure(config) is config
    assert build(config).config is config


def test_a_generic_config_builds_it():
    options = SIZES | {"num_slices": SLICES, "temperature_activation": "exp"}
    generic = AttentionConfig(type="transolver_plusplus", **options)
    concrete = TransolverPlusPlusAttentionConfig(**options)
    assert TransolverPlusPlusAttention(generic).config == concrete
    assert TransolverPlusPlusAttention(concrete).config is concrete
    assert build(generic).config == concrete


def test_a_config_of_another_variant_is_refused():
    with pytest.raises(ConfigError, match="dot_product"):
        TransolverPlusPlusAttention(AttentionConfig(type="dot_product", **SIZES))


@pytest.mark.parametrize("chunk_size", [None, 16])
@pytest.mark.parametrize(
    ("dtype", "raw", "is_autocast"),
    [
        (torch.float32, 89.0, False),
        (torch.float32, -89.0, False),
        (torch.float16, 11.2, False),
        (torch.float16, -12.0, False),
        (torch.float16, 11.2, True),
        (torch.bfloat16, 89.0, True),
    ],
)
def test_exponential_temperatures_have_gradients_where_they_overflow(
    dtype, raw, is_autocast, chunk_size
):
    torch.manual_seed(0)
    options = {"temperature_activation": "exp", "init_weights": "xavier", "chunk_size": chunk_size}
    sizes = {"hidden_dim": 24, "num_heads": 3, "num_slices": 7}
    module = build("transolver_plusplus", **sizes, **options).eval()
    torch.nn.init.constant_(module.bias, raw)
    own = torch.float32 if is_autocast else dtype
    module, x = module.to(own), torch.randn(2, 41, 24).to(own).requires_grad_()

    with torch.autocast("cpu", dtype, enabled=is_autocast):
        y = module(x)
    got = torch.autograd.grad(y.float().square().sum(), [x, *module.parameters()])

    exact, wide = copy.deepcopy(module).double(), x.detach().double().requires_grad_()
    wanted = torch.autograd.grad(exact(wide).square().sum(), [wide, *exact.parameters()])
    largest = max(gradient.abs().max() for gradient in wanted)
    for one, right in zip(got, wanted, strict=True):
        assert (one - right).abs().max() < 16 * torch.finfo(dtype).eps * largest
