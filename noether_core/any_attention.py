"""One module that takes any variant: how a model that swaps variants calls its attention."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from noether_core.building import build
from noether_core.errors import (
    ConfigError,
    Problem,
    ShapeError,
    TokenGroupError,
    UnsupportedArgumentError,
    shown,
)
from noether_core.nn import (
    QKVAttention,
    RopeFrequency,
    check_key_padding_mask,
    check_positions,
    check_tokens,
    zero_padding,
)
from noether_core.nn.anchors import ONE_GROUP, AnchorCount, AnchorRule, arrange, reordered
from noether_core.nn.checks import check_device, is_dense, not_dense
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig, AttentionPattern, TokenSpec

if TYPE_CHECKING:
    from noether_core.nn import Frequencies, StructuredMask

T = TypeVar("T")

_ANCHOR_SUFFIX = "_anchors"
"""What follows a branch in the name of its anchors, where the config does not say."""

_ROTATIONS = ("freqs", "q_freqs", "k_freqs")
"""Arguments behind the capability ``rope``; every other capability is the name of its argument."""


class AnyAttention(nn.Module):
    """The attention that a config describes, called in the same way whatever its type.

    Changing ``type`` never changes the call. What only informs (positions, groups, context) is left
    out for a variant that does not look at it. What restricts (masks) is honoured or refused.

    - Of the interface ``self``, tokens attend to tokens.
    - Of the interface ``cross``, the tokens are the queries and the keys.
    - Of the interface ``tokens``, variants with branches or anchors get them: in every branch some
      tokens, evenly spread, are its anchors. Results come back in the order of the tokens.

    Example::

        attention = AnyAttention(config, input_dim=3)
        y = attention(x, positions=points, key_padding_mask=is_real)

    Args:
        config: The config of the attention, or a mapping of its options.
        input_dim: Coordinates of a position; needed where the config sets ``use_rope``.
        coordinate_scale: With ``use_rope``, what positions are multiplied by: the radians that the
            fastest rotation turns per unit of a coordinate. Variants that take positions themselves
            get them as they are.
        anchors: Anchors of every branch, for variants that have anchors: a fraction of its tokens,
            rounded up (a float of at most 1), or a number of tokens (an int).
        registry: Where the type is looked up; the process-wide one where it is None.

    Attributes:
        attention: The module that `noether_core.build` made.
        variant: Its record, with interface and capabilities.

    Raises:
        ConfigError: If anything is wrong with the config, or it contradicts the other arguments.
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do and the config does not say which.
        PluginError: If the package that does cannot be used.
    """

    def __init__(
        self,
        config: AttentionConfig | Mapping[str, Any],
        *,
        input_dim: int | None = None,
        coordinate_scale: float = 1.0,
        anchors: float = 0.25,
        registry: Registry | None = None,
    ) -> None:
        super().__init__()
        self.attention = build(config, registry=registry)
        own: AttentionConfig = self.attention.config  # type: ignore[assignment]
        known = default_registry() if registry is None else registry
        self.variant = known.record_of(own)
        self.hidden_dim, self.input_dim = own.hidden_dim, input_dim
        self.coordinate_scale, self.anchors = coordinate_scale, _checked_anchors(anchors)
        self.config = own

        # Read once: compilers trace plain attributes, and no records.
        self._interface = self.variant.interface
        self._type = own.type
        self._taken = _arguments_taken(self.variant.capabilities, self.attention, own)
        self._anchor_rule = _anchor_rule(own, AnchorCount.of(anchors))
        self._has_domains = getattr(own, "num_types", None) is not None
        _check_widths(own)
        self.rope = self._rope(own)

    def _rope(self, config: AttentionConfig) -> RopeFrequency | None:
        if not config.use_rope:
            return None
        if self._taken.isdisjoint(_ROTATIONS):
            raise UnsupportedArgumentError(
                self._type, "freqs", "use_rope is true and it takes none"
            )
        if self.input_dim is None:
            raise ConfigError([_MISSING_INPUT_DIM])
        return RopeFrequency(hidden_dim=config.head_dim, input_dim=self.input_dim)

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | StructuredMask | None = None,
        groups: Mapping[str, int] | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Exchange information between tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            positions: ``(batch, tokens, input_dim)``, the points of the tokens. Required with
                ``use_rope`` and by variants that look for neighbours.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Nothing attends to
                padding, and none of it is an anchor; its own rows of the result mean nothing.
            attn_mask: Broadcasts to ``(batch, num_heads, tokens, tokens)``. Booleans, True where a
                token attends to another, or numbers added to the logits; or a structured mask.
            groups: Sizes of groups by name, in the order of the tokens: ``{"surface": 1000,
                "volume": 3000}``. Without them, all tokens are one group, of which variants with
                several branches deal one token to each branch in turn. Under ``num_types`` the
                name up to the first underscore is the domain of a group, whose weights it has, and
                where there are branches, that of its branch; domains are counted in their order.
            context: ``(batch, context tokens, context_dim)``: tokens of another kind, for variants
                that take a context where their config says how wide it is.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs, or positions
                are missing that the variant needs.
            TokenGroupError: If groups do not add up to the tokens, or fit no branch of the config.
            UnsupportedArgumentError: If a mask is given that the variant cannot honour.
        """
        own = self.attention
        layer = own.q if isinstance(own, QKVAttention) else None
        check_tokens(x, self.hidden_dim, layer=layer)
        check_key_padding_mask(key_padding_mask, x)
        self._check_positions(positions, x)
        _check_context(context, x)
        _check_groups(groups, x.shape[1])
        self._refuse("attn_mask", attn_mask)
        self._refuse("key_padding_mask", key_padding_mask)

        if self._interface == "tokens":
            return self._attend_in_groups(x, positions, key_padding_mask, groups, context)

        if positions is not None:
            positions = zero_padding(positions, key_padding_mask)
        freqs = self._frequencies(positions)
        if groups is None and self._has_domains:
            groups = {ONE_GROUP: x.shape[1]}
        shared = {
            "attn_mask": attn_mask,
            "key_padding_mask": key_padding_mask,
            "positions": positions,
            "token_specs": None if groups is None else _specs(groups),
            "context": context,
        }
        y: Tensor
        if self._interface == "cross":
            # The mask of a call is that of its keys, and here padding is among the queries as well.
            x = zero_padding(x, key_padding_mask)
            y = self.attention(x, x, **self._given(shared, q_freqs=freqs, k_freqs=freqs))
        else:
            y = self.attention(x, **self._given(shared, freqs=freqs))
        return y

    def _attend_in_groups(
        self,
        x: Tensor,
        positions: Tensor | None,
        real: Tensor | None,
        groups: Mapping[str, int] | None,
        context: Tensor | None,
    ) -> Tensor:
        """Call a variant whose tokens come in groups."""
        arguments: dict[str, Any] = {"context": context}
        if self._anchor_rule is None:
            sizes = {ONE_GROUP: x.shape[1]} if groups is None else dict(groups)
            order = None
            arguments["attention_patterns"] = _everything_to_everything(sizes)
        else:
            is_real = x.new_ones(1, x.shape[1], dtype=torch.bool) if real is None else real
            sizes, order = arrange(is_real, groups, self._anchor_rule)
            x = reordered(x, order)
            positions = None if positions is None else reordered(positions, order)
            real = None if real is None else reordered(real, order)

        if positions is not None:
            positions = zero_padding(positions, real)
        arguments.update(key_padding_mask=real, positions=positions)
        freqs = self._frequencies(positions)
        y: Tensor = self.attention(x, _specs(sizes), **self._given(arguments, freqs=freqs))
        return y if order is None else reordered(y, order.argsort(dim=-1))

    def _given(self, arguments: Mapping[str, Any], **freqs: Any) -> dict[str, Any]:
        """Return the arguments that are given and that the variant takes."""
        return {
            name: value
            for name, value in {**arguments, **freqs}.items()
            if value is not None and name in self._taken
        }

    def _frequencies(self, positions: Tensor | None) -> Frequencies | None:
        """Return what rotates the tokens; None for a config that rotates nothing."""
        if self.rope is None or positions is None:
            return None
        freqs: Frequencies = self.rope(positions * self.coordinate_scale)
        return freqs

    def _check_positions(self, positions: Tensor | None, x: Tensor) -> None:
        """Check positions, also where the variant ignores them: a call fits all types or none."""
        if positions is None:
            if self.rope is not None:
                raise ShapeError(
                    "positions: got None, and use_rope rotates by them; "
                    f"wanted (batch, tokens, {self.input_dim})"
                )
            return
        if not is_dense(positions):
            raise not_dense(positions, "positions", "(batch, tokens, input_dim)")
        if positions.dim() != x.dim():
            raise ShapeError(
                f"positions: got shape {tuple(positions.shape)}, wanted (batch, tokens, input_dim)"
            )
        input_dim = positions.shape[-1] if self.input_dim is None else self.input_dim
        check_positions(positions, x, input_dim)

    def _refuse(self, name: str, mask: object) -> None:
        if mask is not None and name not in self._taken:
            reason = "it has none, and to leave a mask out would change who attends to whom"
            raise UnsupportedArgumentError(self._type, name, reason)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start from new weights, such as after ``to_empty`` behind the meta device."""
        fresh = type(self.attention)(self.config)
        self.attention.load_state_dict(fresh.state_dict())
        if self.rope is not None and self.input_dim is not None:
            fresh = RopeFrequency(hidden_dim=self.config.head_dim, input_dim=self.input_dim)
            self.rope.load_state_dict(fresh.state_dict())

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"{self._type!r}, input_dim={self.input_dim}, "
            f"coordinate_scale={self.coordinate_scale}, anchors={self.anchors}"
        )


_AXES_OF_CONTEXT = (3, 4)
"""How many axes a context has: one set of tokens for all heads, or one for each."""

_MISSING_INPUT_DIM = Problem(
    keys=("input_dim",),
    message="use_rope rotates by positions, and nothing says how many coordinates they have",
    suggestion="AnyAttention(config, input_dim=3) for points in space",
)


def _checked_anchors(anchors: float) -> float:
    if type(anchors) is int and anchors >= 1:  # a bool is an int too
        return anchors
    if isinstance(anchors, float) and 0 < anchors <= 1:
        return anchors
    expected = "a fraction (a float above 0 and at most 1) or a number of tokens (an int from 1 on)"
    message = f"expected {expected}, got {shown(anchors)}"
    raise ConfigError([Problem(keys=("anchors",), message=message, value=anchors)])


def _check_widths(config: AttentionConfig) -> None:
    """Check that tokens, queries and keys alike, fit a variant whose keys may be wider."""
    width = getattr(config, "kv_dim", None)
    if width not in (None, config.hidden_dim):
        message = f"{width} is not hidden_dim {config.hidden_dim}, and tokens attend to themselves"
        problem = Problem(
            keys=("kv_dim",), message=message, value=width, suggestion="leave kv_dim out"
        )
        raise ConfigError([problem])


def _arguments_taken(
    capabilities: tuple[str, ...], module: nn.Module, config: AttentionConfig
) -> frozenset[str]:
    """Return the arguments that a variant honours.

    Its ``forward`` declares them. An extension may have wrapped it in one that takes anything;
    behind that, the record knows. A context is not taken where a config with the
    option ``context_dim`` does not say how wide it is.
    """
    declared = inspect.signature(module.forward).parameters
    rotations = _ROTATIONS if "rope" in capabilities else ()
    taken = frozenset((*declared, *capabilities, *rotations))
    takes_context = getattr(config, "context_dim", 1) is not None
    return taken if takes_context else taken - {"context"}


def _anchor_rule(config: AttentionConfig, count: AnchorCount) -> AnchorRule | None:
    """Return the rule of a config by its own options; None where it has neither of them."""
    branches = getattr(config, "branches", None)
    suffix = getattr(config, "anchor_suffix", None)
    has_names = isinstance(branches, (tuple, list)) and all(
        isinstance(name, str) for name in branches
    )
    names = tuple(branches) if branches and has_names else None
    if names is None and suffix is None:
        return None
    return AnchorRule(names, _ANCHOR_SUFFIX if suffix is None else str(suffix), count)


def _check_context(context: Tensor | None, x: Tensor) -> None:
    """Check that a context holds numbers for the samples of *x*, also where it is ignored."""
    if context is None:
        return
    wanted = f"(batch, tokens, width) with a batch of {x.shape[0]}"
    if not is_dense(context):
        raise not_dense(context, "context", wanted)
    if context.dim() not in _AXES_OF_CONTEXT or context.shape[0] != x.shape[0]:
        raise ShapeError(f"context: got shape {tuple(context.shape)}, wanted {wanted}")
    if not context.is_floating_point():
        raise ShapeError(f"context: got {context.dtype}, wanted a floating dtype")
    check_device(context, x, "context")


def _check_groups(groups: Mapping[str, int] | None, tokens: int) -> None:
    """Check that groups have names and sizes, and add up to the tokens."""
    if groups is None:
        return
    if not isinstance(groups, Mapping):
        raise TokenGroupError(
            f"groups: expected sizes by name, such as {{'surface': 1000}}, got {shown(groups)}"
        )
    total = 0
    for name, size in groups.items():
        if not isinstance(name, str) or not name:
            raise TokenGroupError(f"groups: expected the name of a group, got {shown(name)}")
        is_integer = isinstance(size, (int, torch.SymInt)) and not isinstance(size, bool)
        if not is_integer or size < 0:
            raise TokenGroupError(
                f"groups: {name!r}: expected a number of tokens, got {shown(size)}"
            )
        total += size
    if total != tokens:
        raise TokenGroupError(f"groups: they add up to {total} tokens, and there are {tokens}")


def _everything_to_everything(groups: Mapping[str, int]) -> tuple[AttentionPattern, ...]:
    names = tuple(groups)
    return (_unchecked(AttentionPattern, query_tokens=names, key_value_tokens=names),)


def _specs(groups: Mapping[str, int]) -> list[TokenSpec]:
    return [_unchecked(TokenSpec, name=name, size=size) for name, size in groups.items()]


def _unchecked(kind: type[T], **values: Any) -> T:
    """Make a group or pattern of what was checked already: compilers trace no check of a schema."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
