"""Recorded numbers of the reference, read where they lie, and a seed for every test."""

import json
import os
import pathlib
import re

import attrs
import numpy as np
import pytest
import torch

from noether_core import AttentionPattern, TokenSpec, build, registry

_FOLDER = pathlib.Path(os.environ.get("NOETHER_PARITY") or pathlib.Path(__file__).parents[4] / "shared" / "parity")
_FUSED = {"qkv": ("q", "k", "v"), "kv": ("k", "v")}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@attrs.frozen
class ParityCase:
    """A module, what it was given, and what the reference made of it."""

    facts: dict
    arrays: dict

    @property
    def options(self):
        return {name: value for name, value in self.facts["config"].items() if name != "qk_norm_kind"}

    def build(self):
        """Return the module in evaluation mode with the recorded weights; norms without weights have weights of one."""
        module = build(self.options).eval()
        state = self.arrays_under("state/")
        if "qk_norm_kind" in self.facts["config"]:
            ones = {name: value for name, value in module.state_dict().items() if name.endswith("_norm.weight")}
            assert all((value == 1).all() for value in ones.values())
            state = {**ones, **state}
        module.load_state_dict(state)
        return module

    def arguments(self, dtype):
        """Return the arguments of the forward, floating ones in *dtype*; frequencies stay as they are recorded."""
        honoured = registry().get(self.facts["config"]["type"]).capabilities
        arguments = {}
        for name, keys in self.facts["forward"].items():
            ours = "key_padding_mask" if name == "attn_mask" and "attn_mask" not in honoured else name
            arguments[ours] = self._argument(keys, None if name.endswith("freqs") else dtype)
        for name, cls in (("token_specs", TokenSpec), ("attention_patterns", AttentionPattern)):
            if self.facts[name] is not None:
                arguments[name] = [cls(**entry) for entry in self.facts[name]]
        return arguments

    def array(self, key):
        return torch.from_numpy(self.arrays[key])

    def arrays_under(self, prefix):
        return {key.removeprefix(prefix): self.array(key) for key in self.arrays if key.startswith(prefix)}

    def atol(self, key):
        return self.facts["measured"][key]["suggested_atol"]

    @staticmethod
    def gradient_of(module, name):
        """Return the gradient of a parameter, under its own name or under that of the stack it was recorded in."""
        parameters = dict(module.named_parameters())
        if name in parameters:
            return parameters[name].grad
        prefix, fused, leaf = re.fullmatch(r"(.*?)(qkv|kv)\.(.*)", name).groups()
        return torch.cat([parameters[f"{prefix}{part}.{leaf}"].grad for part in _FUSED[fused]])

    def _argument(self, keys, dtype):
        if isinstance(keys, list):
            return tuple(self._argument(key, dtype) for key in keys)
        array = self.array(keys)
        return array.to(dtype) if dtype is not None and array.is_floating_point() else array


def pytest_generate_tests(metafunc):
    """Give every recorded case to the tests that ask for ``parity_case``, rotary ones for ``rope_case``."""
    for fixture, is_wanted in (("parity_case", _is_attention), ("rope_case", _is_rope)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, _parameters(is_wanted), indirect=True)


@pytest.fixture
def parity_case(request):
    facts = request.param
    with np.load(_FOLDER / facts["file"], allow_pickle=False) as arrays:
        return ParityCase(facts, dict(arrays))


rope_case = parity_case


def _is_attention(facts):
    return not _is_rope(facts)


def _is_rope(facts):
    return facts["config"]["type"] == "rope_frequency"


def _parameters(is_wanted):
    manifest = _FOLDER / "manifest.json"
    if not manifest.exists():
        reason = f"no recorded numbers in {_FOLDER}; set NOETHER_PARITY to the folder that holds them"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"]
    return [pytest.param(facts, id=facts["name"], marks=_skips(facts)) for facts in cases if is_wanted(facts)]


def _skips(facts):
    needed = facts["config"]["type"]
    if _is_rope(facts) or needed in registry().types():
        return ()
    return pytest.mark.skip(reason=f"'{needed}' is not installed")
