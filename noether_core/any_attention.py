"""One module that takes any variant: how a model that swaps variants calls its attention."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

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
from noether_core.nn import RopeFrequency, check_key_padding_mask, check_positions, check_tokens
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig, AttentionPattern, TokenSpec

if TYPE_CHECKING:
    from noether_core.nn import Frequencies, StructuredMask

T = TypeVar("T")

_ONE_GROUP = "tokens"
"""Name of the group of all tokens, where the caller names none."""

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
        self.variant = known.variant_of(own)
        self.hidden_dim, self.input_dim = own.hidden_dim, input_dim
        self.coordinate_scale, self.anchors = coordinate_scale, _checked_anchors(anchors)
        self.config = own

        # Read once: compilers trace plain attributes, and no records.
        self._interface = self.variant.interface
        self._type = own.type
        self._taken = _arguments_taken(self.variant.capabilities, self.attention)
        self._anchor_rule = _anchor_rule(own) if self._interface == "tokens" else None
        self._anchor_count = _anchor_count(anchors)
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
                several branches deal one token to each branch in turn.
            context: Tokens of another kind for variants that take a context.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs, or positions
                are missing that the variant needs.
            TokenGroupError: If groups do not add up to the tokens, or fit no branch of the config.
            UnsupportedArgumentError: If a mask is given that the variant cannot honour.
        """
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        self._check_positions(positions, x)
        _check_groups(groups, x.shape[1])
        self._refuse("attn_mask", attn_mask)
        self._refuse("key_padding_mask", key_padding_mask)

        if self._interface == "tokens":
            return self._attend_in_groups(x, positions, key_padding_mask, groups, context)

        freqs = self._frequencies(positions)
        shared = {
            "attn_mask": attn_mask,
            "key_padding_mask": key_padding_mask,
            "positions": positions,
            "token_specs": None if groups is None else _specs(groups),
            "context": context,
        }
        y: Tensor
        if self._interface == "cross":
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
        if self._anchor_rule is None:
            sizes = {_ONE_GROUP: x.shape[1]} if groups is None else dict(groups)
            order = None
        else:
            sizes, order = _arrange(x, real, groups, self._anchor_rule, self._anchor_count)
            x = _reordered(x, order)
            positions = None if positions is None else _reordered(positions, order)
            real = None if real is None else _reordered(real, order)

        arguments: dict[str, Any] = {
            "key_padding_mask": real,
            "positions": positions,
            "context": context,
        }
        if self._anchor_rule is None:
            arguments["attention_patterns"] = _everything_to_everything(sizes)
        y: Tensor = self.attention(
            x, _specs(sizes), **self._given(arguments, freqs=self._frequencies(positions))
        )
        return y if order is None else _reordered(y, order.argsort(dim=-1))

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


_MISSING_INPUT_DIM = Problem(
    keys=("input_dim",),
    message="use_rope rotates by positions, and nothing says how many coordinates they have",
    suggestion="AnyAttention(config, input_dim=3) for points in space",
)


def _checked_anchors(anchors: float) -> float:
    is_number = isinstance(anchors, (int, float)) and not isinstance(anchors, bool)
    is_share = isinstance(anchors, float) and 0 < anchors <= 1
    if is_number and (is_share or (isinstance(anchors, int) and anchors >= 1)):
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


def _arguments_taken(capabilities: tuple[str, ...], module: nn.Module) -> frozenset[str]:
    """Return the arguments that a variant honours.

    Its ``forward`` declares them. An extension may have wrapped it in one that takes anything;
    behind that, the record knows.
    """
    declared = () if capabilities else inspect.signature(module.forward).parameters
    rotations = _ROTATIONS if "rope" in capabilities else ()
    return frozenset((*declared, *capabilities, *rotations))


# Groups, and anchors among them


class _AnchorRule(NamedTuple):
    """How a config names branches and their anchors."""

    branches: tuple[str, ...] | None
    """The branches; None where every group of a call is one."""

    suffix: str
    """What follows a branch in the name of its anchors."""


class _AnchorCount(NamedTuple):
    """How many of the tokens of a branch are anchors."""

    numerator: int
    denominator: int
    most: int

    def within(self, size: Any) -> Any:
        """Return how many of *size* tokens are; for numbers and for tensors of numbers."""
        share = (size * self.numerator + self.denominator - 1) // self.denominator
        return share.clamp(max=self.most) if isinstance(share, Tensor) else min(share, self.most)


class _Branch(NamedTuple):
    """The tokens of one branch in a call."""

    name: str

    size: int
    """How many there are, padding included."""

    members: Tensor
    """Which these are, booleans ``(1 or batch, tokens)``."""

    n_chosen: int | None = None
    """How many anchors the caller chose; None where they are to be chosen here."""

    chosen: Tensor | None = None
    """Which these are."""


def _anchor_count(anchors: float) -> _AnchorCount:
    if isinstance(anchors, int):
        return _AnchorCount(1, 1, anchors)
    # The decimal that was meant: 0.1 of 30 tokens are 3, and the float is a little more than 0.1.
    share = Fraction(anchors).limit_denominator(1 << 20)
    return _AnchorCount(share.numerator, share.denominator, 1 << 62)


def _anchor_rule(config: AttentionConfig) -> _AnchorRule | None:
    """Return the rule of a config by its own options; None where it has neither of them."""
    branches = getattr(config, "branches", None)
    suffix = getattr(config, "anchor_suffix", None)
    has_names = isinstance(branches, (tuple, list)) and all(
        isinstance(name, str) for name in branches
    )
    names = tuple(branches) if branches and has_names else None
    if names is None and suffix is None:
        return None
    return _AnchorRule(names, _ANCHOR_SUFFIX if suffix is None else str(suffix))


def _arrange(
    x: Tensor,
    real: Tensor | None,
    groups: Mapping[str, int] | None,
    rule: _AnchorRule,
    count: _AnchorCount,
) -> tuple[dict[str, int], Tensor]:
    """Return the groups that a variant with anchors is given, and the tokens in their order.

    Branch by branch, anchors first. Every sample has anchors of its own, evenly spread over its
    real tokens: padding then changes nothing. Where it has fewer anchors than others, padding fills
    them up, which the mask hides.

    Returns:
        Sizes by name, and the numbers of the tokens, ``(1 or batch, tokens)``.
    """
    if real is None:
        real = torch.ones(1, x.shape[1], dtype=torch.bool, device=x.device)
    branches = _branches(real, groups, rule)
    sizes: dict[str, int] = {}
    keys = torch.zeros_like(real, dtype=torch.long)
    for number, branch in enumerate(branches):
        if branch.chosen is None:
            n_anchors = count.within(branch.size)
            is_anchor = _evenly_spread(branch.members & real, count)
            # There is always enough padding: the shares of real tokens and of padding, each rounded
            # up, are together no less than the share of all.
            rank = torch.where(is_anchor, 0, torch.where(real, 2, 1))
        else:
            n_anchors = branch.n_chosen
            rank = torch.where(branch.chosen, 0, 1)
        keys = torch.where(branch.members, 3 * number + rank, keys)

        sizes[branch.name + rule.suffix] = n_anchors
        sizes[_name_of_others(branch.name, rule)] = branch.size - n_anchors
    return sizes, keys.argsort(dim=-1, stable=True)


def _branches(real: Tensor, groups: Mapping[str, int] | None, rule: _AnchorRule) -> list[_Branch]:
    """Return the branches of a call, each with its tokens."""
    if groups is None:
        return _dealt(real, rule.branches or (_ONE_GROUP,))
    names = rule.branches or tuple(groups)
    owners = {group: _owner(group, names, rule.suffix) for group in groups}
    branch_of = _of_each_token(
        groups, {group: names.index(owners[group]) for group in groups}, real
    )

    branches: list[_Branch] = []
    for number, name in enumerate(names):
        own = [group for group in groups if owners[group] == name]
        if not own:
            raise TokenGroupError(
                f"groups: branch {name!r} has no group; the groups are {_quoted(groups)}"
            )
        size = sum(groups[group] for group in own)
        anchors = name + rule.suffix
        branch = _Branch(name, size, branch_of == number)
        if anchors in groups:
            chosen = _of_each_token(groups, {group: group == anchors for group in groups}, real)
            branch = branch._replace(n_chosen=groups[anchors], chosen=chosen)
        branches.append(branch)
    return branches


def _dealt(real: Tensor, names: tuple[str, ...]) -> list[_Branch]:
    """Deal real tokens to branches in turn, and then padding."""
    tokens, count = real.shape[-1], len(names)
    behind_real = real.sum(dim=-1, keepdim=True) + (~real).cumsum(dim=-1) - 1
    turn = torch.where(real, real.cumsum(dim=-1) - 1, behind_real) % count
    return [
        _Branch(name, (tokens + count - 1 - number) // count, turn == number)
        for number, name in enumerate(names)
    ]


def _of_each_token(groups: Mapping[str, int], values: Mapping[str, int], like: Tensor) -> Tensor:
    """Return ``(1, tokens)``: for each token the value of its group."""
    pieces = [
        torch.full((1, size), values[group], device=like.device) for group, size in groups.items()
    ]
    return torch.cat(pieces, dim=1) if pieces else torch.zeros_like(like[:1], dtype=torch.long)


def _evenly_spread(candidates: Tensor, count: _AnchorCount) -> Tensor:
    """Return which of the candidates, booleans ``(..., tokens)``, are anchors.

    Candidate ``k`` of ``n`` is one of ``m`` anchors where a multiple of ``n / m`` lies in
    ``[k, k + 1)``; so the first always is.
    """
    n = candidates.sum(dim=-1, keepdim=True)
    m: Tensor = count.within(n)
    n = n.clamp(min=1)  # a sample without candidates has no anchors, whatever is divided here
    behind = candidates.cumsum(dim=-1)
    multiples_below = ((behind - 1) * m + n - 1) // n
    multiples_below_next = (behind * m + n - 1) // n
    return candidates & (multiples_below_next > multiples_below)


def _owner(group: str, branches: tuple[str, ...], suffix: str) -> str:
    """Return the branch that a group belongs to: the longest that is its name, or begins it."""
    named_for = [
        branch
        for branch in branches
        if group in (branch, branch + suffix) or group.startswith(f"{branch}_")
    ]
    if not named_for:
        raise TokenGroupError(
            f"groups: {group!r} belongs to no branch of {_quoted(branches)}; "
            f"name it for one, such as {branches[0]!r}"
        )
    return max(named_for, key=len)


def _name_of_others(branch: str, rule: _AnchorRule) -> str:
    """Return the name of the tokens of a branch that are no anchors."""
    name = f"{branch}_queries"
    is_taken = name == branch + rule.suffix or name in (rule.branches or ())
    return branch if is_taken else name


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
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
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


def _reordered(tensor: Tensor, order: Tensor) -> Tensor:
    """Return tokens ``(batch, tokens, ...)`` in an order ``(1 or batch, tokens)``."""
    if order.shape[0] == 1:
        return tensor.index_select(1, order[0])
    each_feature = order.view(*order.shape, *itertools.repeat(1, tensor.dim() - 2))
    return tensor.gather(1, each_feature.expand(tensor.shape))


def _quoted(names: Any) -> str:
    return ", ".join(map(repr, names)) or "none"
