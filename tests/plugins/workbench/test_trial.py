"""The small call before any sample is made."""

from typing import Literal

import attrs
import pytest
import torch

from noether_core import AttentionConfig, AttentionVariant, PluginError, TokenGroupError, registry
from noether_plugins.attention.anchor.config import SelfAnchorAttentionConfig
from noether_plugins.workbench.trial import check_call
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig

LAYOUT = TinyTask(TinyTaskConfig(), seed=0).layout


def test_it_passes_and_leaves_the_randomness_as_it_was(small):
    torch.manual_seed(0)
    check_call(small.attention, small.model, LAYOUT)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.rand(3).equal(drawn)


def test_groups_that_are_no_branches_are_told_as_such(small):
    attention = SelfAnchorAttentionConfig(hidden_dim=8, num_heads=2, branches=("wall", "air"))
    with pytest.raises(TokenGroupError, match="'fluid' belongs to no branch of 'wall', 'air'"):
        check_call(attention, small.model, LAYOUT)


@attrs.frozen(kw_only=True)
class StubbornConfig(AttentionConfig):
    """Of a variant that can be made, and not called."""

    type: Literal["stubborn"] = "stubborn"


class Stubborn(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, x):
        raise ZeroDivisionError("no windows at all")


def test_whatever_else_is_raised_names_the_plugin(small):
    registry().register(
        AttentionVariant(config=StubbornConfig, module=f"{__name__}:Stubborn", interface="self")
    )
    with pytest.raises(
        PluginError, match=r"'stubborn' cannot be called .*: ZeroDivisionError: no windows at all"
    ):
        check_call(StubbornConfig(hidden_dim=8, num_heads=2), small.model, LAYOUT)
