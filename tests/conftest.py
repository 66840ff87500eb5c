"""What tests of every part share."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Ge
from fresh_environment import fresh_environment  # noqa: F401  a fixture for all tests below

from noether_core.schemas import AttentionConfig


@attrs.frozen(kw_only=True)
class ToyConfig(AttentionConfig):
    """Options of a variant that only tests know."""

    type: Literal["toy"] = "toy"

    window: Annotated[int, Ge(1)] = 256
    """Tokens on either side."""


@pytest.fixture
def toy_config() -> type[ToyConfig]:
    return ToyConfig
