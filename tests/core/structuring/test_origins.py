"""Configs of other implementations, read under the names that they have for options."""

from __future__ import annotations

import warnings

import attrs
import pytest
from omegaconf import OmegaConf

from noether_core import (
    AttentionConfig,
    ConfigError,
    PluginError,
    Registry,
    TokenSpec,
    UnknownTypeError,
    load,
    registry,
    structure,
    structure_block,
    unstructure,
)
from noether_core.errors import OutdatedOptionWarning
from noether_core.plugins.metadata import Index
from noether_core.schemas.origin import Origin
from tests.core.generated import EXAMPLES

UNREAD = {
    "use_overparameterization": False,
    "use_adaptive_temperature": False,
    "temperature_activation": "softplus",
    "use_gumbel_softmax": False,
}
OWN = {"type": "transolver_plusplus", "hidden_dim": 64, "num_heads": 4, "num_slices": 8}
BLOCK = {
    "hidden_dim": 64,
    "num_heads": 4,
    "attention_constructor": "transolver_plusplus",
    "attention_arguments": {"num_slices": 8, **UNREAD},
}
BROKEN = Origin(options={"win": "window"})


def read(call):
    """Return what *call* returns, and the problems of its one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    (warning,) = caught
    assert warning.category is OutdatedOptionWarning
    assert warning.filename == __file__
    return value, warning.message.problems


def test_what_the_modules_of_the_reference_never_read_is_left_out_with_a_warning(tmp_path):
    file = tmp_path / "attention.json"
    file.write_text(str(OWN | UNREAD).replace("'", '"').replace("False", "false"))
    readings = [
        lambda: structure(OWN | UNREAD, origin="reference"),
        lambda: structure(AttentionConfig(**OWN, **UNREAD), origin="reference"),
        lambda: structure(OmegaConf.create(OWN | UNREAD), origin="reference"),
        lambda: load(file, origin="reference"),
        lambda: structure_block(BLOCK).config,
    ]
    for reading in readings:
        config, problems = read(reading)
        assert config == structure(OWN)
        assert [problem.keys[-1] for problem in problems] == list(UNREAD)
        assert [problem.value for problem in problems] == list(UNREAD.values())
    assert problems[2].headline == (
        "attention_arguments.temperature_activation: was left out: its module never reads it; "
        "with origin=None, and not 'reference', it means what it does here"
    )


def test_the_same_options_of_ours_mean_what_they_say():
    ours = structure(OWN | UNREAD)
    assert {name: getattr(ours, name) for name in UNREAD} == UNREAD
    assert structure_block(BLOCK, origin=None).config == ours
    assert structure(ours, origin="reference") is ours  # it is a config of ours already


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_a_config_of_the_reference_is_one_of_ours_for_every_other_variant(example):
    own = {name: value for name, value in unstructure(example).items() if name not in UNREAD}
    assert structure(own, origin="reference") == structure(own)


def test_options_get_our_names_and_values_and_the_defaults_of_their_origin():
    flare = {"type": "flare", "channel_dim": 24, "num_heads": 3, "num_latents": 5}
    config = structure(flare, origin="vpuri3/FLARE.py")
    assert (config.hidden_dim, config.activation) == (24, "GELU_TANH")
    chosen = {"gelu": "GELU_TANH", "silu": "SILU", None: "GELU_TANH", "SILU": "SILU"}
    for theirs, ours in chosen.items():
        assert structure(flare | {"act": theirs}, origin="vpuri3/FLARE.py").activation == ours

    model = {"type": "transolver", "n_hidden": 24, "n_head": 3, "n_layers": 5}
    config, problems = read(lambda: structure(model, origin="thuml/Transolver"))
    assert (config.hidden_dim, config.num_heads, config.num_slices) == (24, 3, 32)
    assert [str(problem) for problem in problems] == [
        "n_layers: was left out: it is of the model around the attention"
    ]


def test_problems_stand_under_the_names_that_the_source_has():
    wrong = {"type": "flare", "channel_dim": 0, "num_heads": 3, "act": "relu", "hidden_dim": 8}
    with pytest.raises(ConfigError) as caught:
        structure(wrong | {"num_latent": 5}, origin="vpuri3/FLARE.py")
    assert [problem.headline for problem in caught.value.problems] == [
        "hidden_dim: means the same as channel_dim, which is given too; keep one of them",
        "channel_dim: expected an integer of at least 1, got 0",
        "act: expected 'GELU', 'GELU_TANH' or 'SILU', got 'relu'; did you mean 'GELU'?",
        "num_latent: unknown option of 'flare'; did you mean 'num_latents'?",
    ]
    with pytest.raises(UnknownTypeError, match="did you mean 'flare'"):
        structure(wrong | {"type": "flar"}, origin="reference")


def test_an_origin_that_a_variant_does_not_know_is_refused_with_those_it_knows():
    with pytest.raises(ValueError, match=r"'transolver' knows no 'thuml/Transolvr'; did you mean"):
        structure({"type": "transolver"}, origin="thuml/Transolvr")
    with pytest.raises(ValueError, match=r"'flare' knows no 'x'; it knows 'reference', 'vpuri3/"):
        structure_block({**BLOCK, "attention_constructor": "flare"}, origin="x")
    with pytest.raises(ValueError, match="TokenSpec is no config of attention"):
        structure({"name": "a", "size": 1}, TokenSpec, origin="reference")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"{__name__}:BROKEN", "names window, which is no option"),
        (f"{__name__}:UNREAD", "is no Origin"),
        (f"{__name__}:NOWHERE", "NOWHERE"),
    ],
)
def test_an_origin_that_is_none_is_the_plugins_failure(path, reason):
    known = Registry(index=Index((), (), ()))
    variant = registry().get("dot_product")
    known.register(attrs.evolve(variant, origins={"acme": path}))
    with pytest.raises(PluginError, match=reason):
        structure({"type": "dot_product"}, origin="acme", registry=known)
