"""Packages whose plugins break in every way, installed beside each other: no others suffer."""

from __future__ import annotations

import json

import pytest

from tests.hostile.hostile_plugins import BROKEN, ENDING, ODD, SOUND, by_type, wheels

ALL = by_type([*BROKEN, *ENDING, *ODD, SOUND])

RESOLVE = """
import json, sys
from noether_core import NoetherError, registry

left_out = json.loads(sys.argv[1])
results = {}
for _ in range(2):
    for known in registry().kinds():
        for name in [name for name in known.types() if name not in left_out]:
            try:
                results[name] = known.get(name).type
            except NoetherError as error:
                results[name] = [type(error).__name__, error.plugin, error.reason]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def sandbox(new_sandbox):
    sandbox = new_sandbox()
    sandbox.install(*wheels(sandbox.folder, *ALL.values()))
    return sandbox


@pytest.fixture(scope="module")
def resolved(sandbox):
    """What becomes of every type in one program, looked up twice, save those that would end it."""
    return sandbox.python(RESOLVE, json.dumps([plugin.type for plugin in ENDING]))


@pytest.fixture(scope="module")
def diagnosis(sandbox):
    arguments = ("--timeout", "12", "--slow", "600")
    return sandbox.json("doctor", *arguments, status=1, NOETHER_BLOCK="noether-attention")


def findings(diagnosis, plugin):
    return {
        finding["check"]: finding
        for finding in diagnosis["findings"]
        if finding["distribution"] == plugin.distribution
    }


@pytest.mark.parametrize("plugin", BROKEN, ids=lambda plugin: plugin.type)
def test_a_broken_plugin_is_reported_in_full_with_its_provider(plugin, resolved):
    kind, provider, reason = resolved[plugin.type]
    assert (kind, provider) == ("PluginError", f"'{plugin.type}' of {plugin.distribution} 1.0")
    assert reason.startswith(f"{plugin.module} {plugin.reason}")


def test_no_other_type_suffers(resolved):
    broken = {name for name, result in resolved.items() if result != name}
    assert broken == {plugin.type for plugin in BROKEN}
    assert {"flare", "transolver", "sound", "registered"} <= resolved.keys() - broken


def test_everything_is_listed_without_being_imported(sandbox):
    listed = [*sandbox.json("list"), *sandbox.json("list", "--tasks")]
    rows = {row["type"]: row for row in listed}
    assert {(row["distribution"], row["note"]) for name, row in rows.items() if name in ALL} == {
        (plugin.distribution, "") for plugin in ALL.values()
    }
    assert rows["flare"]["distribution"] == "noether-attention"


@pytest.mark.parametrize("plugin", ALL.values(), ids=lambda plugin: plugin.type)
def test_doctor_finds_each_and_says_what_to_do(plugin, diagnosis):
    found = findings(diagnosis, plugin)
    if plugin is SOUND:
        assert found == {}
        return
    assert set(found) == {plugin.found}
    finding = found[plugin.found]
    assert finding["severity"] == plugin.severity
    assert finding["plugin"] == f"{plugin.distribution}:{plugin.type}"
    assert finding["message"].startswith(f"{plugin.module} {plugin.reason}")
    assert finding["remedy"]
    assert finding["origin"].endswith(f"{plugin.distribution.replace('-', '_')}-1.0.dist-info")


def test_doctor_finds_nothing_wrong_with_what_is_sound(diagnosis):
    assert {finding["distribution"] for finding in diagnosis["findings"]} == {
        plugin.distribution for plugin in ALL.values() if plugin is not SOUND
    }


def test_doctor_reports_how_long_every_import_takes(diagnosis):
    times = {row["plugin"]: row["milliseconds"] for row in diagnosis["imports"]}
    ended = {f"{plugin.distribution}:{plugin.type}" for plugin in ENDING}
    assert {name for name, time in times.items() if time is None} == ended
    assert times["hostile-slow:slow"] > 650
    assert 0 < times["hostile-sound:sound"] < 650
    assert [time for time in times.values() if time] == sorted(
        (time for time in times.values() if time), reverse=True
    )


def test_doctor_for_readers_reports_the_same_and_leaves_with_one(sandbox):
    looked_at = ("raises", "dies", "slow", "sound")
    others = [plugin.distribution for name, plugin in ALL.items() if name not in looked_at]
    blocked = ",".join(["noether-attention", *others])
    done = sandbox.run("noether", "doctor", "--slow", "600", NOETHER_BLOCK=blocked)
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert done.stderr == ""
    assert errors == [
        "error: hostile-dies 1.0: hostile_dies ends the process that imports it, with status 7",
        "error: hostile-raises 1.0: hostile_raises cannot be imported: OSError: no disk",
    ]
    assert "2 errors and 1 warning; " in done.stdout
    assert "NOETHER_BLOCK=hostile-raises:raises" in done.stdout


def test_commands_that_need_another_type_neither_hang_nor_die(sandbox):
    (sandbox.folder / "good.yaml").write_text("type: sound\nhidden_dim: 8\nnum_heads: 2\n")
    assert sandbox.run("noether", "validate", "good.yaml").stdout == "good.yaml: good: sound\n"
    assert sandbox.json("show", "sound")["provider"] == "hostile-sound 1.0"
    assert sandbox.json("why", "hangs")["means"] == "hostile-hangs:hangs"
    assert sandbox.run("noether", "schema", "flare").returncode == 0
    assert "doctor" in sandbox.run("noether", "--help").stdout


def test_a_misspelt_option_imports_no_other_plugin(sandbox):
    (sandbox.folder / "typo.yaml").write_text(
        "type: sound\nhidden_dim: 8\nnum_heads: 2\nwindw: 3\n"
    )
    done = sandbox.run("noether", "validate", "typo.yaml")
    assert done.returncode == 1
    assert "typo.yaml:4:1: windw: unknown option of 'sound'; did you mean 'window'?" in done.stderr


def test_ctrl_c_during_an_import_stops_the_program(sandbox):
    for name in ("interrupts", "hook_interrupts"):
        done = sandbox.run(
            "python", "-c", f"from noether_core import registry; registry().get('{name}')"
        )
        assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
        assert sandbox.run("noether", "show", name).returncode == 130


def test_a_program_that_waits_for_ever_can_still_use_other_types(sandbox):
    code = """
import json, threading, time
from noether_core import registry
for name in ("hangs", "waits_for_itself"):
    threading.Thread(target=registry().get, args=(name,), daemon=True).start()
time.sleep(1)
print(json.dumps([registry().get(name).type for name in ("sound", "flare")]))
"""
    assert sandbox.python(code) == ["sound", "flare"]


def test_what_is_blocked_is_neither_imported_nor_found_at_fault(sandbox):
    blocked = ",".join(plugin.distribution for plugin in [*BROKEN, *ENDING, *ODD])
    diagnosis = sandbox.json("doctor", "--slow", "5000", NOETHER_BLOCK=blocked)
    assert diagnosis["findings"] == []
    assert "hostile-hangs:hangs" not in {row["plugin"] for row in diagnosis["imports"]}
    notes = {row["type"]: row["note"] for row in sandbox.json("list", NOETHER_BLOCK=blocked)}
    allowed = {name for name, note in notes.items() if note != "blocked"}
    tasks = sandbox.json("list", "--tasks", NOETHER_BLOCK=blocked)
    blocked_tasks = {row["type"] for row in tasks if row["note"] == "blocked"}
    assert (notes.keys() - allowed) | blocked_tasks == ALL.keys() - {"sound"}
    code = "import json, noether_core\nprint(json.dumps(len(noether_core.json_schema()['allOf'])))"
    assert sandbox.python(code, NOETHER_BLOCK=blocked) == len(allowed)
