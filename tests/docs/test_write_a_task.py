"""The page on writing a task, followed to the letter; and its task in every other command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from noether_core.scaffold import files_of_task, names_of
from tests.docs.pages import blocks, follow
from tests.fresh_environment import ROOT, FreshEnvironment
from tests.light_environment import light_environment, site_of
from tests.plugins.workbench.forks import Forks

PAGE = (ROOT / "docs" / "write-a-task.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "tests" / "third_party" / "acme_pipe"
_SHELL = re.compile(r"[;|&<>$\n]")


@attrs.frozen
class Author:
    """Somebody with an environment and a folder, who waits for torch but once."""

    environment: FreshEnvironment
    forks: Forks
    folder: Path

    def noether(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.forks.run(list(arguments), self.folder)

    def do(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a block of the page; a command of Noether alone in a fork, anything else by bash."""
        command = script.removeprefix("exec 2>&1\n").strip()
        if command.startswith("noether ") and not _SHELL.search(command):
            done = self.noether(*shlex.split(command)[1:])
            assert done.returncode == 0, done.stdout + done.stderr
            return done
        return self.environment.run("bash", "-c", script, cwd=self.folder)


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    """Who has followed the page."""
    parent = tmp_path_factory.mktemp("task")
    folder = parent / "work"
    folder.mkdir()
    environment = light_environment(parent / "environment")
    # what pip installs there as editable, for commands that are no processes of that environment
    found = [str(site_of(environment)), str(folder / "acme-pipe" / "src")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(found))
        forks = Forks()
    with forks:
        someone = Author(environment, forks, folder)
        follow(PAGE, folder, someone.do)
        yield someone


def test_an_author_who_follows_the_page_sees_what_it_shows(author: Author) -> None:
    result = json.loads((author.folder / "pipes" / "result.json").read_text(encoding="utf-8"))
    assert result["type"] == "transolver"
    assert {"fluid.velocity", "wall.shear"} <= set(json.dumps(result).replace('"', " ").split())
    predicted = json.loads((author.folder / "predicted" / "new.json").read_text(encoding="utf-8"))
    assert [len(predicted["fluid"]["velocity"]), len(predicted["wall"]["shear"])] == [2, 2]


def test_the_files_of_the_page_are_those_of_the_package_of_strangers() -> None:
    written = {
        block.file.removeprefix("acme-pipe/"): block.text
        for block in blocks(PAGE)
        if block.file is not None and block.file.startswith("acme-pipe/")
    }
    assert set(written) == {
        "src/acme_pipe/__init__.py",
        "src/acme_pipe/config.py",
        "src/acme_pipe/task.py",
        "tests/test_acme_pipe.py",
    }
    for name, text in written.items():
        assert (PACKAGE / name).read_text(encoding="utf-8") == text, name


def test_the_folder_is_what_the_page_draws() -> None:
    (tree,) = (block.text for block in blocks(PAGE) if block.text.startswith("acme-pipe/\n"))
    drawn = {line.split()[0].rpartition("/")[2] for line in tree.splitlines()} - {""}

    written = files_of_task(names_of("acme-pipe"), version="0.1", api_version=1)

    assert drawn == {Path(path).name for path in written}


def test_the_task_is_locked_and_run_under_its_lock(author: Author) -> None:
    locked = author.noether("lock", "pipe.yaml", "--experiment", "--output", "pipe.lock")
    assert "pipe.lock: acme_pipe: acme-pipe 0.1.0\n" in locked.stdout

    good = author.noether("validate", "pipe.yaml", "--experiment", "--locked", "pipe.lock")
    under = ("--locked", "pipe.lock", "--output", "locked")
    ran = author.noether("run", "pipe.yaml", "training.steps=1", *under)

    assert good.stdout == (
        "pipe.yaml: task: good: acme_pipe\npipe.yaml: attention: good: transolver\n"
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("why", "acme_pipe"), "'acme_pipe' is acme-pipe:acme_pipe of acme-pipe 0.1.0."),
        (("schema", "acme_pipe"), '"acme-pipe:acme_pipe"'),
        (("schema", "--tasks"), '"acme_pipe"'),
        (("schema", "--experiment"), '"acme_pipe"'),
        (("doctor", "--no-import"), "no errors and no warnings"),
        (("list", "--tasks", "--details"), "Sutera and Skalak"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_other_commands_know_it(author: Author, arguments: tuple[str, ...], expected: str) -> None:
    done = author.noether(*arguments)

    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_its_samples_are_trained_on_by_any_variant(author: Author) -> None:
    attention = "attention={type: dot_product, hidden_dim: 8, num_heads: 2}"
    ran = author.noether(
        "run", "pipe.yaml", attention, "training.steps=1", "task.points=8", "--output", "other"
    )

    assert ran.returncode == 0, ran.stderr
    assert (author.folder / "other" / "result.json").exists()


def test_a_wrong_option_is_reported_with_its_place(author: Author) -> None:
    ran = author.noether("run", "pipe.yaml", "task.points=4", "--output", "wrong")

    assert ran.returncode == 1
    assert "command line: task.points: expected an integer of at least 8, got 4" in ran.stderr
    assert not (author.folder / "wrong").exists()
