"""Nothing from outside reaches a terminal raw: each source is fed, and the real command printed."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unicodedata

import pytest

from noether_core.cli import main

HOSTILE = "\x1b[2K\x1b[31m\r\u202e\u200b\u3164\x9b"
"""What erases a line, colours text, goes back, turns the direction round, and what hides."""

FORGED = "forged.yaml: good: transolver"
"""A line that must not begin one of the lines printed."""

BREAKING = f"{HOSTILE}\n{FORGED}\n"
GOOD = "type: transolver\nhidden_dim: 64\nnum_heads: 4\n"

_CONTROLS = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}


def _checked(output):
    """Return what was printed, once nothing raw was found in it."""
    text = output.decode()
    raw = {
        char
        for char in text
        if char not in "\n\t" and (unicodedata.category(char) in _CONTROLS or char == "\u3164")
    }
    assert not raw, (raw, text)
    assert not [line for line in text.splitlines() if line.startswith(FORGED)], text
    return text


def _printed(arguments, folder, environment=None):
    """Return what the command prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "noether_core.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
    )
    return _checked(done.stdout + b"\n" + done.stderr)


@pytest.fixture
def printed(tmp_path, monkeypatch, capfdbinary):
    """Return what returns what the command prints, called within this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        main(arguments)
        return _checked(b"\n".join(capfdbinary.readouterr()))

    return call


@pytest.mark.parametrize("flags", [(), ("--plain",), ("--json",)])
def test_names_of_files(tmp_path, printed, flags):
    for content in (GOOD, "type: transolver\nhidden_dim: 0\n"):
        name = f"{BREAKING}.yaml"
        (tmp_path / name).write_text(content)
        text = printed("validate", *flags, name)
        assert "u202e" in text
        assert "u202e" in printed("validate", *flags, ".")
    assert "u202e" in printed("validate", *flags, f"missing{BREAKING}.yaml")
    assert "u202e" in printed("show", f"./{BREAKING}.safetensors")


def test_names_of_lock_files_and_folders_of_runs(tmp_path, printed):
    (tmp_path / "good.yaml").write_text(GOOD)
    lock = f"{BREAKING}.lock"
    assert "u202e" in printed("validate", "good.yaml", "--locked", lock)
    assert "u202e" in printed("lock", "good.yaml", "--output", lock)
    experiment = "task: {type: darcy}\nattention: {type: transolver, hidden_dim: 64}\n"
    (tmp_path / "experiment.yaml").write_text(experiment)
    taken = tmp_path / f"runs{BREAKING}"
    taken.write_text("")
    run = ["run", "experiment.yaml", "attention.num_heads=4", "--output", taken.name]
    assert "u202e" in printed(*run)


DOCUMENTS = {
    "raw.yaml": f"type: {HOSTILE}\n",
    "escaped.yaml": 'type: "\\e[31m\\u202E\\u3164\\n' + FORGED + '"\n',
    "key.yaml": GOOD + '"\\e[31m\\u202E\\n' + FORGED + '": 1\n',
    "value.yaml": GOOD + 'num_slices: "\\e[31m\\u3164\\n' + FORGED + '"\n',
    "excerpt.yaml": GOOD + "num_slices: x  # \u3164\u202e\n",
    "tag.yaml": f"type: !<{HOSTILE}> x\n",
    "alias.yaml": "type: *\u3164\n",
    "escaped.json": json.dumps({"type": BREAKING, BREAKING: 1}),
    "raw.json": f'{{"type": "{HOSTILE}"}}',
    "escaped.toml": 'type = "\\u001b[31m\\u202e\\n' + FORGED + '"\n"\\u3164\\n" = 1\n',
    "raw.toml": f'type = "{HOSTILE}"\n',
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_contents_of_documents(tmp_path, printed, name):
    (tmp_path / name).write_text(DOCUMENTS[name])
    for command in (["validate"], ["validate", "--plain"], ["validate", "--json"], ["lock"]):
        assert name in printed(*command, name)


def test_arguments_and_standard_input(tmp_path, printed, monkeypatch):
    for arguments in (
        [BREAKING],
        ["show", BREAKING],
        ["why", BREAKING],
        ["schema", BREAKING],
        ["list", f"--{BREAKING}"],
        ["list", "--block", BREAKING],
        ["validate", "--at", BREAKING, "x.yaml"],
        ["validate", "--format", BREAKING, "x.yaml"],
        ["validate", "x.yaml", "--locked", BREAKING],
        ["doctor", "--timeout", BREAKING],
        ["new", BREAKING],
        ["run", "x.yaml", BREAKING],
    ):
        printed(*arguments)
    stdin = io.TextIOWrapper(io.BytesIO(f"type: {HOSTILE}".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    printed("validate", "-")


PLUGIN = f"""
import warnings
warnings.warn({BREAKING!r})
raise OSError({BREAKING!r})
"""


def test_exceptions_and_warnings_of_plugins(tmp_path, site):
    site.install("acme-bad", attention={"bad": "acme_bad"}, files={"acme_bad.py": PLUGIN})
    (tmp_path / "bad.yaml").write_text("type: bad\nhidden_dim: 8\nnum_heads: 2\n")
    environment = site.environment(NOETHER_BLOCK="noether-attention")
    for arguments in (
        ["list", "--details"],
        ["validate", "bad.yaml"],
        ["schema"],
        ["doctor"],
    ):
        assert "u202e" in _printed(arguments, tmp_path, environment), arguments


COMMAND = f"""
from noether_core import NoetherError, hookimpl

def run(options):
    raise {{error}}({BREAKING!r})

@hookimpl
def noether_command(parser):
    parser.description = {BREAKING!r}
    parser.add_argument("--option", help={HOSTILE!r})
    parser.set_defaults(run=run)
"""


@pytest.mark.parametrize("error", ["NoetherError", "ZeroDivisionError"])
def test_texts_and_errors_of_plugins_commands(tmp_path, site, error):
    code = COMMAND.format(error=error)
    site.install("acme-cost", commands={"cost": "acme_cost"}, files={"acme_cost.py": code})
    environment = site.environment()
    assert "u202e" in _printed(["cost", "--help"], tmp_path, environment)
    assert "u202e" in _printed(["cost"], tmp_path, environment)


def test_texts_of_variants(tmp_path, site):
    module = site.install_variant("flow", "acme-flow")
    file = site.folder / f"{module}.py"
    source = file.read_text()
    summary = re.search('summary="(.*?)"', source)
    file.write_text(source.replace(summary[0], f"summary={BREAKING!r}"))
    for arguments in (["show", "flow"], ["list", "--details"]):
        text = _printed(arguments, tmp_path, site.environment())
        assert "u202e" in text, text


def test_metadata_of_packages(tmp_path, site):
    for number, name in enumerate((HOSTILE.replace("\r", ""), "\u3164", "plain")):
        entries = "[noether.attention]\n{0} = acme\n{0}:{0}\n[noether.command]\n{0} = acme\n"
        entries = entries.format(name)
        site.write_metadata(f"odd{number}-1.dist-info", f"odd{number}", f"1{name}", entries)
    odd = site.write_metadata(f"odd{HOSTILE}\n-1.dist-info", "other", "1", "[noether.attention]\nx")
    assert odd.exists()
    for arguments in (
        ["--help"],
        ["list"],
        ["list", "--json"],
        ["doctor", "--no-import", "--plain"],
        ["why", "\u3164"],
    ):
        assert "u3164" in _printed(arguments, tmp_path, site.environment()), arguments


def test_what_saved_files_say(tmp_path, printed):
    header = {"__metadata__": {"noether.format": BREAKING}, BREAKING: {"dtype": BREAKING}}
    for data in (header, {"__metadata__": header["__metadata__"]}, BREAKING):
        text = json.dumps(data).encode()
        file = tmp_path / "module.safetensors"
        file.write_bytes(len(text).to_bytes(8, "little") + text)
        assert "u202e" in printed("show", file.name)


def test_variables_of_the_environment(tmp_path):
    for name in ("NOETHER_REGISTER", "NOETHER_BLOCK", "NOETHER_PREFER"):
        environment = {**os.environ, name: BREAKING}
        _printed(["why", "flare"], tmp_path, environment)
