"""What is counted without numbers is what a call with numbers takes."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
import pytest
import torch
from annotated_types import Ge
from torch import nn

from noether_core import AnyAttention, AttentionVariant, registry, structure
from noether_core.counting import Rehearsal, costs_of_attention, count
from noether_core.nn.consumption import Consumption
from noether_core.schemas import AttentionConfig
from tests.sampling import sampled

TYPES = [entry.name for entry in registry().providers()]


def config_of(type):
    options = {**registry().get(type).example, "hidden_dim": 32, "num_heads": 4}
    return structure({"type": type, **options})


def taken(config, tokens, part):
    """Return operations and bytes of a call with numbers."""
    coordinates = getattr(config, "input_dim", None) or 3
    module = AnyAttention(config, input_dim=coordinates).train(part == "training")
    x = torch.rand(1, tokens, config.hidden_dim, requires_grad=part == "training")
    positions = torch.rand(1, tokens, coordinates)
    with torch.set_grad_enabled(part == "training"), Consumption() as consumption:
        y = module(x, positions=positions)
        if part == "training":
            y.sum().backward()
    return consumption.operations, consumption.bytes


@pytest.mark.parametrize(
    ("type", "tokens"),
    sampled(
        [(each, tokens) for each in TYPES for tokens in (1_000, 16_384)],
        *[(each, 1_000) for each in TYPES],
    ),
)
def test_counts_of_a_variant_are_what_the_cpu_takes_to_the_last_digit(type, tokens):
    config = config_of(type)
    costs = costs_of_attention(config, [tokens])
    module = AnyAttention(config, input_dim=getattr(config, "input_dim", None) or 3)
    assert costs.parameters == sum(each.numel() for each in module.parameters())
    assert costs.parameter_bytes == 4 * costs.parameters
    for each in costs.counts:
        assert (each.how, each.detail) == ("counted", "")
        assert (each.operations, each.bytes) == taken(config, tokens, each.part)


def test_the_polynomial_is_what_would_have_been_counted_and_says_that_it_is_one(monkeypatch):
    config = config_of("galerkin")
    (counted, _) = costs_of_attention(config, [131_072 + 77]).counts
    monkeypatch.setattr("noether_core.counting.MOST_CALLS", 600)
    (fitted, training) = costs_of_attention(config, [131_072 + 77]).counts
    assert (counted.how, fitted.how, training.how) == ("counted", "fitted", "counted")
    assert "exact at" in fitted.detail
    assert fitted.operations == pytest.approx(counted.operations, rel=1e-6)
    assert fitted.bytes == pytest.approx(counted.bytes, rel=1e-6)


@pytest.fixture
def few_calls(monkeypatch):
    monkeypatch.setattr("noether_core.counting.MOST_CALLS", 100)
    monkeypatch.setattr("noether_core.counting.MOST_CALLS_OF_FIT", 2_000)


class Loops(nn.Module):
    """Work that depends on tokens in ways that no polynomial knows."""

    def __init__(self, chunks):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.chunks = chunks

    def forward(self, x):
        for _ in range(self.chunks(len(x))):
            self.layer(x[:1])


def counts_of(module, tokens):
    def prepare(module, tokens):
        x = torch.rand(tokens, 2)
        return lambda: module(x)

    return count(Rehearsal(lambda: module, prepare, prepare, basis="a module"), [tokens]).counts[0]


def test_what_no_polynomial_goes_through_is_not_counted(few_calls):
    found = counts_of(Loops(lambda tokens: int(tokens**1.5) // 1_000), 10_000_000)
    assert found.how == "not counted"
    assert found.detail.startswith("cannot be counted: it takes more than")
    assert (found.operations, found.bytes) == (None, None)


def test_a_form_of_fewer_tokens_is_not_taken_for_that_of_many(few_calls):
    """Below 100,000 tokens all are computed at once, and a line goes through these counts."""
    found = counts_of(Loops(lambda tokens: 1 if tokens < 100_000 else tokens // 10), 10_000_000)
    assert found.how == "not counted"


@attrs.frozen(kw_only=True)
class ReadingConfig(AttentionConfig):
    """Options of attention that reads numbers."""

    type: Literal["reading"] = "reading"

    least: Annotated[int, Ge(0)] = 0
    """Unused."""


class Reading(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = structure(config, ReadingConfig)
        self.layer = nn.Linear(config.hidden_dim, config.hidden_dim)

    def forward(self, x):
        if x.sum().item() < 0:
            raise ValueError
        return self.layer(x)


@pytest.fixture
def reading(monkeypatch):
    known = registry().with_preference(())
    known.register(
        AttentionVariant(config=ReadingConfig, module=f"{__name__}:Reading", interface="self")
    )
    return known


def test_attention_that_reads_numbers_is_measured_at_few_tokens_and_says_so_at_many(reading):
    few, _, many, _ = costs_of_attention(
        ReadingConfig(hidden_dim=8, num_heads=2), [100, 100_000], registry=reading
    ).counts
    assert (few.how, few.operations) == ("measured", 2 * 100 * 8 * 8)
    assert "with random numbers, since its form depends on numbers" in few.detail
    assert many.how == "not counted"
    assert many.detail.startswith("cannot be counted: its form depends on numbers")


def test_a_module_that_cannot_be_made_says_why(reading, monkeypatch):
    def fail(self, config):
        raise RuntimeError("no room")

    monkeypatch.setattr(Reading, "__init__", fail)
    costs = costs_of_attention(ReadingConfig(hidden_dim=8, num_heads=2), [100], registry=reading)
    assert costs.error.startswith("cannot be made: ")
    assert "no room" in costs.error
    assert (costs.parameters, costs.counts) == (None, ())


def test_counting_leaves_no_gradients_and_no_seed_behind():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    costs_of_attention(config_of("transolver_plusplus"), [100])
    assert torch.equal(torch.get_rng_state(), before)
