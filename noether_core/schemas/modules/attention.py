"""What every attention config is made of; the concrete ones live beside their modules."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import attrs
from annotated_types import Ge, Interval, MinLen

from noether_core.errors import Problem, shown
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.open_config import OpenConfig, with_extra
from noether_core.schemas.rules import refuse
from noether_core.schemas.schema import Schema, invariant

_FARTHEST = 4096
"""How far from a number of heads that does not divide the width one is looked for that does."""

Name = Annotated[str, MinLen(1)]
"""Text that is not empty."""

InitWeightsMode = Literal[
    "truncnormal002", "truncnormal002-identity", "truncnormal", "xavier", "zeros", "torch"
]
"""How weights start; see `noether_core.nn.init_weights_`."""

Backend = Literal["auto", "sdpa", "flex", "math"]
"""Kernel that computes attention; see `noether_core.nn.attend`."""


@attrs.frozen(kw_only=True)
class AttentionConfig(OpenConfig):
    """Options of every attention variant; made directly, the open schema that keeps all others.

    A subclass is a *concrete* config: it declares the options of one variant, and its ``type`` is a
    literal::

        @attrs.frozen(kw_only=True)
        class WindowAttentionConfig(AttentionConfig):
            type: Literal["acme_window"] = "acme_window"

            window: Annotated[int, Ge(1)] = 256
            "Tokens that each query sees on either side."

    Args:
        **options: The fields below, and for the open schema options of any variant, which `extra`
            keeps.

    Raises:
        ConfigError: If an option has the wrong type, is out of bounds or contradicts another.
        TypeError: If a required option is missing.
    """

    plugin_group: ClassVar[str] = "noether.attention"
    extra_field: ClassVar[str | None] = "extra"

    type: str
    """Which variant; any installed package may provide it. ``distribution:type`` names the package
    too.
    """

    hidden_dim: Annotated[int, Ge(1)]
    """Width of a token: features that go in and come out."""

    num_heads: Annotated[int, Ge(1)]
    """Heads that share the width; divides ``hidden_dim``."""

    use_rope: bool = False
    """Rotate queries and keys with rotary position embeddings."""

    dropout: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of dropping an attention weight, or an output feature, in training."""

    init_weights: InitWeightsMode = "truncnormal002"
    """How weights start."""

    bias: bool = True
    """Whether linear layers have a bias."""

    _head_dim: Annotated[int, Ge(1)] | None = attrs.field(default=None, repr=False)
    """Width of a head. It follows from the two above; a value given must agree with them."""

    qk_norm: bool = False
    """Normalise queries and keys by their root mean square over a head, before rotation."""

    extra: Mapping[str, Any] = EMPTY
    """Options of other variants, kept and not read."""

    def __init__(self, *, extra: Mapping[str, Any] = EMPTY, **options: Any) -> None:
        options = with_extra(AttentionConfig, options, extra)
        # attrs names its own __init__ so where a class brings one
        self.__attrs_init__(**options)  # type: ignore[attr-defined]

    def __attrs_post_init__(self) -> None:
        """Check every field, and drop a width of heads, which follows from the others."""
        Schema.__attrs_post_init__(self)
        if self._head_dim is not None:
            object.__setattr__(self, "_head_dim", None)  # so that configs that mean one are equal

    @property
    def head_dim(self) -> int:
        """Width of a head: ``hidden_dim // num_heads``."""
        return self.hidden_dim // self.num_heads

    @invariant
    @staticmethod
    def heads_divide_width(hidden_dim: int, num_heads: int) -> Problem | None:
        """Return a problem unless every head has the same width."""
        if hidden_dim % num_heads == 0:
            return None
        return Problem(
            keys=("num_heads",),
            message=f"{shown(num_heads)} does not divide hidden_dim {shown(hidden_dim)}",
            value=num_heads,
            suggestion=_which_divide(hidden_dim, num_heads),
        )

    @invariant
    @staticmethod
    def head_dim_follows(hidden_dim: int, num_heads: int, head_dim: int | None) -> Problem | None:
        """Return a problem if a width of heads is given that the others do not give."""
        if head_dim is None or hidden_dim % num_heads:
            return None
        wanted = hidden_dim // num_heads
        if head_dim == wanted:
            return None
        quotient = f"hidden_dim {hidden_dim} / num_heads {num_heads} = {wanted}"
        return Problem(
            keys=("head_dim",),
            message=f"{head_dim} is not {quotient}",
            value=head_dim,
            suggestion="leave head_dim out: it follows from the others",
        )


def _which_divide(whole: int, number: int) -> str | None:
    """Return in words the divisors of *whole* next to *number* on either side, if they are near."""
    below = range(min(number - 1, whole), max(0, number - _FARTHEST), -1)
    above = range(number + 1, min(whole, number + _FARTHEST) + 1)
    found: list[str] = []
    for side in (below, above):
        divisors = (str(divisor) for divisor in side if whole % divisor == 0)
        found += itertools.islice(divisors, 1)
    if not found:
        return None
    return f"{' and '.join(found)} {'does' if len(found) == 1 else 'do'}"


def domain_of(name: str) -> str:
    """Return the domain of a group of tokens by its name, as `TokenSpec.domain` does."""
    return name.partition("_")[0]


@attrs.frozen
class TokenSpec(Schema):
    """A named group of consecutive tokens.

    Raises:
        ConfigError: If the name is empty or the size negative.
    """

    ignored_options: ClassVar[frozenset[str]] = frozenset({"domain", "attn_type"})

    name: Name
    """Name of the group, such as ``surface_anchors``."""

    size: Annotated[int, Ge(0)] | None
    """Number of tokens.

    None for a group that is not in the input and whose keys and values come from a cache.
    """

    @property
    def domain(self) -> str:
        """The name before its first underscore: ``surface`` of ``surface_anchors``."""
        return domain_of(self.name)

    @property
    def attn_type(self) -> str:
        """The name after its last underscore: ``anchors`` of ``surface_anchors``."""
        return self.name.rpartition("_")[2]

    @classmethod
    def from_dict(cls, sizes: Mapping[str, int | None]) -> Self:
        """Return the group that ``{name: size}`` describes.

        Raises:
            ConfigError: If *sizes* has not exactly one entry.
        """
        if not isinstance(sizes, Mapping) or len(sizes) != 1:
            raise refuse("a mapping of one name to its size", sizes)
        ((name, size),) = sizes.items()
        return cls(name, size)

    def to_dict(self) -> dict[str, int | None]:
        """Return ``{name: size}``."""
        return {self.name: self.size}


@attrs.frozen
class AttentionPattern(Schema):
    """Which groups of tokens attend to which.

    Raises:
        ConfigError: If a side is empty, no list or holds anything but names.
    """

    query_tokens: Annotated[tuple[Name, ...], MinLen(1)]
    """Names of the groups of queries."""

    key_value_tokens: Annotated[tuple[Name, ...], MinLen(1)]
    """Names of the groups of keys and values, in the order of their keys."""


MOVED = {
    "CrossAnchorAttentionConfig": "noether_plugins.attention.anchor",
    "DotProductAttentionConfig": "noether_plugins.attention.dot_product",
    "FLAREAttentionConfig": "noether_plugins.attention.flare",
    "IrregularNatAttentionConfig": "noether_plugins.attention.irregular_nat",
    "JointAnchorAttentionConfig": "noether_plugins.attention.anchor",
    "MixedAttentionConfig": "noether_plugins.attention.mixed",
    "MultiBranchAnchorAttentionConfig": "noether_plugins.attention.anchor",
    "PerceiverAttentionConfig": "noether_plugins.attention.perceiver",
    "TransolverAttentionConfig": "noether_plugins.attention.transolver",
    "TransolverPlusPlusAttentionConfig": "noether_plugins.attention.transolver_plusplus",
}


def moved(name: str, module: str) -> Any:
    """Return a config that stands elsewhere now, with a warning the first time.

    Args:
        name: The config.
        module: Where it was looked for.
    """
    if name not in MOVED:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    if name in globals():
        return globals()[name]
    import importlib
    import warnings

    new_module = f"{MOVED[name]}.config"
    warnings.warn(
        f"{name} has moved: import it from {new_module}", DeprecationWarning, stacklevel=3
    )
    globals()[name] = getattr(importlib.import_module(new_module), name)
    return globals()[name]


def __getattr__(name: str) -> Any:
    return moved(name, __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *MOVED})
