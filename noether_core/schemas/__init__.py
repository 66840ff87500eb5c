"""What configs are: frozen attrs classes whose fields are checked together."""

from noether_core.schemas.bounds import Because, Distinct
from noether_core.schemas.frozen_mapping import FrozenMapping
from noether_core.schemas.help_text import help_of
from noether_core.schemas.modules.attention import (
    AttentionConfig,
    AttentionPattern,
    Backend,
    InitWeightsMode,
    TokenSpec,
)
from noether_core.schemas.schema import Schema, invariant

__all__ = [
    "AttentionConfig",
    "AttentionPattern",
    "Backend",
    "Because",
    "Distinct",
    "FrozenMapping",
    "InitWeightsMode",
    "Schema",
    "TokenSpec",
    "help_of",
    "invariant",
]
