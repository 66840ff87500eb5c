"""The transformer over groups of points."""

import pytest
import torch

from noether_core import registry, structure
from noether_core.tasks import GroupLayout, Layout, Quantity
from noether_plugins.workbench.experiment import ModelConfig
from noether_plugins.workbench.model import PointTransformer

LAYOUT = Layout(
    coordinates=3,
    groups={
        "surface": GroupLayout(
            inputs={"gain": Quantity()}, fields={"p": Quantity(), "friction": Quantity(width=2)}
        ),
        "volume": GroupLayout(
            inputs={"normal": Quantity(width=2)}, fields={"velocity": Quantity(width=3)}
        ),
    },
)
TYPES = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]


def _model(type="dot_product", layout=LAYOUT, **options):
    options = {**registry().get(type).example, **options}
    if "branches" in options:
        options["branches"] = list(layout.groups)
    config = structure({**options, "type": type})
    torch.manual_seed(0)
    return PointTransformer(config, ModelConfig(depth=2), layout).eval()


def _features(surface=7, volume=11):
    return {"surface": torch.rand(2, surface, 4), "volume": torch.rand(2, volume, 5)}


@pytest.mark.parametrize("type", TYPES)
def test_every_group_gets_its_fields_whatever_the_attention(type):
    fields = _model(type)(_features())
    shapes = {
        group: {name: tuple(field.shape) for name, field in own.items()}
        for group, own in fields.items()
    }
    assert shapes == {
        "surface": {"p": (2, 7, 1), "friction": (2, 7, 2)},
        "volume": {"velocity": (2, 11, 3)},
    }


@pytest.mark.parametrize("type", TYPES)
def test_points_of_one_group_matter_to_the_other(type):
    if type == "self_anchor":
        pytest.skip("its branches do not attend to each other")
    model, features = _model(type), _features()
    for block in model.blocks:
        torch.nn.init.normal_(block.attention_norm.weight)
        for parameter in block.attention.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter)
    moved = {**features, "volume": features["volume"] + 0.01}
    before, after = model(features)["surface"]["p"], model(moved)["surface"]["p"]
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("n_surface", [4, 0])
@pytest.mark.parametrize("type", TYPES)
def test_padding_changes_nothing_also_where_a_group_has_no_points(type, n_surface):
    model, features = _model(type), _features()
    assert model.takes_padding
    real = {"surface": torch.ones(2, 7, dtype=torch.bool), "volume": torch.ones(2, 11).bool()}
    real["surface"][1, n_surface:] = False
    real["volume"][1, 9:] = False
    alone = {"surface": features["surface"][1:, :n_surface], "volume": features["volume"][1:, :9]}
    with torch.no_grad():
        padded, expected = model(features, real), model(alone)
    for group, size in (("surface", n_surface), ("volume", 9)):
        for name, field in expected[group].items():
            assert field.shape[1] == size
            torch.testing.assert_close(padded[group][name][1:, :size], field, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("type", TYPES)
def test_every_variant_learns_in_half_the_bits(type):
    model = _model(type).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fields = model(_features())
    loss = sum(field.float().square().mean() for own in fields.values() for field in own.values())
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_positions_rotate_where_the_config_says_so():
    model = _model(use_rope=True, hidden_dim=16)
    assert model.blocks[0].attention.rope.input_dim == 3
    model(_features())


def test_groups_may_have_any_name_and_a_group_may_only_inform():
    groups = {
        "values": GroupLayout(fields={"keys": Quantity()}),
        "a.b": GroupLayout(fields={"c.d": Quantity(width=2)}),
        "forward": GroupLayout(),
    }
    layout = Layout(coordinates=1, groups=groups, inputs={"time": Quantity(width=2)})
    fields = _model(layout=layout)({name: torch.rand(2, 5, 3) for name in groups})
    assert {name: [*own] for name, own in fields.items()} == {"values": ["keys"], "a.b": ["c.d"]}
