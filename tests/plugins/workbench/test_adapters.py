"""One adapter per interface, each shown with a module that records its call."""

from typing import Literal

import attrs
import pytest
import torch
from torch import nn

from noether_core import AttentionVariant, registry
from noether_core.schemas import AttentionConfig
from noether_plugins.workbench.adapters import Geometry, adapt
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import FlowTransformer


@attrs.frozen(kw_only=True)
class RecordedSelfConfig(AttentionConfig):
    """Of the self interface, with positions."""

    type: Literal["recorded_self"] = "recorded_self"


@attrs.frozen(kw_only=True)
class RecordedCrossConfig(AttentionConfig):
    """Of the cross interface."""

    type: Literal["recorded_cross"] = "recorded_cross"


@attrs.frozen(kw_only=True)
class RecordedTokensConfig(AttentionConfig):
    """Of the tokens interface."""

    type: Literal["recorded_tokens"] = "recorded_tokens"


class Recorded(nn.Module):
    """Returns its first argument, and remembers them all."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, *arguments, **options):
        self.arguments, self.options = arguments, options
        return arguments[0]


CONFIGS = {"self": RecordedSelfConfig, "cross": RecordedCrossConfig, "tokens": RecordedTokensConfig}


@pytest.fixture(autouse=True)
def recorded_variants():
    for interface, config in CONFIGS.items():
        registry().register(
            AttentionVariant(
                config=config,
                module=f"{__name__}:Recorded",
                interface=interface,
                capabilities=("rope", "positions") if interface == "self" else ("rope",),
                time_exponent=1,
                memory_exponent=1,
                summary="Remembers how it was called.",
                example={"hidden_dim": 6, "num_heads": 1},
                api_version=1,
            )
        )


def _called(interface, **options):
    adapter = adapt(CONFIGS[interface](hidden_dim=6, num_heads=1, **options))
    x = torch.randn(2, 11, 6)
    geometry = Geometry(torch.rand(2, 11, 2), n_surface=5)
    return adapter, x, geometry, adapter(x, geometry)


def test_the_self_interface_gets_positions_where_the_variant_takes_them():
    adapter, x, geometry, _ = _called("self")
    assert adapter.attention.arguments[0] is x
    assert adapter.attention.options == {"freqs": None, "positions": geometry.positions}


def test_the_cross_interface_reads_the_tokens_that_ask():
    adapter, x, _, _ = _called("cross")
    assert [argument is x for argument in adapter.attention.arguments] == [True, True]
    assert adapter.attention.options == {"q_freqs": None, "k_freqs": None}


def test_the_tokens_interface_gets_groups_that_add_up_and_gives_the_tokens_back_in_their_order():
    adapter, x, _, y = _called("tokens")
    ordered, specs = adapter.attention.arguments
    assert {spec.name: spec.size for spec in specs} == {
        "surface_anchors": 2,
        "surface_queries": 3,
        "volume_anchors": 2,
        "volume_queries": 4,
    }
    assert ordered[:, :2].equal(x[:, [0, 4]])
    assert ordered[:, 5:7].equal(x[:, [5, 9]])
    assert y.equal(x)


@pytest.mark.parametrize("interface", CONFIGS)
def test_frequencies_are_made_from_positions_where_the_config_asks_for_rotation(interface):
    adapter, *_ = _called(interface, use_rope=True)
    frequencies = [
        value for name, value in adapter.attention.options.items() if name.endswith("freqs")
    ]
    assert frequencies
    assert all(freqs.shape == (2, 11, 3) and freqs.is_complex() for freqs in frequencies)


def test_frequencies_follow_the_order_of_the_groups():
    adapter, _, geometry, _ = _called("tokens", use_rope=True)
    in_order = adapter.frequencies(geometry)
    assert adapter.attention.options["freqs"][:, :2].equal(in_order[:, [0, 4]])


@pytest.mark.parametrize("interface", CONFIGS)
def test_the_transformer_holds_the_attention_of_any_interface(interface):
    model = FlowTransformer(Experiment(attention=CONFIGS[interface](hidden_dim=6, num_heads=1)))
    pressure, velocity = model(torch.randn(2, 5, 4), torch.randn(2, 7, 3))
    assert pressure.shape == (2, 5)
    assert velocity.shape == (2, 7, 2)
