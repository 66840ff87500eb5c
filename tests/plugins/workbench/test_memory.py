"""What a run may take of the memory."""

from typing import Literal

import attrs
import pytest
import torch

from noether_core import AttentionConfig, AttentionVariant, PluginError, registry
from noether_plugins.workbench.memory import (
    OutOfMemoryError,
    allowed_memory,
    check_need,
    check_within,
    is_out_of_memory,
    memory_of_machine,
)


def test_need_is_checked_against_the_limit_and_reported_with_both_numbers(small):
    experiment = attrs.evolve(small, memory_limit=2.0)
    check_need(experiment)
    check_within(2 * 2**30, experiment)
    with pytest.raises(
        OutOfMemoryError, match=r"at least 3\.00 GiB and memory_limit is 2\.00 GiB; lower training"
    ):
        check_within(3 * 2**30, experiment)


@pytest.mark.parametrize("limit", [None, 1e9])
def test_no_run_may_take_more_than_the_machine_has_whatever_its_limit(small, limit):
    experiment = attrs.evolve(small, memory_limit=limit)
    assert allowed_memory(experiment) == memory_of_machine()
    check_within(memory_of_machine(), experiment)
    with pytest.raises(OutOfMemoryError, match="and the memory of this machine is"):
        check_within(memory_of_machine() + 1, experiment)


def test_a_failed_allocation_is_known_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.float32)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


@attrs.frozen(kw_only=True)
class BrokenConfig(AttentionConfig):
    """Of a variant that cannot be made."""

    type: Literal["broken"] = "broken"


class Broken(torch.nn.Module):
    def __init__(self, config):
        raise RuntimeError("no weights of this name")


def test_a_constructor_that_raises_is_not_blamed_on_sizes(small):
    registry().register(
        AttentionVariant(config=BrokenConfig, module=f"{__name__}:Broken", interface="self")
    )
    experiment = attrs.evolve(small, attention=BrokenConfig(hidden_dim=8, num_heads=2))
    with pytest.raises(PluginError, match="no weights of this name"):
        check_need(experiment)
