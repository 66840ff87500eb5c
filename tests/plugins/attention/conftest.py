"""Recorded numbers of the reference, read where they lie."""

import json
import os
import pathlib
import re

import attrs
import numpy as np
import pytest
import torch

from noether_core import AttentionPattern, TokenSpec, build, registry
from noether_core.schemas.schema import plan_of

_FOLDER = pathlib.Path(
    os.environ.get("NOETHER_PARITY") or pathlib.Path(__file__).parents[4] / "shared" / "parity"
)
_FOLDERS = [_FOLDER, _FOLDER.with_name("parity2")]
"""Of the first round of recording, and beside it of the second."""

_NO_OPTIONS = {"qk_norm_kind"}
"""What recorded configs name and no config has."""

_FUSED = {"qkv": ("q", "k", "v"), "kv": ("k", "v")}


@attrs.frozen
class ParityCase:
    """A module, what it was given, and what the reference made of it."""

    facts: dict
    arrays: dict

    @property
    def options(self):
        return {
            name: value for name, value in self.facts["config"].items() if name not in _NO_OPTIONS
        }

    def build(self):
        """Return the module in evaluation mode with the recorded weights; norms without weights
        have weights of one.
        """
        module = build(self.options).eval()
        state = self.arrays_under("state/")
        if "qk_norm_kind" in self.facts["config"]:
            ones = {
                name: value
                for name, value in module.state_dict().items()
                if name.endswith("_norm.weight")
            }
            assert all((value == 1).all() for value in ones.values())
            state = {**ones, **state}
        module.load_state_dict(state)
        return module

    def arguments(self, dtype):
        """Return the arguments of the forward, floating ones in *dtype*; frequencies stay as they
        are recorded.
        """
        return self._arguments(self.facts, dtype)

    def second_arguments(self, dtype):
        """Return those of the second forward, which reads from a cache what it is not given."""
        arguments = self._arguments({**self.facts, **self.facts["second_forward"]}, dtype)
        return arguments if "q" not in arguments else {**arguments, "kv": None}

    def _arguments(self, facts, dtype):
        honoured = registry().get(self.facts["config"]["type"]).capabilities
        arguments = {}
        for name, keys in facts["forward"].items():
            ours = (
                "key_padding_mask" if name == "attn_mask" and "attn_mask" not in honoured else name
            )
            arguments[ours] = self._argument(keys, None if name.endswith("freqs") else dtype)
        if facts["token_specs"] is not None:
            arguments["token_specs"] = [TokenSpec(**entry) for entry in facts["token_specs"]]
        if self.facts["attention_patterns"] is not None:
            arguments["attention_patterns"] = [
                AttentionPattern(**entry) for entry in self.facts["attention_patterns"]
            ]
        return arguments

    def array(self, key):
        return torch.from_numpy(self.arrays[key])

    def arrays_under(self, prefix):
        return {
            key.removeprefix(prefix): self.array(key)
            for key in self.arrays
            if key.startswith(prefix)
        }

    def atol(self, key):
        return self.facts["measured"][key]["suggested_atol"]

    @staticmethod
    def gradient_of(module, name):
        """Return the gradient of a parameter, under its own name or under that of the stack it was
        recorded in.
        """
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
    """Give every recorded case to the tests that want one of its kind."""
    for fixture, is_wanted in _KINDS.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, _parameters(is_wanted), indirect=True)


@pytest.fixture
def parity_case(request):
    facts = request.param
    with np.load(facts["folder"] / facts["file"], allow_pickle=False) as arrays:
        return ParityCase(facts, dict(arrays))


rope_case = cached_case = noisy_case = parity_case


def _is_rope(facts):
    return facts["config"]["type"] == "rope_frequency"


def _is_noisy(facts):
    """Return whether noise was drawn in evaluation, which is a fault of the reference that is
    mended here.
    """
    return facts.get("noise") is not None and "deterministic" not in facts["tags"]


_KINDS = {
    "parity_case": lambda facts: not _is_rope(facts) and not _is_noisy(facts),
    "noisy_case": _is_noisy,
    "cached_case": lambda facts: "second_forward" in facts,
    "rope_case": _is_rope,
}


def _parameters(is_wanted):
    cases = [
        {**facts, "folder": folder}
        for folder in _FOLDERS
        for facts in _recorded_in(folder)
        if is_wanted(facts)
    ]
    if not cases:
        reason = (
            f"no recorded numbers in {_FOLDER}; set NOETHER_PARITY to the folder that holds them"
        )
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(facts, id=facts["name"], marks=_marks_of(facts)) for facts in cases]


def _recorded_in(folder):
    manifest = folder / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8"))["cases"] if manifest.exists() else []


def _marks_of(facts):
    """Skip what was recorded of a variant, or with an option, that does not ship yet."""
    options, known = facts["config"], registry()
    if _is_rope(facts):
        return []
    if options["type"] not in known.types():
        return [pytest.mark.skip(reason=f"no variant {options['type']!r}")]
    unknown = set(options) - plan_of(known.get(options["type"]).config).options - _NO_OPTIONS
    return [pytest.mark.skip(reason=f"no options {sorted(unknown)}")] if unknown else []
