"""Configs of tasks: read, written, described and locked as those of attention are."""

from __future__ import annotations

import json
import pickle
import tomllib

import attrs
import pytest
from jsonschema import Draft202012Validator

from noether_core import (
    AttentionConfig,
    ConfigError,
    UnknownTypeError,
    dump,
    json_schema,
    load,
    structure,
    unstructure,
)
from noether_core.schemas import Schema
from noether_core.schemas.accepted import accepted_by
from noether_core.schemas.faults import faults_of
from noether_core.schemas.task import TaskConfig
from noether_core.structuring.checking import check_configs
from noether_core.structuring.documents import read
from noether_core.structuring.lock import Locked, lock_of, write_lock
from noether_core.structuring.paths import DocumentPath
from tests.light_environment import task_source

EXPERIMENT = """\
task:
  type: flow
  n_train: 7
attention: {type: near, hidden_dim: 8, num_heads: 2}
seed: 3
"""


@attrs.frozen(kw_only=True)
class Experiment(Schema):
    """What holds configs of both kinds."""

    task: TaskConfig
    attention: AttentionConfig
    others: tuple[TaskConfig, ...] = ()
    seed: int = 0


@pytest.fixture
def known(site):
    """A registry of the task 'flow' and the variant 'near'."""
    site.install_task("flow")
    site.install_variant("near")
    return site.registry()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


def problems(source, cls, known, **options):
    with pytest.raises(ConfigError) as caught:
        structure(source, cls, registry=known, **options)
    return [problem.headline for problem in caught.value.problems]


def test_a_task_is_structured_by_its_type(known):
    config = structure({"type": "flow", "n_train": 3}, TaskConfig, registry=known)
    assert type(config) is known.tasks.get("flow").config
    assert (config.type, config.n_train) == ("flow", 3)
    assert structure(config, TaskConfig, registry=known) is config
    generic = TaskConfig(type="flow", n_train=3)
    assert dict(generic.extra) == {"n_train": 3}
    assert structure(generic, TaskConfig, registry=known) == config
    assert structure({"type": "flow:flow"}, TaskConfig, registry=known).type == "flow:flow"


def test_everything_that_is_wrong_with_a_task_is_told(known):
    assert problems({"type": "flow", "n_train": 0, "n_trian": 3}, TaskConfig, known) == [
        "n_train: expected an integer of at least 1, got 0",
        "n_trian: unknown option of 'flow'; did you mean 'n_train'?",
    ]
    assert problems({"n_train": 3}, TaskConfig, known) == [
        "type: missing: the name of a task is required; Installed tasks: flow."
    ]
    assert problems({"type": 3}, TaskConfig, known) == [
        "type: expected the name of a task, got 3; Installed tasks: flow."
    ]


def test_options_of_tasks_are_not_looked_for_among_variants(known):
    known.tasks.get("flow"), known.get("near")  # at hand
    (problem,) = problems(
        {"type": "near", "hidden_dim": 8, "num_heads": 2, "n_train": 3}, AttentionConfig, known
    )
    assert "an option of flow" not in problem
    (problem,) = problems({"type": "flow", "window": 3}, TaskConfig, known)
    assert "an option of near" not in problem


def test_unknown_options_of_a_task_are_kept_on_demand(known):
    config = structure({"type": "flow", "size": 3}, TaskConfig, unknown="keep", registry=known)
    assert dict(config.extra) == {"size": 3}
    assert unstructure(config) == {"type": "flow", "n_train": 4, "size": 3}


def test_a_config_of_the_other_kind_says_so(known):
    experiment = {
        "task": {"type": "near"},
        "attention": {"type": "flow", "hidden_dim": 8, "num_heads": 2},
    }
    told = problems(experiment, Experiment, known)
    assert told[0].startswith("task.type: the task 'near' is not installed; 'near' is an attention")
    assert told[1].startswith("attention.type: 'flow' is not installed; 'flow' is a task, and an")
    config = known.tasks.get("flow").config()
    with pytest.raises(UnknownTypeError, match="'flow' is a task"):
        structure(config, registry=known)


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ({"type": "flow"}, "task"),
        ({"type": "near", "hidden_dim": 8}, "attention"),
        ({"type": "naer", "hidden_dim": 8}, "attention"),
    ],
)
def test_a_part_alone_is_no_experiment_and_belongs_somewhere(known, source, option):
    assert problems(source, Experiment, known) == [
        f"{option}: missing: this looks like a config of {option} itself; write it under {option}"
    ]


@pytest.mark.parametrize("suffix", ["yaml", "toml", "json"])
def test_what_holds_both_kinds_comes_back_from_a_file(known, file, tmp_path, suffix):
    experiment = load(file, Experiment, registry=known)
    assert (experiment.task.n_train, experiment.attention.type) == (7, "near")
    assert experiment.task.fingerprint() == TaskConfig(type="flow", n_train=7).fingerprint()
    again = attrs.evolve(experiment, others=(experiment.task,))
    dump(again, tmp_path / f"again.{suffix}")
    assert load(tmp_path / f"again.{suffix}", Experiment, registry=known) == again
    assert pickle.loads(pickle.dumps(again)) == again  # noqa: S301  our own


def test_a_task_is_taken_from_a_file_at_its_place_and_overridden(known, file):
    config = load(file, TaskConfig, at="task", overrides=["task.n_train=9"], registry=known)
    assert config.n_train == 9
    with pytest.raises(ConfigError, match=r"command line: task\.n_train: expected an integer"):
        load(file, TaskConfig, at="task", overrides=["task.n_train=0"], registry=known)
    with pytest.raises(ConfigError, match="a config stands at task; name its place: at='task'"):
        load(file, TaskConfig, registry=known)
    with pytest.raises(ConfigError, match="a config stands at attention; name its place"):
        load(file, registry=known)


def test_the_json_schema_of_an_experiment_has_both_kinds(known, site):
    schema = json_schema(Experiment, registry=known)
    validator = Draft202012Validator(schema)
    good = {
        "task": {"type": "flow"},
        "attention": {"type": "near", "hidden_dim": 8, "num_heads": 2},
    }
    assert validator.is_valid(good)
    for task in ({"type": "near"}, {"type": "flow", "n_train": 0}, {"type": "flow", "size": 1}):
        assert not validator.is_valid({**good, "task": task}), task
    assert json_schema("flow", registry=known)["properties"]["type"]["enum"] == [
        "flow",
        "flow:flow",
    ]
    for every in (json_schema(TaskConfig, registry=known), json_schema(registry=known.tasks)):
        assert (every["title"], every["properties"]["type"]["enum"]) == (
            "TaskConfig",
            ["flow", "flow:flow"],
        )
    assert json_schema(registry=known)["title"] == "AttentionConfig"


def test_a_type_that_both_kinds_have_is_described_by_the_registry_that_is_asked(known, site):
    site.install("other", tasks={"near": "near_task"}, files={"near_task.py": task_source("near")})
    both = site.registry()
    assert "hidden_dim" in json_schema("near", registry=both)["properties"]
    assert "n_train" in json_schema("near", registry=both.tasks)["properties"]


def test_an_open_config_stands_for_all_of_its_family_alone():
    @attrs.frozen(kw_only=True)
    class Either(Schema):
        one: AttentionConfig
        other: TaskConfig

    accepted = accepted_by(Either)
    assert accepted["one"]["accepts"] == {"is": "the config of any type"}
    assert accepted["other"]["accepts"] == {"is": "the config of any task"}
    assert list(faults_of(TaskConfig)) == []


def test_an_option_of_a_task_takes_no_name_that_every_task_has():
    @attrs.frozen(kw_only=True)
    class Fingerprint(TaskConfig):
        fingerprint: int = 0

    (fault,) = faults_of(Fingerprint)
    assert "every TaskConfig has a member 'fingerprint'" in fault


def test_an_experiment_is_locked_with_its_task(known, file, site, tmp_path):
    experiment = load(file, Experiment, registry=known)
    lock = lock_of([experiment], known)
    assert [locked.type for locked in lock.types] == ["near"]
    assert [(locked.type, locked.version) for locked in lock.tasks] == [("flow", "1.2.0")]
    path = tmp_path / "noether.lock"
    write_lock(lock, path)
    assert tomllib.loads(path.read_text())["tasks"][0]["entry_point"] == "task_of_flow_flow"
    assert load(file, Experiment, lock=path, registry=known) == experiment

    # a package that comes later makes a locked task not ambiguous
    site.install_task("flow", "other-flow")
    assert load(file, Experiment, lock=path, registry=site.registry()) == experiment
    blocked = site.registry(block=["flow"])
    with pytest.raises(ConfigError, match=r"provider of 'flow': locked to flow 1\.2\.0, here oth"):
        load(file, Experiment, lock=path, registry=blocked)
    blocked = site.registry(block=["flow", "other-flow"])
    with pytest.raises(ConfigError, match=r"missing of 'flow': locked to flow 1\.2\.0, here noth"):
        load(file, Experiment, lock=path, registry=blocked)


def test_a_lock_without_the_task_refuses_it(known, file, tmp_path):
    attention = load(file, at="attention", registry=known)
    write_lock(lock_of([attention], known), tmp_path / "noether.lock")
    assert "tasks" not in tomllib.loads((tmp_path / "noether.lock").read_text())
    locked = Locked(tmp_path / "noether.lock", registry=known)
    task = known.tasks.get("flow").config()
    (problem,) = locked.problems_of(task)
    assert problem.message.startswith("'flow' of flow 1.2.0 is not in ")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("type: flow\nn_train: 3\n", "TaskConfig"),
        ("type: flow:flow\n", "TaskConfig"),
        ("type: near\nhidden_dim: 8\nnum_heads: 2\n", "AttentionConfig"),
        ("type: floww\n", "the task 'floww' is not installed; did you mean 'flow'"),
        ("type: naer\nhidden_dim: 8\nnum_heads: 2\n", "'naer' is not installed; did you mean"),
        ("type: near\n", "hidden_dim: missing"),
        ("model:\n  task: {type: flow}\n", "a config stands at model.task; name its place: --at"),
    ],
)
def test_a_config_alone_is_of_the_kind_that_its_type_says(known, tmp_path, text, found):
    (tmp_path / "config.yaml").write_text(text)
    (checked,) = check_configs(read(tmp_path / "config.yaml"), None, registry=known)
    if checked.config is None:
        assert found in "\n".join(problem.headline for problem in checked.problems)
    else:
        assert found in {base.__name__ for base in type(checked.config).__mro__}


def test_a_type_that_both_kinds_have_is_attention_where_it_has_a_width(known, site, tmp_path):
    site.install("other", tasks={"near": "near_task"}, files={"near_task.py": task_source("near")})
    text = "a: {type: near, hidden_dim: 8, num_heads: 2}\nb: {type: near, n_train: 2}\n"
    (tmp_path / "both.yaml").write_text(text)
    document = read(tmp_path / "both.yaml")
    found = check_configs(document, DocumentPath("*"), registry=site.registry())
    assert [isinstance(one.config, TaskConfig) for one in found] == [False, True]


def test_a_blocked_task_says_that_it_is_blocked(site, known, tmp_path):
    (tmp_path / "config.yaml").write_text(json.dumps({"type": "flow"}))
    blocked = site.registry(block=["flow:flow"])
    (checked,) = check_configs(read(tmp_path / "config.yaml"), None, registry=blocked)
    (problem,) = checked.problems
    assert "the task 'flow' is not installed; flow:flow is blocked." in problem.headline
