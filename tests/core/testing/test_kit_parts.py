"""What checks are made of: other values of options, groups of tokens, what is read, what it costs."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import pytest
import torch
from annotated_types import Ge, Gt, Interval
from torch import nn

from noether_core import AttentionConfig, TokenSpec, unstructure
from noether_core.schemas.schema import plan_of
from noether_core.testing import Subject, calls
from noether_core.testing.alternatives import (
    alternatives,
    bounds_in,
    foreign_values,
    is_fixed,
    takes_anything,
)
from noether_core.testing.comparing import are_alike, largest_error, relative_error
from noether_core.testing.measuring import Consumption, Operations
from noether_core.testing.reading import recording
from noether_core.testing.sizes import sizes_unlike
from tests.core.testing.kit_configs import SOUND, SoundConfig


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("annotation", "taken", "refused"),
    [
        (int, (), (True, 2.5, "1", None, [1])),
        (Annotated[float, Gt(0)], (1, 7), (True, "1", None)),
        (bool, (), (1, 0, "true", None)),
        (int | None, (None,), (True, "1")),
        (Literal["a", "b"], ("text",), (1, True, None, ["text"])),
        (Colour, ("text",), (1, True, None)),
        (tuple[str, ...], ([],), ("text", 1)),
        (Mapping[str, int], ({},), ("text", [])),
    ],
)
def test_values_of_every_other_kind_are_foreign(annotation, taken, refused):
    values = list(foreign_values(annotation, 4))
    held = [(type(value), value) for value in values]
    assert all((type(value), value) in held for value in refused)
    assert not any((type(value), value) in held for value in taken)


def test_text_that_reads_like_a_number_is_foreign_to_one():
    assert "4" in list(foreign_values(int, 4))


def test_any_takes_anything():
    assert takes_anything(Any)
    assert takes_anything(Any | None)
    assert not takes_anything(int | None)


@pytest.mark.parametrize(
    ("annotation", "is_one"),
    [
        (Literal[False], True),
        (Annotated[Literal["a"], "why"], True),
        (Literal[1, 2], False),
        (bool, False),
    ],
)
def test_one_literal_is_fixed(annotation, is_one):
    assert is_fixed(annotation) is is_one


def test_bounds_are_found_in_unions_too():
    assert list(bounds_in(Annotated[int, Ge(2)] | None)) == [(int, (("ge", 2),))]
    assert list(bounds_in(Annotated[float, Interval(ge=0, le=1)])) == [
        (float, (("ge", 0), ("le", 1)))
    ]
    assert list(bounds_in(tuple[str, ...])) == []


def test_alternatives_make_sound_configs_and_differ_from_the_example():
    subject = Subject.of("flare")
    for field in plan_of(subject.variant.config).fields:
        for value in itertools.islice(alternatives(subject, field), 5):
            if field.option not in {"type", "head_dim", "extra"}:
                assert subject.is_sound(**{field.option: value})
                assert value != getattr(subject.config(), field.name)


def test_sizes_are_different_primes_that_no_option_has():
    sizes = sizes_unlike([2, 3, 13, None, "7"])
    assert len(set(sizes)) == len(sizes)
    assert not {2, 3, 13} & set(sizes)
    assert sizes.more_tokens > sizes.tokens >= 13


@pytest.mark.parametrize(
    ("groups", "tokens", "sizes"),
    [
        ({}, 13, [2, 4, 3, 4]),
        ({}, 3, [0, 3, 0, 0]),
        ({"queries": None, "anchors": 4}, 11, [7, 4]),
        ({"queries": None, "anchors": 4}, 0, [0, 0]),
        ({"anchors": 4}, 9, [9]),
    ],
)
def test_groups_add_up_to_the_tokens_and_fixed_ones_stay(groups, tokens, sizes):
    specs = calls.specs_of(groups, tokens)
    assert [spec.size for spec in specs] == sizes
    assert sum(sizes) == tokens


def test_a_shorter_call_cuts_what_is_read_and_its_groups():
    arguments = {"x": torch.ones(2, 5, 3), "token_specs": [TokenSpec("a", 2), TokenSpec("b", 3)]}
    short = calls.shortened(arguments, 3)
    assert short["x"].shape == (2, 3, 3)
    assert [spec.size for spec in short["token_specs"]] == [2, 1]
    cross = calls.shortened({"q": torch.ones(2, 5, 3), "kv": torch.ones(2, 7, 3)}, 4)
    assert (cross["q"].shape[1], cross["kv"].shape[1]) == (5, 4)


def test_errors_are_relative_and_infinite_where_numbers_are_not_finite():
    one = torch.tensor([2.0, 4.0], dtype=torch.float64)
    assert largest_error(one + torch.tensor([0.0, 1.0]), one) == 0.25
    assert relative_error(1.5 * one, one) == pytest.approx(0.5)
    assert largest_error(one / 0, one) == relative_error(one / 0, one) == float("inf")
    assert are_alike(one, one + 1e-12)
    assert not are_alike(one, one[:1])


def test_reading_an_option_is_recorded_and_going_through_all_of_them_is_not():
    looked_at: set[str] = set()
    config = recording(SoundConfig(hidden_dim=8, num_heads=2), looked_at)
    assert isinstance(config, SoundConfig)
    unstructure(config)
    attrs.asdict(config)
    assert config == SoundConfig(hidden_dim=8, num_heads=2)
    assert looked_at == set()
    assert config.sharpness == 1
    assert looked_at == {"sharpness"}


def test_operations_are_written_down_with_shapes():
    with Operations() as operations:
        torch.ones(2, 3) @ torch.ones(3, 5)
    assert ("aten.mm.default", ((2, 5),)) in operations.seen


def test_work_is_multiplications_and_what_is_read_and_written():
    x, weight = torch.ones(7, 3), torch.ones(3, 5)
    with Consumption() as consumption:
        _ = x @ weight
    assert consumption.work == 2 * 7 * 3 * 5 + 7 * 3 + 3 * 5 + 7 * 5


def test_views_cost_nothing():
    x = torch.ones(7, 3)
    with Consumption() as consumption:
        x.t().unsqueeze(0)
    assert (consumption.work, consumption.peak) == (0, 0)


def test_the_peak_is_what_is_held_at_once():
    x = torch.ones(1000)
    with Consumption() as consumption:
        y = x + 1
        for _ in range(5):
            y = y + 1
    assert consumption.peak == 2 * 4000


def test_what_the_backward_pass_needs_is_held():
    x = torch.ones(1000, requires_grad=True)
    with Consumption() as consumption:
        y = x
        for _ in range(5):
            y = y.sin()
    assert consumption.peak == 5 * 4000


def test_attention_counts_every_pair_whatever_kernel_computes_it():
    counted = []
    for tokens in (64, 128):
        queries = torch.ones(1, 1, tokens, 8)
        with Consumption() as consumption:
            nn.functional.scaled_dot_product_attention(queries, queries, queries)
        counted.append(consumption.work)
    assert counted[0] > 4 * 64 * 64 * 8
    assert counted[1] > 3.5 * counted[0]


def test_a_record_names_groups_frozen_parameters_and_silent_options():
    from noether_core import ConfigError

    made = attrs.evolve(SOUND, example_groups={"a": None, "b": 3}, frozen_parameters=("q.*",))
    assert dict(made.example_groups) == {"a": None, "b": 3}
    with pytest.raises(ConfigError, match="silent_options: levle: unknown option of SoundConfig"):
        attrs.evolve(SOUND, silent_options=("levle",))
    with pytest.raises(ConfigError, match="example_groups"):
        attrs.evolve(SOUND, example_groups={"a": -1})


def test_an_open_config_is_no_variant():
    with pytest.raises(TypeError):
        Subject.of(AttentionConfig)
