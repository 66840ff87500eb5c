"""Real packages, installed by pip: modules are saved in one process and loaded in another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.core.flow import STRIDE, WINDOW, commit, flow_repository, flow_wheel
from tests.fresh_environment import FreshEnvironment
from tests.light_environment import install, light_environment

SAVE = """
import sys, torch
from noether_core import build, save
torch.manual_seed(0)
module = build("flow", hidden_dim=8, num_heads=2, window=5)
save(module, sys.argv[1])
print(module.mix.weight.sum().item().hex())
"""

LOAD = """
import json, sys, warnings
from noether_core import load_module, provenance_of

def outcome(strict):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module = load_module(sys.argv[1], strict=strict)
        except Exception as error:
            return [type(error).__name__, *str(error).splitlines()]
    warned = [line for warning in caught for line in str(warning.message).splitlines()]
    return [provenance_of(module).provider, module.mix.weight.sum().item().hex(), *warned]

print(json.dumps([outcome(strict) for strict in json.loads(sys.argv[2])]))
"""

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
from noether_core.cli import main
sys.exit(main(sys.argv[1:]))
"""

WITH_1 = "saved with acme-flow 1.0"
REMEDY = "pip install 'acme-flow==1.0'"


@attrs.frozen
class Bench:
    """An environment, and a folder in which its commands run."""

    environment: FreshEnvironment
    folder: Path

    def install(
        self, distribution: str = "acme-flow", *, version: str = "2.0", options: str = WINDOW
    ) -> None:
        wheel = flow_wheel(self.folder / "wheels", distribution, version=version, options=options)
        install(self.environment, wheel)

    def uninstall(self, distribution: str = "acme-flow") -> None:
        self.environment.pip("uninstall", "-y", distribution)

    def save(self) -> str:
        """Save a module in one process, and return a sum of its weights."""
        done = self.environment.run(
            "python", "-W", "error", "-c", SAVE, "module.safetensors", cwd=self.folder
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def load(self, *strict: Any) -> list[list[str]]:
        """Load the file in another process, once for each value of *strict*."""
        done = self.environment.run(
            "python", "-c", LOAD, "module.safetensors", json.dumps(strict), cwd=self.folder
        )
        assert done.returncode == 0, done.stderr
        outcomes = json.loads(done.stdout)
        return [
            [line.removeprefix("module.safetensors: ") for line in outcome] for outcome in outcomes
        ]

    def show(self, *arguments: str) -> str:
        """Return what ``noether show`` says of the file, with an interpreter that has no torch."""
        shown = self.environment.run(
            "python", "-c", WITHOUT_TORCH, "show", "module.safetensors", *arguments, cwd=self.folder
        )
        assert shown.returncode == 0, shown.stderr
        return shown.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    return light_environment(tmp_path_factory.mktemp("light") / "environment")


def test_a_module_outlives_its_package_and_what_differs_is_reported(environment, tmp_path):
    bench = Bench(environment, tmp_path)
    bench.install(version="1.0")
    weights = bench.save()
    assert bench.load(True) == [["acme-flow 1.0", weights]]

    bench.install(options=f"{WINDOW}\n{STRIDE}")
    version = f"version of 'flow': {WITH_1}, here acme-flow 2.0; {REMEDY}"
    change = "saved with other options, here 'stride' is new, with the default 1"
    schema = f"schema of 'flow': {change}; {REMEDY}"
    assert bench.load(False, True, ["schema"], ["provider"]) == [
        ["acme-flow 2.0", weights, version, schema],
        ["ProvenanceError", version, schema],
        ["ProvenanceError", schema],
        ["acme-flow 2.0", weights, version, schema],
    ]
    rows = [line.split("\t") for line in bench.show().splitlines()]
    for row in (
        ["type", "flow"],
        ["distribution", "acme-flow"],
        ["version", "1.0"],
        ["tensors", "2 of 144 bytes: F32"],
        ["difference", version],
        ["difference", schema],
        ["window", "5"],
    ):
        assert row in rows

    bench.uninstall()
    missing = f"missing of 'flow': {WITH_1}, here nothing provides it; {REMEDY}"
    assert bench.load(False, []) == [["ProvenanceError", missing]] * 2
    shown = json.loads(bench.show("--json"))
    assert [difference["name"] for difference in shown["differences"]] == ["missing"]
    assert shown["config"] == {**shown["config"], "type": "flow", "window": 5}
    assert shown["provenance"]["version"] == "1.0"
    assert shown["tensors"] == {"count": 2, "bytes": 144, "dtypes": ["F32"]}

    bench.install("best-flow")
    provider = f"provider of 'flow': {WITH_1}, here best-flow 2.0; {REMEDY}"
    assert bench.load(False, ["provider"]) == [
        ["best-flow 2.0", weights, provider],
        ["ProvenanceError", provider],
    ]
    bench.uninstall("best-flow")

    bench.install(version="1.1", options="    window: int = undefined")
    assert re.search(r"difference\t'flow' of acme-flow 1\.1: .*NameError", bench.show())
    bench.uninstall()


def test_commits_and_editable_installs_are_distinguished(environment, tmp_path):
    bench = Bench(environment, tmp_path)
    repository = flow_repository(tmp_path / "repository")
    first = commit(repository)
    environment.pip("install", "--no-deps", "--no-index", f"git+file://{repository}@{first}")
    weights = bench.save()
    second = commit(repository)
    environment.pip(
        "install",
        "--no-deps",
        "--no-index",
        "--force-reinstall",
        f"git+file://{repository}@{second}",
    )
    message = f"commit of 'flow': saved with {first}, here {second}; install its commit {first}"
    assert bench.load(False, ["commit"]) == [
        ["acme-flow 1.0", weights, message],
        ["ProvenanceError", message],
    ]

    environment.pip(
        "install", "--no-deps", "--no-index", "--force-reinstall", "--editable", repository
    )
    ways = "saved with one that is not editable, here an editable install"
    assert bench.load(["editable"], ["version"]) == [
        ["ProvenanceError", f"editable of 'flow': {ways}; install its commit {first}"],
        [
            "acme-flow 1.0",
            weights,
            f"commit of 'flow': saved with {first}, here no commit; install its commit {first}",
            f"editable of 'flow': {ways}; install its commit {first}",
        ],
    ]
    bench.uninstall()
