"""The transformer over groups of points."""

import pytest
import torch

from noether_core import registry, structure
from noether_plugins.workbench.experiment import ModelConfig
from noether_plugins.workbench.model import PointGroup, PointTransformer

GROUPS = {
    "surface": PointGroup(n_features=4, fields={"pressure": 1, "friction": 2}),
    "volume": PointGroup(n_features=5, fields={"velocity": 3}),
}
TYPES = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]


def _model(type="dot_product", **options):
    options = {**registry().get(type).example, **options}
    if "branches" in options:
        options["branches"] = list(GROUPS)
    config = structure({**options, "type": type})
    torch.manual_seed(0)
    return PointTransformer(config, ModelConfig(depth=2), GROUPS, input_dim=3).eval()


def _inputs():
    return {"surface": torch.rand(2, 7, 4), "volume": torch.rand(2, 11, 5)}


@pytest.mark.parametrize("type", TYPES)
def test_every_group_gets_its_fields_whatever_the_attention(type):
    fields = _model(type)(_inputs())
    assert {name: tuple(field.shape) for name, field in fields.items()} == {
        "pressure": (2, 7, 1),
        "friction": (2, 7, 2),
        "velocity": (2, 11, 3),
    }


@pytest.mark.parametrize("type", TYPES)
def test_points_of_one_group_matter_to_the_other(type):
    if type == "self_anchor":
        pytest.skip("its branches do not attend to each other")
    model, inputs = _model(type), _inputs()
    for block in model.blocks:
        torch.nn.init.normal_(block.attention_norm.weight)
        for parameter in block.attention.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter)
    moved = {**inputs, "volume": inputs["volume"] + 0.01}
    assert not torch.allclose(model(inputs)["pressure"], model(moved)["pressure"])


def test_positions_rotate_where_the_config_says_so():
    model, inputs = _model(use_rope=True, hidden_dim=16), _inputs()
    assert model.blocks[0].attention.rope.input_dim == 3
    model(inputs)
