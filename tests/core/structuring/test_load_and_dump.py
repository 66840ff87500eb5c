"""From files to configs and back."""

import itertools
import re
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noether_core import (
    AttentionConfig,
    ConfigError,
    Problem,
    UnknownTypeError,
    dump,
    load,
    structure,
)
from noether_core.cli import main
from noether_core.schemas import Schema
from noether_core.schemas.schema import plan_of
from noether_core.structuring.documents import read
from noether_plugins.workbench.experiment import Experiment
from tests.core.generated import EXAMPLES, INSTALLED, configs_of
from tests.sampling import ONE_OF_EACH_FORM, sampled

FORMATS = ("yaml", "toml", "json")
BY_TYPE = {name.rpartition(":")[2]: config_class for name, config_class in INSTALLED.items()}
TEXTS = {
    "yaml": (
        "type: transolver\nhidden_dim: 256\nnum_heads: 7\ndropout: 1.5  # far too much\n"
        "num_slice: 64\n"
    ),
    "toml": (
        'type = "transolver"\nhidden_dim = 256\nnum_heads = 7\ndropout = 1.5 # far too much\n'
        "num_slice = 64\n"
    ),
    "json": (
        '{\n"type": "transolver",\n"hidden_dim": 256, "num_heads": 7,\n"dropout": 1.5,\n'
        '"num_slice": 64}\n'
    ),
}
PLACES = {
    "yaml": {"num_heads": (3, 12), "dropout": (4, 10), "num_slice": (5, 1)},
    "toml": {"num_heads": (3, 13), "dropout": (4, 11), "num_slice": (5, 1)},
    "json": {"num_heads": (3, 33), "dropout": (4, 12), "num_slice": (5, 1)},
}


@pytest.mark.parametrize("type", sampled(BY_TYPE, *ONE_OF_EACH_FORM))
@given(data=st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
def test_a_config_comes_back_equal_from_every_format(type, data, tmp_path):
    config = data.draw(configs_of(BY_TYPE[type]))
    for suffix, defaults in itertools.product(FORMATS, (True, False)):
        path = tmp_path / f"attention.{suffix}"
        dump(config, path, defaults=defaults)
        again = load(path)
        assert again == config
        assert again.fingerprint() == config.fingerprint()


@pytest.mark.parametrize("config", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("format", FORMATS)
def test_options_are_written_in_the_order_of_the_fields(format, config, tmp_path):
    path = tmp_path / f"attention.{format}"
    dump(config, path)
    fields = [field.option for field in plan_of(type(config)).fields]
    written = list(read(path).data)
    assert written[0] == "type"
    assert written[1:] == [option for option in fields if option in written[1:]]
    assert {"hidden_dim", "num_heads", "dropout", "bias"} < set(written)


@pytest.mark.parametrize(
    "suffix", ["$HOME", "${HOME}", "${oc.env:HOME}", "%HOME%", "~/a", "$(pwd)", "{{ HOME }}"]
)
@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_read_from_the_environment(format, suffix, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "elsewhere")
    path = tmp_path / f"attention.{format}"
    config = structure({"type": "flare", "hidden_dim": 8, "num_heads": 2, "anchor_suffix": suffix})
    dump(config, path)
    assert load(path).anchor_suffix == suffix
    assert load(path, overrides=[f"anchor_suffix='{suffix}'"]).anchor_suffix == suffix


@pytest.mark.parametrize("format", FORMATS)
def test_every_problem_carries_its_location(tmp_path, format):
    path = tmp_path / f"attention.{format}"
    path.write_text(TEXTS[format])
    with pytest.raises(ConfigError) as caught:
        load(path)
    places = {problem.path: (problem.line, problem.column) for problem in caught.value.problems}
    assert places == PLACES[format]
    assert list(places) == sorted(places, key=places.__getitem__)
    for problem in caught.value.problems:
        assert problem.file == str(path)
        assert problem.source == TEXTS[format].splitlines()[problem.line - 1]


def test_an_error_reads_as_one_of_a_compiler(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attention.yaml").write_text("type: transolver\nhidden_dim: 8\nnum_heads: 3\n")
    with pytest.raises(ConfigError) as caught:
        load("attention.yaml")
    assert str(caught.value) == (
        "attention.yaml:3:12: num_heads: 3 does not divide hidden_dim 8; 2 and 4 do\n"
        "   3 | num_heads: 3\n"
        "     |            ^"
    )


def test_an_unknown_type_keeps_its_kind_and_gets_its_location(tmp_path):
    path = tmp_path / "attention.yaml"
    path.write_text("hidden_dim: 8\nnum_heads: 2\ntype: transolvr\n")
    with pytest.raises(UnknownTypeError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (3, 7)
    assert caught.value.type == "transolvr"


def test_a_part_of_a_file_is_loaded_and_its_problems_keep_their_place_in_the_file(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text(
        "depth: 2\nblocks:\n- attention: &a {type: flare, hidden_dim: 8, num_heads: 3}\n"
        "- attention: {<<: *a, num_heads: 2}\n"
    )
    fine = {"type": "flare", "hidden_dim": 8, "num_heads": 2}
    assert load(file, at="blocks[1].attention") == structure(fine)
    overrides = ["blocks[0].attention.num_heads=4", "blocks[0].attention.num_latents=5"]
    config = load(file, at="blocks[0].attention", overrides=overrides)
    assert (config.num_heads, config.num_latents) == (4, 5)

    def told(at, **options):
        with pytest.raises(ConfigError) as caught:
            load(file, at=at, **options)
        return [problem.headline.removeprefix(f"{file}:") for problem in caught.value.problems]

    assert told("blocks[0].attention", overrides=["blocks[0].attention.dropout=2"]) == [
        "3:57: blocks[0].attention.num_heads: 3 does not divide hidden_dim 8; 2 and 4 do",
        "command line: blocks[0].attention.dropout: expected a number from 0 to 1, got 2",
    ]
    assert told("blocks[2]") == ["2:1: blocks[2]: nothing stands here; blocks is a list of 2"]
    with pytest.raises(ValueError, match="leads to several values"):
        load(file, at="blocks[*]")
    assert told("blocks[0]")[0].endswith("name its place: at='blocks[0].attention'")


def test_what_only_holds_configs_says_where_they_stand(tmp_path, capsys):
    file = tmp_path / "model.yaml"
    file.write_text("model:\n- {type: flare, hidden_dim: 8}\n- {type: flare, hidden_dim: 9}\n")
    where = "a config stands at model[0], and 1 more elsewhere; name its place: "
    with pytest.raises(ConfigError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert (problem.path, problem.suggestion) == ("type", f"{where}at='model[0]'")
    assert main(["validate", "--plain", str(file)]) == 1
    assert capsys.readouterr().err.endswith(
        f"{where}--at model[0]; a whole experiment: --experiment\n"
    )

    file.write_text("attention_constructor: flare\nhidden_dim: 8\n")
    assert main(["validate", "--plain", str(file)]) == 1
    assert "a transformer block, which structure_block reads" in capsys.readouterr().err


def test_an_attention_config_alone_says_where_it_belongs_in_what_holds_one(tmp_path):
    file = tmp_path / "bare.yaml"
    file.write_text("type: flare\nhidden_dim: 8\nnum_heads: 2\n")
    with pytest.raises(ConfigError) as caught:
        load(file, Experiment)
    (problem,) = caught.value.problems
    assert problem.headline == (
        f"{file}:1:1: attention: missing: this looks like a config of attention itself; write it "
        "under attention"
    )


@pytest.mark.parametrize("name", ["attention.yaml", "configs/flare.toml", "a.JSON"])
def test_a_file_where_a_config_belongs_leads_to_load(name):
    with pytest.raises(UnknownTypeError, match=re.escape(f"which load({name!r}) reads")):
        structure({"type": name})
    with pytest.raises(ConfigError, match=re.escape(f"load({name!r}) reads a file")):
        structure(Path(name))


def test_a_missing_option_is_placed_where_it_should_stand(tmp_path):
    path = tmp_path / "attention.yaml"
    path.write_text("# comment\ntype: transolver\nnum_heads: 2\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.path == "hidden_dim"
    assert problem.message == "missing: an integer of at least 1 is required"
    assert problem.line == 2


@pytest.mark.parametrize("text", ["", "3", "[]", "text"])
def test_a_document_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "attention.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="expected a mapping of options"):
        load(path)


def test_the_format_may_be_said_where_the_suffix_does_not(tmp_path):
    path = tmp_path / "attention.conf"
    config = structure({"type": "transolver", "hidden_dim": 8, "num_heads": 2})
    with pytest.raises(
        ValueError, match=r"attention\.conf: the suffix names no format; use one of \.yaml"
    ):
        dump(config, path)
    dump(config, path, format="toml")
    assert load(path, format="toml") == config
    with pytest.raises(ConfigError, match="names no format"):
        load(path)


@attrs.frozen(kw_only=True)
class Limited(Schema):
    """An option that is not None unless said so."""

    limit: int | None = 3


def test_what_a_format_cannot_hold_is_refused_and_the_older_file_stays(tmp_path):
    path = tmp_path / "limited.toml"
    dump(Limited(), path)
    before = path.read_text()
    with pytest.raises(ConfigError) as caught:
        dump(Limited(limit=None), path)
    (problem,) = caught.value.problems
    assert problem.path == "limit"
    assert "TOML has no null" in problem.message
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_none_survives_where_the_format_has_a_null(tmp_path):
    for name in ("limited.yaml", "limited.json"):
        dump(Limited(limit=None), tmp_path / name)
        assert load(tmp_path / name, Limited) == Limited(limit=None)


def test_a_qualified_type_survives(tmp_path):
    config = structure({"type": "noether-attention:transolver", "hidden_dim": 8, "num_heads": 2})
    dump(config, tmp_path / "attention.yaml")
    assert load(tmp_path / "attention.yaml") == config
    assert load(tmp_path / "attention.yaml").type == "noether-attention:transolver"


def test_an_open_config_comes_back_as_the_concrete_one(tmp_path):
    generic = AttentionConfig(type="transolver", hidden_dim=8, num_heads=2, num_slices=3)
    dump(generic, tmp_path / "attention.toml")
    assert load(tmp_path / "attention.toml") == structure(generic)


def test_options_that_were_kept_come_back_on_request(tmp_path):
    options = {"type": "transolver", "hidden_dim": 8, "num_heads": 2, "note": {"by": ["me", 1.5]}}
    config = structure(options, unknown="keep")
    dump(config, tmp_path / "attention.json")
    assert load(tmp_path / "attention.json", unknown="keep") == config
    with pytest.raises(ConfigError, match="note: unknown option"):
        load(tmp_path / "attention.json")


@pytest.mark.parametrize("overrides", [(), ["num_heads=2"]])
def test_a_warning_of_an_unknown_option_has_its_location(tmp_path, overrides):
    path = tmp_path / "attention.yaml"
    path.write_text("type: transolver\nhidden_dim: 8\nnum_heads: 1\nnum_slice: 64\n")
    with pytest.warns(
        UserWarning, match=f"^{path}:4:1: num_slice: unknown option of 'transolver'; did you"
    ) as told:
        config = load(path, unknown="warn", overrides=overrides)
    assert [warning.filename for warning in told] == [__file__]
    assert config == load(path, unknown="keep", overrides=overrides)


def test_what_no_warning_excuses_is_an_error_without_the_unknown_options(tmp_path):
    (tmp_path / "attention.json").write_text(
        '{"type": "transolver", "hidden_dim": 8, "num_heads": 3, "num_slice": 1}'
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "attention.json", unknown="warn")
    assert [problem.path for problem in caught.value.problems] == ["num_heads"]


def test_problems_are_frozen_facts():
    problem = Problem(message="odd", keys=("model", "blocks", 0, "type"))
    assert problem.path == "model.blocks[0].type"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        problem.message = "even"
