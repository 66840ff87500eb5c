"""The real command ``noether doctor``; tests/hostile has what it finds in whole environments."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import signal
from noether_core.cli import script

# Programs in the background start without it.
signal.signal(signal.SIGINT, signal.default_int_handler)
script()
"""


@pytest.fixture
def start(site, tmp_path):
    """Return what starts ``noether doctor`` where only the packages of the site are not blocked."""

    def call(*arguments, **variables):
        return subprocess.Popen(
            [sys.executable, "-P", "-c", SCRIPT, "doctor", *arguments],
            cwd=tmp_path,
            env=site.environment(**{"NOETHER_BLOCK": "noether-attention", **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


@pytest.fixture
def run(start):
    def call(*arguments, **variables):
        with start(*arguments, **variables) as process:
            output, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    return call


@pytest.fixture
def broken(site):
    site.install(
        "acme-flow",
        attention={"flow": "acme_flow"},
        files={"acme_flow.py": "raise OSError('no\\tdisk\\n')"},
    )
    return site.folder / "acme-flow-1.2.0.dist-info"


def test_for_readers_each_finding_has_its_place_and_a_remedy_and_the_end_counts_them(run, broken):
    done = run()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert lines[:4] == [
        "error: acme-flow 1.2.0: acme_flow cannot be imported: OSError: no disk",
        f"    {broken}",
        "    repair or uninstall acme-flow, or leave it out: NOETHER_BLOCK=acme-flow:flow",
        "",
    ]
    assert lines[4] == "plugin\tms\ttorch"
    assert lines[5].startswith("acme-flow:flow\t")
    assert lines[-1].startswith("1 error and no warnings; 1 plugin of 1 distribution among ")


def test_plain_is_a_line_per_finding_and_per_import(run, broken):
    lines = [line.split("\t") for line in run("--plain").stdout.splitlines()]
    assert lines[0] == [
        "severity",
        "check",
        "distribution",
        "version",
        "plugin",
        "message",
        "remedy",
        "origin",
    ]
    assert lines[1][:6] == [
        "error",
        "import",
        "acme-flow",
        "1.2.0",
        "acme-flow:flow",
        "acme_flow cannot be imported: OSError: no disk",
    ]
    assert lines[2:4] == [[""], ["plugin", "ms", "torch"]]
    assert [line[0] for line in lines[4:]] == ["acme-flow:flow"]


def test_json_has_the_same_as_data(run, broken):
    done = run("--json")
    printed = json.loads(done.stdout)
    assert done.returncode == 1
    assert printed["findings"] == [
        {
            "severity": "error",
            "check": "import",
            "message": "acme_flow cannot be imported: OSError: no\tdisk\n",
            "remedy": "repair or uninstall acme-flow, or leave it out: "
            "NOETHER_BLOCK=acme-flow:flow",
            "distribution": "acme-flow",
            "version": "1.2.0",
            "plugin": "acme-flow:flow",
            "origin": str(broken),
        }
    ]
    assert [row["plugin"] for row in printed["imports"]] == ["acme-flow:flow"]
    assert (printed["plugins"], printed["python"]) == (1, ".".join(map(str, sys.version_info[:3])))


def test_warnings_alone_leave_with_zero(run, site):
    site.install_variant("flow", "acme-flow")
    site.install_variant("flow", "best-flow")
    done = run("--no-import")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "warning: the type 'flow' is provided by acme-flow 1.2.0 and best-flow 1.2.0; "
    )
    assert "no errors and 1 warning; 2 plugins of 2 distributions among " in done.stdout
    assert "plugin\tms" not in done.stdout


def test_nothing_wrong_is_reported_in_a_line(run):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("no errors and no warnings; no plugins of no distributions among ")


def test_of_many_imports_readers_see_the_slowest(run, site):
    for number in range(12):
        site.install(f"acme{number}", attention={f"t{number}": "nowhere_at_all"})
    assert "... and 2 that take less; --plain and --json show all of them" in run().stdout


def test_what_is_slow_may_be_said(run, site):
    site.install("acme", files={"acme_module.py": "class Module: ..."})
    site.install_variant("flow", module="acme_module:Module")
    assert "is slow to import: " in run("--slow", "0.001").stdout
    assert "is slow to import: " not in run("--slow", "100000").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slow", "0"), "argument --slow: expected a number above 0, got '0'"),
        (("--timeout", "soon"), "argument --timeout: expected a number above 0, got 'soon'"),
        (("--timeout", "inf"), "argument --timeout: expected a number above 0, got 'inf'"),
        (("--timeout", "nan"), "argument --timeout: expected a number above 0, got 'nan'"),
        (("--deep", "--no-import"), "not allowed with argument"),
        (("--plain", "--json"), "not allowed with argument"),
        (("flow",), "unrecognized arguments: flow"),
    ],
)
def test_wrong_usage_is_reported(run, arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_ctrl_c_ends_it_and_what_it_has_started(start, site, tmp_path):
    file = tmp_path / "here"
    code = f"import os, time\nopen({str(file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    site.install("acme", attention={"flow": "acme_flow"}, files={"acme_flow.py": code})
    with start("--timeout", "100") as process:
        while not (file.exists() and file.read_text()):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
