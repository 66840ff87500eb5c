"""Packages whose plugins look types up while they are imported, in this thread or in others."""

from __future__ import annotations

import pytest

from tests.hostile.hostile_plugins import SOUND, Hostile, by_type, wheels
from tests.light_environment import indented, variant_source

_IN_A_THREAD = """
import threading
from noether_core import NoetherError, registry

answers = []


def ask():
    {ask}


threads = [threading.Thread(target=ask) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert answers, answers
"""


def _in_a_thread(ask: str) -> str:
    return indented(_IN_A_THREAD).format(ask=ask)


ASKING = [
    Hostile(
        type="asks_for_another", before="from noether_core import registry\nregistry().get('sound')"
    ),
    Hostile(
        type="asks_for_types",
        before="from noether_core import registry\nassert 'sound' in registry().types()",
    ),
    Hostile(
        type="asks_for_all",
        before="""
            from noether_core import NoetherError, registry
            for name in registry().types():
                try:
                    registry().get(name)
                except NoetherError as error:
                    assert name == 'asks_for_all', error
        """,
    ),
    Hostile(
        type="asks_for_schema",
        before="from noether_core import json_schema\nassert json_schema('sound')",
    ),
    Hostile(
        type="another_in_threads",
        before=_in_a_thread("answers.append(registry().get('sound').type)"),
    ),
    Hostile(type="types_in_threads", before=_in_a_thread("answers.append(registry().types())")),
    Hostile(
        type="configs_in_threads",
        before="from noether_core import structure\n"
        + _in_a_thread(
            "answers.append(structure({'type': 'sound', 'hidden_dim': 8, 'num_heads': 2}))"
        ),
    ),
    Hostile(type="refreshes", before="from noether_core import registry\nregistry().refresh()"),
    Hostile(
        type="asks_for_next",
        before="from noether_core import registry\nregistry().get('asks_for_another')",
    ),
    Hostile(
        type="does_without",
        before="""
            from noether_core import PluginError, registry
            try:
                registry().get('does_without')
            except PluginError:
                pass
        """,
    ),
]

ITSELF = Hostile(
    type="registers_itself",
    instead=variant_source("registers_itself", module="hostile_registers_itself_module:Module")
    + "from noether_core import registry\nregistry().register(noether_attention_variant())\n",
)

ALL = by_type([*ASKING, SOUND])

GET = """
import json, sys
from noether_core import registry

results = {}
for name in (sys.argv[1], *registry().types(), *registry().types()):
    if name != "registers_itself":
        results[name] = registry().get(name).type
print(json.dumps(results))
"""

IN_THREADS = """
import json, sys, threading
from noether_core import registry

sys.setswitchinterval(1e-5)
names, results, errors = sys.argv[1:], {}, []
start = threading.Barrier(len(names))

def resolve(name):
    start.wait()
    try:
        results[name] = registry().get(name).type
    except BaseException as error:
        errors.append(repr(error))

threads = [threading.Thread(target=resolve, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not errors, errors
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def sandbox(new_sandbox):
    sandbox = new_sandbox()
    sandbox.install(*wheels(sandbox.folder, *ALL.values(), ITSELF))
    return sandbox


@pytest.mark.parametrize("name", [plugin.type for plugin in ASKING])
def test_a_plugin_may_look_types_up_while_it_is_imported_and_nothing_hangs(sandbox, name):
    results = sandbox.python(GET, name)
    assert results == {name: name for name in results}
    assert ALL.keys() | {"flare"} <= results.keys()


def test_such_plugins_may_be_looked_up_in_many_threads_at_once(sandbox):
    for _ in range(3):
        assert sandbox.python(IN_THREADS, *ALL) == {name: name for name in ALL}


def test_doctor_finds_nothing_wrong_with_them(sandbox):
    blocked = f"noether-attention,{ITSELF.distribution}"
    diagnosis = sandbox.json("doctor", "--slow", "5000", NOETHER_BLOCK=blocked)
    assert diagnosis["findings"] == []


def test_a_plugin_that_registers_its_own_type_too_is_found_and_its_qualified_names_work(sandbox):
    code = """
import json
from noether_core import AmbiguousTypeError, registry

names = [f"{name}:registers_itself" for name in ("hostile-registers-itself", "in-process")]
found = [registry().get(name).type for name in names]
try:
    registry().get("registers_itself")
except AmbiguousTypeError as error:
    found.append(list(error.providers))
print(json.dumps([*found, registry().get("sound").type]))
"""
    names = ["hostile-registers-itself:registers_itself", "in-process:registers_itself"]
    assert sandbox.python(code) == ["registers_itself", "registers_itself", names, "sound"]
    blocked = "noether-attention,hostile-asks-for-all"  # which imports it as well
    (finding,) = sandbox.json("doctor", "--slow", "5000", NOETHER_BLOCK=blocked)["findings"]
    assert (finding["check"], finding["severity"]) == ("registers", "warning")
    assert finding["plugin"] == names[0]
    assert "registers 'registers_itself' in the process when it is imported" in finding["message"]
