"""Logs which package made each attention module that Noether builds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from noether_core import hookimpl, provenance_of

if TYPE_CHECKING:
    from torch import nn

    from noether_core import AttentionConfig

logger = logging.getLogger(__name__)


@hookimpl
def noether_after_build(module: nn.Module, config: AttentionConfig) -> None:
    """Log where a module comes from; it stays as it is."""
    made = provenance_of(module)
    provider = "an unknown package" if made is None else made.provider
    logger.info("built %s of %s, config %s", config.type, provider, config.fingerprint()[:12])
