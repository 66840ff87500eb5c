"""What holds for every variant, whatever its interface: each test runs for each installed one."""

import copy
import inspect
import pickle
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd as _Dropout

from noether_core import AttentionConfig, ShapeError, TokenGroupError, build
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import KVCache
from noether_core.schemas import InitWeightsMode
from noether_core.schemas.schema import plan_of
from tests.plugins.attention.calls import (
    BATCH,
    CONTEXT_WIDTH,
    HIDDEN,
    TOKENS,
    VARIANTS,
    arguments_of,
    each_tensor,
    having,
    key_argument,
    make,
    of_interface,
    optional_arguments,
    options_of,
    shortened,
)
from tests.sampling import ONE_OF_EACH_FORM, sampled

REAL = torch.arange(TOKENS) < torch.tensor([[7], [5]])

every_variant = pytest.mark.parametrize("name", VARIANTS)
every_masked_variant = pytest.mark.parametrize("name", having("key_padding_mask"))

OWN_START = {
    "flare_plusplus": {"k0_proj", "k_proj", "v_proj"},
    "transolver_plusplus": {"in_project_slice.project"},
    "gale": {"in_project_slice"},
}
"""Layers that start as their variant says in every mode but ``zeros``."""


def gradients(module, y):
    return torch.autograd.grad(y.square().sum(), list(module.parameters()))


@every_variant
def test_a_module_keeps_its_config_and_the_shape_of_its_queries(name):
    module, arguments = make(name), arguments_of(name, torch.float32)
    queries = next(iter(arguments.values()))
    assert module.config.type == name
    assert module(**arguments).shape == queries.shape == (BATCH, queries.shape[1], HIDDEN)


@every_variant
def test_a_generic_config_builds_the_same_module(name):
    options = {"type": name, **options_of(name)}
    generic = AttentionConfig(**options)
    assert build(generic).config == build(options).config
    module_class = type(build(options))
    assert module_class(generic).config == build(options).config


ALWAYS = {"self": ["x"], "cross": ["q", "kv"], "tokens": ["x", "token_specs"]}
"""Arguments that every variant of an interface takes, by position."""

OPTIONAL = {
    "self": {
        "attn_mask": "attn_mask",
        "key_padding_mask": "key_padding_mask",
        "freqs": "rope",
        "positions": "positions",
        "token_specs": "token_specs",
        "context": "context",
    },
    "cross": {
        "attn_mask": "attn_mask",
        "key_padding_mask": "key_padding_mask",
        "q_freqs": "rope",
        "k_freqs": "rope",
        "kv_cache": "kv_cache",
        "token_specs": "token_specs",
    },
    "tokens": {
        "attention_patterns": "attention_patterns",
        "key_padding_mask": "key_padding_mask",
        "freqs": "rope",
        "kv_cache": "kv_cache",
    },
}
"""The other arguments of each interface in their order, and the capability that honours each."""


@every_variant
def test_the_signature_is_what_the_record_says_and_nothing_else(name):
    variant = VARIANTS[name]
    honoured = [
        argument
        for argument, capability in OPTIONAL[variant.interface].items()
        if capability in variant.capabilities
    ]
    _, *parameters = inspect.signature(type(make(name)).forward).parameters.values()
    assert [parameter.name for parameter in parameters] == ALWAYS[variant.interface] + honoured

    for parameter in parameters:
        is_required = parameter.name in ALWAYS[variant.interface]
        by_position = is_required or parameter.name == "attention_patterns"
        assert parameter.default is (inspect.Parameter.empty if is_required else None)
        assert parameter.kind is (
            inspect.Parameter.POSITIONAL_OR_KEYWORD
            if by_position
            else inspect.Parameter.KEYWORD_ONLY
        )


@pytest.mark.parametrize("name", of_interface("self"))
def test_permuting_tokens_permutes_the_output(name):
    module, arguments, order = (
        make(name).double().eval(),
        arguments_of(name),
        torch.randperm(TOKENS),
    )
    permuted = module(**each_tensor(lambda value: value[:, order], arguments))
    torch.testing.assert_close(permuted, module(**arguments)[:, order], rtol=0, atol=1e-12)


@every_variant
def test_samples_of_a_batch_do_not_see_each_other(name):
    module, arguments = make(name).double().eval(), arguments_of(name)
    alone = [module(**each_tensor(lambda value: value[i : i + 1], arguments)) for i in range(BATCH)]  # noqa: B023
    torch.testing.assert_close(torch.cat(alone), module(**arguments), rtol=0, atol=1e-12)


@every_variant
def test_tokens_of_a_sample_do_see_each_other(name):
    module, arguments = make(name).double().eval(), arguments_of(name)
    keys = arguments[key_argument(name)].requires_grad_()
    module(**arguments)[0, 0].sum().backward()
    assert keys.grad[0, 1:].any()
    assert not keys.grad[1].any()


@every_masked_variant
def test_padding_changes_no_real_token_and_gets_no_gradient(name):
    module, arguments = make(name).double().eval(), arguments_of(name)
    keys = arguments[key_argument(name)].requires_grad_()
    short = module(**shortened(name, arguments, 9))
    real = (torch.arange(TOKENS) < 9).expand(BATCH, TOKENS)

    padded = module(**arguments, key_padding_mask=real)[:, : short.shape[1]]

    torch.testing.assert_close(padded, short, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(padded.square().sum(), keys)
    assert not gradient[:, 9:].any()
    assert gradient[:, :9].any(-1).all()


@every_masked_variant
def test_what_stands_in_padding_does_not_matter(name):
    module, arguments = make(name).double().eval(), arguments_of(name)
    y = module(**arguments, key_padding_mask=REAL)
    replaced = {
        key
        for key, value in arguments.items()
        if torch.is_tensor(value) and value.shape[1] == TOKENS
    }
    other = arguments | {
        key: torch.where(REAL[..., None], arguments[key], 1e3 * torch.randn_like(arguments[key]))
        for key in replaced
    }
    assert key_argument(name) in replaced
    rows = REAL if y.shape[1] == TOKENS else ...
    torch.testing.assert_close(
        module(**other, key_padding_mask=REAL)[rows], y[rows], rtol=0, atol=1e-12
    )


@every_masked_variant
def test_a_mask_without_padding_is_no_mask(name):
    module, arguments = make(name).double().eval(), arguments_of(name)
    masked = module(**arguments, key_padding_mask=torch.ones(BATCH, TOKENS, dtype=torch.bool))
    torch.testing.assert_close(masked, module(**arguments), rtol=0, atol=1e-12)


@every_masked_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_of_padding_alone_give_defined_numbers_and_gradients(name, dtype):
    module, arguments = make(name).to(dtype), arguments_of(name, dtype)
    y = module(**arguments, key_padding_mask=REAL & torch.tensor([[True], [False]]))
    assert y.isfinite().all()
    assert torch.equal(y[1], y[1, :1].expand_as(y[1]))
    assert all(gradient.isfinite().all() for gradient in gradients(module, y))


@every_variant
@pytest.mark.parametrize(("batch", "count"), [(BATCH, 0), (0, TOKENS), (BATCH, 1), (BATCH, 3)])
def test_empty_and_few_tokens_give_defined_numbers_and_gradients(name, batch, count):
    module = make(name)
    arguments = each_tensor(lambda value: value[:batch], arguments_of(name, torch.float32, count))
    y = module(**arguments)
    assert y.shape == next(iter(arguments.values())).shape
    assert y.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(module, y))


@every_variant
@pytest.mark.parametrize("mode", get_args(InitWeightsMode))
def test_every_mode_of_initialisation_works(name, mode):
    module, arguments = make(name, init_weights=mode), arguments_of(name, torch.float32)
    linear = {key: layer for key, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    ordinary = [layer for key, layer in linear.items() if key not in OWN_START.get(name, ())]
    assert module(**arguments).isfinite().all()
    if mode == "zeros":
        assert not any(layer.weight.any() for layer in linear.values())
    if mode == "truncnormal002-identity":
        assert not module(**arguments).any()
        assert sum(not layer.weight.any() for layer in ordinary) == 1
    if mode.startswith("truncnormal"):
        assert all(layer.weight.abs().max() < 0.2 for layer in ordinary)
    if mode != "torch":
        assert not any(layer.bias.any() for layer in linear.values() if layer.bias is not None)


@every_variant
@pytest.mark.parametrize("bias", [True, False])
def test_without_bias_no_linear_layer_has_one(name, bias):
    layers = [layer for layer in make(name, bias=bias).modules() if isinstance(layer, nn.Linear)]
    assert any(layer.bias is not None for layer in layers) is bias


def test_modules_say_in_how_many_rounds_they_gather():
    rounds = {name: make(name).rounds for name in having("summary")}
    assert rounds == dict.fromkeys(rounds, 1) | {"flare_plusplus": 2}


@pytest.mark.parametrize("name", having("deterministic"))
def test_evaluation_is_deterministic(name):
    module, arguments = make(name, dropout=0.5).eval(), arguments_of(name, torch.float32)
    assert torch.equal(module(**arguments), module(**arguments))


@every_variant
def test_every_built_in_variant_is_deterministic_in_evaluation(name):
    assert "deterministic" in VARIANTS[name].capabilities


@every_variant
def test_training_with_a_seed_is_reproducible_and_dropout_acts_in_it(name):
    arguments, outputs = arguments_of(name, torch.float32), []
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
    module, arguments = make(name).bfloat16().eval(), arguments_of(name, torch.bfloat16)
    y = module(**arguments)
    exact = copy.deepcopy(module).double()(**each_tensor(torch.Tensor.double, arguments))
    assert y.dtype == torch.bfloat16
    assert 0 < relative_error(y, exact) < 4 * 2**-8


@every_variant
def test_autocast_is_what_8_bits_make_of_float64(name):
    module, arguments = make(name).eval(), arguments_of(name, torch.float32)
    exact = copy.deepcopy(module).double()(**each_tensor(torch.Tensor.double, arguments))
    with torch.autocast("cpu", torch.bfloat16):
        y = module(**arguments)
    assert 0 < relative_error(y, exact) < 4 * 2**-8
    assert all(gradient.isfinite().all() for gradient in gradients(module, y))


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_results_are_of_the_dtype_of_the_tokens(name, dtype):
    module, arguments = make(name).to(dtype), arguments_of(name, dtype)
    y = module(**arguments)
    assert y.dtype == dtype
    assert all(gradient.dtype == dtype for gradient in gradients(module, y))


@every_variant
def test_float32_is_float64_to_rounding(name):
    module, arguments = make(name).eval(), arguments_of(name, torch.float32)
    exact = copy.deepcopy(module).double()(**each_tensor(torch.Tensor.double, arguments))
    torch.testing.assert_close(module(**arguments).double(), exact, rtol=0, atol=3e-6)


@every_variant
def test_copies_compute_the_same_and_share_nothing(name):
    module, arguments = make(name).eval(), arguments_of(name, torch.float32)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301  our own bytes
        assert torch.equal(twin(**arguments), module(**arguments))
        assert twin.config == module.config
        assert not {id(one) for one in twin.parameters()} & {id(one) for one in module.parameters()}


@every_variant
def test_a_module_made_without_memory_takes_weights_by_assignment(name):
    source, arguments = make(name).eval(), arguments_of(name, torch.float32)
    with torch.device("meta"):
        module = make(name).eval()
    assert all(parameter.is_meta for parameter in module.parameters())
    module.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(module(**arguments), source(**arguments))


@every_variant
def test_weights_that_do_not_fit_are_reported_all_at_once(name):
    module, state = make(name), make(name).state_dict()
    missing, *_, misshapen = state
    wanted = tuple(state[misshapen].shape)
    del state[missing]
    state[misshapen] = torch.zeros(17, 19)
    state["stranger.weight"] = torch.zeros(3)

    with pytest.raises(RuntimeError) as caught:
        module.load_state_dict(state)

    message = str(caught.value)
    assert f'Missing key(s) in state_dict: "{missing}"' in message
    assert 'Unexpected key(s) in state_dict: "stranger.weight"' in message
    assert misshapen in message
    assert "[17, 19]" in message
    assert str(list(wanted)) in message


@pytest.mark.parametrize("name", sampled(VARIANTS, *ONE_OF_EACH_FORM))
def test_it_compiles_whole_and_computes_the_same(name):
    module, arguments = make(name), arguments_of(name, torch.float32)
    masks = {"key_padding_mask": REAL} if name in having("key_padding_mask") else {}
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for given in (arguments, arguments | masks):
        torch.manual_seed(1)  # for noise
        y = compiled(**given)
        torch.manual_seed(1)
        wanted = module(**given)
        torch.testing.assert_close(y, wanted)
        for gradient, gradient_wanted in zip(
            gradients(module, y), gradients(module, wanted), strict=True
        ):
            torch.testing.assert_close(gradient, gradient_wanted)


HONOURED, OTHERS = [], []
for _name in VARIANTS:
    for _argument, (_capability, _) in optional_arguments(_name).items():
        _known = _capability in VARIANTS[_name].capabilities
        (HONOURED if _known else OTHERS).append((_name, _argument))


@pytest.mark.parametrize(("name", "argument"), HONOURED)
def test_an_argument_that_the_record_names_acts(name, argument):
    capability, given = optional_arguments(name)[argument]
    arguments = arguments_of(name, torch.float32)
    options = {"context_dim": CONTEXT_WIDTH} if capability == "context" else {}
    module = make(name, use_rope=capability == "rope", **options).eval()

    y = module(**arguments | given)

    if capability == "kv_cache":
        assert len(given["kv_cache"]) > 0
        return
    without = make(name, **options)
    without.load_state_dict(module.state_dict())
    assert not torch.allclose(y, without.eval()(**arguments), atol=1e-4)


@pytest.mark.parametrize(("name", "argument"), OTHERS)
def test_python_refuses_an_argument_that_the_record_does_not_name(name, argument):
    _, given = optional_arguments(name)[argument]
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{argument}'"):
        make(name)(**arguments_of(name, torch.float32) | {argument: given[argument]})


@pytest.mark.parametrize("name", having("rope"))
def test_with_rotary_embeddings_frequencies_are_required(name):
    with pytest.raises(ShapeError, match="freqs: RoPE usage mismatch"):
        make(name, use_rope=True)(**arguments_of(name, torch.float32))


@pytest.mark.parametrize("name", having("rope"))
def test_without_rotary_embeddings_frequencies_are_refused(name):
    (argument,) = [
        argument for argument in optional_arguments(name) if argument in {"freqs", "k_freqs"}
    ]
    _, given = optional_arguments(name)[argument]
    with pytest.raises(UnsupportedArgumentError) as caught:
        make(name)(**arguments_of(name, torch.float32) | {argument: given[argument]})
    assert (caught.value.variant, caught.value.argument) == (name, argument)


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - set(having("rope"))))
def test_what_cannot_rotate_refuses_the_option(name):
    with pytest.raises(ValueError, match="use_rope: expected False, got True"):
        make(name, use_rope=True)


@pytest.mark.parametrize("name", having("attn_mask"))
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks_of_pairs_hide_keys_whether_boolean_or_added(name, kind):
    module, arguments = make(name).double().eval(), arguments_of(name)
    queries = next(iter(arguments.values())).shape[1]
    kept = (torch.arange(TOKENS) < 9).expand(queries, TOKENS)
    mask = kept if kind == "bool" else torch.zeros(()).where(kept, float("-inf")).double()
    short = module(**shortened(name, arguments, 9))
    torch.testing.assert_close(
        module(**arguments, attn_mask=mask)[:, : short.shape[1]], short, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", having("attn_mask"))
def test_a_padding_mask_as_a_mask_of_pairs_is_refused_with_a_hint(name):
    with pytest.raises(ShapeError, match="pass a mask of real tokens as key_padding_mask"):
        make(name)(**arguments_of(name, torch.float32), attn_mask=REAL)


@every_variant
def test_optional_arguments_are_given_by_name(name):
    arguments = list(arguments_of(name, torch.float32).values())
    if "attention_patterns" in VARIANTS[name].capabilities:
        arguments.append(None)
    with pytest.raises(TypeError, match="positional"):
        make(name)(*arguments[: 1 if VARIANTS[name].interface == "self" else None], REAL)


TOKEN_ARGUMENTS = [
    (name, key) for name in VARIANTS for key in ("x", "q", "kv") if key in arguments_of(name)
]


@pytest.mark.parametrize(("name", "key"), TOKEN_ARGUMENTS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda tokens: tokens[0],
        lambda tokens: tokens[..., :-1],
        lambda tokens: tokens[..., None],
        torch.Tensor.long,
        lambda tokens: tokens.to(torch.complex64),
    ],
    ids=["two axes", "another width", "four axes", "integers", "complex numbers"],
)
def test_tokens_of_another_shape_or_kind_are_refused(name, key, spoil):
    arguments = arguments_of(name, torch.float32)
    with pytest.raises(ShapeError, match=rf"^{key}: got"):
        make(name)(**arguments | {key: spoil(arguments[key])})


@every_masked_variant
@pytest.mark.parametrize("mask", [REAL[:1], REAL[:, :5], REAL.float(), REAL[:, None, None]])
def test_padding_masks_of_another_shape_or_kind_are_refused(name, mask):
    with pytest.raises(ShapeError, match=r"^key_padding_mask: got"):
        make(name)(**arguments_of(name, torch.float32), key_padding_mask=mask)


@pytest.mark.parametrize("name", having("kv_cache"))
def test_with_and_without_a_cache_a_module_returns_one_tensor_with_the_same_numbers(name):
    module, arguments = make(name).double().eval(), arguments_of(name)
    assert torch.equal(module(**arguments, kv_cache=KVCache()), module(**arguments))


def with_padding(arguments, number):
    """Return the call with *number* in all that belongs to padding, and its tokens as leaves."""
    filled = each_tensor(torch.clone, arguments)
    leaves = []
    for value in filled.values():
        if isinstance(value, torch.Tensor) and value.shape[:2] == REAL.shape:
            value[~REAL] = number
            leaves.append(value.requires_grad_())
    return filled, leaves


def results_and_gradients(name, module, arguments, number):
    """Return what may not depend on the *number* that padding holds."""
    filled, leaves = with_padding(arguments, number)
    is_of_keys = key_argument(name) == "x"
    results = []
    for is_recorded in (True, False):
        torch.manual_seed(0)
        with torch.set_grad_enabled(is_recorded):
            y = module(**filled, key_padding_mask=REAL)
        results.append(y[REAL] if is_of_keys else y)  # rows of padding mean nothing

    sources = [*leaves, *module.parameters()]
    grads = torch.autograd.grad(results[0].square().sum(), sources, allow_unused=True)
    return [*results, *[grad for grad in grads if grad is not None]]


@every_masked_variant
@pytest.mark.parametrize("options", [{}, {"chunk_size": 4}, {"backend": "math"}], ids=str)
@pytest.mark.parametrize("is_training", [False, True])
def test_whatever_stands_in_padding_reaches_no_result_and_no_gradient(name, options, is_training):
    if not options.keys() <= set(plan_of(VARIANTS[name].config).options):
        pytest.skip("it has no such option")
    has_rope = "rope" in VARIANTS[name].capabilities
    module = make(name, use_rope=has_rope, dropout=0.25, **options).double().train(is_training)
    arguments = arguments_of(name)
    if has_rope:
        argument = "q_freqs" if VARIANTS[name].interface == "cross" else "freqs"
        arguments |= optional_arguments(name)[argument][1]

    wanted = results_and_gradients(name, module, arguments, 0.0)
    for number in (float("nan"), float("inf"), -1e30):
        got = results_and_gradients(name, module, arguments, number)
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@every_masked_variant
def test_nan_in_padding_reaches_nothing_in_half_precision(name):
    module, arguments = make(name).bfloat16(), arguments_of(name, torch.bfloat16)
    functions = [module]
    if name == "dot_product":  # the others put zeros in the same way
        functions.append(torch.compile(module, fullgraph=True, backend="aot_eager"))
    for function in functions:
        filled, leaves = with_padding(arguments, float("nan"))
        y = function(**filled, key_padding_mask=REAL)
        rows = y[REAL] if key_argument(name) == "x" else y
        sources = [*leaves, *module.parameters()]
        grads = torch.autograd.grad(rows.square().sum(), sources, allow_unused=True)
        for tensor in (rows, *grads):
            assert tensor is None or tensor.isfinite().all()


def _refilled(module):
    """Return *module* without numbers, then started anew, as those do who shard it."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.fill_(1e9)
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return module


@pytest.mark.parametrize("mode", ["truncnormal002-identity", "xavier", "zeros", "torch"])
@pytest.mark.parametrize("name", VARIANTS)
def test_resetting_every_part_starts_a_module_as_its_config_says(name, mode):
    wanted = make(name, init_weights=mode, hidden_dim=120, qk_norm=False)
    with torch.device("meta"):
        module = make(name, init_weights=mode, hidden_dim=120, qk_norm=False)
    module = _refilled(module.to_empty(device="cpu"))
    module = pickle.loads(pickle.dumps(copy.deepcopy(module)))  # noqa: S301  our own bytes
    _refilled(module)
    for key, value in wanted.state_dict().items():
        own, deviation = module.state_dict()[key], value.std(correction=0).item()
        assert own.abs().max() < 5, key
        assert bool(own.any()) == bool(value.any()), key
        if value.numel() > 100:
            assert own.std(correction=0).item() == pytest.approx(deviation, rel=0.35), key
        if value.numel() > 1 and not deviation:
            assert own.equal(value), key


@every_variant
def test_every_dropout_that_is_a_module_is_called(name):
    module, called = make(name, dropout=0.5).train(), set()
    dropouts = [child for child in module.modules() if isinstance(child, _Dropout)]
    for dropout in dropouts:
        dropout.register_forward_hook(lambda child, *_: called.add(child))
    module(**arguments_of(name, torch.float32))
    assert called == set(dropouts)


@pytest.mark.parametrize("name", of_interface("tokens"))
def test_groups_that_are_missing_are_named(name):
    with pytest.raises(TokenGroupError, match=r"token_specs: got None, wanted a list of TokenSpec"):
        make(name)(torch.zeros(BATCH, TOKENS, HIDDEN), None)
