"""The real command ``noether why``, and the notes of ``noether list``."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def run(site, tmp_path):
    """Return what runs ``noether`` where the packages of the site are installed too."""

    def call(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-P", "-m", "noether_core.cli", *arguments],
            cwd=tmp_path,
            env=site.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def test_a_type_that_is_installed_is_reported_with_its_provider_version_file_and_metadata(
    run, site
):
    module = site.install_variant("flow", "acme-flow")
    done = run("why", "flow")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "candidate\tversion\tstate\tplugin\tfile\tmetadata",
        "\t".join(
            (
                "acme-flow:flow",
                "1.2.0",
                "chosen",
                module,
                str(site.folder / f"{module}.py"),
                str(site.folder / "acme-flow-1.2.0.dist-info"),
            )
        ),
        "",
        "'flow' is acme-flow:flow of acme-flow 1.2.0.",
    ]


def test_a_type_that_is_not_is_reported_with_what_is_near_and_with_what_could_not_be_read(
    run, site
):
    site.install("acme-odd", attention={"flow": "../flow.py"})
    done = run("why", "transolvr")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "'transolvr' is not installed; did you mean 'transolver'? Installed: "
    )
    assert len(done.stdout.splitlines()) == 1
    assert "'flow = ../flow.py' under [noether.attention] is no entry point" in done.stderr
    assert run("why", "transolver").stderr == ""


def test_the_same_is_reported_as_data(run, site):
    module = site.install_variant("flow", "acme-flow")
    site.install("best-flow", attention={"flow": "nowhere_at_all"})
    printed = json.loads(run("why", "flow", "--prefer", "acme-flow", "--json").stdout)
    assert printed == {
        "type": "flow",
        "candidates": [
            {
                "candidate": "acme-flow:flow",
                "version": "1.2.0",
                "state": "preferred",
                "reason": "prefer=acme-flow",
                "message": "preferred by prefer=acme-flow",
                "plugin": module,
                "metadata": str(site.folder / "acme-flow-1.2.0.dist-info"),
                "file": str(site.folder / f"{module}.py"),
            },
            {
                "candidate": "best-flow:flow",
                "version": "1.2.0",
                "state": "passed over",
                "reason": "acme-flow:flow",
                "message": "passed over for acme-flow:flow",
                "plugin": "nowhere_at_all",
                "metadata": str(site.folder / "best-flow-1.2.0.dist-info"),
                "file": None,
                "missing": "there is no nowhere_at_all",
            },
        ],
        "means": "acme-flow:flow",
        "resolves": True,
        "sentence": "'flow' is acme-flow:flow of acme-flow 1.2.0, preferred by prefer=acme-flow.",
        "unread": [],
    }


@pytest.mark.parametrize(("prefer", "status"), [("acme-flow", 0), ("best-flow", 1)])
def test_the_status_says_whether_the_type_leads_to_code_that_is_there(run, site, prefer, status):
    site.install_variant("flow", "acme-flow")
    site.install("best-flow", attention={"flow": "nowhere_at_all"})
    assert run("why", "flow", NOETHER_PREFER=prefer).returncode == status
    assert "there is no nowhere_at_all" in run("why", "flow").stdout


@pytest.mark.parametrize(
    "source", ["raise SystemExit(3)", "import os; os._exit(4)", "import torch", "def f(:"]
)
def test_no_plugin_is_imported_whatever_it_does(run, site, source):
    site.install(
        "acme",
        attention={"flow": "acme_flow"},
        files={"acme_flow.py": f"print('here I am')\n{source}"},
    )
    done = run("why", "flow")
    assert done.returncode == 0, done.stderr
    assert "here I am" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "type", ["", ":", "a:b:c", "../flow", "os.system", "f\uff4cow", "x" * 3000, "\t", "__class__"]
)
def test_any_text_may_be_asked_for(run, site, type):
    site.install_variant("flow")
    done = run("why", type)
    assert (done.returncode, done.stderr) == (1, "")
    assert "is not installed; " in done.stdout


@pytest.mark.parametrize(
    "arguments", [("why",), ("why", "a", "b"), ("why", "flow", "--prefer"), ("list", "--block")]
)
def test_wrong_usage_is_reported(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: noether")


def test_list_shows_details_of_what_can_be_used_alone(run, site):
    site.install_variant("flow", "acme-flow")
    site.write_metadata(
        "acme_flow-0.9.dist-info", "acme-flow", "0.9", "[noether.attention]\nflow = old\n"
    )
    site.install("best-flow", attention={"flow": "nowhere_at_all"})
    rows = json.loads(run("list", "--details", "--json", "--block", "best-flow").stdout)
    found = {(row["distribution"], row["version"]): row for row in rows if row["type"] == "flow"}
    assert found["best-flow", "1.2.0"]["note"] == "blocked"
    shadow = f"shadowed by 1.2.0 in {site.folder}"
    assert {name: row["note"] for name, row in found.items() if name[0] == "acme-flow"} == {
        ("acme-flow", "1.2.0"): "",
        ("acme-flow", "0.9"): shadow,
    }
    assert [name for name, row in found.items() if "summary" in row] == [("acme-flow", "1.2.0")]
