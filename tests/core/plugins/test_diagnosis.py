"""Findings about what is installed, as data; tests/hostile has environments of real packages."""

import os
import sys
import time
from pathlib import Path

import pytest

from noether_core import hookspecs
from noether_core.plugins import diagnosis
from noether_core.plugins.diagnosis import Outcome, by_import, by_metadata, diagnose
from noether_core.plugins.diagnosis.probe import complaint_about
from noether_core.plugins.diagnosis.processes import outcomes
from noether_core.plugins.metadata import ATTENTION, EntryPoint

ENTRY = EntryPoint(ATTENTION, "flow", "acme_flow", "acme-flow", "1.2.0", "/site/acme.dist-info")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Only what a test installs is looked at."""
    monkeypatch.setenv("NOETHER_BLOCK", "noether-attention")
    for name in ("NOETHER_PREFER", "NOETHER_REGISTER"):
        monkeypatch.delenv(name, raising=False)


def checks(found):
    return [(finding.check, finding.severity, finding.plugin) for finding in found]


def install(site, name, source):
    site.install(name, attention={name: f"{name}_plugin"}, files={f"{name}_plugin.py": source})


def test_a_sound_plugin_is_imported_elsewhere_and_its_time_is_reported(site):
    site.install("acme", files={"acme_module.py": "class Module: ..."})
    module = site.install_variant("flow", module="acme_module:Module")
    found = diagnose(slow=60_000)
    assert found.findings == ()
    assert not found.has_errors
    assert module not in sys.modules
    (outcome,) = found.outcomes
    assert (outcome.name, outcome.api_version, outcome.imports_torch) == ("flow:flow", 1, False)
    assert 0 < outcome.milliseconds < 60_000


def test_without_imports_nothing_is_started(site, monkeypatch):
    install(site, "acme", "raise SystemExit(1)")
    monkeypatch.setattr("subprocess.Popen", None)
    found = diagnose(with_imports=False)
    assert (found.findings, found.outcomes) == ((), ())


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA", "direct_url.json", "RECORD"])
def test_metadata_that_would_never_be_read_stop_no_check(site, name):
    install(site, "acme", "")
    origin = site.folder / "acme-1.2.0.dist-info"
    (origin / name).unlink(missing_ok=True)
    os.mkfifo(origin / name)
    os.mkfifo(site.folder / "other-1.0.egg-info")
    found = diagnose(with_imports=False)
    reported = {(Path(one.origin).name, one.check) for one in found.findings}
    assert ("other-1.0.egg-info", "metadata") in reported
    # of the other two, nothing is required
    is_needed = name in {"entry_points.txt", "METADATA"}
    assert ((origin.name, "metadata") in reported) == is_needed


def test_that_the_metadata_of_noether_itself_are_missing_is_an_error(site, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(site.folder)])
    monkeypatch.delenv("NOETHER_BLOCK")
    (finding,) = diagnose(with_imports=False).findings
    assert (finding.severity, finding.check, finding.distribution) == (
        "error",
        "metadata",
        "noether-attention",
    )
    assert finding.remedy == "pip install noether-attention"


def test_what_was_put_on_the_path_of_this_program_is_seen_by_the_processes_and_no_more(
    site, tmp_path, monkeypatch
):
    install(site, "acme", "raise OSError('seen')")
    (tmp_path / "json.py").write_text("raise SystemExit('a file that happens to lie where we are')")
    monkeypatch.chdir(tmp_path)
    (finding,) = diagnose().findings
    assert finding.message == "acme_plugin cannot be imported: OSError: seen"


def test_a_module_to_register_that_hangs_keeps_no_plugin_from_being_looked_at(site, monkeypatch):
    install(site, "acme", "raise OSError('seen')")
    (site.folder / "acme_hangs.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.setenv("NOETHER_REGISTER", "acme_hangs")
    found = {finding.origin: finding.message for finding in diagnose(timeout=5).findings}
    assert found == {
        "NOETHER_REGISTER": "acme_hangs does not come back from its import within 5 seconds",
        str(site.folder / "acme-1.2.0.dist-info"): "acme_plugin cannot be imported: OSError: seen",
    }


def test_a_check_that_fails_is_reported_and_keeps_no_other_from_being_made(site, monkeypatch):
    def broken(_):
        yield from ()
        raise ZeroDivisionError("check")

    install(site, "acme", "raise OSError")
    monkeypatch.setattr(diagnosis, "_BY_METADATA", (broken, *diagnosis._BY_METADATA))
    found = diagnose()
    assert checks(found.findings) == [("import", "error", "acme:acme"), ("doctor", "warning", "")]
    assert found.findings[1].message == "the check 'broken' failed: ZeroDivisionError: check"


def test_where_no_process_can_be_started_that_is_reported_and_code_is_looked_for_instead(
    site, monkeypatch
):
    site.install("acme", attention={"acme": "nowhere_at_all"})
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = diagnose()
    assert checks(found.findings) == [
        ("missing-code", "error", "acme:acme"),
        ("doctor", "warning", ""),
    ]
    assert "the check 'imports' failed: FileNotFoundError" in found.findings[1].message


def test_where_nothing_can_be_looked_at_that_is_reported(monkeypatch):
    monkeypatch.setattr(diagnosis, "environment_of", lambda *_: 1 / 0)
    found = diagnose()
    assert found.environment is None
    assert [finding.message for finding in found.findings] == [
        "the check 'environment' failed: ZeroDivisionError: division by zero"
    ]


def test_errors_come_before_warnings_and_plugins_in_their_order(site):
    for name, source in {
        "b": "raise OSError",
        "a": "print(1)",
        "c": "import os; os._exit(0)",
    }.items():
        install(site, name, f"{source}\nfrom noether_core import hookimpl")
    assert checks(diagnose().findings) == [
        ("import", "error", "a:a"),  # it implements no hook
        ("import", "error", "b:b"),
        ("import", "error", "c:c"),
        ("output", "warning", "a:a"),
    ]


def test_commands_and_extensions_are_imported_as_they_are_used(site):
    files = {
        "acme_command.py": (
            "from noether_core import hookimpl\n@hookimpl\ndef noether_command(parser): ..."
        ),
        "acme_extension.py": "raise OSError('no disk')",
    }
    site.install("acme", commands={"cost": "acme_command"}, files=files)
    site.write_metadata(
        "best-1.0.dist-info", "best", "1.0", "[noether.extension]\nwatch = acme_extension\n"
    )
    found = {finding.plugin: finding.message for finding in diagnose().findings}
    assert found == {
        "acme:cost": (
            "acme_command says not what runs its command; call parser.set_defaults(run=...)"
        ),
        "best:watch": "acme_extension cannot be imported: OSError: no disk",
    }


STARTS = """
import subprocess, sys, time

with open({file!r}, "w") as file:
    code = "import time; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session={detached})
    file.write(str(child.pid))
{then}
"""


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("time.sleep(600)", "acme_plugin does not come back from its import within 5 seconds"),
        ("raise OSError('no disk')", "acme_plugin cannot be imported: OSError: no disk"),
        ("import os; os._exit(7)", "acme_plugin ends the process that imports it, with status 7"),
    ],
    ids=["hangs", "fails", "ends"],
)
def test_what_a_plugin_starts_is_ended_with_it_however_that_ends(
    site, tmp_path, then, message, detached
):
    if detached and not Path("/proc/self/environ").exists():
        pytest.skip("this system hides what a process has inherited")
    file = tmp_path / "started"
    install(site, "acme", STARTS.format(file=str(file), then=then, detached=detached))
    (finding,) = diagnose(timeout=5).findings
    assert finding.message == message
    assert is_gone(int(file.read_text()))


def is_gone(process):
    """Return whether a process has ended, or does so soon; a zombie has ended."""
    status = Path(f"/proc/{process}/stat")
    for _ in range(200):
        try:
            if status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_processes_are_ended_where_nobody_waits_for_them(site, tmp_path):
    file = tmp_path / "here"
    write = f"import os, time\nopen({str(file)!r}, 'w').write(str(os.getpid()))\n"
    install(site, "slow", f"{write}time.sleep(600)\n")
    install(site, "quick", "raise OSError")
    entries = [
        ENTRY._replace(name=name, value=f"{name}_plugin", distribution=name)
        for name in ("slow", "quick")
    ]
    found = outcomes(
        [entries[0], entries[1]] if os.cpu_count() != 1 else entries[1:],
        [],
        is_deep=False,
        timeout=60,
    )
    assert next(found).name == "quick:quick"
    while os.cpu_count() != 1 and not (file.exists() and file.read_text()):
        time.sleep(0.02)
    found.close()
    assert os.cpu_count() == 1 or is_gone(int(file.read_text()))


def test_a_plugin_that_takes_away_the_output_or_stays_in_a_thread_is_reported_all_the_same(site):
    stay = "import sys, threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    install(site, "mute", f"{stay}sys.stdout = None\nraise OSError('mute')")
    install(site, "stays", f"{stay}raise OSError('stays')")
    found = {finding.plugin: finding.message for finding in diagnose(timeout=20).findings}
    assert found == {
        "mute:mute": "mute_plugin cannot be imported: OSError: mute",
        "stays:stays": "stays_plugin cannot be imported: OSError: stays",
    }


def test_plugins_of_an_older_contract_are_reported_with_what_has_changed(monkeypatch):
    made = [
        Outcome(entry=ENTRY, module="acme_flow", api_version=version) for version in (1, 2, 3, None)
    ]
    monkeypatch.setattr(hookspecs, "hookspec_version", 3)
    monkeypatch.setattr(hookspecs, "CHANGES", {3: "rename x to y"})
    first, second = by_import.old_contracts(made)
    assert (
        first.message
        == "acme_flow was written for version 1 of the plugin contract, and this is version 3"
    )
    assert (first.severity, first.check, first.remedy) == (
        "warning",
        "contract",
        "report it to its authors: rename x to y",
    )
    assert "version 2" in second.message
    monkeypatch.setattr(hookspecs, "CHANGES", {})
    third = next(by_import.old_contracts(made))
    assert third.remedy == "install a newer one, or report it to its authors"


def test_what_torch_makes_slow_is_reported_once():
    slow = Outcome(entry=ENTRY, module="acme_flow", milliseconds=1234.5)
    torch = Outcome(entry=ENTRY, module="acme_flow", milliseconds=1234.5, imports_torch=True)
    assert [finding.message for finding in by_import.slow_imports([slow, torch], 1000)] == [
        "acme_flow is slow to import: 1234 ms"
    ]
    assert list(by_import.slow_imports([slow, torch], 1300)) == []
    (finding,) = by_import.torch_with_configs([slow, torch])
    assert (
        finding.message
        == "acme_flow imports torch, so that whatever reads a config of it waits for torch: 1234 ms"
    )


def test_names_of_one_group_are_alike_that_differ_in_case_width_or_dashes_alone(site):
    names = {
        "flow_x": "attention",
        "Flow-X": "attention",
        "\uff46low.x": "attention",
        "other": "attention",
    }
    for number, (name, group) in enumerate({**names, "FLOW_X": "command"}.items()):
        site.write_metadata(
            f"acme{number}-1.0.dist-info",
            f"acme{number}",
            "1.0",
            f"[noether.{group}]\n{name} = m\n",
        )
    found = [
        finding
        for finding in diagnose(with_imports=False).findings
        if finding.check == "look-alike"
    ]
    assert [(finding.plugin, finding.message) for finding in found] == [
        ("acme0:flow_x", "'flow_x' reads like 'Flow-X' and '\uff46low.x', which is another name"),
        ("acme1:Flow-X", "'Flow-X' reads like 'flow_x' and '\uff46low.x', which is another name"),
        (
            "acme2:\uff46low.x",
            "'\uff46low.x' is not ASCII: it is '\\uff46low.x', which may pass for another name",
        ),
        (
            "acme2:\uff46low.x",
            "'\uff46low.x' reads like 'Flow-X' and 'flow_x', which is another name",
        ),
    ]


def test_names_of_plugins_in_this_process_may_be_blocked_and_preferred(site, monkeypatch):
    monkeypatch.setenv("NOETHER_PREFER", "in-process,in-process:flow,nobody")
    environment = diagnose(with_imports=False).environment
    assert [finding.message for finding in by_metadata.unmatched_settings(environment)] == [
        "'nobody' names no plugin that is installed"
    ]


SOURCES = {
    "class Module: ...": None,
    "def Module(): ...": None,
    "async def Module(): ...": None,
    "Module = 3": None,
    "Other, Module = 3, 4": None,
    "Module: int = 3": None,
    "import Module": None,
    "import x.y as Module": None,
    "from x import Module": None,
    "from x import y as Module": None,
    "from x import *": None,
    "def __getattr__(name): ...": None,
    "if True:\n    class Module: ...\nelse:\n    pass": None,
    "try:\n    from x import Module\nexcept ImportError:\n    raise": None,
    "with open('x') as Module: ...": None,
    "for Module in (): ...": None,
    "class Modules:\n    class Inner: ...": "acme_source has no Module; did you mean 'Modules'?",
    "class Outer:\n    class Module: ...": "acme_source has no Module",
    "def f():\n    Module = 3": "acme_source has no Module",
    "x.Module = 3": "acme_source has no Module",
    "import x.Module": "acme_source has no Module",
    "": "acme_source has no Module",
    "class Module(:": "acme_source:Module cannot be imported: SyntaxError: invalid syntax",
    "x = '\0'": "acme_source:Module cannot be imported: ",
}


@pytest.mark.parametrize(("source", "message"), SOURCES.items(), ids=SOURCES)
def test_whether_a_class_stands_in_a_file_is_reported_by_its_source(site, source, message):
    (site.folder / "acme_source.py").write_text(source)
    complaint = complaint_about("acme_source:Module")
    assert (complaint is None) if message is None else complaint.startswith(message)
    assert "acme_source" not in sys.modules


def test_what_is_no_source_is_left_to_those_who_import_it():
    assert complaint_about("sys:Module") is None


def test_a_packaged_program_has_no_python_to_import_plugins_in(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    found = diagnose()
    assert found.outcomes == ()
    (finding,) = [each for each in found.findings if each.check == "doctor"]
    assert (finding.severity, finding.remedy[:10]) == ("warning", "run doctor")
