"""Physics attention against its formula, written out in float64."""

import math

import pytest
import torch

from noether_core import AttentionConfig, ConfigError, build
from noether_plugins.attention.transolver.config import TransolverAttentionConfig
from noether_plugins.attention.transolver.module import TransolverAttention
from tests.plugins.attention.formulas import assert_same_numbers, linear

BATCH, HEADS, TOKENS, WIDTH, SLICES = 2, 3, 11, 5, 7
HIDDEN = HEADS * WIDTH


def make(**options):
    """Return a module in float64 with a temperature of its own in every head."""
    config = TransolverAttentionConfig(
        hidden_dim=HIDDEN, num_heads=HEADS, num_slices=SLICES, init_weights="torch", **options
    )
    module = TransolverAttention(config).double()
    torch.nn.init.uniform_(module.temperature, 0.3, 1.2)
    return module


def formula(state, x, real):
    """Return the output for tokens of which those with *real* 1 take part, and none else."""
    f, states = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for name in ("in_project_fx.project", "in_project_x.project")
    )
    weights = (linear(state, "in_project_slice.project", states) / state["temperature"]).softmax(-1)
    weights = torch.einsum("bhng,bn->bhng", weights, real)
    slices = torch.einsum("bhng,bhnd->bhgd", weights, f) / (weights.sum(2)[..., None] + 1e-5)
    q, k, v = (linear(state, f"{name}.project", slices) for name in "qkv")
    attention = (torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(WIDTH)).softmax(-1)
    read = torch.einsum("bhng,bhgd->bnhd", weights, torch.einsum("bhij,bhjd->bhid", attention, v))
    return linear(state, "proj.project", read.flatten(-2))


def tokens(batch=BATCH, count=TOKENS):
    return torch.randn(batch, count, HIDDEN, dtype=torch.float64, requires_grad=True)


MASKS = {
    "all real": torch.ones(BATCH, TOKENS).bool(),
    "some real": torch.arange(TOKENS) < torch.tensor([[7], [5]]),
    "one sample empty": torch.tensor([[True], [False]]).expand(BATCH, TOKENS),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
def test_it_is_its_formula(real, bias):
    module, x = make(bias=bias), tokens()
    wanted = formula(dict(module.named_parameters()), x, real.double())
    got = module(x, key_padding_mask=None if real.all() else real)
    assert_same_numbers(got, wanted, [x, *module.parameters()])


def test_padding_reads_nothing_so_its_rows_are_the_bias_of_the_projection():
    module, x, real = make(), tokens(), MASKS["some real"]
    y = module(x, key_padding_mask=real)
    bias = module.proj.project.bias
    torch.testing.assert_close(y[~real], bias.expand(10, HIDDEN), rtol=0, atol=0)
    assert (y[real] != bias).any(-1).all()


def test_samples_of_padding_alone_have_finite_gradients():
    module, x = make(), tokens()
    y = module(x, key_padding_mask=torch.zeros(BATCH, TOKENS, dtype=torch.bool))
    y.square().sum().backward()
    torch.testing.assert_close(
        y, module.proj.project.bias.expand(BATCH, TOKENS, HIDDEN), rtol=0, atol=0
    )
    assert not x.grad.any()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_dropout_falls_on_the_attention_of_slices_and_on_the_output():
    module, x = make(dropout=0.5), tokens()
    with torch.no_grad():
        module.in_project_fx.project.weight.zero_()
        module.in_project_fx.project.bias.fill_(
            1.0
        )  # every slice is 1 (but for 1e-5), whatever the tokens
        module.v.project.weight.copy_(torch.eye(WIDTH))
        module.proj.project.weight.copy_(torch.eye(HIDDEN))
        module.proj.project.bias.zero_()
        y = module(x)
        kept = y[y != 0]
        assert 0.3 < len(kept) / y.numel() < 0.7
        assert kept.std() > 0.05
        assert torch.allclose(module.eval()(x), torch.ones(()).double(), atol=1e-4)


def test_parameters_have_the_names_and_shapes_of_stored_weights():
    shapes = {name: tuple(value.shape) for name, value in make().state_dict().items()}
    assert shapes == {
        "temperature": (1, HEADS, 1, 1),
        **{
            f"{name}.project.weight": (HIDDEN, HIDDEN)
            for name in ("in_project_x", "in_project_fx", "proj")
        },
        **{f"{name}.project.bias": (HIDDEN,) for name in ("in_project_x", "in_project_fx", "proj")},
        "in_project_slice.project.weight": (SLICES, WIDTH),
        "in_project_slice.project.bias": (SLICES,),
        **{f"{name}.project.weight": (WIDTH, WIDTH) for name in "qkv"},
    }
    assert sorted(make(bias=False).state_dict()) == sorted(
        name for name in shapes if not name.endswith("bias")
    )


def test_the_temperature_starts_at_a_half_in_every_mode():
    for mode in ("zeros", "truncnormal002", "torch"):
        module = build(
            "transolver", hidden_dim=HIDDEN, num_heads=HEADS, num_slices=SLICES, init_weights=mode
        )
        assert torch.equal(module.temperature, torch.full((1, HEADS, 1, 1), 0.5))


def test_weights_of_the_fused_layout_give_the_same_numbers():
    module, twin, x = make(), make(), tokens()
    state = module.state_dict()
    state["qkv.project.weight"] = torch.cat([state.pop(f"{part}.project.weight") for part in "qkv"])
    assert not torch.equal(twin(x), module(x))

    twin.load_state_dict(state)

    assert torch.equal(twin(x), module(x))


def test_slices_default_to_512():
    assert TransolverAttentionConfig(hidden_dim=8, num_heads=2).num_slices == 512


@pytest.mark.parametrize("slices", [0, -1, 2.0, True, "7"])
def test_slices_are_counted_from_one(slices):
    with pytest.raises(ConfigError, match="num_slices"):
        TransolverAttentionConfig(hidden_dim=8, num_heads=2, num_slices=slices)


@pytest.mark.parametrize(
    ("option", "reason"), [("use_rope", "slices have no position"), ("qk_norm", "without norms")]
)
def test_options_that_slices_cannot_honour_are_refused_with_the_reason(option, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        TransolverAttentionConfig(hidden_dim=8, num_heads=2, **{option: True})
    assert caught.value.problems[0].keys == (option,)
    assert TransolverAttentionConfig(
        hidden_dim=8, num_heads=2, **{option: False}
    ) == TransolverAttentionConfig(hidden_dim=8, num_heads=2)


def test_a_generic_config_builds_it():
    generic = AttentionConfig(
        type="transolver", hidden_dim=HIDDEN, num_heads=HEADS, num_slices=SLICES
    )
    concrete = TransolverAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS, num_slices=SLICES)
    assert TransolverAttention(generic).config == concrete
    assert TransolverAttention(concrete).config is concrete
    assert build(generic).config == concrete


def test_a_config_of_another_variant_is_refused():
    with pytest.raises(ConfigError, match="dot_product"):
        TransolverAttention(AttentionConfig(type="dot_product", hidden_dim=HIDDEN, num_heads=HEADS))
