"""A sound config and record, and broken ones; this file imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from annotated_types import Ge, Gt

from noether_core import AttentionConfig, AttentionVariant
from noether_core.schemas.rules import Rule


@attrs.frozen(kw_only=True)
class SoundConfig(AttentionConfig):
    """Options of a variant that keeps every promise."""

    type: Literal["sound"] = "sound"
    """Every token reads every other."""

    sharpness: Annotated[float, Gt(0)] = 1.0
    """Factor of the logits."""


@attrs.frozen(kw_only=True)
class RoundedConfig(SoundConfig):
    """Does not keep what it is given; a copy of it does."""

    def __attrs_post_init__(self) -> None:
        SoundConfig.__attrs_post_init__(self)
        object.__setattr__(self, "sharpness", self.sharpness * 1.5)

    def __setstate__(self, state):
        for name, value in state.items():
            object.__setattr__(self, name, value)


@attrs.frozen(kw_only=True)
class LaxConfig(SoundConfig):
    """Takes text for a number."""

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:
        rule = SoundConfig.rule_of(option, annotation)
        if option != "sharpness":
            return rule
        return Rule(
            rule.expected,
            lambda value: rule.check(float(value) if isinstance(value, str) else value),
        )


@attrs.frozen(kw_only=True)
class UnboundedConfig(SoundConfig):
    """Has an option without the bound that its module needs."""

    sharpness: float = 1.0
    """Factor of the logits, by which they are divided again."""


@attrs.frozen(kw_only=True)
class UnexplainedConfig(SoundConfig):
    """Has an option without help."""

    shift: Annotated[float, Ge(0)] = 0.0


@attrs.frozen(kw_only=True)
class IgnoredConfig(SoundConfig):
    """Has an option that is kept and never used."""

    shift: Annotated[float, Ge(0)] = 0.0
    """Added to the result."""


@attrs.frozen(kw_only=True)
class SilentConfig(SoundConfig):
    """Has an option that changes nothing one could see."""

    level: Annotated[int, Ge(0)] = 0
    """How much is logged."""


@attrs.frozen(kw_only=True)
class PlacedConfig(SoundConfig):
    """Tokens have places and groups, and a context informs them."""

    context_dim: Annotated[int, Ge(1)] | None = None
    """Width of the tokens of a context."""


SOUND = AttentionVariant(
    config=SoundConfig,
    module="tests.core.testing.broken_modules:SoundAttention",
    interface="self",
    capabilities=("attn_mask", "key_padding_mask", "rope", "deterministic", "permutation"),
    time_exponent=2,
    memory_exponent=1,
    summary="Every token reads every other.",
    example={"hidden_dim": 8, "num_heads": 2},
    api_version=1,
)
"""A variant that keeps every promise it makes."""

PLACED = attrs.evolve(
    SOUND,
    config=PlacedConfig,
    module="tests.core.testing.broken_modules:PlacedAttention",
    capabilities=("positions", "token_specs", "context", "deterministic"),
    example={"hidden_dim": 8, "num_heads": 2, "context_dim": 3},
)
"""Another, of tokens that have places and groups, and a context."""


def with_module(
    name: str,
    variant: AttentionVariant = SOUND,
    *,
    of: str = "tests.core.testing.broken_modules",
    **changes: Any,
) -> AttentionVariant:
    """Return the record of a broken sibling, whose class is in the Python module *of*."""
    return attrs.evolve(variant, module=f"{of}:{name}", **changes)
