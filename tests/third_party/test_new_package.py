"""What ``noether new`` writes, unchanged: installed, listed, built, trained and tested like any
other package.

All of it by night: by day the pages on writing a plugin and a task are followed, which do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh_environment import ROOT, FreshEnvironment
from tests.sampling import sampled

KINDS = ("self", "cross", "tokens", "task")
"""Variants by their interface, and a task."""


@pytest.fixture(scope="module")
def packages(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fresh_environment: FreshEnvironment,
) -> Iterator[Path]:
    """The folder with a package of each kind that is looked at, all of them installed."""
    folder = tmp_path_factory.mktemp("new")
    tests = [item for item in request.session.items if "packages" in item.fixturenames]
    kinds = sorted({item.callspec.params["kind"] for item in tests})
    for kind in kinds:
        which = ("--task",) if kind == "task" else ("--interface", kind)
        written = fresh_environment.run("noether", "new", f"acme-{kind}", *which, cwd=folder)
        assert written.returncode == 0, written.stderr
    editable = [part for kind in kinds for part in ("-e", f"{folder / f'acme-{kind}'}[test]")]
    fresh_environment.pip("install", "-c", ROOT / "constraints.txt", *editable)
    yield folder
    fresh_environment.pip("uninstall", "-y", *(f"acme-{kind}" for kind in kinds))


@pytest.mark.parametrize("kind", sampled(KINDS))
def test_it_is_listed_and_its_example_trains(
    kind: str, packages: Path, fresh_environment: FreshEnvironment
) -> None:
    folder = packages / f"acme-{kind}"
    which, interface = (("--tasks",), "") if kind == "task" else ((), f"{kind}\t")

    listed = fresh_environment.run("noether", "list", "--plain", *which, cwd=folder)
    ran = fresh_environment.run("noether", "run", "example.yaml", cwd=folder)

    line = f"acme_{kind}\tacme-{kind}\t0.1.0\tacme_{kind}\t{interface}"
    assert f"\n{line}" in listed.stdout
    assert ran.returncode == 0, ran.stderr
    assert (folder / "runs" / "example" / "result.json").exists()


@pytest.mark.parametrize("kind", sampled(KINDS))
def test_it_passes_its_own_tests(
    kind: str, packages: Path, fresh_environment: FreshEnvironment
) -> None:
    folder = packages / f"acme-{kind}"

    tested = fresh_environment.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder
    )

    assert tested.returncode == 0, tested.stdout + tested.stderr
