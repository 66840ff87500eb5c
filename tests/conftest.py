"""What tests of every part share."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Ge
from fresh_environment import (  # noqa: F401  fixtures for all tests below
    base_environment,
    fresh_environment,
)

from noether_core.schemas import AttentionConfig

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # workers share the cores; more threads than these would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares fixtures in one worker: the tests of a file, and those of the one fresh
    environment, first.
    """
    for item in (
        item for item in items if item.path.suffix == ".py"
    ):  # checks of the kit share nothing
        item.add_marker(pytest.mark.xdist_group("fresh" if _is_fresh(item) else item.path.stem))
    items.sort(key=lambda item: not _is_fresh(item))


def _is_fresh(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "fresh_environment" in names or "base_environment" in names


@attrs.frozen(kw_only=True)
class ToyConfig(AttentionConfig):
    """Options of a variant that only tests know."""

    type: Literal["toy"] = "toy"

    window: Annotated[int, Ge(1)] = 256
    """Tokens on either side."""


@pytest.fixture
def toy_config() -> type[ToyConfig]:
    return ToyConfig
