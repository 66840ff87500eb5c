"""Options of the task: what they may be, and what is said of those that contradict each other."""

import pickle
import subprocess
import sys

import pytest

from noether_core import ConfigError, structure, unstructure
from noether_core.errors import MissingExtraError
from noether_core.tasks import TaskError
from noether_plugins.tasks.points.config import PointsConfig
from noether_plugins.tasks.points.formats import open_file
from tests.plugins.tasks.points.made import task_of

GOOD = {
    "type": "points",
    "train": ["a/*.vtu", "b/*.vtu"],
    "hold_out": 0.2,
    "groups": {
        "volume": {"inputs": ["sdf"], "fields": ["pressure", "velocity"]},
        "surface": {"file": "{stem}_surface.vtp", "positions": "cells", "fields": {"cp": "p"}},
        "table": {"positions": ["x", "y"], "fields": {"velocity": ["u", "v"]}},
    },
    "inputs": {"mach": "M"},
    "parameters": "cases.csv",
    "parameters_key": "case",
    "units": {"pressure": "Pa", "table.velocity": "m/s", "mach": ""},
    "points_per_sample": {"volume": 1000},
}


def test_a_config_is_plain_data_and_back():
    config = structure(GOOD, PointsConfig)
    assert structure(unstructure(config), PointsConfig) == config
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301  what it wrote itself
    assert PointsConfig(**GOOD) == config


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"hold_out": None}, "test: missing: held-out files, or hold_out, a share of those of"),
        ({"test": "c"}, "hold_out: there are held-out files already, those of test; leave one"),
        (
            {"groups": {"v": {"inputs": ["p"]}}, "units": {}, "points_per_sample": 3},
            "groups: no group has fields to predict",
        ),
        ({"groups": {"a.b": {"fields": ["p"]}}}, "groups.a.b: the name 'a.b' holds a dot, or"),
        (
            {"groups": {"v": {"fields": ["p.m"]}}},
            "groups.v.fields: the name 'p.m' holds a dot, or nothing; map one without to it: {p_",
        ),
        ({"groups": {"v": {"fields": ["p", "p"]}}}, "groups.v.fields: a name stands there twice"),
        (
            {"groups": {"v": {"fields": ["p"], "inputs": {"q": ["a", "p"]}}}},
            "groups.v.fields: 'p' is an input as well: a model that is given it predicts nothing",
        ),
        (
            {"groups": {"v": {"fields": ["p"], "file": "{name}.vtp"}}},
            "groups.v.file: only {stem} is filled in, got '{name}.vtp'",
        ),
        ({"inputs": []}, "parameters: no inputs are taken from it; name some of its columns"),
        ({"parameters": "{stem}.csv"}, "parameters_key: there is no table of all cases"),
        (
            {"units": {"presure": "Pa"}},
            "units.presure: there is no quantity 'presure'; did you mean 'pressure'?",
        ),
        (
            {"points_per_sample": {"volumes": 3}},
            "points_per_sample.volumes: there is no group 'volumes'; did you mean 'volume'?",
        ),
        (
            {"groups": {"v": {"field": ["p"]}}},
            "groups.v.field: unknown option of PointsGroup; did you mean 'fields'?",
        ),
    ],
)
def test_options_that_contradict_each_other_are_told(options, problem):
    with pytest.raises(ConfigError) as caught:
        structure({**GOOD, **options}, PointsConfig)
    assert any(found.headline.startswith(problem) for found in caught.value.problems)


def test_nothing_is_looked_at_before_samples_are_wanted(tmp_path):
    task = task_of(tmp_path / "nowhere")
    with pytest.raises(TaskError, match="matches no file"):
        _ = task.layout


def test_config_and_hook_import_no_numpy():
    code = "import sys, noether_plugins.tasks.points as p; p.noether_task(); print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"numpy", "torch", "meshio", "pyvista", "pyarrow"} & set(modules)


@pytest.mark.parametrize(
    ("extension", "package"),
    [(".vtu", "pyvista"), (".vtk", "pyvista"), (".msh", "meshio"), (".parquet", "pyarrow")],
)
def test_what_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, extension, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"a{extension}").write_bytes(b"something")
    remedy = rf"needs {package}, .* pip install 'noether-attention\[{package}\]'"
    with pytest.raises(MissingExtraError, match=remedy):
        open_file(str(tmp_path / f"a{extension}"))
