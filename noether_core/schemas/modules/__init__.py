"""Schemas of modules."""

from __future__ import annotations

from typing import Any

from noether_core.schemas.modules import attention
from noether_core.schemas.modules.attention import AttentionConfig, AttentionPattern, TokenSpec

__all__ = ["AttentionConfig", "AttentionPattern", "TokenSpec"]


def __getattr__(name: str) -> Any:
    return attention.moved(name, __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *attention.MOVED})
