"""Packages that pip has installed and something has damaged since: each costs its own types and no
other.
"""

from __future__ import annotations

import shutil

import attrs
import pytest

from tests.light_environment import variant_source, write_wheel


def _write(name, content):
    def damage(metadata):
        (metadata / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def _remove(name):
    def damage(metadata):
        (metadata / name).unlink()

    return damage


def _replace_by_folder(metadata):
    (metadata / "entry_points.txt").unlink()
    (metadata / "entry_points.txt").mkdir()


def _remove_code(metadata):
    (metadata.parent / "damaged_no_code.py").unlink()


def _leave_cache_alone(metadata):
    """Leave what an uninstallation leaves where something has written into the package's folder."""
    shutil.rmtree(metadata.parent / "damaged_only_cache")
    (metadata.parent / "damaged_only_cache" / "__pycache__").mkdir(parents=True)


@attrs.frozen(kw_only=True)
class Damaged:
    """A package, what happens to its metadata, and what is reported of it."""

    name: str
    damage: object

    is_listed: bool = False
    """Whether its type is found nevertheless."""

    resolves: bool = False
    """Whether it can be used, too."""

    on_error: str = ""
    """What ``noether list`` says of it on standard error."""

    check: str
    severity: str = "error"
    reason: str

    @property
    def type(self):
        return f"damaged_{self.name}"

    @property
    def distribution(self):
        return self.type.replace("_", "-")


NAME = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\n"

DAMAGED = [
    Damaged(
        name="latin",
        damage=_write("entry_points.txt", "[noether.attention]\nx = caf\xe9\n".encode("latin-1")),
        on_error="entry_points.txt is not UTF-8",
        check="metadata",
        reason=(
            "entry_points.txt is not UTF-8: invalid continuation byte at byte 27; none of "
            "its plugins is found"
        ),
    ),
    Damaged(
        name="wide",
        damage=_write("entry_points.txt", "[noether.attention]\nx = y\n".encode("utf-16")),
        on_error="entry_points.txt is not UTF-8",
        check="metadata",
        reason=(
            "entry_points.txt is not UTF-8: invalid start byte at byte 0; none of its "
            "plugins is found"
        ),
    ),
    Damaged(
        name="value",
        damage=_write("entry_points.txt", "[noether.attention]\ndamaged_value = ../evil.py\n"),
        on_error="'damaged_value = ../evil.py' under [noether.attention] is no entry point",
        check="entry-point",
        reason="'damaged_value = ../evil.py' under [noether.attention] is no entry point",
    ),
    Damaged(
        name="folder",
        damage=_replace_by_folder,
        on_error="Is a directory",
        check="metadata",
        reason="Is a directory",
    ),
    Damaged(
        name="no_metadata",
        damage=_remove("METADATA"),
        on_error="METADATA is missing",
        check="metadata",
        reason="METADATA is missing; none of its plugins is found",
    ),
    Damaged(
        name="nameless",
        damage=_write(
            "METADATA", "Metadata-Version: 2.1\nSummary: x\n Name: y\n\tVersion: 3\n\nName: z\n"
        ),
        is_listed=True,
        resolves=True,
        check="metadata",
        severity="warning",
        reason="METADATA has no Name; METADATA has no Version",
    ),
    Damaged(
        name="bytes",
        damage=_write("METADATA", NAME.encode() + b"Author: Andr\xe9\n"),
        is_listed=True,
        resolves=True,
        check="metadata",
        severity="warning",
        reason="METADATA is not UTF-8: invalid continuation byte at byte",
    ),
    Damaged(
        name="group",
        damage=_write("entry_points.txt", "[noether.attentions]\ndamaged_group = damaged_group\n"),
        check="group",
        severity="warning",
        reason="[noether.attentions] is no group of Noether, and what it announces is never found",
    ),
    Damaged(
        name="no_code",
        damage=_remove_code,
        is_listed=True,
        check="import",
        reason=(
            "damaged_no_code cannot be imported: ModuleNotFoundError: No module named "
            "'damaged_no_code'"
        ),
    ),
    Damaged(
        name="only_cache",
        damage=_leave_cache_alone,
        is_listed=True,
        check="import",
        reason="damaged_only_cache implements no hook 'noether_attention_variant'",
    ),
]

STRANGERS = {
    "stranger_without_metadata": _remove("METADATA"),
    "stranger_without_name": _write("METADATA", ""),
    "stranger_of_bytes": _write("entry_points.txt", b"[console_scripts]\nx = caf\xe9:y\n"),
}
"""Packages without plugins, damaged likewise."""

every_damage = pytest.mark.parametrize("damaged", DAMAGED, ids=lambda damaged: damaged.name)

RESOLVE = """
import json, sys
from noether_core import NoetherError, registry

results = {}
for name in sys.argv[1:]:
    try:
        results[name] = registry().get(name).type
    except NoetherError as error:
        results[name] = type(error).__name__
print(json.dumps(results))
"""


def metadata_of(sandbox, module):
    return sandbox.site / f"{module}-1.0.dist-info"


@pytest.fixture(scope="module")
def sandbox(new_sandbox):
    sandbox = new_sandbox()
    names = [*(damaged.type for damaged in DAMAGED), "healthy"]
    wheels = [
        write_wheel(
            sandbox.folder,
            name.replace("_", "-"),
            {
                f"{name}/__init__.py"
                if name == "damaged_only_cache"
                else f"{name}.py": variant_source(name, module="x:Y")
            },
            plugins={name: name},
        )
        for name in names
    ]
    strangers = [
        write_wheel(
            sandbox.folder,
            name,
            {f"{name}.py": ""},
            group="console_scripts",
            plugins={name: f"{name}:main"},
        )
        for name in STRANGERS
    ]
    sandbox.install(*wheels, *strangers)
    for damaged in DAMAGED:
        damaged.damage(metadata_of(sandbox, damaged.type))
    for name, damage in STRANGERS.items():
        damage(metadata_of(sandbox, name))
    (sandbox.site / "~omething-1.0.dist-info").mkdir()
    return sandbox


@pytest.fixture(scope="module")
def listed(sandbox):
    rows = sandbox.json("list")
    return {row["type"]: row for row in rows}, sandbox.run("noether", "list").stderr


@pytest.fixture(scope="module")
def findings(sandbox):
    blocked = {"NOETHER_BLOCK": "noether-attention"}
    found = sandbox.json("doctor", "--slow", "5000", status=1, **blocked)["findings"]
    return [finding for finding in found if finding["check"] != "module"]  # none of these has one


@pytest.fixture(scope="module")
def resolved(sandbox):
    return sandbox.python(RESOLVE, "healthy", "flare", *(damaged.type for damaged in DAMAGED))


@every_damage
def test_what_is_damaged_is_listed_as_far_as_it_can_be_and_reported_as_far_as_it_cannot(
    damaged, listed, sandbox
):
    rows, reason = listed
    assert (damaged.type in rows) == damaged.is_listed
    origin = str(metadata_of(sandbox, damaged.type))
    assert (f"noether: {origin}: " in reason) == bool(damaged.on_error)
    assert damaged.on_error in reason


@every_damage
def test_only_the_damaged_type_suffers(damaged, resolved):
    missing = "PluginError" if damaged.is_listed else "UnknownTypeError"
    assert resolved[damaged.type] == (damaged.type if damaged.resolves else missing)
    assert (resolved["healthy"], resolved["flare"]) == ("healthy", "flare")


@every_damage
def test_doctor_finds_each(damaged, findings, sandbox):
    (finding,) = [
        finding
        for finding in findings
        if finding["origin"] == str(metadata_of(sandbox, damaged.type))
    ]
    assert (finding["check"], finding["severity"]) == (damaged.check, damaged.severity)
    assert finding["message"].startswith(damaged.reason)
    assert finding["remedy"]


def test_doctor_finds_what_is_damaged_elsewhere_and_what_an_uninstallation_left(findings):
    reason = {finding["distribution"]: finding for finding in findings if not finding["plugin"]}
    assert {name for name in reason if name.startswith("stranger")} == {
        name.replace("_", "-") for name in STRANGERS
    }
    assert {reason[name.replace("_", "-")]["severity"] for name in STRANGERS} == {"warning"}
    assert reason["omething"]["check"] == "leftover"
    assert reason["omething"]["origin"].endswith("~omething-1.0.dist-info")
    assert "healthy" not in reason


def test_doctor_finds_missing_code_without_importing_too(sandbox):
    found = sandbox.json("doctor", "--no-import", status=1)["findings"]
    missing = {
        finding["plugin"]: finding["message"]
        for finding in found
        if finding["check"] == "missing-code"
    }
    assert missing == {
        "damaged-no-code:damaged_no_code": (
            "damaged_no_code cannot be imported: there is no damaged_no_code"
        ),
        "damaged-only-cache:damaged_only_cache": (
            "damaged_only_cache cannot be imported: damaged_only_cache is a folder without code"
        ),
    }


def test_why_reports_what_could_not_be_read_where_a_type_is_missing(sandbox):
    done = sandbox.run("noether", "why", "damaged_value")
    assert done.returncode == 1
    assert done.stdout.startswith("'damaged_value' is not installed; ")
    assert "'damaged_value = ../evil.py' under [noether.attention] is no entry point" in done.stderr
    assert "damaged_no_code cannot be used: there is no damaged_no_code" in sandbox.json(
        "why", "damaged_no_code", status=1
    )["sentence"].replace(
        "damaged-no-code:damaged_no_code of damaged-no-code 1.0, and", "damaged_no_code"
    )
    assert sandbox.run("noether", "why", "healthy").stderr == ""
