"""The numbers of the reference, outputs and gradients."""

import pytest
import torch

from noether_core.nn import RopeFrequency, rotate


def assert_within(got, wanted, atol):
    torch.testing.assert_close(got, wanted.to(got.dtype), rtol=0, atol=atol)


def test_a_recorded_case_is_one_that_is_replayed_whole(parity_case):
    left_out = {"second_forward"} & parity_case.facts.keys() or (parity_case.facts["noise"] and {"noise"})
    assert not left_out, "this test does not replay these parts of a case yet"


def test_outputs_are_those_of_the_reference(parity_case):
    output = parity_case.build()(**parity_case.arguments(torch.float32))
    assert_within(output, parity_case.array("out"), parity_case.atol("out"))


def test_outputs_in_float64_are_those_of_the_reference_to_rounding(parity_case):
    output = parity_case.build().double()(**parity_case.arguments(torch.float64))
    assert output.dtype == torch.float64
    # A norm after the rotation divides out what complex64 lacks of modulus one; ours stands before it.
    is_normed_after = "after_rope" in parity_case.facts["config"].get("qk_norm_kind", "")
    assert_within(output, parity_case.array("out_f64"), parity_case.atol("out") if is_normed_after else 1e-12)


def test_gradients_are_those_of_the_reference(parity_case):
    module, arguments = parity_case.build(), parity_case.arguments(torch.float32)
    for name in parity_case.facts["grad_inputs"]:
        arguments[name].requires_grad_()

    module(**arguments).mul(parity_case.array("cotangent")).sum().backward()

    for name, wanted in parity_case.arrays_under("grad/in/").items():
        assert_within(arguments[name].grad, wanted, parity_case.atol(f"grad/in/{name}"))
    for name, wanted in parity_case.arrays_under("grad/state/").items():
        assert_within(parity_case.gradient_of(module, name), wanted, parity_case.atol(f"grad/state/{name}"))


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
