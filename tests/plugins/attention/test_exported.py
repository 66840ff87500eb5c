"""Exported modules: with any number of tokens, from a file, with the numbers of the module they
were made of.
"""

import pytest
import torch
from torch.export import Dim

from noether_core import TokenSpec
from noether_core.testing.measuring import quiet_compiler
from tests.plugins.attention.calls import VARIANTS, having, make, of_interface
from tests.plugins.attention.test_compiled import call_of
from tests.sampling import ONE_OF_EACH_FORM, sampled

FIRST, OTHERS = 29, (23, 67, 4001)
"""Tokens of the call that is exported, and those of later calls, one far larger."""

some_variants = pytest.mark.parametrize("name", sampled(VARIANTS, *ONE_OF_EACH_FORM))


def axes_of(arguments):
    """Return that every number of tokens, and every size of a group, may be any."""
    tokens = {key: {1: Dim.DYNAMIC} for key in arguments}
    groups = (
        {"token_specs": [[Dim.DYNAMIC] for _ in arguments["token_specs"]]}
        if "token_specs" in arguments
        else {}
    )
    return tokens | groups


def through_a_file(module, arguments, path):
    """Return what another process would load."""
    with quiet_compiler():
        program = torch.export.export(module, (), arguments, dynamic_shapes=axes_of(arguments))
        torch.export.save(program, path)
        return torch.export.load(path).module()


@some_variants
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "padded"])
def test_an_exported_module_runs_from_its_file_with_other_numbers_of_tokens(name, masked, tmp_path):
    if masked and name not in having("key_padding_mask"):
        pytest.skip("it takes no key_padding_mask")
    module = make(name).double().eval()
    loaded = through_a_file(module, call_of(name, FIRST, masked=masked), tmp_path / "module.pt2")
    with torch.no_grad():
        for count in OTHERS:
            arguments = call_of(name, count, masked=masked)
            torch.testing.assert_close(loaded(**arguments), module(**arguments), rtol=0, atol=1e-10)


@some_variants
def test_a_file_holds_the_weights(name, tmp_path):
    module, arguments = make(name).double().eval(), call_of(name, FIRST)
    loaded = through_a_file(module, arguments, tmp_path / "module.pt2")
    kept = dict(loaded.named_parameters())
    assert {key: tuple(value.shape) for key, value in kept.items()} == {
        key: tuple(value.shape) for key, value in module.named_parameters()
    }
    wanted = module(**arguments)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    torch.testing.assert_close(loaded(**arguments), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", sampled(of_interface("tokens"), "self_anchor"))
def test_groups_that_do_not_add_up_are_refused_by_an_exported_module_as_well(name, tmp_path):
    module = make(name).double().eval()
    loaded = through_a_file(module, call_of(name, FIRST), tmp_path / "module.pt2")
    arguments = call_of(name, 41)
    *specs, last = arguments["token_specs"]
    with pytest.raises(AssertionError, match="Guard failed"):
        loaded(**{**arguments, "token_specs": [*specs, TokenSpec(last.name, last.size + 1)]})


@some_variants
def test_training_is_exported_with_its_gradients(name, tmp_path):
    module, arguments = make(name).double().train(), call_of(name, FIRST)
    loaded = through_a_file(module, arguments, tmp_path / "module.pt2")
    arguments = call_of(name, OTHERS[1])
    for called in (loaded, module):
        torch.manual_seed(1)
        called(**arguments).sin().sum().backward()
    kept = dict(loaded.named_parameters())
    for key, parameter in module.named_parameters():
        torch.testing.assert_close(kept[key].grad, parameter.grad, rtol=0, atol=1e-9)
