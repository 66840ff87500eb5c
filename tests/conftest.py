"""What tests of every part share."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import attrs
import pytest
from annotated_types import Ge

from noether_core.plugins import running
from noether_core.schemas import AttentionConfig
from tests.fresh_environment import (  # noqa: F401  fixtures for all tests below
    base_environment,
    fresh_environment,
    whole_environment,
)

_SEED = 0

_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ

if _IS_WORKER:  # workers share the cores; more threads than these would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Use all cores, where pytest-xdist is there and nobody chose otherwise."""
    if _IS_WORKER:
        # xdist itself looks at the command line alone, which says nothing of groups.
        config.option.loadgroup = config.workerinput["keeps_groups"]
        return
    if not config.pluginmanager.hasplugin("xdist"):
        return
    if config.option.numprocesses is None and config.option.dist == "no":
        config.option.numprocesses = "auto"
        config.option.dist = "loadgroup"
        config.option.loadscopereorder = False  # fresh environments, which take long, come first


def _seed() -> None:
    random.seed(_SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(_SEED)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(_SEED)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """Seed what several tests share, whichever of them needs it first."""
    if fixturedef.scope != "function":
        _seed()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give every test the same random numbers, alone or among others, and import nothing for it."""
    _seed()


@pytest.fixture(autouse=True)
def _own_releases() -> Iterator[None]:
    """Forget what a test pretended to have installed: the process remembers what it runs."""
    remembered = (running._imported, running._latest)
    before = [dict(releases) for releases in remembered]
    yield
    for releases, saved in zip(remembered, before, strict=True):
        releases.clear()
        releases.update(saved)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let workers know that tests are sent to them by groups."""
    node.workerinput["keeps_groups"] = node.config.option.dist == "loadgroup"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares fixtures in one worker.

    That is: tests of one file, unless they are marked otherwise, and those of fresh environments,
    which come first since they take longest.
    """
    for item in items:
        is_check = item.path.suffix != ".py"  # checks of the kit share nothing
        if is_check or item.get_closest_marker("shares_nothing"):
            continue
        item.add_marker(pytest.mark.xdist_group(_environment_of(item) or item.path.stem))
    items.sort(key=lambda item: _environment_of(item) is None)


def _environment_of(item: pytest.Item) -> str | None:
    """Return which environment of its own a test runs in, if it does."""
    for name in ("fresh_environment", "base_environment", "whole_environment"):
        if name in getattr(item, "fixturenames", ()):
            return name
    return None


@attrs.frozen(kw_only=True)
class ToyConfig(AttentionConfig):
    """Options of a variant that only tests know."""

    type: Literal["toy"] = "toy"

    window: Annotated[int, Ge(1)] = 256
    """Tokens on either side."""


@pytest.fixture
def toy_config() -> type[ToyConfig]:
    return ToyConfig
