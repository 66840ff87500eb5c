"""Commands where Noether is not installed: on the path as source, in an archive, as bytecode."""

import compileall
import json
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import noether_core

SOURCE = Path(noether_core.__file__).parents[1]
ENTRY_POINTS = """\
[noether.attention]
transolver = noether_plugins.attention.transolver
[noether.command]
run = noether_plugins.workbench.command
"""
FORMS = ("source", "archive", "bytecode")

_LIBRARIES = ("attr", "attrs", "cattr", "cattrs", "pluggy", "yaml", "annotated_types")
_RUN = """
import sys
sys.path[:0] = sys.argv[1].split(":")
del sys.argv[1]
from noether_core.cli import script
script()
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Return a folder with Noether in every form, with and without metadata; and what it needs."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "libraries").mkdir()
    for name in _LIBRARIES:
        (folder / "libraries" / name).symlink_to(Path(find_spec(name).origin).parent)
    module = Path(find_spec("typing_extensions").origin)
    (folder / "libraries" / module.name).symlink_to(module)

    metadata = folder / "metadata" / "noether_attention-9.8.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Name: noether-attention\nVersion: 9.8\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)

    ignored = shutil.ignore_patterns("__pycache__")
    for name in (
        "noether_core",
        "noether_plugins/attention/transolver",
        "noether_plugins/workbench",
    ):
        shutil.copytree(SOURCE / name, folder / "source" / name, ignore=ignored)
    for package in ("noether_plugins", "noether_plugins/attention"):
        shutil.copy(SOURCE / package / "__init__.py", folder / "source" / package)

    shutil.copytree(folder / "source", folder / "bytecode")
    compileall.compile_dir(folder / "bytecode", quiet=1, legacy=True)
    for file in (folder / "bytecode").rglob("*.py"):
        file.unlink()

    with zipfile.ZipFile(folder / "archive", "w") as archive:
        for root in ("source", "metadata"):
            for file in (folder / root).rglob("*"):
                archive.write(file, file.relative_to(folder / root))
    return folder


@pytest.fixture
def run(packed, tmp_path):
    def run(form, *arguments, metadata=True):
        parts = [form, "libraries", "metadata"] if metadata else [form, "libraries"]
        path = ":".join(str(packed / part) for part in parts)
        command = [sys.executable, "-I", "-S", "-c", _RUN, path, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize("form", ["source", "bytecode"])
def test_that_its_own_metadata_are_missing_is_reported_and_no_traceback(run, form):
    done = run(form, "--version", metadata=False)
    assert done.stdout == f"noether-attention {noether_core.__version__}\n"

    listed = run(form, "list", metadata=False)
    assert listed.returncode == 0
    assert "noether-attention: its metadata are not on Python's path" in listed.stderr
    shown = run(form, "show", "transolver", metadata=False)
    assert shown.returncode == 1
    assert "pip" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("form", FORMS)
def test_commands_work_in_every_form(run, form, tmp_path):
    assert "transolver\tnoether-attention\t9.8" in run(form, "list").stdout
    assert run(form, "--version").stdout == f"noether-attention {noether_core.__version__}\n"

    (schema, every) = (json.loads(run(form, "schema", *of).stdout) for of in (["transolver"], []))
    helped = form != "bytecode"
    assert ("description" in schema["properties"]["num_slices"]) == helped
    assert ("description" in schema["properties"]["type"]) == helped
    assert every["properties"]["type"]["enum"][0] == "transolver"
    assert run(form, "show", "transolver").returncode == 0

    (steps,) = [
        line for line in run(form, "run", "--help").stdout.splitlines() if ".steps:" in line
    ]
    assert steps == "  training.steps: an integer of at least 1; 700 if left out"

    done = run(form, "new", "acme-packed")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "acme-packed" / "pyproject.toml").is_file()


def test_a_part_that_was_not_packed_is_named_with_the_way_to_take_it_along(packed, run, tmp_path):
    shutil.copytree(packed / "source", packed / "partial", dirs_exist_ok=True)
    (packed / "partial" / "noether_core" / "cli" / "list.py").unlink()
    done = run("partial", "list")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "noether: noether_core.cli.list is missing from this installation"
    )
    assert "--collect-submodules noether_core" in done.stderr
