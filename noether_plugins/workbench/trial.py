"""Whether an attention takes points of a task: one small call, before any sample is made."""

from __future__ import annotations

import attrs
import torch

from noether_core import AttentionConfig, NoetherError, PluginError, registry
from noether_core.tasks import Layout
from noether_plugins.workbench.experiment import ModelConfig
from noether_plugins.workbench.memory import is_out_of_memory
from noether_plugins.workbench.model import PointTransformer, n_features

_POINTS = 8
"""Points of each group in the call."""


def check_call(attention: AttentionConfig, model: ModelConfig, layout: Layout) -> None:
    """Call a model of one block with random points of a layout, and forget it.

    Raises:
        NoetherError: What the attention says of points that it does not take, such as groups that
            are none of its branches.
        PluginError: If it raises anything else; the error names who provides it.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        trial = PointTransformer(attention, attrs.evolve(model, depth=1), layout).eval()
        features = {
            group: torch.rand(1, _POINTS, n_features(layout, group)) for group in layout.groups
        }
        try:
            trial(features)
        except NoetherError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            provider = registry().provider_of(attention).provider
            reason = (
                f"'{attention.type}' cannot be called with points of the task: "
                f"{type(error).__name__}: {error}"
            )
            raise PluginError(provider, reason) from error
