"""`make_task`: from a config to its task, and what a package can do wrong on the way."""

from __future__ import annotations

import sys

import pytest

from noether_core import ConfigError, PluginError, UnknownTypeError
from noether_core.building import make_task
from noether_core.errors import MissingExtraError
from noether_core.schemas.task import TaskConfig
from noether_core.tasks import Task, TaskError

SOUND = """\
from noether_core.tasks import Layout, GroupLayout, Task, TaskError


class Sound(Task):
    made = []

    @property
    def layout(self):
        return Layout(coordinates=1, groups={"all": GroupLayout()})

    @property
    def train(self):
        return self.made

    @property
    def test(self):
        return self.made


class Raises(Sound):
    def __init__(self, config, *, seed):
        raise OSError("no disk")


class Exits(Sound):
    def __init__(self, config, *, seed):
        raise SystemExit(3)


class Refuses(Sound):
    def __init__(self, config, *, seed):
        raise TaskError("flow.csv: has no points; add some")


class Unfinished(Task):
    pass


class Plain:
    pass


def function(config, *, seed):
    return None
"""


@pytest.fixture
def made(site):
    """Return what makes a task of the class of a name."""
    files = {"acme_tasks.py": SOUND, "acme_light.py": "import scipy_of_nobody"}
    files["acme_sparse.py"] = "import scipy"
    site.install("acme", files=files)

    def make(path, **options):
        site.install_task("flow", f"flow-{path.rpartition(':')[2].lower()}", module=path)
        known = site.registry()
        return make_task({"type": "flow", **options}, seed=5, registry=known)

    return make


def test_a_task_gets_its_concrete_config_and_the_seed(made):
    task = made("acme_tasks:Sound", n_train=3)
    assert isinstance(task, Task)
    assert (task.config.type, task.config.n_train, task.seed) == ("flow", 3, 5)


def test_a_config_is_taken_as_it_is(made, site):
    config = made("acme_tasks:Sound").config
    assert make_task(config, seed=1, registry=site.registry()).config is config
    open_config = TaskConfig(type="flow", n_train=2)
    assert make_task(open_config, seed=1, registry=site.registry()).config.n_train == 2


def test_its_class_is_imported_when_it_is_made(made, site):
    site.install_task("flow", module="acme_tasks:Sound")
    known = site.registry()
    known.tasks.get("flow")
    assert "acme_tasks" not in sys.modules
    make_task({"type": "flow"}, seed=0, registry=known)
    assert "acme_tasks" in sys.modules


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("acme_tasks:Raises", "acme_tasks:Raises cannot be made: OSError: no disk"),
        ("acme_tasks:Exits", "acme_tasks:Exits cannot be made: SystemExit: 3"),
        ("acme_tasks:Unfinished", "acme_tasks:Unfinished cannot be made: TypeError: Can't inst"),
        ("acme_tasks:Plain", "acme_tasks:Plain is no subclass of Task"),
        ("acme_tasks:function", "acme_tasks:function is no subclass of Task"),
        ("acme_tasks:Missing", "acme_tasks:Missing cannot be imported: AttributeError"),
        ("acme_nowhere:Task", "acme_nowhere:Task cannot be imported: ModuleNotFoundError"),
        ("acme_light:Task", "acme_light:Task cannot be imported: ModuleNotFoundError: No module"),
    ],
)
def test_what_a_package_does_wrong_is_its_own(made, path, reason):
    with pytest.raises(PluginError) as caught:
        made(path)
    assert caught.value.plugin == f"'flow' of flow-{path.rpartition(':')[2].lower()} 1.2.0"
    assert caught.value.reason.startswith(reason)


def test_what_a_task_says_of_its_samples_passes(made):
    with pytest.raises(TaskError, match=r"^flow\.csv: has no points; add some$"):
        made("acme_tasks:Refuses")


def test_numpy_that_is_not_there_comes_with_an_extra(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError) as caught:
        made("acme_sparse:Task")
    assert str(caught.value).startswith("the task 'flow' needs scipy, which is not installed; pip")
    assert caught.value.extra == "torch"


def test_a_config_that_is_wrong_is_told_before_anything_is_imported(made, site):
    site.install_task("flow", module="acme_tasks:Sound")
    known = site.registry()
    with pytest.raises(ConfigError, match="n_train: expected an integer of at least 1, got 0"):
        make_task({"type": "flow", "n_train": 0}, seed=0, registry=known)
    with pytest.raises(UnknownTypeError, match="the task 'flo' is not installed"):
        make_task({"type": "flo"}, seed=0, registry=known)
    assert "acme_tasks" not in sys.modules
