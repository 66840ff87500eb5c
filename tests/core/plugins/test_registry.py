"""From a type to its variant: lazily, once, and never by luck."""

import argparse
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from noether_core import (
    AmbiguousTypeError,
    AttentionConfig,
    AttentionVariant,
    PluginError,
    Registry,
    UnknownTypeError,
    registry,
    structure,
)
from noether_core.plugins.metadata import Index

RECORD = """
from noether_core import AttentionVariant, hookimpl
from noether_core.schemas import AttentionConfig
"""


def test_only_the_plugin_that_is_wanted_is_imported(site):
    asked, other = site.install_variant("asked"), site.install_variant("other")
    known = site.registry()
    assert known.types() == ("asked", "other")
    assert asked not in sys.modules
    assert known.get("asked").type == "asked"
    assert asked in sys.modules
    assert other not in sys.modules


def test_a_bare_and_a_qualified_name_lead_to_the_same_variant(site):
    site.install_variant("flow", "acme-flow")
    known = site.registry()
    assert known.get("flow") is known.get("acme-flow:flow") is known.get("Acme_Flow:flow")


def test_an_unknown_type_names_the_nearest_and_what_is_installed(site):
    for name in ("transolver", "flare", "dot_product"):
        site.install_variant(name)
    with pytest.raises(UnknownTypeError) as caught:
        site.registry().get("transolvr")
    assert str(caught.value) == (
        "type: 'transolvr' is not installed; did you mean 'transolver'? Installed: "
        "dot_product, flare, transolver."
    )
    assert caught.value.type == "transolvr"
    assert caught.value.installed == ("dot_product", "flare", "transolver")
    with pytest.raises(LookupError, match=r"'x' is not installed; Installed: none\."):
        Registry(index=Index((), (), ())).get("x")


def test_a_type_of_two_packages_must_be_qualified(site):
    site.install_variant("flare", "acme-attn")
    site.install_variant("flare", "noether-attention")
    known = site.registry()
    with pytest.raises(AmbiguousTypeError) as caught:
        known.get("flare")
    assert str(caught.value) == (
        "type: 'flare' is provided by acme-attn 1.2.0 and noether-attention 1.2.0; "
        "write 'acme-attn:flare' or 'noether-attention:flare'"
    )
    assert caught.value.providers == ("acme-attn:flare", "noether-attention:flare")
    first, second = known.get("acme-attn:flare"), known.get("noether-attention:flare")
    assert first.config is not second.config


def test_a_concrete_config_knows_its_provider_by_its_class(site):
    site.install_variant("flare", "acme-attn")
    site.install_variant("flare", "best-attn")
    known = site.registry()
    for distribution in ("acme-attn", "best-attn"):
        variant = known.get(f"{distribution}:flare")
        config = variant.config(hidden_dim=8, num_heads=2)
        assert known.record_of(config) is variant
        assert known.provider_of(config).distribution == distribution


BROKEN = {
    "raises": ("raise OSError('no disk')", "broken cannot be imported: OSError: no disk"),
    "exits": ("raise SystemExit(3)", "broken cannot be imported: SystemExit: 3"),
    "misspelt": ("def f(:", "broken cannot be imported: SyntaxError: "),
    "incomplete": (
        "import nowhere_at_all",
        "broken cannot be imported: ModuleNotFoundError: No module named ",
    ),
    "no hook": (
        "",
        "broken implements no hook 'noether_attention_variant'; mark one with @hookimpl",
    ),
    "another hook": (
        f"{RECORD}\n@hookimpl\ndef noether_attention_varient(): ...",
        "broken unknown hook 'noether_attention_varient'",
    ),
    "other parameters": (
        f"{RECORD}\n@hookimpl\ndef noether_attention_variant(x): ...",
        "broken Plugin 'broken:broken'",
    ),
    "returns nothing": (
        f"{RECORD}\n@hookimpl\ndef noether_attention_variant(): ...",
        "broken returns None from its hook, which is no AttentionVariant",
    ),
    "hook raises": (
        f"{RECORD}\n@hookimpl\ndef noether_attention_variant(): raise KeyError('k')",
        "broken fails in noether_attention_variant: KeyError: 'k'",
    ),
    "hook exits": (
        f"{RECORD}\n@hookimpl\ndef noether_attention_variant(): raise SystemExit",
        "broken fails in noether_attention_variant: SystemExit: ",
    ),
    "unsound config": (
        (
            f"{RECORD}\nclass C(AttentionConfig): ...\n@hookimpl\n"
            "def noether_attention_variant():\n"
            "    return AttentionVariant(config=C, module='a:B', interface='self', "
            "time_exponent=1, memory_exponent=1, "
            "summary='s', api_version=1)"
        ),
        (
            "broken fails in noether_attention_variant: ConfigError: config: C is not "
            "decorated; put @attrs.frozen(kw_only=True) above it"
        ),
    ),
}


@pytest.mark.parametrize(("code", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_breaks_only_its_own_type_and_is_remembered(site, code, message):
    site.install("broken", attention={"broken": "broken"}, files={"broken.py": code})
    site.install_variant("sound")
    known = site.registry()
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            known.get("broken")
        assert caught.value.plugin == "'broken' of broken 1.2.0"
        assert message in caught.value.reason
    assert known.get("sound").type == "sound"
    assert known.types() == ("broken", "sound")


def test_the_cause_of_a_failure_is_chained_every_time(site):
    site.install(
        "broken", attention={"broken": "broken"}, files={"broken.py": "raise OSError('no disk')"}
    )
    known = site.registry()
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            known.get("broken")
        assert isinstance(caught.value.__cause__, OSError)


def test_a_failure_gets_another_try_after_a_refresh(site):
    site.install("broken", attention={"broken": "broken"}, files={"broken.py": "raise OSError"})
    known = site.registry()
    with pytest.raises(PluginError):
        known.get("broken")
    module = site.install_variant("broken", "other")
    (site.folder / "broken.py").write_text((site.folder / f"{module}.py").read_text())
    with pytest.raises(PluginError):
        known.get("broken")
    known.refresh()
    assert known.get("broken").type == "broken"


def test_ctrl_c_during_an_import_is_no_failure_of_the_plugin(site):
    site.install("slow", attention={"slow": "slow"}, files={"slow.py": "raise KeyboardInterrupt"})
    known = site.registry()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            known.get("slow")


def test_the_entry_point_bears_the_name_of_the_type(site):
    module = site.install_variant("flow")
    site.install("acme-other", attention={"stream": module})
    with pytest.raises(
        PluginError, match="has a config of the type 'flow'; name the entry point so, or the config"
    ):
        site.registry().get("stream")


def test_a_plugin_may_ask_for_other_types_while_it_is_imported(site, monkeypatch):
    site.install_variant("other")
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    file.write_text("import here\nseen = here.known.get('other').type\n" + file.read_text())
    known = _shared(site, monkeypatch)
    assert known.get("flow").type == "flow"
    assert sys.modules[module].seen == "other"


def test_a_plugin_that_looks_its_own_type_up_while_it_is_imported_is_refused(site, monkeypatch):
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    file.write_text("import here\nhere.known.get('flow')\n" + file.read_text())
    known = _shared(site, monkeypatch)
    with pytest.raises(PluginError, match="looks its own type up while it is being imported"):
        known.get("flow")


def _shared(site, monkeypatch):
    """Return a registry that plugins reach as ``here.known``."""
    import types

    here = types.ModuleType("here")
    here.known = site.registry()
    monkeypatch.setitem(sys.modules, "here", here)
    return here.known


def _variant(site, type, **changes):
    variant = site.registry().get(type)
    facts = {
        name: getattr(variant, name)
        for name in ("config", "module", "interface", "summary", "example")
    }
    return AttentionVariant(
        **facts, time_exponent=1, memory_exponent=1, **{"api_version": 1, **changes}
    )


def test_a_variant_is_registered_in_process_and_replaced(site):
    site.install_variant("flow")
    first, second = _variant(site, "flow"), _variant(site, "flow", reference="newer")
    known = Registry(index=Index((), (), ()))
    for variant in (first, second):
        known.register(variant)
        assert known.types() == ("flow",)
        assert known.get("flow") is known.get("in-process:flow") is variant


def test_a_variant_in_process_does_not_silently_take_the_place_of_an_installed_one(site):
    site.install_variant("flow", "acme-flow")
    known = site.registry()
    installed, mine = known.get("flow"), _variant(site, "flow")
    known.register(mine)
    with pytest.raises(AmbiguousTypeError, match="write 'acme-flow:flow' or 'in-process:flow'"):
        known.get("flow")
    assert known.get("acme-flow:flow") is installed
    assert known.get("in-process:flow") is mine


def test_only_variants_of_a_known_contract_are_registered(site):
    site.install_variant("flow")
    known = site.registry()
    with pytest.raises(TypeError, match="expected an AttentionVariant or TaskRecord, got 'flow'"):
        known.register("flow")
    with pytest.raises(PluginError, match="was written for version 2"):
        known.register(_variant(site, "flow", api_version=2))


@pytest.mark.parametrize("block", ["acme-flow:flow", "Acme_Flow:flow", "acme-flow"])
def test_a_blocked_plugin_is_neither_found_nor_imported(site, block, monkeypatch):
    module = site.install_variant("flow", "acme-flow")
    site.install_variant("flow", "best-flow")
    monkeypatch.setenv("NOETHER_BLOCK", f" {block} ,")
    for known in (site.registry(), site.registry(block=[block])):
        assert known.get("flow") is known.get("best-flow:flow")
        assert [entry.qualified_name for entry in known.blocked()] == ["acme-flow:flow"]
        with pytest.raises(
            UnknownTypeError,
            match=r"'acme-flow:flow' is not installed; acme-flow:flow is blocked\.",
        ):
            known.get("acme-flow:flow")
    assert module not in sys.modules


@pytest.mark.parametrize(
    "type",
    [
        "os.system",
        "flow.py",
        "../flow",
        "https://x/flow",
        "flow:flow:flow",
        "acme:",
        ":flow",
        ":flow ",
        "__class__",
        "\uff46low",
        "",
    ],
)
def test_a_type_selects_and_never_locates(site, type):
    site.install_variant("flow", "acme-flow")
    before = set(sys.modules)
    with pytest.raises(UnknownTypeError):
        structure({"type": type, "hidden_dim": 8, "num_heads": 2}, registry=site.registry())
    assert not {name for name in set(sys.modules) - before if "flow" in name}


THREADS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
sys.setswitchinterval(1e-5)
from noether_core import Registry
from noether_core.plugins.metadata import scan

known = Registry(index=scan([sys.argv[1]]))
types = known.types()
start, seen, errors = threading.Barrier(8), [], []

def resolve(offset):
    start.wait()
    try:
        for number in range(len(types)):
            name = types[(number * (offset + 1) + offset) % len(types)]
            seen.append(known.get(name))
    except BaseException as error:
        errors.append(error)

threads = [threading.Thread(target=resolve, args=(offset,)) for offset in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not errors, errors
import counted
assert counted.imports == dict.fromkeys(counted.imports, 1), counted.imports
assert len({id(variant) for variant in seen}) == len({variant.type for variant in seen})
assert all(known.get(name).type == name for name in types) and len(counted.imports) == 50
print("good")
"""


def test_eight_threads_that_resolve_fifty_types_get_them_right_and_import_each_once(site):
    (site.folder / "counted.py").write_text("imports = {}\n")
    for number in range(50):
        module = site.install_variant(f"type{number}")
        file = site.folder / f"{module}.py"
        count = "import counted, time\ntime.sleep(0.001)\n"
        count += "counted.imports[__name__] = counted.imports.get(__name__, 0) + 1\n"
        file.write_text(count + file.read_text())
    command = [sys.executable, "-c", THREADS, str(site.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "good\n", done.stderr


def test_no_lock_is_held_while_a_plugin_is_imported(site, monkeypatch):
    """Two plugins, each of which waits at import until the other's import has begun, both come
    through.
    """
    for mine, other in (("left", "right"), ("right", "left")):
        module = site.install_variant(mine)
        file = site.folder / f"{module}.py"
        wait = (
            f"import meeting\nmeeting.begun['{mine}'].set()\n"
            f"assert meeting.begun['{other}'].wait(20)\n"
        )
        file.write_text(wait + file.read_text())
    (site.folder / "meeting.py").write_text(
        "import threading\nbegun = {'left': threading.Event(), 'right': threading.Event()}\n"
    )
    known, found = site.registry(), {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: known.get(name)}))
        for name in known.types()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(found) == {"left", "right"}


def test_what_a_plugin_imports_on_first_use_is_left_alone(site):
    """A package may offer its module class beside its hook, and it is not imported before it is
    asked for.
    """
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    offer = "touched = []\n\ndef __dir__():\n    return [*globals(), 'Module']\n\n"
    offer += "def __getattr__(name):\n    touched.append(name)\n    raise AttributeError(name)\n"
    file.write_text(file.read_text() + offer)
    assert site.registry().get("flow").type == "flow"
    assert "Module" not in sys.modules[module].touched


@pytest.mark.parametrize("value", ["{module}:Plugin", "{module}:plugin", "{module}:Nested.plugin"])
def test_a_plugin_may_be_a_module_or_an_object_in_it(site, value):
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    classes = (
        "class Plugin:\n    noether_attention_variant = staticmethod(noether_attention_variant)\n\n"
    )
    classes += "plugin = Plugin()\nclass Nested:\n    plugin = Plugin()\n"
    file.write_text(file.read_text() + classes)
    site.install("acme-objects", attention={"flow": value.format(module=module)})
    assert site.registry().get("acme-objects:flow").type == "flow"


COMMAND = """

@hookimpl
def noether_command(parser):
    parser.set_defaults(run=lambda options: 0)
"""


@pytest.mark.parametrize("command", ["flow", "measure"])
def test_one_module_may_provide_a_type_and_a_command_of_the_same_name_or_another(site, command):
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    file.write_text(file.read_text() + COMMAND)
    site.install("acme", attention={"flow": module}, commands={command: module})
    known = site.registry(block=["flow"])
    (entry,) = known.commands()
    for _ in range(2):
        parser = argparse.ArgumentParser()
        known.add_command(entry, parser)
        assert callable(parser.get_default("run"))
        assert known.get("flow").type == "flow"


def test_a_type_and_a_command_of_one_name_may_be_two_modules(site):
    module = site.install_variant("flow")
    files = {"flow_command.py": "from noether_core import hookimpl\n" + COMMAND}
    site.install("acme", attention={"flow": module}, commands={"flow": "flow_command"}, files=files)
    known = site.registry(block=["flow"])
    assert known.get("flow").type == "flow"
    known.add_command(known.commands()[0], argparse.ArgumentParser())


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("pass", "says not what runs its command; call parser.set_defaults(run=...)"),
        (
            "parser.set_defaults(run='main')",
            "says not what runs its command; call parser.set_defaults(run=...)",
        ),
        ("raise OSError('no')", "fails in noether_command: OSError: no"),
        ("parser.exit(0)", "fails in noether_command: SystemExit: 0"),
    ],
)
def test_a_command_that_cannot_be_run_is_reported_when_it_is_added(site, code, message):
    source = (
        "from noether_core import hookimpl\n\n@hookimpl\ndef noether_command(parser):\n"
        f"    {code}\n"
    )
    site.install("acme", commands={"cost": "acme_cost"}, files={"acme_cost.py": source})
    known = site.registry()
    with pytest.raises(PluginError) as caught:
        known.add_command(known.commands()[0], argparse.ArgumentParser())
    assert caught.value.reason == f"acme_cost {message}"
    assert site.registry(block=["acme:cost"]).commands() == ()


def test_an_error_that_has_no_text_does_not_hide_the_failure(site):
    code = (
        "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\n\nraise Odd\n"
    )
    site.install("odd", attention={"odd": "odd"}, files={"odd.py": code})
    with pytest.raises(PluginError) as caught:
        site.registry().get("odd")
    assert caught.value.reason == "odd cannot be imported: Odd"


def test_a_broken_plugin_does_not_keep_a_config_from_its_own(site):
    site.install(
        "acme-attn", attention={"flow": "acme_broken"}, files={"acme_broken.py": "raise OSError"}
    )
    site.install_variant("flow", "best-attn")
    known = site.registry()
    variant = known.get("best-attn:flow")
    assert known.record_of(variant.config(hidden_dim=8, num_heads=2)) is variant


def test_an_open_config_of_an_ambiguous_type_imports_nothing(site):
    modules = [site.install_variant("flow", "acme-attn"), site.install_variant("flow", "best-attn")]
    known = site.registry()
    with pytest.raises(AmbiguousTypeError):
        known.record_of(AttentionConfig(type="flow", hidden_dim=8, num_heads=2))
    assert not set(modules) & set(sys.modules)


def test_plugins_that_look_each_other_up_while_they_are_imported_are_refused(site, monkeypatch):
    for mine, other in (("left", "right"), ("right", "left")):
        module = site.install_variant(mine)
        file = site.folder / f"{module}.py"
        file.write_text(f"import here\nhere.known.get('{other}')\n" + file.read_text())
    site.install_variant("sound")
    known = _shared(site, monkeypatch)
    with pytest.raises(
        PluginError, match=r"'left' of left 1\.2\.0: .* looks its own type up while it is being"
    ):
        known.get("left")
    assert known.get("sound").type == "sound"


def test_a_hook_that_looks_its_own_type_up_is_refused(site, monkeypatch):
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    ask = "    import here\n    here.known.get('flow')\n    return AttentionVariant("
    file.write_text(file.read_text().replace("    return AttentionVariant(", ask))
    with pytest.raises(PluginError, match="looks its own type up while it is being imported"):
        _shared(site, monkeypatch).get("flow")


def test_a_plugin_that_can_do_without_its_own_type_may_look_it_up(site, monkeypatch):
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    ask = "import here\ntry:\n    here.known.get('flow')\nexcept ImportError:\n    pass\n"
    file.write_text(ask + file.read_text())
    assert _shared(site, monkeypatch).get("flow").type == "flow"


def test_a_plugin_may_register_another_while_it_is_imported(site, monkeypatch):
    site.install_variant("mine", "only-mine")
    mine = site.registry().get("mine")
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    file.write_text("import here\nhere.known.register(here.mine)\n" + file.read_text())
    known = _shared(site, monkeypatch)
    sys.modules["here"].mine = mine
    assert known.get("flow").type == "flow"
    assert known.get("in-process:mine") is mine


def test_what_is_installed_later_is_seen_after_a_refresh(site):
    site.install_variant("first")
    known = Registry()
    assert "first" in known.types()
    assert known.get("first").type == "first"
    before = site.folder.stat().st_mtime_ns
    site.install_variant("second")
    os.utime(site.folder, ns=(before, before))  # so fast that the clock did not tick
    with pytest.raises(UnknownTypeError):
        known.get("second")
    known.refresh()
    assert known.get("second").type == "second"


def test_what_was_uninstalled_is_unknown_after_a_refresh(site):
    site.install_variant("first")
    known = Registry()
    assert known.get("first").type == "first"
    shutil.rmtree(site.folder / "first-1.2.0.dist-info")
    known.refresh()
    with pytest.raises(UnknownTypeError):
        known.get("first")


def test_the_registry_of_the_process_is_one():
    with ThreadPoolExecutor(8) as pool:
        assert len({id(known) for known in pool.map(lambda _: registry(), range(64))}) == 1


def test_of_many_types_the_first_twenty_are_listed(site):
    for number in range(25):
        site.install(f"acme{number}", attention={f"type{number:02}": "acme"})
    with pytest.raises(UnknownTypeError) as caught:
        site.registry().get("zzz")
    assert str(caught.value).endswith("type18, type19 and 5 more.")
    assert len(caught.value.installed) == 25


def test_the_types_that_have_an_option_are_reported_and_no_plugin_is_imported_for_it(site):
    module = site.install_variant("sound")
    site.install_variant("twice", "acme-one")
    site.install_variant("twice", "acme-two")
    site.install(
        "acme-broken",
        attention={"broken": "acme_broken"},
        files={"acme_broken.py": "raise SystemExit"},
    )
    known = site.registry()
    assert known.types_with("window") == ()
    assert not {module, "acme_broken"} & set(sys.modules)
    known.get("sound")
    assert known.types_with("window") == ("sound",)
    assert known.types_with("windows") == ()
    assert Registry().types_with("use_gumbel_softmax") == ("transolver_plusplus",)
    assert "acme_broken" not in sys.modules


def test_the_repr_of_a_registry_says_types_and_their_packages():
    known = Registry(index=Index((), (), ()))
    assert repr(known) == "<Registry: no types; of no package>"
    known.register(registry().get("flare"))
    assert repr(known) == "<Registry: flare; of in-process>"
