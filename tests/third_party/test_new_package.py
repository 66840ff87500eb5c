"""What ``noether new`` writes, unchanged: installed, listed, built, trained and tested like any
other package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh_environment import ROOT, FreshEnvironment
from tests.sampling import sampled

INTERFACES = ("self", "cross", "tokens")


@pytest.fixture(scope="module")
def packages(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fresh_environment: FreshEnvironment,
) -> Iterator[Path]:
    """The folder with a package of each interface that is looked at, all of them installed."""
    folder = tmp_path_factory.mktemp("new")
    tests = [item for item in request.session.items if "packages" in item.fixturenames]
    interfaces = sorted({item.callspec.params["interface"] for item in tests})
    for interface in interfaces:
        written = fresh_environment.run(
            "noether", "new", f"acme-{interface}", "--interface", interface, cwd=folder
        )
        assert written.returncode == 0, written.stderr
    editable = [
        part for interface in interfaces for part in ("-e", f"{folder / f'acme-{interface}'}[test]")
    ]
    fresh_environment.pip("install", "-c", ROOT / "constraints.txt", *editable)
    yield folder
    fresh_environment.pip("uninstall", "-y", *(f"acme-{interface}" for interface in interfaces))


@pytest.mark.parametrize("interface", sampled(INTERFACES, "tokens"))
def test_it_is_listed_and_its_example_trains(
    interface: str, packages: Path, fresh_environment: FreshEnvironment
) -> None:
    folder = packages / f"acme-{interface}"

    listed = fresh_environment.run("noether", "list", "--plain", cwd=folder)
    ran = fresh_environment.run("noether", "run", "example.yaml", cwd=folder)

    line = f"acme_{interface}\tacme-{interface}\t0.1.0\tacme_{interface}\t{interface}\t"
    assert f"\n{line}" in listed.stdout
    assert ran.returncode == 0, ran.stderr
    assert (folder / "runs" / "example" / "result.json").exists()


@pytest.mark.parametrize("interface", sampled(INTERFACES, "tokens"))
def test_it_passes_its_own_tests(
    interface: str, packages: Path, fresh_environment: FreshEnvironment
) -> None:
    folder = packages / f"acme-{interface}"

    tested = fresh_environment.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder
    )

    assert tested.returncode == 0, tested.stdout + tested.stderr
