"""Modules as ONNX: the numbers of the module for other batches and tokens, in another runtime."""

import warnings

import pytest
import torch
from torch.export import Dim

from noether_core import AttentionPattern, TokenSpec, build
from noether_core.nn import RopeFrequency, SlidingWindow
from tests.plugins.attention.calls import GROUPS, HIDDEN, VARIANTS, having, make
from tests.sampling import sampled

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

FIRST, OTHERS = (2, 29), ((3, 67), (1, 13), (5, 401))
"""Samples and tokens of the call that is exported, and of later ones."""

PATTERNS = [
    AttentionPattern(("surface_anchors", "volume_queries"), ("surface_anchors", "volume_queries")),
    AttentionPattern(("surface_queries",), ("volume_anchors",)),
    AttentionPattern(("volume_anchors",), ("volume_anchors", "surface_anchors")),
]


class Rotated(torch.nn.Module):
    """Attention whose rotation and described mask are made within, as ONNX takes neither."""

    def __init__(self):
        super().__init__()
        options = {"hidden_dim": 24, "num_heads": 3, "use_rope": True, "qk_norm": True}
        self.attention = build("dot_product", init_weights="torch", **options)
        self.rope = RopeFrequency(8, 2)

    def forward(self, x, points, key_padding_mask):
        return self.attention(
            x,
            freqs=self.rope(points),
            attn_mask=SlidingWindow(2, 3),
            key_padding_mask=key_padding_mask,
        )


def specs_of(count):
    part = count // 5
    sizes = (part, part + 1, part + 2, count - 3 * part - 3)
    return [TokenSpec(*group) for group in zip(GROUPS, sizes, strict=True)]


def padding_of(batch, count):
    """Return a mask; of several samples, the last one is padding alone."""
    real = torch.rand(batch, count) > 0.4
    real[:, 0] = True
    if batch > 1:
        real[-1] = False
    return real


def call_of(name, batch, count, *, masked=True):
    if name == "rotated":
        x, points = torch.randn(batch, count, 24), torch.rand(batch, count, 2)
        return {"x": x, "points": points, "key_padding_mask": padding_of(batch, count)}
    arguments = {"x": torch.randn(batch, count, HIDDEN)}
    if VARIANTS[name].interface == "cross":
        queries = torch.randn(batch, count // 2, HIDDEN)
        arguments = {"q": queries, "kv": arguments["x"]}
    if "token_specs" in VARIANTS[name].capabilities:
        arguments["token_specs"] = specs_of(count)
    if "attention_patterns" in VARIANTS[name].capabilities:
        arguments["attention_patterns"] = list(PATTERNS)
    if masked:
        arguments["key_padding_mask"] = padding_of(batch, count)
    return arguments


def any_size(argument):
    """Return that the samples and tokens of tensors, and sizes of groups, may be any."""
    if isinstance(argument, torch.Tensor):
        return {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    if isinstance(argument, list):
        return [any_size(each) for each in argument]
    return [Dim.DYNAMIC] if isinstance(argument, TokenSpec) else []


def inputs_of(arguments):
    """Return tensors and sizes of groups in their order."""
    leaves = torch.utils._pytree.tree_leaves(arguments)
    return [torch.as_tensor(leaf).numpy() for leaf in leaves]


def exported(module, arguments):
    """Return a function that computes a call in ONNX's runtime."""
    shapes = {key: any_size(value) for key, value in arguments.items()}
    with warnings.catch_warnings():  # those of the exporter are about itself
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (), kwargs=arguments, dynamic_shapes=shapes, dynamo=True, verbose=False
        )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [given.name for given in session.get_inputs()]

    def called(**arguments):
        given = dict(zip(names, inputs_of(arguments), strict=True))
        return torch.from_numpy(session.run(None, given)[0])

    return called


def assert_exported(module, calls):
    first, *others = calls
    called = exported(module, first)
    with torch.no_grad():
        for arguments in others:
            wanted = module(**arguments)
            torch.testing.assert_close(called(**arguments), wanted, rtol=0, atol=1e-5)


def check(name, module, **options):
    calls = [call_of(name, *size, **options) for size in (FIRST, *OTHERS)]
    assert_exported(module.eval(), calls)


@pytest.mark.parametrize("name", sampled(["rotated", "mixed", "transolver"], "mixed"))
def test_other_batches_and_tokens_give_the_numbers_of_the_module(name):
    check(name, Rotated() if name == "rotated" else make(name))


@pytest.mark.nightly
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "padded"])
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "irregular_nat"])
def test_every_variant_without_neighbours_is_exported(name, masked):
    check(name, make(name), masked=masked)


@pytest.mark.nightly
@pytest.mark.parametrize("backend", ["sdpa", "math", "flex"])
@pytest.mark.parametrize("name", ["dot_product", "flare"])
def test_the_kernel_of_torch_does_not_matter(name, backend):
    module, twin = make(name, backend=backend).eval(), make(name).eval()
    twin.load_state_dict(module.state_dict())
    called = exported(module, call_of(name, *FIRST))
    arguments = call_of(name, *OTHERS[0])
    torch.testing.assert_close(called(**arguments), twin(**arguments), rtol=0, atol=1e-5)


@pytest.mark.nightly
@pytest.mark.parametrize("name", having("attn_mask"))
def test_numbers_added_to_logits_are_exported_with_rows_that_hide_all(name):
    calls = []
    for size in (FIRST, *OTHERS):
        arguments = call_of(name, *size)
        queries = arguments.get("q", arguments.get("x"))
        mask = torch.randn(queries.shape[1], size[1])
        mask[3] = float("-inf")
        calls.append({**arguments, "attn_mask": mask})
    assert_exported(make(name).eval(), calls)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "options",
    [
        {"num_slices": 7},
        {"num_slices": 7, "bias": False},
        {"type": "transolver_plusplus", "temperature_activation": "exp"},
        {
            "type": "transolver_plusplus",
            "use_overparameterization": False,
            "use_adaptive_temperature": False,
        },
    ],
    ids=str,
)
def test_slices_are_exported_in_each_of_their_forms(options):
    name = options.pop("type", "transolver")
    check(name, make(name, **options))


def test_neighbours_are_refused_by_name():
    module = make("irregular_nat").eval()
    x, points = torch.randn(2, 29, HIDDEN), torch.rand(2, 29, module.input_dim)
    with pytest.raises(
        torch.onnx.OnnxExporterError, match="irregular_nat: nearest neighbours are found by a k-d"
    ):
        exported(module, {"x": x, "positions": points})
