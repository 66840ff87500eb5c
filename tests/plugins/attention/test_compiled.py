"""Compiled modules: whole, in few graphs for many numbers of tokens, and with the numbers of eager
ones.
"""

import itertools
import os
import shutil

import pytest
import torch

from noether_core import TokenSpec
from noether_core.nn import RopeFrequency
from noether_core.testing.measuring import Graphs, quiet_compiler
from tests.plugins.attention.calls import (
    BATCH,
    GROUPS,
    HIDDEN,
    VARIANTS,
    arguments_of,
    having,
    make,
    of_interface,
)
from tests.sampling import ONE_OF_EACH_FORM, sampled

pytestmark = pytest.mark.shares_nothing

COUNTS = (23, 29, 41, 37, 59, 31, 83, 47, 127, 2503)
"""Numbers of tokens, in no order; the last is beyond every size from which on a variant streams."""

WIDE = 3 * 6
"""A width whose heads rotate by three coordinates."""

IN_FULL = "aot_eager"
"""Backend that traces forward and backward pass and generates no code."""

GENERATED = "inductor"

MOST = {"automatic": 2, "dynamic": 1}
"""Graphs that many numbers of tokens take, by whether torch finds out that they differ or is told
so.
"""


def in_every_way(names):
    """Return the mark that compiles each of *names* with torch told and not; some every time."""
    cases = itertools.product(names, MOST)
    every_time = [(name, "automatic") for name in ONE_OF_EACH_FORM if name != "transolver"]
    return pytest.mark.parametrize(
        ("name", "way"), sampled(cases, *every_time, ("transolver", "dynamic"))
    )


@pytest.fixture(autouse=True)
def _fresh_compiler():
    with quiet_compiler():
        yield


def call_of(name, count, *, masked=False, dtype=torch.float64):
    """Return a call for *count* tokens; groups are all of another size, and so are the queries that
    are others.
    """
    arguments = arguments_of(name, dtype, count)
    if "token_specs" in arguments:
        part = count // 5
        sizes = (part, part + 1, part + 2, count - 3 * part - 3)
        arguments["token_specs"] = [TokenSpec(*group) for group in zip(GROUPS, sizes, strict=True)]
    if "q" in arguments:
        arguments["q"] = torch.randn(BATCH, count // 2, HIDDEN, dtype=dtype)
    if masked:
        arguments["key_padding_mask"] = torch.arange(count) < torch.tensor(
            [[count - 3], [count // 2]]
        )
    return arguments


def results(module, called, arguments):
    """Return the result of a call with noise and dropout from one seed, and the gradients of
    parameters in training.
    """
    torch.manual_seed(1)
    y = called(**arguments)
    if not module.training:
        return [y]
    return [y, *torch.autograd.grad(y.sin().sum(), list(module.parameters()))]


def assert_compiled(module, each, *, most, dynamic=None, backend=IN_FULL, atol=1e-10):
    """Compare *each* call with an eager one; every one of them runs a graph, and not more than
    *most* are made.
    """
    graphs = Graphs(backend, most=most)
    compiled = torch.compile(module, fullgraph=True, backend=graphs, dynamic=dynamic)
    for number, arguments in enumerate(each, start=1):
        got = results(module, compiled, arguments)
        assert len(graphs.ran) == number
        assert graphs.count <= most
        for one, wanted in zip(got, results(module, module, arguments), strict=True):
            scale = max(1.0, float(wanted.detach().abs().max()))
            torch.testing.assert_close(one, wanted, rtol=0, atol=atol * scale)
    return graphs


@in_every_way(VARIANTS)
def test_training_with_ten_numbers_of_tokens_needs_two_graphs(name, way):
    module, each = make(name, dropout=0.2).double().train(), [call_of(name, n) for n in COUNTS]
    graphs = assert_compiled(module, each, most=MOST[way], dynamic=(way == "dynamic") or None)
    assert graphs.count == MOST[way]


@in_every_way(having("key_padding_mask"))
def test_evaluation_with_padding_and_ten_numbers_of_tokens_needs_two_graphs(name, way):
    module = make(name).double().eval()
    each = [call_of(name, count, masked=True) for count in COUNTS]
    graphs = assert_compiled(module, each, most=MOST[way], dynamic=(way == "dynamic") or None)
    assert graphs.count == MOST[way]


@pytest.mark.parametrize("name", having("attn_mask"))
@pytest.mark.parametrize("dtype", sampled([torch.bool, torch.float64], torch.float64))
def test_masks_of_pairs_grow_with_the_tokens(name, dtype):
    module, each = make(name).double().train(), [call_of(name, count) for count in COUNTS[:5]]
    for arguments in each:
        queries = arguments.get("q", arguments.get("x"))
        keys = arguments.get("kv", arguments.get("x"))
        mask = torch.ones(queries.shape[1], keys.shape[1], dtype=torch.bool).tril()
        arguments["attn_mask"] = (
            mask if dtype == torch.bool else torch.zeros(mask.shape).double().where(mask, -3.0)
        )
    assert_compiled(module, each, most=2)


@pytest.mark.parametrize("name", sampled(having("rope"), "dot_product"))
def test_rotated_tokens_grow_in_number(name):
    module, rotation = (
        make(name, hidden_dim=WIDE, use_rope=True).double().train(),
        RopeFrequency(WIDE // 3, 3),
    )
    each = []
    for count in COUNTS[:5]:
        arguments = call_of(name, count)
        for key in ("x", "q", "kv"):
            if key in arguments:
                tokens = arguments[key].shape[1]
                arguments[key] = torch.randn(BATCH, tokens, WIDE).double()
                freqs = {"x": "freqs", "q": "q_freqs", "kv": "k_freqs"}[key]
                arguments[freqs] = rotation(torch.rand(BATCH, tokens, 3))
        each.append(arguments)
    assert_compiled(module, each, most=2)


@pytest.mark.parametrize("name", of_interface("cross"))
def test_queries_and_keys_grow_each_by_themselves(name):
    module, each = make(name).double().train(), []
    for queries, keys in ((5, 23), (7, 29), (11, 29), (7, 97), (401, 13)):
        q = torch.randn(BATCH, queries, HIDDEN, dtype=torch.float64)
        each.append({**call_of(name, keys), "q": q})
    assert_compiled(module, each, most=2)


generates_code = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no compiler for generated code"
)


@generates_code
@pytest.mark.parametrize("name", sampled(VARIANTS, "transolver", "perceiver", "irregular_nat"))
def test_generated_code_computes_the_same_forward_and_backward(name):
    module = make(name, dropout=0.2).train()
    each = [call_of(name, count, dtype=torch.float32) for count in COUNTS[:3]]
    with torch._inductor.config.patch(fallback_random=True):  # it draws numbers of its own without
        assert_compiled(module, each, most=1, dynamic=True, backend=GENERATED, atol=1e-4)


@generates_code
def test_generated_code_draws_its_own_noise_from_the_same_seed():
    module = make("transolver_plusplus").train()
    arguments = call_of("transolver_plusplus", COUNTS[0], dtype=torch.float32)
    compiled = torch.compile(module, fullgraph=True)
    first, again = (results(module, compiled, arguments) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.allclose(first[0], results(module, module, arguments)[0], atol=1e-4)
