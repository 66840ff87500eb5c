"""What every attention config does: open and concrete ones, groups of tokens and patterns."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st

from noether_core import AttentionConfig, AttentionPattern, ConfigError, TokenSpec, structure, unstructure
from noether_core.schemas import FrozenMapping


@attrs.frozen(kw_only=True)
class WindowConfig(AttentionConfig):
    """Concrete, and so closed."""

    type: Literal["window"] = "window"

    window: Annotated[int, Ge(1)] = 256
    """Tokens on either side."""


OPEN = AttentionConfig(type="window", hidden_dim=12, num_heads=3, window=5, tags=["a", {"b": [1, 2.5, None]}])
CLOSED = WindowConfig(hidden_dim=12, num_heads=3, window=5)
SPEC = TokenSpec("surface_anchors", 7)
PATTERN = AttentionPattern(["surface"], ("volume", "surface"))
ALL = [OPEN, CLOSED, SPEC, PATTERN, TokenSpec("volume", None)]


@pytest.mark.parametrize("config", ALL, ids=repr)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_configs_can_be_pickled(config, protocol):
    again = pickle.loads(pickle.dumps(config, protocol))  # noqa: S301  our own
    assert again == config
    assert hash(again) == hash(config)
    assert type(again) is type(config)


@pytest.mark.parametrize("config", ALL, ids=repr)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, attrs.evolve])
def test_configs_can_be_copied(config, duplicate):
    assert duplicate(config) == config
    assert hash(duplicate(config)) == hash(config)


@pytest.mark.parametrize("config", ALL, ids=repr)
def test_configs_are_frozen_and_slotted(config):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(config, attrs.fields(type(config))[0].name, 1)
    with pytest.raises((AttributeError, TypeError)):
        config.nonsense = 1
    assert not hasattr(config, "__dict__")


def test_configs_are_keyword_only_and_groups_and_patterns_also_positional():
    with pytest.raises(TypeError):
        AttentionConfig("window", 12, 3)
    with pytest.raises(TypeError):
        WindowConfig("window", 12, 3)
    assert TokenSpec(name="surface_anchors", size=7) == SPEC
    assert AttentionPattern(query_tokens=["surface"], key_value_tokens=["volume", "surface"]) == PATTERN


def test_missing_options_are_a_type_error_as_everywhere_in_python():
    with pytest.raises(TypeError, match="hidden_dim"):
        AttentionConfig(type="window", num_heads=3)
    with pytest.raises(TypeError, match="size"):
        TokenSpec("surface")


def test_the_open_schema_keeps_options_that_it_does_not_know():
    assert OPEN.extra == FrozenMapping({"window": 5, "tags": ["a", {"b": [1, 2.5, None]}]})
    assert OPEN.extra["tags"] == ("a", FrozenMapping({"b": (1, 2.5, None)}))
    assert AttentionConfig(type="window", hidden_dim=12, num_heads=3, extra={"window": 5}) == (
        AttentionConfig(type="window", hidden_dim=12, num_heads=3, window=5)
    )
    assert AttentionConfig(type="window", hidden_dim=12, num_heads=3, window=6) != OPEN


def test_evolve_changes_adds_and_keeps_extra_options():
    changed = attrs.evolve(OPEN, window=6, shift=1)
    assert changed.extra == FrozenMapping({**OPEN.extra, "window": 6, "shift": 1})
    assert attrs.evolve(OPEN, num_heads=4).extra == OPEN.extra


def test_evolve_checks_what_it_makes():
    with pytest.raises(ConfigError, match="5 does not divide hidden_dim 12; 4 and 6 do"):
        attrs.evolve(CLOSED, num_heads=5)


def test_the_concrete_schema_is_closed():
    with pytest.raises(TypeError, match="windows"):
        WindowConfig(hidden_dim=12, num_heads=3, windows=5)


def test_an_extra_option_cannot_hide_a_declared_one():
    with pytest.raises(ConfigError) as caught:
        WindowConfig(hidden_dim=12, num_heads=3, extra={"window": 5, "shift": 1})
    (problem,) = caught.value.problems
    assert problem.path == "extra.window"


def test_an_extra_option_is_plain_data():
    with pytest.raises(ConfigError) as caught:
        AttentionConfig(type="window", hidden_dim=12, num_heads=3, hook=print, depth=[1, float("nan")])
    assert [problem.path for problem in caught.value.problems] == ["extra.hook", "extra.depth[1]"]


def test_head_dim_follows_and_a_value_given_must_agree():
    assert WindowConfig(hidden_dim=12, num_heads=3).head_dim == 4
    assert WindowConfig(hidden_dim=12, num_heads=3, head_dim=4) == WindowConfig(hidden_dim=12, num_heads=3)
    assert attrs.evolve(WindowConfig(hidden_dim=12, num_heads=3, head_dim=4), num_heads=2).head_dim == 6
    with pytest.raises(ConfigError) as caught:
        WindowConfig(hidden_dim=12, num_heads=3, head_dim=5)
    (problem,) = caught.value.problems
    assert problem.path == "head_dim"
    assert problem.message == "5 is not hidden_dim 12 / num_heads 3 = 4"


def test_every_problem_of_a_config_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        AttentionConfig(type=3, hidden_dim="12", num_heads=0, use_rope=1, dropout=2, init_weights="torchs", bias=None)
    assert {problem.path for problem in caught.value.problems} == {
        "type",
        "hidden_dim",
        "num_heads",
        "use_rope",
        "dropout",
        "init_weights",
        "bias",
    }


@given(hidden_dim=st.integers(1, 300), num_heads=st.integers(1, 300))
def test_heads_that_do_not_divide_the_width_are_refused_with_the_nearest_that_do(hidden_dim, num_heads):
    divisors = [heads for heads in range(1, hidden_dim + 1) if hidden_dim % heads == 0]
    if num_heads in divisors:
        assert WindowConfig(hidden_dim=hidden_dim, num_heads=num_heads).head_dim * num_heads == hidden_dim
        return
    with pytest.raises(ConfigError) as caught:
        WindowConfig(hidden_dim=hidden_dim, num_heads=num_heads)
    (problem,) = caught.value.problems
    below = max(heads for heads in divisors if heads < num_heads)
    above = min((heads for heads in divisors if heads > num_heads), default=None)
    assert problem.suggestion == (f"{below} does" if above is None else f"{below} and {above} do")


def test_huge_numbers_are_refused_in_no_time():
    with pytest.raises(ConfigError, match="does not divide"):
        WindowConfig(hidden_dim=10**4000, num_heads=7**100)


def test_a_type_may_carry_its_distribution():
    assert WindowConfig(type="acme-attn:window", hidden_dim=12, num_heads=3).type == "acme-attn:window"
    for other in ("windows", "acme-attn:windows", "window:acme"):
        with pytest.raises(ConfigError, match="expected 'window'"):
            WindowConfig(type=other, hidden_dim=12, num_heads=3)


@pytest.mark.parametrize(
    ("name", "domain", "attn_type"),
    [("surface_anchors", "surface", "anchors"), ("a_b_c", "a", "c"), ("volume", "volume", "volume"), ("_x", "", "x")],
)
def test_a_group_tells_its_domain_and_its_attention_type(name, domain, attn_type):
    spec = TokenSpec(name, 3)
    assert (spec.domain, spec.attn_type) == (domain, attn_type)


def test_a_group_is_made_from_one_entry_and_gives_it_back():
    assert TokenSpec.from_dict({"surface": 3}) == TokenSpec("surface", 3)
    assert TokenSpec.from_dict({"surface": None}).to_dict() == {"surface": None}
    for wrong in ({}, {"a": 1, "b": 2}, [("a", 1)], "a"):
        with pytest.raises(ValueError, match="a mapping of one name to its size"):
            TokenSpec.from_dict(wrong)


@pytest.mark.parametrize(("name", "size"), [("", 1), (3, 1), ("a", -1), ("a", 1.0), ("a", True), ("a", "1")])
def test_a_group_that_is_none_is_refused(name, size):
    with pytest.raises(ConfigError):
        TokenSpec(name, size)


@pytest.mark.parametrize("sides", [("ab", ["a"]), (["a"], []), (["a"], [""]), (["a"], {"b": 1}), ([3], ["a"])])
def test_a_pattern_that_is_none_is_refused(sides):
    with pytest.raises(ConfigError):
        AttentionPattern(*sides)


def test_what_the_reference_writes_beside_a_group_is_dropped():
    written = {"name": "surface_anchors", "size": 7, "domain": "surface", "attn_type": "anchors"}
    assert structure(written, TokenSpec) == SPEC
    assert unstructure(SPEC) == {"name": "surface_anchors", "size": 7}


FINGERPRINT = """
from noether_core import AttentionConfig
config = AttentionConfig(num_heads=3, window=5, hidden_dim=12, type="window", dropout=0, note="n", parts=["a", "b"])
print(config.fingerprint())
"""


def test_a_fingerprint_is_the_same_in_every_process_order_and_spelling():
    here = AttentionConfig(
        type="window", hidden_dim=12, num_heads=3, note="n", parts=["a", "b"], window=5
    ).fingerprint()
    for seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", FINGERPRINT]
        there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        assert there == here
    assert WindowConfig(hidden_dim=12, num_heads=3).fingerprint() == (
        WindowConfig(hidden_dim=12, num_heads=3, head_dim=4, window=256, dropout=0).fingerprint()
    )


def test_a_fingerprint_differs_when_any_option_does():
    changes = [
        {"hidden_dim": 24},
        {"num_heads": 4},
        {"use_rope": True},
        {"dropout": 0.1},
        {"init_weights": "zeros"},
        {"bias": False},
        {"qk_norm": True},
        {"window": 6},
        {"type": "acme:window"},
        {"extra": {"note": 1}},
    ]
    prints = [attrs.evolve(CLOSED, **change).fingerprint() for change in changes]
    assert len({CLOSED.fingerprint(), *prints}) == len(changes) + 1


def test_plain_data_is_ready_for_json_with_the_type_first():
    plain = unstructure(OPEN)
    assert next(iter(plain)) == "type"
    assert "head_dim" not in plain
    assert json.loads(json.dumps(plain)) == plain
    assert plain["tags"] == ["a", {"b": [1, 2.5, None]}]
    assert unstructure(CLOSED, defaults=False) == {"type": "window", "hidden_dim": 12, "num_heads": 3, "window": 5}


MOVED = """
import sys, warnings
from noether_core.schemas.modules import attention
import noether_core.schemas.modules as modules
assert not {"torch", "noether_plugins"} & set(sys.modules)
names = ["DotProductAttentionConfig", "TransolverAttentionConfig"]
assert set(names) <= set(dir(attention)) and set(names) <= set(dir(modules))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name in names * 2:
        assert getattr(attention, name) is getattr(modules, name)
assert [w.category for w in caught] == [DeprecationWarning] * 2, caught
assert "noether_plugins.attention.dot_product.config" in str(caught[0].message)
assert "torch" not in sys.modules
for module in (attention, modules):
    try:
        module.Nonsense
    except AttributeError as error:
        assert "Nonsense" in str(error)
    else:
        raise AssertionError
"""


def test_moved_names_stay_importable_and_warn_once():
    subprocess.run([sys.executable, "-c", MOVED], check=True)
