"""Many packages, and many threads."""

from __future__ import annotations

import importlib.metadata

import pytest

from tests.hostile.hostile_plugins import SOUND
from tests.light_environment import site_of, variant_source, write_wheel

PLUGINS, OTHERS = 500, 300

COUNTED = """
import json, sys
from noether_core import registry
from noether_core.plugins import catalogue

scans, scan = [], catalogue.scan
catalogue.scan = lambda *given: scans.append(given) or scan(*given)
names = registry().types()
imported = [name for name in sys.modules if name.startswith("crowd_")]
found = {name: registry().get(name).type for name in names}
missing = registry().providers("none")
facts = {"scans": len(scans), "imported": imported, "found": found, "missing": missing}
print(json.dumps(facts))
"""


def write_installed(site, distribution, entry_points):
    """Write what pip writes into *site* when it installs a distribution: eight hundred times pip
    would take minutes.
    """
    metadata = site / f"{distribution}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    )
    (metadata / "INSTALLER").write_text("pip\n")
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="module")
def crowd(new_sandbox):
    """Five hundred packages with plugins and three hundred without, beside some that pip has
    installed.
    """
    sandbox = new_sandbox()
    installed = [
        write_wheel(sandbox.folder, f"by-pip-{number}", {f"by_pip_{number}.py": ""})
        for number in range(5)
    ]
    sandbox.install(SOUND.wheel(sandbox.folder), *installed)
    site = site_of(sandbox.environment)
    for number in range(PLUGINS):
        module = f"crowd_{number}"
        (site / f"{module}.py").write_text(variant_source(module))
        write_installed(site, module, f"[noether.attention]\n{module} = {module}\n")
    for number in range(OTHERS):
        write_installed(site, f"other_{number}", f"[console_scripts]\nother{number} = other:main\n")
    return sandbox


def test_every_type_of_five_hundred_packages_is_found_by_one_scan_and_nothing_is_imported_for_it(
    crowd,
):
    facts = crowd.python(COUNTED)
    assert facts["scans"] == 1
    assert facts["imported"] == []
    assert facts["missing"] == []
    assert facts["found"] == {name: name for name in facts["found"]}
    assert {f"crowd_{number}" for number in range(PLUGINS)} | {"sound", "flare"} <= facts[
        "found"
    ].keys()


def test_commands_list_and_explain_them_all(crowd):
    rows = {row["type"]: row for row in crowd.json("list")}
    others = {name for name, row in rows.items() if row["distribution"] != "noether-attention"}
    assert others == {f"crowd_{number}" for number in range(PLUGINS)} | {"sound"}
    assert {row["note"] for row in rows.values()} == {""}
    why = crowd.json("why", "crowd_77")
    assert (why["means"], why["resolves"]) == ("crowd-77:crowd_77", True)
    assert why["candidates"][0]["file"] == str(crowd.site / "crowd_77.py")
    assert "did you mean 'crowd_77'?" in crowd.json("why", "crowd77", status=1)["sentence"]


def test_doctor_looks_at_all_of_them(crowd):
    diagnosis = crowd.json("doctor", "--no-import")
    assert diagnosis["findings"] == []
    entry_points = importlib.metadata.distribution("noether-attention").entry_points
    built_in = sum(entry.group.startswith("noether.") for entry in entry_points)
    assert diagnosis["plugins"] == PLUGINS + 1 + built_in
    assert diagnosis["distributions"] >= PLUGINS + OTHERS + 6


def test_one_that_breaks_among_them_is_found(crowd):
    broken = crowd.site / "crowd_123.py"
    source = broken.read_text()
    broken.unlink()
    try:
        (finding,) = crowd.json("doctor", "--no-import", status=1)["findings"]
    finally:
        broken.write_text(source)
    assert (finding["plugin"], finding["check"]) == ("crowd-123:crowd_123", "missing-code")


THREADS = """
import json, os, sys, threading
from noether_core import registry

sys.setswitchinterval(1e-5)
names = [f"threaded_{number}" for number in range(50)]
start, results, errors = threading.Barrier(8), [[] for _ in range(8)], []

def resolve(thread):
    try:
        start.wait()
        for number in range(50):
            name = names[(number * (2 * thread + 1) + 7 * thread) % 50]
            variant = registry().get(name)
            config = variant.config(hidden_dim=8, num_heads=2)
            results[thread].append((name, variant.type, config.type, id(variant)))
    except BaseException as error:
        errors.append(repr(error))

threads = [threading.Thread(target=resolve, args=(thread,)) for thread in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({"errors": errors, "results": results}))
"""

COUNT = """
import os, time

with open(os.environ["COUNTED_IN"], "a") as file:
    file.write(__name__ + "\\n")
time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def fifty(new_sandbox):
    """Fifty packages whose imports are slow and leave a line each."""
    sandbox = new_sandbox()
    names = [f"threaded_{number}" for number in range(50)]
    sandbox.install(
        *(
            write_wheel(
                sandbox.folder,
                name.replace("_", "-"),
                {f"{name}_plugin.py": COUNT + variant_source(name)},
                plugins={name: f"{name}_plugin"},
            )
            for name in names
        )
    )
    return sandbox


@pytest.mark.parametrize("attempt", range(3))
def test_eight_threads_that_resolve_fifty_types_get_all_of_them_right_and_import_each_once(
    fifty, attempt
):
    counted = fifty.folder / f"counted{attempt}"
    facts = fifty.python(THREADS, COUNTED_IN=str(counted))
    results = [result for thread in facts["results"] for result in thread]
    assert facts["errors"] == []
    assert len(results) == 8 * 50
    assert all(name == variant == config for name, variant, config, _ in results)
    assert len({identity for *_, identity in results}) == 50
    assert sorted(counted.read_text().split()) == sorted(
        f"threaded_{number}_plugin" for number in range(50)
    )
