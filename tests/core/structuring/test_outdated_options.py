"""Options of older versions: read under their old names, left out where dropped, and named."""

from __future__ import annotations

import json
import warnings
from typing import Annotated, ClassVar, Literal

import attrs
import pytest
from annotated_types import Ge
from jsonschema import Draft202012Validator

from noether_core import (
    AttentionConfig,
    AttentionVariant,
    ConfigError,
    Registry,
    json_schema,
    load,
    structure,
    structure_block,
    unstructure,
)
from noether_core.errors import OutdatedOptionWarning
from noether_core.plugins.metadata import Index
from noether_core.schemas import Schema
from noether_core.schemas.accepted import accepted_by, changes_between, schema_hash
from noether_core.schemas.faults import faults_of
from noether_core.schemas.schema import plan_of
from noether_core.testing import CHECKS, CheckFailed
from noether_core.testing.subject import Subject


@attrs.frozen(kw_only=True)
class WindowConfig(AttentionConfig):
    """Attends within a window."""

    renamed_options: ClassVar = {
        "win": "window",
        "slice_num": "num_slices",
        "n_slices": "num_slices",
    }
    dropped_options: ClassVar = {"use_flash": "the backend is chosen by itself", "verbose": ""}

    type: Literal["acme_window"] = "acme_window"
    """Attention in a window."""

    window: Annotated[int, Ge(1)]
    """Tokens on either side."""

    num_slices: Annotated[int, Ge(1)] = 4
    """Groups of tokens."""


@attrs.frozen(kw_only=True)
class Model(Schema):
    """Configs in every place where they may stand."""

    renamed_options: ClassVar = {"attn": "attention"}

    attention: AttentionConfig
    blocks: tuple[AttentionConfig, ...] = ()


VARIANT = AttentionVariant(
    config=WindowConfig, module="tests.core.structuring.nowhere:Window", interface="self"
)
OLD = {"type": "acme_window", "hidden_dim": 8, "num_heads": 2, "win": 3, "slice_num": 7}
NEW = {"type": "acme_window", "hidden_dim": 8, "num_heads": 2, "window": 3, "num_slices": 7}


@pytest.fixture(scope="module")
def known():
    registry = Registry(index=Index((), (), ()))
    registry.register(VARIANT)
    return registry


def warned(call):
    """Return what *call* returns, and the lines of its one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = call()
    assert [warning.category for warning in caught] == [OutdatedOptionWarning]
    assert caught[0].filename == __file__
    return made, str(caught[0].message).splitlines()


def problems_of(source, known, cls=AttentionConfig, **options):
    with pytest.raises(ConfigError) as caught:  # a warning beside it would be an error of its own
        structure(source, cls, registry=known, **options)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("unknown", ["error", "keep", "warn"])
def test_an_old_name_is_read_as_the_new_one_with_a_warning_that_has_both(known, unknown):
    config, lines = warned(lambda: structure(OLD, unknown=unknown, registry=known))
    assert config == structure(NEW, registry=known)
    assert lines == [
        "win: is an old name of window; write window",
        "slice_num: is an old name of num_slices; write num_slices",
    ]
    assert unstructure(config, defaults=False) == NEW


def test_a_dropped_option_is_left_out_with_a_warning_that_says_what_to_do(known):
    source = {**NEW, "use_flash": True, "verbose": 2}
    config, lines = warned(lambda: structure(source, unknown="keep", registry=known))
    assert config == structure(NEW, registry=known)
    assert lines == [
        (
            "use_flash: is no option of 'acme_window' any more and was left out; "
            "the backend is chosen by itself"
        ),
        "verbose: is no option of 'acme_window' any more and was left out",
    ]


def test_the_warning_has_the_place_in_a_file_however_deep(known, tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(
        "attn: {type: acme_window, hidden_dim: 8, num_heads: 2, win: 3}\n"
        "blocks:\n"
        "- {type: acme_window, hidden_dim: 8, num_heads: 2, window: 3}\n"
        "- {type: acme_window, hidden_dim: 8, num_heads: 2, window: 3, n_slices: 5}\n"
    )
    model, lines = warned(lambda: load(path, Model, registry=known))
    assert (model.attention.window, model.blocks[1].num_slices) == (3, 5)
    assert [line for line in lines if " is an old name" in line] == [
        f"{path}:1:1: attn: is an old name of attention; write attention",
        f"{path}:1:56: attn.win: is an old name of window; write window",
        f"{path}:4:63: blocks[1].n_slices: is an old name of num_slices; write num_slices",
    ]


def test_the_warning_holds_its_problems(known):
    with pytest.warns(OutdatedOptionWarning) as caught:
        structure(OLD, registry=known)
    assert [problem.path for problem in caught[0].message.problems] == ["win", "slice_num"]


def test_what_is_wrong_with_a_value_is_reported_under_the_name_that_was_written(known):
    wrong = {**OLD, "win": 0, "slice_num": "7", "num_heads": 3, "nonsense": 1}
    assert problems_of(wrong, known) == {
        "win": "expected an integer of at least 1, got 0",
        "slice_num": "expected an integer of at least 1, got '7'",
        "num_heads": "3 does not divide hidden_dim 8",
        "nonsense": "unknown option of 'acme_window'",
    }
    assert problems_of({"attn": {**OLD, "win": 0}}, known, Model) == {
        "attn.win": "expected an integer of at least 1, got 0"
    }


def test_an_option_under_two_of_its_names_is_a_problem(known):
    assert problems_of({**OLD, "window": 3}, known) == {
        "win": "is an old name of window, which is given as window too"
    }
    assert problems_of({**OLD, "n_slices": 7}, known) == {
        "n_slices": "is an old name of num_slices, which is given as slice_num too"
    }


def test_unknown_options_are_warned_of_beside_old_ones(known):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = structure({**OLD, "nonsense": 1}, unknown="warn", registry=known)
    assert config.extra["nonsense"] == 1
    assert [warning.category for warning in caught] == [OutdatedOptionWarning, UserWarning]
    assert str(caught[1].message).startswith("nonsense: unknown option of 'acme_window'")


def test_open_configs_and_blocks_may_have_old_names(known):
    wanted = structure(NEW, registry=known)
    assert warned(lambda: structure(AttentionConfig(**OLD), registry=known))[0] == wanted
    block = {
        "hidden_dim": 8,
        "num_heads": 2,
        "attention_constructor": "acme_window",
        "attention_arguments": {"win": 3, "slice_num": 7},
    }
    (config, _), lines = warned(lambda: structure_block(block, registry=known))
    assert config == wanted
    assert lines[0] == "attention_arguments.win: is an old name of window; write window"


def test_old_names_of_a_base_are_those_of_its_subclasses(known):
    @attrs.frozen(kw_only=True)
    class Wider(WindowConfig):
        renamed_options: ClassVar = {"dist": "reach"}
        reach: int = 1

    assert plan_of(Wider).renamed == {**WindowConfig.renamed_options, "dist": "reach"}
    assert warned(lambda: structure({**OLD, "dist": 2}, Wider))[0].reach == 2


def faulty(renamed=None, dropped=None, ignored=frozenset()):
    @attrs.frozen(kw_only=True)
    class Faulty(AttentionConfig):
        renamed_options = {} if renamed is None else renamed
        dropped_options = {} if dropped is None else dropped
        ignored_options = ignored
        type: Literal["faulty"] = "faulty"
        window: int = 1

    return list(faults_of(Faulty))


@pytest.mark.parametrize(
    ("renamed", "dropped", "fault"),
    [
        ({"window": "dropout"}, {}, "'window' is an option and cannot be an old name of 'dropout'"),
        (
            {"kind": "type"},
            {},
            "'kind' cannot be an old name of 'type', by which the class is found",
        ),
        ({"win": "windows"}, {}, "'win' is an old name of 'windows', which is no option"),
        ({"a": "win", "win": "window"}, {}, "'a' is an old name of 'win', which is no option"),
        ({"extra": "window"}, {}, "'extra' is an option and cannot be an old name of 'window'"),
        ({"win": "window"}, {"win": ""}, "'win' is both renamed and dropped"),
        ({}, {"window": ""}, "'window' is an option and cannot be a dropped one"),
        ({"old": "window"}, {}, "'old' is an ignored option and cannot be an old one as well"),
        ({"win": 3}, {}, "renamed_options of"),
        ([("win", "window")], {}, "must map names to text"),
        ({}, {"win"}, "dropped_options of"),
    ],
)
def test_a_class_whose_old_names_cannot_be_read_is_refused(renamed, dropped, fault):
    (only,) = faulty(renamed, dropped, frozenset({"old"}))
    assert fault in only


def test_the_schema_of_json_takes_each_option_under_one_of_its_names(known):
    schema = json_schema("acme_window", registry=known)
    assert schema["properties"]["win"]["deprecated"] is True
    validator = Draft202012Validator(schema)
    for source in (OLD, NEW, {**NEW, "use_flash": True}, {**OLD, "window": 3}):
        assert validator.is_valid(source) == (source.get("win") is None or "window" not in source)
    for changes in ({"win": 0}, {"n_slices": 7}):
        assert not validator.is_valid({**OLD, **changes})
    without = {name: value for name, value in OLD.items() if name != "win"}
    assert not validator.is_valid(without)


def test_a_changed_schema_names_what_was_renamed():
    before = accepted_by(WindowConfig)
    before["slice_num"] = before.pop("num_slices")
    here = accepted_by(WindowConfig)
    assert list(changes_between(before, here, plan_of(WindowConfig).renamed)) == [
        "'slice_num' is 'num_slices' now"
    ]
    assert schema_hash(before) != schema_hash(here)


def test_the_kit_reads_a_config_under_its_old_names(known, monkeypatch):
    subject = Subject.of(VARIANT)
    CHECKS["config_round_trip"](subject)

    monkeypatch.setattr(
        "noether_core.testing.checks.configs.structure",
        lambda source, registry: structure(
            {**source, "win": 9} if "win" in source else source, registry=registry
        ),
    )
    with pytest.raises(CheckFailed, match="'win', an old name of 'window'"):
        CHECKS["config_round_trip"](subject)


SOURCE = """
from typing import Literal
import attrs
from noether_core import AttentionConfig, AttentionVariant, hookimpl

@attrs.frozen(kw_only=True)
class Config(AttentionConfig):
    renamed_options = {"win": "window"}
    dropped_options = {"verbose": "look at the log"}
    type: Literal["acme_window"] = "acme_window"
    window: int = 3

@hookimpl
def noether_attention_variant():
    return AttentionVariant(config=Config, module="nowhere:Module", interface="self")
"""


def test_commands_show_old_options_and_warn_of_them(site, tmp_path, monkeypatch, capsys):
    from noether_core.cli import main

    site.install("acme", attention={"acme_window": "acme_plugin"}, files={"acme_plugin.py": SOURCE})
    monkeypatch.setattr("noether_core.plugins.registry.registry", site.registry)
    monkeypatch.setattr("noether_core.structuring.checking.default_registry", site.registry)

    assert main(["show", "acme_window", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["old_options"] == [
        {"old_option": "win", "now": "window", "help": "Read as that, with a warning."},
        {"old_option": "verbose", "now": None, "help": "look at the log"},
    ]
    assert main(["show", "acme_window"]) == 0
    assert "win\twindow\tRead as that" in capsys.readouterr().out

    file = tmp_path / "a.yaml"
    file.write_text("type: acme_window\nhidden_dim: 8\nnum_heads: 2\nwin: 5\n")
    assert main(["validate", "--plain", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{file}: good: acme_window\n"
    assert printed.err == f"warning: {file}:4:1: win: is an old name of window; write window\n"
