"""Modules whose tokens come in groups, compiled and exported: sizes are inputs of the graph, names
belong to it.
"""

import itertools

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim

from noether_core import AttentionPattern, TokenSpec, build
from noether_core.nn import RopeFrequency
from tests.sampling import sampled

HEADS, WIDTH, BATCH = 3, 8, 2
HIDDEN = HEADS * WIDTH
NAMES = ("surface_anchors", "surface_queries", "volume_anchors", "volume_queries")
LAYOUTS = [
    (3, 5, 7, 11),
    (5, 7, 2, 13),
    (4, 4, 4, 4),  # of equal shape, which eager calls hand to the kernel together
    (2, 9, 2, 9),
    (17, 2, 3, 5),
    (6, 23, 5, 3),
    (7, 7, 9, 5),
    (2, 2, 2, 3),
    (13, 3, 4, 8),
    (8, 4, 19, 2),
]
PATTERNS = [
    AttentionPattern(("surface_anchors", "volume_queries"), ("surface_anchors", "volume_queries")),
    AttentionPattern(("surface_queries",), ("volume_anchors",)),
    AttentionPattern(("volume_anchors",), ("volume_anchors", "surface_anchors")),
]
VARIANTS = ("mixed", "self_anchor", "cross_anchor", "joint_anchor")

DOMAINS = {"mixed": {"num_types": 2}}
"""Options by which groups of a variant have weights of their own, in some of the tests."""


def make(variant, **options):
    branches = {} if variant == "mixed" else {"branches": ["surface", "volume"]}
    return build(
        variant, hidden_dim=HIDDEN, num_heads=HEADS, init_weights="torch", **branches, **options
    ).eval()


def call(variant, sizes, *, rope=False):
    """Return the arguments of a call, with specs that are made for it."""
    specs = [TokenSpec(name, size) for name, size in zip(NAMES, sizes, strict=True)]
    x = torch.randn(BATCH, sum(sizes), HIDDEN)
    freqs = {"freqs": RopeFrequency(WIDTH, 2)(torch.rand(BATCH, sum(sizes), 2))} if rope else {}
    return (x, specs, list(PATTERNS)) if variant == "mixed" else (x, specs), freqs


@pytest.fixture(autouse=True)
def _no_graphs_of_others():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("dynamic", sampled([None, True], None))
@pytest.mark.parametrize("variant", sampled(VARIANTS, "mixed", "joint_anchor"))
def test_ten_layouts_take_two_graphs_and_one_if_they_are_known_to_differ(variant, dynamic):
    module, counter = make(variant, use_rope=True), CompileCounterWithBackend("eager")
    compiled = torch.compile(module, backend=counter, fullgraph=True, dynamic=dynamic)
    for sizes in LAYOUTS:
        arguments, freqs = call(variant, sizes, rope=True)
        torch.testing.assert_close(
            compiled(*arguments, **freqs), module(*arguments, **freqs), rtol=0, atol=1e-6
        )
    assert counter.frame_count == (1 if dynamic else 2)


@pytest.mark.parametrize("variant", sampled(VARIANTS, "mixed"))
def test_compiled_gradients_are_those_of_eager_calls(variant):
    module = make(variant, qk_norm=True, **DOMAINS.get(variant, {}))
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for sizes in LAYOUTS[:2]:
        arguments, _ = call(variant, sizes)
        inputs = [arguments[0].requires_grad_(), *module.parameters()]
        got, wanted = (
            torch.autograd.grad(form(*arguments).square().sum(), inputs)
            for form in (compiled, module)
        )
        for gradient, gradient_wanted in zip(got, wanted, strict=True):
            torch.testing.assert_close(gradient, gradient_wanted, rtol=1e-4, atol=1e-5)


def exported(variant, path, **options):
    """Return a module and what becomes of it in a file."""
    module = make(variant, **options)
    arguments, freqs = call(variant, LAYOUTS[0], rope=module.config.use_rope)
    shapes = {"x": {1: Dim.DYNAMIC}, "token_specs": [[Dim.DYNAMIC]] * len(NAMES)}
    shapes |= {"attention_patterns": [[]] * len(PATTERNS)} if variant == "mixed" else {}
    shapes |= {"freqs": {1: Dim.DYNAMIC}} if freqs else {}
    torch.export.save(torch.export.export(module, arguments, freqs, dynamic_shapes=shapes), path)
    return module, torch.export.load(path).module()


@pytest.mark.parametrize("rope", sampled([True, False], True))
@pytest.mark.parametrize("variant", sampled(VARIANTS, "cross_anchor"))
def test_an_exported_file_takes_groups_of_other_sizes(variant, rope, tmp_path):
    options = {"use_rope": rope, **DOMAINS.get(variant, {})}
    module, loaded = exported(variant, tmp_path / "module.pt2", **options)
    for sizes in LAYOUTS:
        arguments, freqs = call(variant, sizes, rope=rope)
        torch.testing.assert_close(
            loaded(*arguments, **freqs), module(*arguments, **freqs), rtol=0, atol=1e-6
        )


def test_an_exported_file_refuses_groups_that_do_not_add_up(tmp_path):
    _, loaded = exported("self_anchor", tmp_path / "module.pt2")
    (x, specs), _ = call("self_anchor", LAYOUTS[1])
    with pytest.raises(AssertionError, match=r"Guard failed: .*token_specs.*size"):
        loaded(x[:, 1:], specs)


def test_layouts_of_equal_shape_give_the_same_in_one_call_of_the_kernel_and_in_two():
    module = make("self_anchor").double()
    for first, second in itertools.pairwise([(3, 5, 3, 5), (3, 5, 3, 4), (3, 5, 2, 5)]):
        for sizes in (first, second):
            (x, specs), _ = call("self_anchor", sizes)
            x = x.double()
            surface = sum(sizes[:2])
            alone = torch.cat(
                [
                    module.mixed_attention(x[:, :surface], specs[:2], [one_attended("surface")]),
                    module.mixed_attention(x[:, surface:], specs[2:], [one_attended("volume")]),
                ],
                dim=1,
            )
            torch.testing.assert_close(module(x, specs), alone, rtol=0, atol=1e-12)


def one_attended(branch):
    return AttentionPattern((f"{branch}_anchors", f"{branch}_queries"), (f"{branch}_anchors",))
