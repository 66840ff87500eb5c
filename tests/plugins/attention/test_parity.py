"""The numbers of the reference, outputs and gradients."""

import pytest
import torch

from noether_core.nn import KVCache, RopeFrequency, rotate
from noether_plugins.attention.transolver_plusplus import module as plusplus


def assert_within(got, wanted, atol):
    torch.testing.assert_close(got, wanted.to(got.dtype), rtol=0, atol=atol)


def assert_gradients(case, module, arguments):
    """Compare the gradients of inputs and parameters with those recorded for the first forward."""
    for name, wanted in case.arrays_under("grad/in/").items():
        assert_within(arguments[name].grad, wanted, case.atol(f"grad/in/{name}"))
    for name, wanted in case.arrays_under("grad/state/").items():
        assert_within(case.gradient_of(module, name), wanted, case.atol(f"grad/state/{name}"))


def test_outputs_are_those_of_the_reference(parity_case):
    output = parity_case.build()(**parity_case.arguments(torch.float32))
    assert_within(output, parity_case.array("out"), parity_case.atol("out"))


def test_outputs_in_float64_are_those_of_the_reference_to_rounding(parity_case):
    output = parity_case.build().double()(**parity_case.arguments(torch.float64))
    assert output.dtype == torch.float64
    # A norm after the rotation divides out what complex64 lacks of modulus one; ours stands before
    # it.
    is_normed_after = "after_rope" in parity_case.facts["config"].get("qk_norm_kind", "")
    assert_within(
        output, parity_case.array("out_f64"), parity_case.atol("out") if is_normed_after else 1e-12
    )


def test_gradients_are_those_of_the_reference(parity_case):
    module, arguments = parity_case.build(), parity_case.arguments(torch.float32)
    for name in parity_case.facts["grad_inputs"]:
        arguments[name].requires_grad_()

    module(**arguments).mul(parity_case.array("cotangent")).sum().backward()

    assert_gradients(parity_case, module, arguments)


def test_noise_of_training_is_what_the_reference_draws_in_evaluation_too(noisy_case, monkeypatch):
    """The reference draws noise in evaluation; here evaluation has none, which its formula is
    compared with.
    """
    monkeypatch.setattr(plusplus, "uniform_of", lambda *_: noisy_case.array("noise/u"))
    module, arguments = noisy_case.build().train(), noisy_case.arguments(torch.float32)
    for name in noisy_case.facts["grad_inputs"]:
        arguments[name].requires_grad_()

    output = module(**arguments)
    output.mul(noisy_case.array("cotangent")).sum().backward()

    assert_within(output, noisy_case.array("out"), noisy_case.atol("out"))
    assert_gradients(noisy_case, module, arguments)
    calm = module.eval()(**arguments)
    assert torch.equal(calm, module(**arguments))
    assert not torch.allclose(calm, output, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "suffix"), [(torch.float32, ""), (torch.float64, "_f64")], ids=str
)
def test_a_second_forward_attends_to_what_the_first_one_cached(cached_case, dtype, suffix):
    module, cache = cached_case.build().to(dtype), KVCache()
    first, second = cached_case.arguments(dtype), cached_case.second_arguments(dtype)
    facts = cached_case.facts["second_forward"]
    for name in facts["grad_inputs"]:
        second[name].requires_grad_()

    output = module(**first, kv_cache=cache)
    again = module(**second, kv_cache=cache)
    again.mul(cached_case.array(facts["cotangent"])).sum().backward()

    assert_within(
        output, cached_case.array(f"out{suffix}"), cached_case.atol("out") if not suffix else 1e-12
    )
    assert_within(
        again, cached_case.array(f"out2{suffix}"), cached_case.atol("out2") if not suffix else 1e-12
    )
    for name in facts["grad_inputs"]:
        key = f"grad2/in/{name}"
        assert_within(second[name].grad, cached_case.array(key), cached_case.atol(key))


def test_a_cache_holds_the_keys_and_values_of_the_reference(cached_case):
    module, cache = cached_case.build(), KVCache()
    first, second = (
        cached_case.arguments(torch.float32),
        cached_case.second_arguments(torch.float32),
    )
    module(**first, kv_cache=cache)
    like = module(**second, kv_cache=cache).unflatten(-1, (module.num_heads, -1)).transpose(1, 2)

    recorded = {}
    for key in cached_case.facts["second_forward"]["cache_arrays"]:
        _, *group, kind = key.split("/")
        recorded[group[0] if group else "kv", kind] = key

    assert {name for name, _ in recorded} == set(cache)
    for (name, kind), key in recorded.items():
        stored = cache.read(module, name, like)
        assert_within(
            stored.keys if kind == "k" else stored.values,
            cached_case.array(key),
            cached_case.atol("out"),
        )


@pytest.fixture
def rope(rope_case):
    options = {name: value for name, value in rope_case.options.items() if name != "type"}
    module = RopeFrequency(**options)
    module.load_state_dict(rope_case.arrays_under("state/"))
    torch.testing.assert_close(module.omega, RopeFrequency(**options).omega)
    return module


def test_frequencies_are_those_of_the_reference(rope, rope_case):
    freqs = rope(rope_case.array("in/coords"))
    output = rope_case.facts["output"]
    keys, tensors = (output, freqs) if isinstance(output, list) else ([output], [freqs])
    for key, tensor in zip(keys, tensors, strict=True):
        assert_within(tensor, rope_case.array(key), rope_case.atol("out"))


def test_rotations_and_their_gradients_are_those_of_the_reference(rope, rope_case):
    x = rope_case.array("in/x").requires_grad_()

    rotated = rotate(x, rope(rope_case.array("in/coords")))
    rotated.mul(rope_case.array("cotangent")).sum().backward()

    assert_within(rotated, rope_case.array("rotated"), rope_case.atol("rotated"))
    assert_within(x.grad, rope_case.array("grad/in/x"), rope_case.atol("rotated"))
