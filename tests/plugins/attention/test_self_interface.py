"""What holds for every variant that tokens call with themselves: each test runs for each installed one."""

import copy
import pickle
from typing import get_args

import pytest
import torch
from torch import nn

from noether_core import AttentionConfig, ShapeError, TokenSpec, UnsupportedArgumentError, build, registry
from noether_core.schemas import InitWeightsMode

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 11, 5
HIDDEN = HEADS * WIDTH
REAL = torch.arange(TOKENS) < torch.tensor([[7], [5]])

VARIANTS = {name: registry().get(name) for name in registry().types()}
SELF = {name: variant for name, variant in VARIANTS.items() if variant.interface == "self"}
MASKED = [name for name, variant in SELF.items() if "key_padding_mask" in variant.capabilities]
DETERMINISTIC = [name for name, variant in SELF.items() if "deterministic" in variant.capabilities]
POINTED = [name for name, variant in SELF.items() if "positions" in variant.capabilities]

every_variant = pytest.mark.parametrize("name", SELF)
every_masked_variant = pytest.mark.parametrize("name", MASKED)


def make(name, **options):
    """Return a module whose weights are large enough for attention to matter."""
    sizes = {"hidden_dim": HIDDEN, "num_heads": HEADS}
    return build(name, **{**SELF[name].example, **sizes, "init_weights": "xavier", **options})


def inputs(name, dtype=torch.float64, count=TOKENS):
    """Return the arguments that the variant cannot do without; each begins with batch and tokens."""
    arguments = {"x": torch.randn(BATCH, count, HIDDEN, dtype=dtype)}
    if name in POINTED:
        arguments["positions"] = torch.rand(BATCH, count, SELF[name].example["input_dim"], dtype=dtype)
    return arguments


def each(function, arguments):
    return {key: function(value) for key, value in arguments.items()}


def gradients(module, y):
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.autograd.grad(y.square().sum(), parameters)


@every_variant
def test_a_module_keeps_its_config_and_the_shape_of_its_input(name):
    module = make(name)
    assert module.config.type == name
    assert module(**inputs(name, torch.float32)).shape == (BATCH, TOKENS, HIDDEN)


@every_variant
def test_a_generic_config_builds_the_same_module(name):
    options = {**SELF[name].example, "type": name, "hidden_dim": HIDDEN, "num_heads": HEADS}
    assert build(AttentionConfig(**options)).config == build(options).config


@every_variant
def test_permuting_tokens_permutes_the_output(name):
    module, arguments, order = make(name).double().eval(), inputs(name), torch.randperm(TOKENS)
    permuted = module(**each(lambda value: value[:, order], arguments))
    torch.testing.assert_close(permuted, module(**arguments)[:, order], rtol=0, atol=1e-12)


@every_variant
def test_samples_of_a_batch_do_not_see_each_other(name):
    module, arguments = make(name).double().eval(), inputs(name)
    alone = torch.cat([module(**each(lambda value: value[i : i + 1], arguments)) for i in range(BATCH)])  # noqa: B023
    torch.testing.assert_close(alone, module(**arguments), rtol=0, atol=1e-12)


@every_variant
def test_tokens_of_a_sample_do_see_each_other(name):
    module, arguments = make(name).double().eval(), inputs(name)
    arguments["x"].requires_grad_()
    module(**arguments)[0, 0].sum().backward()
    assert arguments["x"].grad[0, 1:].any()
    assert not arguments["x"].grad[1].any()


@every_masked_variant
def test_padding_changes_no_real_token_and_gets_no_gradient(name):
    module, arguments = make(name).double().eval(), inputs(name)
    arguments["x"].requires_grad_()
    real = REAL[:1].expand(BATCH, TOKENS)
    short = module(**each(lambda value: value[:, :7], arguments))

    padded = module(**arguments, key_padding_mask=real)

    torch.testing.assert_close(padded[:, :7], short, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(padded[:, :7].square().sum(), arguments["x"])
    assert not gradient[:, 7:].any()
    assert gradient[:, :7].any(-1).all()


@every_masked_variant
def test_what_stands_in_padding_does_not_matter(name):
    module, arguments = make(name).double().eval(), inputs(name)
    y = module(**arguments, key_padding_mask=REAL)
    other = each(lambda value: torch.where(REAL[..., None], value, 1e3 * torch.randn_like(value)), arguments)
    torch.testing.assert_close(module(**other, key_padding_mask=REAL)[REAL], y[REAL], rtol=0, atol=1e-12)


@every_masked_variant
def test_a_mask_without_padding_is_no_mask(name):
    module, arguments = make(name).double().eval(), inputs(name)
    masked = module(**arguments, key_padding_mask=torch.ones(BATCH, TOKENS, dtype=torch.bool))
    torch.testing.assert_close(masked, module(**arguments), rtol=0, atol=1e-12)


@every_masked_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_of_padding_alone_give_defined_numbers_and_gradients(name, dtype):
    module, arguments = make(name).to(dtype), inputs(name, dtype)
    y = module(**arguments, key_padding_mask=REAL & torch.tensor([[True], [False]]))
    assert y.isfinite().all()
    assert torch.equal(y[1], y[1, :1].expand(TOKENS, HIDDEN))
    assert all(gradient.isfinite().all() for gradient in gradients(module, y))


@every_variant
@pytest.mark.parametrize(("batch", "count"), [(BATCH, 0), (0, TOKENS), (BATCH, 1)])
def test_empty_and_single_inputs_give_defined_numbers_and_gradients(name, batch, count):
    module, arguments = make(name), each(lambda value: value[:batch], inputs(name, torch.float32, count))
    y = module(**arguments)
    assert y.shape == (batch, count, HIDDEN)
    assert y.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(module, y))


@every_variant
@pytest.mark.parametrize("mode", get_args(InitWeightsMode))
def test_every_mode_of_initialisation_works(name, mode):
    module, arguments = make(name, init_weights=mode), inputs(name, torch.float32)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert module(**arguments).isfinite().all()
    if mode == "zeros":
        assert not any(layer.weight.any() for layer in layers)
    if mode == "truncnormal002-identity":
        assert not module(**arguments).any()
        assert sum(not layer.weight.any() for layer in layers) == 1
    if mode.startswith("truncnormal"):
        assert all(layer.weight.abs().max() < 0.2 for layer in layers)
    if mode != "torch":
        assert not any(layer.bias.any() for layer in layers if layer.bias is not None)


@every_variant
@pytest.mark.parametrize("bias", [True, False])
def test_without_bias_no_linear_layer_has_one(name, bias):
    biases = [key for key in make(name, bias=bias).state_dict() if key.rpartition(".")[2] == "bias"]
    assert bool(biases) is bias


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_evaluation_is_deterministic(name):
    module, arguments = make(name, dropout=0.5).eval(), inputs(name, torch.float32)
    assert torch.equal(module(**arguments), module(**arguments))


@every_variant
def test_training_with_a_seed_is_reproducible_and_dropout_acts_in_it(name):
    arguments, outputs = inputs(name, torch.float32), []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        module = make(name, dropout=0.5)
        torch.manual_seed(seed)
        y = module(**arguments)
        outputs.append([y, *gradients(module, y)])
    assert all(torch.equal(one, same) for one, same in zip(outputs[0], outputs[1], strict=True))
    assert not torch.equal(outputs[0][0], outputs[2][0])


def relative_error(got, exact):
    return ((got.double() - exact).norm() / exact.norm()).item()


@every_variant
def test_bfloat16_is_what_8_bits_make_of_float64(name):
    module, arguments = make(name).bfloat16().eval(), inputs(name, torch.bfloat16)
    y = module(**arguments)
    exact = copy.deepcopy(module).double()(**each(torch.Tensor.double, arguments))
    assert y.dtype == torch.bfloat16
    assert 0 < relative_error(y, exact) < 4 * 2**-8


@every_variant
def test_autocast_is_what_8_bits_make_of_float64(name):
    module, arguments = make(name).eval(), inputs(name, torch.float32)
    exact = copy.deepcopy(module).double()(**each(torch.Tensor.double, arguments))
    with torch.autocast("cpu", torch.bfloat16):
        y = module(**arguments)
    assert 0 < relative_error(y, exact) < 4 * 2**-8
    assert all(gradient.isfinite().all() for gradient in gradients(module, y))


@every_variant
def test_copies_compute_the_same_and_share_nothing(name):
    module, arguments = make(name).eval(), inputs(name, torch.float32)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301  our own bytes
        assert torch.equal(twin(**arguments), module(**arguments))
        assert twin.config == module.config
        assert not {id(one) for one in twin.parameters()} & {id(one) for one in module.parameters()}


@every_variant
def test_a_module_made_without_memory_takes_weights_by_assignment(name):
    source, arguments = make(name).eval(), inputs(name, torch.float32)
    with torch.device("meta"):
        module = make(name).eval()
    assert all(parameter.is_meta for parameter in module.parameters())
    module.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(module(**arguments), source(**arguments))


@every_variant
def test_it_compiles_whole_and_computes_the_same(name):
    module, arguments = make(name), inputs(name, torch.float32)
    masks = {"key_padding_mask": REAL} if name in MASKED else {}
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for given in (arguments, arguments | masks):
        y, wanted = compiled(**given), module(**given)
        torch.testing.assert_close(y, wanted)
        for gradient, gradient_wanted in zip(gradients(module, y), gradients(module, wanted), strict=True):
            torch.testing.assert_close(gradient, gradient_wanted)


ARGUMENTS = {
    "attn_mask": ("attn_mask", torch.ones(TOKENS, TOKENS, dtype=torch.bool)),
    "key_padding_mask": ("key_padding_mask", REAL),
    "freqs": ("rope", torch.ones(BATCH, TOKENS, WIDTH // 2, dtype=torch.complex64)),
    "positions": ("positions", torch.zeros(BATCH, TOKENS, 3)),
    "token_specs": ("token_specs", [TokenSpec("all", TOKENS)]),
}


@every_variant
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_argument_is_honoured_or_refused_by_name_as_the_record_says(name, argument):
    capability, value = ARGUMENTS[argument]
    arguments = inputs(name, torch.float32) | {argument: value}
    honoured = capability in SELF[name].capabilities
    module = make(name, use_rope=honoured and capability == "rope")
    if honoured:
        module(**arguments)
        return
    with pytest.raises(UnsupportedArgumentError) as caught:
        module(**arguments)
    assert (caught.value.variant, caught.value.argument) == (name, argument)


@every_variant
@pytest.mark.parametrize("argument", [argument for argument in ARGUMENTS if argument != "positions"])
def test_arguments_beside_the_tokens_are_given_by_name(name, argument):
    with pytest.raises(TypeError, match="positional"):
        make(name)(torch.zeros(BATCH, TOKENS, HIDDEN), ARGUMENTS[argument][1])


@every_variant
@pytest.mark.parametrize(
    "x", [torch.zeros(TOKENS, HIDDEN), torch.zeros(BATCH, TOKENS, 16), torch.zeros(BATCH, TOKENS, HIDDEN).long()]
)
def test_tokens_of_another_shape_or_kind_are_refused(name, x):
    with pytest.raises(ShapeError, match=r"^x: got"):
        make(name)(**inputs(name, torch.float32) | {"x": x})


@every_masked_variant
@pytest.mark.parametrize("mask", [REAL[:1], REAL[:, :5], REAL.float(), REAL[:, None, None]])
def test_padding_masks_of_another_shape_or_kind_are_refused(name, mask):
    with pytest.raises(ShapeError, match=r"^key_padding_mask: got"):
        make(name)(**inputs(name, torch.float32), key_padding_mask=mask)
