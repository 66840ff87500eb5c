"""Packages that take part in building, installed beside the project and removed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh_environment import FreshEnvironment

HERE = Path(__file__).parent

BUILDS = """
import logging, sys
import torch
from noether_core import build, provenance_of

logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
torch.manual_seed(0)
module = build("dot_product", hidden_dim=8, num_heads=2).eval()
print(type(module).__name__, module.config.type, provenance_of(module).distribution)
x = torch.randn(2, 5, 8)
torch.testing.assert_close(module(x), getattr(module, "_orig_mod", module)(x))
"""


@pytest.fixture(scope="module")
def environment(fresh_environment: FreshEnvironment) -> Iterator[FreshEnvironment]:
    """The project, and both packages beside it."""
    fresh_environment.pip("install", "--no-deps", HERE / "acme_compile", HERE / "acme_log")
    yield fresh_environment
    fresh_environment.pip("uninstall", "-y", "acme-compile", "acme-log")


def built(
    environment: FreshEnvironment, folder: Path, **variables: str
) -> tuple[int, list[str], str]:
    """Run a script that builds a module; return its status, the lines it wrote, and its errors."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    done = environment.run("env", *settings, "python", "-c", BUILDS, cwd=folder)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_one_logs_where_the_module_is_from_and_the_other_compiles_it(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    status, (logged, made), errors = built(environment, tmp_path, ACME_COMPILE_BACKEND="aot_eager")

    assert status == 0, errors
    assert re.fullmatch(
        r"acme_log: built dot_product of noether-attention [\w.]+, config [0-9a-f]{12}", logged
    )
    assert made == "OptimizedModule dot_product noether-attention"


def test_a_blocked_one_takes_no_part(environment: FreshEnvironment, tmp_path: Path) -> None:
    status, lines, errors = built(environment, tmp_path, NOETHER_BLOCK="acme-compile,acme-log:log")

    assert status == 0, errors
    assert lines == ["DotProductAttention dot_product noether-attention"]


def test_what_one_finds_wrong_is_reported_with_its_name_before_anything_is_built(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    status, lines, errors = built(environment, tmp_path, ACME_COMPILE_BACKEND="gcc")

    assert (status, lines) == (1, [])
    assert errors.splitlines()[-1] == (
        "noether_core.errors.ConfigError: ACME_COMPILE_BACKEND: "
        "expected one of aot_eager, eager, inductor, got 'gcc', says acme-compile 0.3.0"
    )


def test_validate_calls_them_too(environment: FreshEnvironment, tmp_path: Path) -> None:
    (tmp_path / "flare.yaml").write_text(
        "type: flare\nhidden_dim: 8\nnum_heads: 2\n", encoding="utf-8"
    )

    good = environment.run("noether", "validate", "flare.yaml", cwd=tmp_path)
    bad = environment.run(
        "env", "ACME_COMPILE_BACKEND=gcc", "noether", "validate", "flare.yaml", cwd=tmp_path
    )

    assert (good.returncode, good.stdout) == (0, "flare.yaml: good: flare\n")
    assert bad.returncode == 1
    assert "says acme-compile 0.3.0" in bad.stderr
