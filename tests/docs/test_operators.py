"""The page for operators, followed to the letter where its packages are installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from noether_core.plugins.diagnosis.environment import Check
from tests.docs.pages import follow
from tests.fresh_environment import ROOT, FreshEnvironment
from tests.light_environment import MODULE, install, light_environment, variant_source, write_wheel

PAGE = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")


@pytest.fixture
def environment(tmp_path: Path) -> FreshEnvironment:
    """An environment with the packages that the page speaks of."""
    environment = light_environment(tmp_path / "environment")
    wheels = [
        write_wheel(
            tmp_path,
            f"{name}-flow",
            {
                f"{name}_flow.py": variant_source("flow", module=f"{name}_module:Module"),
                f"{name}_module.py": MODULE,
            },
            version=version,
            plugins={"flow": f"{name}_flow"},
        )
        for name, version in {"acme": "1.2.0", "best": "0.3.0"}.items()
    ]
    torn = {"torn_plugin.py": "import torn_kernels\n"}
    install(
        environment,
        *wheels,
        write_wheel(tmp_path, "torn-plugin", torn, version="2.0", plugins={"torn": "torn_plugin"}),
    )
    return environment


def test_an_operator_who_follows_the_page_sees_what_it_shows(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    follow(PAGE, folder, lambda script: environment.run("bash", "-c", script, cwd=folder))


def test_every_check_of_doctor_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", PAGE, flags=re.MULTILINE)
    explained = {name.strip("`") for names in rows for name in names.split(", ")}
    assert explained - {"chosen"} == set(get_args(Check))  # which is a state of a candidate
