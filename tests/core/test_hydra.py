"""Variants in Hydra, on the real command line of a real application."""

import subprocess
import sys

import pytest

from noether_core import load, structure, unstructure
from noether_core.hydra import store_variants
from tests.core.generated import EXAMPLES

APP = """
import sys

import hydra
from hydra.core.config_store import ConfigStore

from noether_core import ConfigError, dump, structure
from noether_core.hydra import store_variants

store_variants({group!r})
defaults = [{{{group!r}: "dot_product"}}, "_self_"]
node = {{"defaults": defaults, "width": 8, "out": "config.yaml"}}
ConfigStore.instance().store(name="experiment", node=node)


@hydra.main(version_base=None, config_name="experiment")
def main(experiment):
    try:
        dump(structure(experiment.{place}), experiment.out)
    except ConfigError as error:
        sys.exit(str(error))


main()
"""
QUIET = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=disabled"]


@pytest.fixture
def app(tmp_path):
    """Return what runs an application with overrides; its config then lies in config.yaml."""

    def run(*overrides, group="attention"):
        (tmp_path / "app.py").write_text(APP.format(group=group, place=group.replace("/", ".")))
        command = [sys.executable, "app.py", *QUIET, *overrides]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    return run


SIZES = ("attention.hidden_dim=64", "attention.num_heads=4")


def test_a_variant_and_its_options_are_chosen_on_the_command_line(app, tmp_path):
    result = app("attention=transolver", "attention.num_slices=64", *SIZES)
    assert (result.returncode, result.stderr) == (0, "")
    expected = {"type": "transolver", "hidden_dim": 64, "num_heads": 4, "num_slices": 64}
    assert load(tmp_path / "config.yaml") == structure(expected)


def test_interpolations_and_lists_come_from_the_command_line_too(app, tmp_path):
    sizes = (
        "attention.hidden_dim=${width}",
        "attention.num_heads=2",
        "attention.branches=[surface,volume]",
    )
    result = app("attention=joint_anchor", *sizes)
    assert (result.returncode, result.stderr) == (0, "")
    config = load(tmp_path / "config.yaml")
    assert (config.hidden_dim, config.branches) == (8, ("surface", "volume"))


def test_what_was_not_given_is_reported_by_name(app):
    result = app("attention=irregular_nat", "attention.num_heads=3")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        (
            "hidden_dim: expected an integer of at least 1, got ???; ??? stands for a value "
            "that must be given"
        ),
        (
            "input_dim: expected an integer of at least 1, got ???; ??? stands for a value "
            "that must be given"
        ),
    ]


def test_a_wrong_value_is_reported_as_ever(app):
    result = app(
        "attention=transolver", "attention.num_slices=many", "+attention.num_slice=3", *SIZES
    )
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "num_slices: expected an integer of at least 1, got 'many'",
        "num_slice: unknown option of 'transolver'; did you mean 'num_slices'?",
    ]


def test_hydra_itself_refuses_options_and_variants_that_are_not_there(app):
    assert (
        "Key 'num_slices' is not in struct"
        in app("attention=flare", "attention.num_slices=3").stderr
    )
    refused = app("attention=transolvr")
    assert "Could not find 'attention/transolvr'" in refused.stderr
    assert "transolver_plusplus" in refused.stderr


def test_the_group_may_stand_deeper(app, tmp_path):
    sizes = ("model.attention.hidden_dim=8", "model.attention.num_heads=2")
    result = app("model/attention=flare", *sizes, group="model/attention")
    assert (result.returncode, result.stderr) == (0, "")
    assert load(tmp_path / "config.yaml").type == "flare"


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_every_variant_composes_to_its_defaults(example):
    from hydra import compose, initialize
    from hydra.core.global_hydra import GlobalHydra

    assert example.type in store_variants("variants")
    given = {
        name: value
        for name, value in unstructure(example, defaults=False).items()
        if name != "type"
    }
    overrides = [f"variants.{name}={value}".replace(" ", "") for name, value in given.items()]
    GlobalHydra.instance().clear()
    with initialize(version_base=None, config_path=None):
        composed = compose(overrides=[f"+variants={example.type}", *overrides])
    assert structure(composed.variants) == example


def test_variants_that_cannot_be_used_are_left_out_with_a_warning(site):
    site.install_variant("sound")
    site.install_variant("flow", "acme-flow")
    site.install_variant("flow", "best-flow")
    site.install(
        "acme-broken",
        attention={"broken": "acme_broken"},
        files={"acme_broken.py": "raise OSError('no')"},
    )
    with pytest.warns(UserWarning, match="is left out of Hydra's ConfigStore") as told:
        assert store_variants("some", registry=site.registry()) == ("sound",)
    assert [str(warning.message).split(" is left out")[0] for warning in told] == [
        "'broken'",
        "'flow'",
    ]
    assert all(warning.filename == __file__ for warning in told)


def test_without_hydra_it_says_what_to_install(tmp_path):
    (tmp_path / "hydra.py").write_text("raise ModuleNotFoundError('No module named hydra')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from noether_core.hydra import "
        "store_variants as s; s()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1] == (
        "ImportError: Hydra is not installed; pip install 'noether-attention[hydra]'"
    )
