"""Which tokens belong to which group, how an axis gives them, and how graphs see them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch.utils import _pytree as pytree  # nothing public registers a class that is no dataclass

from noether_core.errors import TokenGroupError, shown
from noether_core.schemas.modules.attention import AttentionPattern, TokenSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

T = TypeVar("T")

Layout: TypeAlias = tuple[tuple[str, int | None], ...]
"""Names and sizes of groups, in the order of the input."""


def listed(values: Iterable[T], name: str, kind: str) -> tuple[T, ...]:
    """Return *values* one behind the other.

    Args:
        values: A list or another iterable of them.
        name: What the caller calls them.
        kind: What each should be, for the message.

    Raises:
        TokenGroupError: If it is nothing of the kind.
    """
    if isinstance(values, (tuple, list)):
        return tuple(values)
    if not isinstance(values, Iterable) or hasattr(values, "dtype"):  # as arrays and tensors have
        got = "None" if values is None else f"a {type(values).__name__}"
        raise TokenGroupError(f"{name}: got {got}, wanted a list of {kind}")
    return tuple(values)


def layout_of(token_specs: Iterable[TokenSpec]) -> Layout:
    """Return names and sizes of the groups, as plain as compilers and caches want them.

    Raises:
        TokenGroupError: If *token_specs* are no specs.
    """
    layout = []
    for spec in listed(token_specs, "token_specs", "TokenSpec"):
        if not isinstance(spec, TokenSpec):
            raise TokenGroupError(
                f"token_specs: expected a list of TokenSpec, got {shown(spec)} in it"
            )
        layout.append((spec.name, spec.size))
    return tuple(layout)


def group_sizes(layout: Layout, tokens: int) -> dict[str, int | None]:
    """Return the number of tokens of each group by name, in the order of the input.

    A group that is not in the input, and comes from a cache, has None.

    Args:
        layout: What `layout_of` returns.
        tokens: Number of tokens of the input.

    Raises:
        TokenGroupError: If a name stands twice, or the sizes do not add up to *tokens*.
    """
    sizes: dict[str, int | None] = {}
    total = 0
    for name, size in layout:
        if name in sizes:
            raise TokenGroupError(
                f"token_specs: {name!r} names two groups; give each a name of its own"
            )
        sizes[name] = size
        # `size or 0` would make a graph depend on whether the size is zero.
        total += 0 if size is None else size

    if total != tokens:
        groups = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
        raise TokenGroupError(
            f"token_specs: Token specs total size {total} is not the number of tokens {tokens}; "
            f"the groups are {groups}"
        )
    return sizes


class PieceRange(NamedTuple):
    """Neighbouring pieces of an axis, from the one numbered *start* to the one before *stop*."""

    start: int
    stop: int


Selection: TypeAlias = tuple[PieceRange, ...]
"""Pieces that are taken one behind the other."""


class GroupSplit(NamedTuple):
    """An axis of tokens in pieces, and which of them make up each selection of groups."""

    lengths: tuple[int, ...]
    """Tokens of each piece; together they are the axis."""

    selections: tuple[Selection, ...]
    """The pieces of each selection, in the order in which they are taken."""


def split_groups(sizes: Mapping[str, int], selected: Iterable[Sequence[str]]) -> GroupSplit:
    """Return where to split an axis so that selections of its groups can be taken.

    ``split_groups({"a": 3, "b": 4, "c": 5}, [("a", "b"), ("c",)])`` splits the axis into pieces of
    7 and 5 tokens: the groups *a* and *b* are always taken together. It looks at the order of the
    groups and never at their sizes, so that a graph compiled for some sizes fits all.

    Args:
        sizes: The groups on the axis, one behind the other, and their tokens.
        selected: Names of the groups of each selection, in the order in which they are taken.
    """
    index_of = {name: index for index, name in enumerate(sizes)}
    ranges = []
    for names in selected:
        indices = [index_of[name] for name in names]
        ranges.append(_neighbours(indices))

    # A piece begins wherever some selection begins or ends.
    boundaries = {0, len(sizes)}
    for selection in ranges:
        for groups in selection:
            boundaries.update(groups)
    bounds = sorted(boundaries)

    tokens = tuple(sizes.values())
    lengths = tuple(_total(tokens[start:stop]) for start, stop in itertools.pairwise(bounds))
    piece_of = {bound: piece for piece, bound in enumerate(bounds)}
    selections = []
    for selection in ranges:
        pieces = [PieceRange(piece_of[groups.start], piece_of[groups.stop]) for groups in selection]
        selections.append(tuple(pieces))
    return GroupSplit(lengths, tuple(selections))


class SplitTokens:
    """A tensor whose axis of tokens is split into pieces.

    Args:
        tensor: What is split.
        lengths: Tokens of each piece, as `split_groups` returns them.
        dim: The axis of the tokens.
    """

    __slots__ = ("_dim", "_lengths", "_pieces", "_tensor")

    def __init__(self, tensor: Tensor, lengths: tuple[int, ...], dim: int) -> None:
        self._tensor = tensor
        self._lengths = lengths
        self._dim = dim
        # One split for all pieces: its gradient is written once, where each narrow would fill the
        # whole axis with zeros.
        self._pieces = tensor.split_with_sizes(lengths, dim) if len(lengths) > 1 else (tensor,)

    def take(self, selection: Selection) -> Tensor:
        """Return the tokens of *selection* one behind the other; a view where it is one range."""
        if len(selection) == 1:
            return self._view(selection[0])
        return torch.cat([self._view(pieces) for pieces in selection], self._dim)

    def _view(self, pieces: PieceRange) -> Tensor:
        start, stop = pieces
        if stop - start == 1:
            return self._pieces[start]
        if stop - start == len(self._lengths):
            return self._tensor
        first_token = _total(self._lengths[:start])
        return self._tensor.narrow(self._dim, first_token, _total(self._lengths[start:stop]))


def select_groups(tensor: Tensor, split: GroupSplit, *, dim: int) -> Tensor:
    """Return the tokens of the first selection of *split* from the axis *dim*.

    They are a view where they are neighbours.
    """
    return SplitTokens(tensor, split.lengths, dim).take(split.selections[0])


def _neighbours(indices: Sequence[int]) -> list[PieceRange]:
    """Return *indices* as ranges of neighbours: ``[3, 4, 1]`` as 3 to 5 and 1 to 2."""
    ranges: list[PieceRange] = []
    for index in indices:
        if ranges and ranges[-1].stop == index:
            ranges[-1] = PieceRange(ranges[-1].start, index + 1)
        else:
            ranges.append(PieceRange(index, index + 1))
    return ranges


def _total(sizes: Iterable[int]) -> int:
    """Return the sum of *sizes*, added one by one."""
    # Files that ``torch.export`` writes know no sum of several symbols, which `sum` makes.
    total = 0
    for size in sizes:
        total += size
    return total


def register_groups() -> None:
    """Let specs and patterns be inputs of ``torch.export``, and of the files that it writes.

    The size of a group may be dynamic there, as that of an axis of a tensor may.
    """
    if TokenSpec in pytree.SUPPORTED_NODES:
        return
    pytree.register_pytree_node(
        TokenSpec,
        lambda spec: ([spec.size], spec.name),
        _spec_from_tree,
        serialized_type_name="noether_core.TokenSpec",
        flatten_with_keys_fn=lambda spec: ([(pytree.GetAttrKey("size"), spec.size)], spec.name),
    )
    pytree.register_pytree_node(
        AttentionPattern,
        lambda pattern: ([], _names_of(pattern)),
        _pattern_from_tree,
        serialized_type_name="noether_core.AttentionPattern",
        flatten_with_keys_fn=lambda pattern: ([], _names_of(pattern)),
    )
    # An exported file keeps the arguments of its example.
    torch.serialization.add_safe_globals([TokenSpec, AttentionPattern])


def _names_of(pattern: AttentionPattern) -> list[list[str]]:
    return [list(pattern.query_tokens), list(pattern.key_value_tokens)]


def _spec_from_tree(leaves: Iterable[Any], name: str) -> TokenSpec:
    (size,) = leaves
    return _unchecked(TokenSpec, name=name, size=size)


def _pattern_from_tree(_: Iterable[Any], names: list[list[str]]) -> AttentionPattern:
    queries, keys = names
    return _unchecked(AttentionPattern, query_tokens=tuple(queries), key_value_tokens=tuple(keys))


def _unchecked(cls: type[T], **values: Any) -> T:
    """Return an instance without its checks: a size may be a symbol, or any leaf of a tree."""
    instance = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(instance, name, value)
    return instance


register_groups()
