"""Weights of other implementations: their names as published, numbers by the formulas."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn import functional

from noether_core import build, structure
from noether_core.errors import StateDictError
from noether_core.migration import convert_state_dict
from tests.plugins.attention.formulas import linear, mixed_with_context

BATCH, TOKENS, HEADS, WIDTH, SLICES, LATENTS = 2, 11, 3, 5, 7, 4
CONTEXT_WIDTH = 13
DIM = HEADS * WIDTH

# Names and shapes of `state_dict()` of each class, recorded from its public code.
TRANSOLVER = {
    "temperature": (1, HEADS, 1, 1),
    "in_project_x.weight": (DIM, DIM),
    "in_project_x.bias": (DIM,),
    "in_project_fx.weight": (DIM, DIM),
    "in_project_fx.bias": (DIM,),
    "in_project_slice.weight": (SLICES, WIDTH),
    "in_project_slice.bias": (SLICES,),
    "to_q.weight": (WIDTH, WIDTH),
    "to_k.weight": (WIDTH, WIDTH),
    "to_v.weight": (WIDTH, WIDTH),
    "to_out.0.weight": (DIM, DIM),
    "to_out.0.bias": (DIM,),
}
TRANSOLVER_PLUS = {
    "bias": (1, HEADS, 1, 1),
    "proj_temperature.0.weight": (SLICES, WIDTH),
    "proj_temperature.0.bias": (SLICES,),
    "proj_temperature.2.weight": (1, SLICES),
    "proj_temperature.2.bias": (1,),
    "in_project_x.weight": (DIM, DIM),
    "in_project_x.bias": (DIM,),
    "in_project_slice.weight": (SLICES, WIDTH),
    "in_project_slice.bias": (SLICES,),
    "to_q.weight": (WIDTH, WIDTH),
    "to_k.weight": (WIDTH, WIDTH),
    "to_v.weight": (WIDTH, WIDTH),
    "to_out.0.weight": (DIM, DIM),
    "to_out.0.bias": (DIM,),
}
FLARE = {
    "latent_q": (DIM, LATENTS),
    "q_norm.weight": (WIDTH,),
    "q_norm.bias": (WIDTH,),
    "k_norm.weight": (WIDTH,),
    "k_norm.bias": (WIDTH,),
    "k_proj.fc1.weight": (2 * DIM, DIM),
    "k_proj.fc1.bias": (2 * DIM,),
    "k_proj.fcs.0.weight": (2 * DIM, 2 * DIM),
    "k_proj.fcs.0.bias": (2 * DIM,),
    "k_proj.fc2.weight": (DIM, 2 * DIM),
    "k_proj.fc2.bias": (DIM,),
    "v_proj.fc.weight": (DIM, DIM),
    "v_proj.fc.bias": (DIM,),
    "out_proj.weight": (DIM, DIM),
    "out_proj.bias": (DIM,),
}
GALE = {
    "temperature": (1, 1, HEADS, 1),
    "state_mixing": (),
    "in_project_x.weight": (DIM, DIM),
    "in_project_x.bias": (DIM,),
    "in_project_fx.weight": (DIM, DIM),
    "in_project_fx.bias": (DIM,),
    "in_project_slice.weight": (SLICES, WIDTH),
    "in_project_slice.bias": (SLICES,),
    "qkv_project.weight": (3 * WIDTH, WIDTH),
    "out_linear.weight": (DIM, DIM),
    "out_linear.bias": (DIM,),
    "cross_q.weight": (WIDTH, WIDTH),
    "cross_q.bias": (WIDTH,),
    "cross_k.weight": (WIDTH, CONTEXT_WIDTH),
    "cross_k.bias": (WIDTH,),
    "cross_v.weight": (WIDTH, CONTEXT_WIDTH),
    "cross_v.bias": (WIDTH,),
}
GALE_FA = {
    "q_global": (1, HEADS, LATENTS, WIDTH),
    "in_project_x.weight": (DIM, DIM),
    "in_project_x.bias": (DIM,),
    "self_k.weight": (WIDTH, WIDTH),
    "self_k.bias": (WIDTH,),
    "self_v.weight": (WIDTH, WIDTH),
    "self_v.bias": (WIDTH,),
    "out_linear.weight": (DIM, DIM),
    "out_linear.bias": (DIM,),
    **{name: shape for name, shape in GALE.items() if name.startswith("cross_")},
    "concat_project.0.weight": (WIDTH, 2 * WIDTH),
    "concat_project.0.bias": (WIDTH,),
}


def heads(x):
    return x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def through_slices(state, weights, features, x):
    """Return what slices hand out, from the weights of the tokens; without biases among slices."""
    sums = torch.einsum("bhng,bhnd->bhgd", weights, features)
    tokens = sums / (weights.sum(2) + 1e-5)[..., None]
    q, k, v = (linear(state, f"to_{name}", tokens) for name in "qkv")
    attended = (q @ k.mT / WIDTH**0.5).softmax(-1) @ v
    return linear(state, "to_out.0", merged(torch.einsum("bhng,bhgd->bhnd", weights, attended)))


def transolver(state, x):
    states = heads(linear(state, "in_project_x", x))
    logits = linear(state, "in_project_slice", states) / state["temperature"]
    features = heads(linear(state, "in_project_fx", x))
    return through_slices(state, logits.softmax(-1), features, x)


def transolver_plus(state, x):
    """Without noise, which evaluation does not draw here."""
    states = heads(linear(state, "in_project_x", x))
    inner = functional.gelu(linear(state, "proj_temperature.0", states))
    temperature = functional.gelu(linear(state, "proj_temperature.2", inner)) + state["bias"]
    logits = linear(state, "in_project_slice", states) / temperature.clamp(min=0.01)
    return through_slices(state, logits.softmax(-1), states, x)


def flare(state, x):
    def act(z):
        return functional.gelu(z, approximate="tanh")

    def normed(z, name):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.layer_norm(z, (WIDTH,), weight, bias)

    inner = act(linear(state, "k_proj.fc1", x))
    inner = inner + act(linear(state, "k_proj.fcs.0", inner))
    keys = normed(heads(linear(state, "k_proj.fc2", inner)), "k_norm")
    values = heads(x + linear(state, "v_proj.fc", x))
    latents = normed(state["latent_q"].reshape(HEADS, LATENTS, WIDTH), "q_norm")
    gathered = (latents @ keys.mT).softmax(-1) @ values
    return linear(state, "out_proj", merged((keys @ latents.mT).softmax(-1) @ gathered))


def gale(state, x, context):
    states = heads(linear(state, "in_project_x", x))
    temperature = state["temperature"].view(1, HEADS, 1, 1).clamp(0.5, 5)
    weights = (linear(state, "in_project_slice", states) / temperature).softmax(-1)
    sums = torch.einsum("bhng,bhnd->bhgd", weights, heads(linear(state, "in_project_fx", x)))
    tokens = sums / (weights.sum(2) + 1e-2)[..., None]
    q, k, v = (tokens @ state["qkv_project.weight"].mT).chunk(3, -1)
    own = (q @ k.mT / WIDTH**0.5).softmax(-1) @ v
    mixed = mixed_with_context(state, own, tokens, context[:, None], WIDTH**-0.5)
    return linear(state, "out_linear", merged(torch.einsum("bhng,bhgd->bhnd", weights, mixed)))


def gale_fa(state, x, context):
    states = heads(linear(state, "in_project_x", x))
    keys, values = linear(state, "self_k", states), linear(state, "self_v", states)
    latents = state["q_global"]
    own = (keys @ latents.mT).softmax(-1) @ ((latents @ keys.mT).softmax(-1) @ values)
    return linear(
        state, "out_linear", merged(mixed_with_context(state, own, states, context[:, None], 1.0))
    )


SIZES = {"n_hidden": DIM, "n_head": HEADS, "slice_num": SLICES}
PUBLISHED = {
    "thuml/Transolver": (
        TRANSOLVER,
        transolver,
        {"type": "transolver", **SIZES},
    ),
    "thuml/Transolver_plus": (
        TRANSOLVER_PLUS,
        transolver_plus,
        {"type": "transolver_plusplus", **SIZES},
    ),
    "vpuri3/FLARE.py": (
        FLARE,
        flare,
        {
            "type": "flare",
            "channel_dim": DIM,
            "num_heads": HEADS,
            "num_latents": LATENTS,
            "num_layers_k_proj": 1,
            "num_layers_v_proj": -1,
            "k_proj_mlp_ratio": 2.0,
            "qk_norm": True,
            "act": "gelu",
        },
    ),
    "NVIDIA/physicsnemo, GALE": (
        GALE,
        gale,
        {"type": "gale", **SIZES, "context_dim": CONTEXT_WIDTH},
    ),
    "NVIDIA/physicsnemo, GALE_FA": (
        GALE_FA,
        gale_fa,
        {
            "type": "gale_flare",
            "dim": DIM,
            "heads": HEADS,
            "n_global_queries": LATENTS,
            "context_dim": CONTEXT_WIDTH,
            "state_mixing_mode": "concat_project",
        },
    ),
}


def weights_of(layout, prefix=""):
    return {
        f"{prefix}{name}": torch.rand(shape, dtype=torch.float64) + 0.1
        if name == "temperature"
        else torch.randn(shape, dtype=torch.float64) / 2
        for name, shape in layout.items()
    }


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_weights_give_the_numbers_of_their_formula(published):
    layout, formula, options = PUBLISHED[published]
    origin = published.partition(",")[0]
    state = weights_of(layout, "blocks.3.Attn.")
    config = structure(options, origin=origin)
    converted = convert_state_dict(
        state | {"blocks.3.mlp.weight": torch.ones(1)},
        config,
        origin=origin,
        prefix="blocks.3.Attn.",
    )
    module = build(config, dtype=torch.float64).eval()
    module.load_state_dict(converted)

    arguments = {"x": torch.randn(BATCH, TOKENS, DIM, dtype=torch.float64)}
    if "context_dim" in options:
        arguments["context"] = torch.randn(BATCH, 17, CONTEXT_WIDTH, dtype=torch.float64)
    own = {name.removeprefix("blocks.3.Attn."): tensor for name, tensor in state.items()}
    wanted = formula(own, **arguments)
    torch.testing.assert_close(module(**arguments), wanted, rtol=0, atol=1e-12)
    assert converted.keys() == module.state_dict().keys()
    assert {tensor.dtype for tensor in converted.values()} == {torch.float64}


def reference_weights(kept):
    """Weights of transolver_plusplus in the stacked layout of the reference, with some biases."""
    layout = {
        "bias": (1, HEADS, 1, 1),
        "proj_temperature.0.project": (SLICES, WIDTH),
        "proj_temperature.2.project": (1, SLICES),
        "in_project_x": (DIM, DIM),
        "in_project_slice.project": (SLICES, WIDTH),
        "qkv.project": (3 * WIDTH, WIDTH),
        "to_out.0.project": (DIM, DIM),
    }
    weights = {
        name if name == "bias" else f"{name}.weight": torch.randn(shape)
        for name, shape in layout.items()
    }
    return weights | {f"{name}.bias": torch.randn(layout[name][0]) for name in kept}


@pytest.mark.parametrize("kept", [("in_project_x",), ("in_project_x", "qkv.project"), ()])
def test_biases_that_the_reference_keeps_without_bias_are_kept_and_others_are_zeros(kept):
    written = {
        "type": "transolver_plusplus",
        "hidden_dim": DIM,
        "num_heads": HEADS,
        "num_slices": SLICES,
        "bias": False,
    }
    state = reference_weights(kept)
    config = structure(written, origin="reference")
    without = build(config)
    if kept:
        for strict in (True, False):
            with pytest.raises(RuntimeError, match=r"build with bias: true, and load what convert"):
                without.load_state_dict(state, strict=strict)
        with pytest.raises(StateDictError, match="bias: false; convert for one with bias: true"):
            convert_state_dict(state, config, origin="reference")
        with pytest.raises(RuntimeError, match=r"in some layers; load what convert_state_dict"):
            build(config, bias=True).load_state_dict(state)
    else:
        without.load_state_dict(state)

    module = build(attrs.evolve(config, bias=True))
    module.load_state_dict(convert_state_dict(state, module.config, origin="reference"))
    whole = state | {
        name.replace("weight", "bias"): torch.zeros(len(state[name]))
        for name in state
        if name.endswith("weight") and name.replace("weight", "bias") not in state
    }
    told = build(module.config)
    told.load_state_dict(whole)
    for name, got in module.state_dict().items():
        assert torch.equal(got, told.state_dict()[name]), name


def test_a_part_of_the_weights_loads_where_it_may_and_is_explained_nowhere():
    module = build("transolver_plusplus", hidden_dim=DIM, num_heads=HEADS, num_slices=SLICES)
    biases = {name: tensor for name, tensor in module.state_dict().items() if "bias" in name}
    missing, unexpected = module.load_state_dict(biases, strict=False)
    assert missing
    assert not unexpected


def test_what_does_not_fit_is_refused_by_name():
    layout, _, options = PUBLISHED["thuml/Transolver"]
    config = structure(options, origin="thuml/Transolver")

    def refused(state, prefix=""):
        with pytest.raises(StateDictError) as caught:
            convert_state_dict(state, config, origin="thuml/Transolver", prefix=prefix)
        return str(caught.value)

    # a structured mesh has convolutions there
    convolved = weights_of(layout | {"in_project_x.weight": (DIM, DIM, 3, 3), "extra": (1,)})
    del convolved["to_q.weight"]
    message = refused(convolved)
    assert 'Missing key(s) in state_dict: "q.project.weight"' in message
    assert 'Unexpected key(s) in state_dict: "extra"' in message
    assert "size mismatch for in_project_x.project.weight: copying a param with shape " in message

    state = weights_of(layout, "Attn.")
    assert refused(state, "attn.") == "no name starts with 'attn.'; the first is 'Attn.temperature'"
    assert refused({"model": state}).startswith("model: expected a tensor, got {")
    assert 'Missing key(s) in state_dict: "temperature"' in refused({})


@pytest.mark.parametrize("variant", ["mixed", "self_anchor", "perceiver"])
def test_weights_of_domains_that_were_trained_transposed_are_turned_over(variant):
    branches = {"branches": ["surface", "volume"]} if variant == "self_anchor" else {}
    module = build(variant, hidden_dim=DIM, num_heads=HEADS, num_types=2, **branches)
    state = module.state_dict()
    got = convert_state_dict(state, module.config, origin="reference", transposed=True)
    assert got.keys() == state.keys()
    of_domains = {name for name in state if ".weight." in name}
    assert len(of_domains) == (4 if variant == "perceiver" else 8)
    for name, value in state.items():
        assert torch.equal(got[name], value.T if name in of_domains else value)


def test_only_weights_of_domains_are_transposed():
    module = build("mixed", hidden_dim=DIM, num_heads=HEADS)
    with pytest.raises(ValueError, match=r"^transposed: .* num_types is None$"):
        convert_state_dict(module.state_dict(), module.config, origin="reference", transposed=True)
