"""Registries of several kinds of plugins: attention variants, and tasks beside them."""

from __future__ import annotations

import attrs
import pytest

from noether_core import AmbiguousTypeError, ConfigError, PluginError, TaskRecord, UnknownTypeError
from noether_core.hookspecs import PluginRecord
from noether_core.plugins import catalogue
from noether_core.plugins.catalogue import BLOCKED, Catalogue, candidates
from noether_core.plugins.metadata import KINDS, TASKS, VARIANTS, scan
from noether_core.plugins.resolution import explain
from noether_core.schemas.open_config import OpenConfig, is_open
from noether_core.schemas.task import TaskConfig
from tests.light_environment import task_source, variant_source

HOOK = "from noether_core import hookimpl\n@hookimpl\ndef noether_task():\n    {}\n"


def test_each_kind_has_a_record_and_an_open_config_that_belong_together():
    for group, kind in KINDS.items():
        assert kind.group == group
        assert issubclass(kind.record_class, PluginRecord)
        assert issubclass(kind.config_class, OpenConfig)
        assert is_open(kind.config_class)
        assert kind.record_class.open_config is kind.config_class
        assert kind.config_class.plugin_group == group


def test_a_task_is_found_by_its_type_and_imported_when_it_is_wanted(site):
    site.install_task("flow")
    known = site.registry()
    assert (known.tasks.types(), known.types()) == (("flow",), ())
    record = known.tasks.get("flow")
    assert isinstance(record, TaskRecord)
    assert (record.type, record.summary) == ("flow", "Points that are what they were.")
    assert known.tasks.get("flow:flow") is record
    config = record.config(n_train=3)
    assert known.of(type(config)) is known.tasks
    assert known.tasks.record_of(config) is record
    assert known.tasks.provider_of(config).provider == "flow 1.2.0"
    assert repr(known.tasks) == "<Registry of tasks: flow; of flow>"


def test_a_variant_and_a_task_may_have_one_type_in_one_package(site):
    files = {"flows.py": variant_source("flow"), "flow_tasks.py": task_source("flow")}
    site.install("acme", attention={"flow": "flows"}, tasks={"flow": "flow_tasks"}, files=files)
    known = site.registry()
    assert known.get("flow").config is not known.tasks.get("flow").config
    assert [known.provider("flow").value, known.tasks.provider("flow").value] == [
        "flows",
        "flow_tasks",
    ]
    assert site.registry(block=["acme:flow"]).tasks.types() == ()


def test_what_is_installed_is_read_once_for_all_kinds(site, monkeypatch):
    site.install_task("flow")
    scans = []
    monkeypatch.setattr(catalogue, "scan", lambda: scans.append(1) or scan([str(site.folder)]))
    known = catalogue.Catalogue()
    assert known.types() == ()
    assert known.of_kind(TASKS).types() == ("flow",)
    assert known.of_kind(TASKS).of_kind(VARIANTS).types() == ()
    assert scans == [1]


@pytest.mark.parametrize("refreshed", ["variants", "tasks"])
def test_to_refresh_one_kind_refreshes_the_others(site, monkeypatch, refreshed):
    monkeypatch.setattr(catalogue, "scan", lambda: scan([str(site.folder)]))
    known = catalogue.Catalogue()
    from noether_core import Registry

    registry = Registry()
    assert (known.types(), registry.types(), registry.tasks.types()) == ((), (), ())
    site.install_task("flow")
    site.install_variant("near")
    {"variants": registry, "tasks": registry.tasks}[refreshed].refresh()
    assert (registry.types(), registry.tasks.types()) == (("near",), ("flow",))
    assert registry.tasks.get("flow").type == "flow"


def test_a_task_that_failed_is_tried_again_after_a_refresh(site):
    site.install("broken", tasks={"flow": "broken_flow"}, files={"broken_flow.py": "raise OSError"})
    known = site.registry()
    for _ in range(2):
        with pytest.raises(PluginError, match="broken_flow cannot be imported: OSError"):
            known.tasks.get("flow")
    (site.folder / "broken_flow.py").write_text(task_source("flow") + "# longer than before\n")
    known.refresh()
    assert known.tasks.get("flow").type == "flow"


def test_settings_hold_for_tasks_too(site):
    for name in ("acme-flow", "best-flow", "cold-flow"):
        site.install_task("flow", name)
    known = site.registry(block=["cold-flow"], prefer=["best-flow:flow"])
    assert known.tasks.provider("flow").distribution == "best-flow"
    states = {one.entry.distribution: one.state for one in candidates(known.tasks)}
    assert states == {"acme-flow": "passed over", "best-flow": "preferred", "cold-flow": BLOCKED}
    assert candidates(known) == ()
    with pytest.raises(AmbiguousTypeError, match="'flow' is provided by acme-flow"):
        site.registry(block=["cold-flow"]).tasks.provider("flow")


def test_preferences_of_a_copy_hold_for_its_tasks_alone(site):
    for name in ("acme-flow", "best-flow"):
        site.install_task("flow", name)
    known = site.registry()
    other = known.with_preference(["best-flow:flow"])
    assert other.tasks.provider("flow").distribution == "best-flow"
    assert other.tasks.of_kind(VARIANTS) is other
    with pytest.raises(AmbiguousTypeError):
        known.tasks.provider("flow")


def test_the_class_of_a_config_decides_between_providers(site):
    for name in ("acme-flow", "best-flow"):
        site.install_task("flow", name)
    known = site.registry()
    best = known.tasks.get("best-flow:flow")
    assert known.tasks.record_of(best.config()) is best
    with pytest.raises(AmbiguousTypeError):
        known.tasks.record_of(TaskConfig(type="flow"))


@pytest.mark.parametrize("through", ["variants", "tasks"])
def test_a_record_goes_to_the_registry_of_its_kind(site, through):
    site.install_task("flow")
    site.install_variant("near")
    source = site.registry()
    task, variant = source.tasks.get("flow"), source.get("near")

    from noether_core import Registry
    from noether_core.plugins.metadata import Index

    known = Registry(index=Index((), (), ()))
    to = {"variants": known, "tasks": known.tasks}[through]
    to.register(task)
    to.register(variant)
    assert (known.types(), known.tasks.types()) == (("near",), ("flow",))
    assert known.tasks.get("in-process:flow") is task

    again = attrs.evolve(task, summary="Another.")
    to.register(again)
    assert known.tasks.get("flow") is again
    with pytest.raises(PluginError, match="version 99 of the plugin contract"):
        to.register(attrs.evolve(task, api_version=99))


BROKEN = {
    "raises": ("raise OSError('no disk')", "cannot be imported: OSError: no disk"),
    "exits": ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
    "misspelt": ("def f(:", "cannot be imported: SyntaxError"),
    "empty": ("", "implements no hook 'noether_task'; mark one with @hookimpl"),
    "other_kind": (variant_source("other_kind"), "implements no hook 'noether_task'"),
    "misnamed": (HOOK.replace("noether_task", "noether_tusk").format("..."), "unknown hook 'noeth"),
    "gives_none": (
        HOOK.format("return None"),
        "returns None from its hook, which is no TaskRecord",
    ),
    "gives_variant": (
        variant_source("gives_variant") + HOOK.format("return noether_attention_variant()"),
        "which is no TaskRecord",
    ),
    "hook_fails": (HOOK.format("raise SystemExit"), "fails in noether_task: SystemExit"),
    "other_type": (task_source("flow"), "has a config of the type 'flow'; name the entry point so"),
    "too_new": (task_source("too_new", api_version=99), "version 99 of the plugin contract"),
    "of_attention": (
        task_source("of_attention").replace("TaskConfig", "AttentionConfig"),
        "cannot be imported: ImportError",
    ),
    "undecorated": (
        task_source("undecorated").replace("@attrs.frozen(kw_only=True)", ""),
        "Config is not decorated",
    ),
}


@pytest.mark.parametrize("type", BROKEN)
def test_a_broken_task_is_reported_with_its_provider_and_breaks_no_other(site, type):
    source, reason = BROKEN[type]
    site.install("acme", tasks={type: f"{type}_plugin"}, files={f"{type}_plugin.py": source})
    site.install_task("sound")
    known = site.registry()
    with pytest.raises(PluginError) as caught:
        known.tasks.get(type)
    assert caught.value.plugin == f"'{type}' of acme 1.2.0"
    assert caught.value.reason.startswith(f"{type}_plugin ")
    assert reason in caught.value.reason
    assert known.tasks.get("sound").type == "sound"


def test_corrupt_metadata_hide_the_tasks_of_one_package_alone(site):
    site.install_task("sound")
    site.write_metadata("torn-1.0.dist-info", "torn", "1.0", b"[noether.task]\n\xff = x")
    site.write_metadata("odd-1.0.dist-info", "odd", "1.0", "[noether.task]\nflow = a b\nat = os\n")
    known = site.registry()
    assert known.tasks.types() == ("at", "sound")
    assert sorted(fault.reason.partition(":")[0] for fault in known.tasks.faults) == [
        "'flow = a b' under [noether.task] is no entry point",
        "entry_points.txt is not UTF-8",
    ]


def test_an_unknown_task_names_near_ones_and_what_is_installed(site):
    site.install_task("flow")
    known = site.registry()
    with pytest.raises(UnknownTypeError) as caught:
        known.tasks.get("flwo")
    assert str(caught.value) == (
        "type: the task 'flwo' is not installed; did you mean 'flow'? Installed tasks: flow."
    )


def test_a_type_of_the_other_kind_says_so(site):
    site.install_task("flow")
    site.install_variant("near")
    known = site.registry()
    with pytest.raises(UnknownTypeError, match=r"'near' is an attention variant, and a task"):
        known.tasks.get("near")
    with pytest.raises(UnknownTypeError, match=r"'flow' is a task, and an attention"):
        known.get("flow")
    with pytest.raises(UnknownTypeError, match=r"there is a task 'flow'\. Installed: near"):
        known.get("flov")


def test_what_a_type_of_a_task_means_is_explained(site):
    site.install_task("flow")
    known = Catalogue(index=scan([str(site.folder)])).of_kind(TASKS)
    explanation = explain("flow", known)
    assert explanation.sentence == "'flow' is flow:flow of flow 1.2.0."
    assert explain("flov", known).sentence.startswith("the task 'flov' is not installed; did you")


class NoLiteral(TaskConfig):
    pass


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"config": TaskConfig}, "TaskConfig must annotate its type with one literal"),
        ({"config": NoLiteral}, "NoLiteral is not decorated"),
        ({"config": int}, "<class 'int'> is no subclass of Schema"),
        ({"module": "acme.task"}, "expected an import path such as 'acme_pipe.task:PipeTask'"),
        ({"example": {"size": 3}}, "makes no Config: size: unknown option"),
        (
            {"example": {"n_train": 0}},
            "makes no Config: n_train: expected an integer",
        ),
    ],
)
def test_what_is_wrong_with_a_record_of_a_task_is_told(site, fields, problem):
    site.install_task("flow")
    record = site.registry().tasks.get("flow")
    with pytest.raises(ConfigError) as caught:
        attrs.evolve(record, **fields)
    assert problem in str(caught.value)


def test_a_config_of_attention_is_none_of_a_task(site):
    site.install_task("flow")
    site.install_variant("near")
    known = site.registry()
    with pytest.raises(ConfigError, match="config: Config is no subclass of TaskConfig"):
        attrs.evolve(known.tasks.get("flow"), config=known.get("near").config)


def test_a_record_takes_summary_and_example_from_its_config(site):
    site.install_task("flow")
    record = site.registry().tasks.get("flow")
    bare = TaskRecord(config=record.config, module="acme.task:Task")
    assert (bare.summary, dict(bare.example)) == ("Samples that only tests know.", {})
    assert bare.example_config() == record.config()
