"""Groups of tokens: their layout, their pieces, and what graphs make of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # nothing public registers a class that is no dataclass

from noether_core.errors import TokenGroupError, shown
from noether_core.schemas.modules.attention import AttentionPattern, TokenSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

T = TypeVar("T")


def register_groups() -> None:
    """Let `TokenSpec` and `AttentionPattern` be inputs of ``torch.export``, and of files that it
    wrote.

    The size of a group may be dynamic there, as that of an axis of a tensor may.
    """
    if TokenSpec in pytree.SUPPORTED_NODES:
        return
    pytree.register_pytree_node(
        TokenSpec,
        lambda spec: ([spec.size], spec.name),
        _spec_of,
        serialized_type_name="noether_core.TokenSpec",
        flatten_with_keys_fn=lambda spec: ([(pytree.GetAttrKey("size"), spec.size)], spec.name),
    )
    pytree.register_pytree_node(
        AttentionPattern,
        lambda pattern: ([], [list(pattern.query_tokens), list(pattern.key_value_tokens)]),
        _pattern_of,
        serialized_type_name="noether_core.AttentionPattern",
        flatten_with_keys_fn=lambda pattern: (
            [],
            [list(pattern.query_tokens), list(pattern.key_value_tokens)],
        ),
    )
    torch.serialization.add_safe_globals(
        [TokenSpec, AttentionPattern]
    )  # files keep the arguments of an example


def _spec_of(leaves: Iterable[Any], name: str) -> TokenSpec:
    """Return the group of that *name*, unchecked: its size may be a symbol, or whatever a tree of
    leaves holds.
    """
    (size,) = leaves
    return _made(TokenSpec, name=name, size=size)


def _pattern_of(_: Iterable[Any], names: list[list[str]]) -> AttentionPattern:
    queries, keys = names
    return _made(AttentionPattern, query_tokens=tuple(queries), key_value_tokens=tuple(keys))


def _made(kind: type[T], **values: Any) -> T:
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


Layout: TypeAlias = tuple[tuple[str, int | None], ...]
"""Names and sizes of groups, in the order of the input."""

register_groups()


def layout_of(token_specs: Iterable[TokenSpec]) -> Layout:
    """Return the names and sizes of the groups, as plain as a compiler and a memory of layouts want
    them.

    Raises:
        TokenGroupError: If *token_specs* are no specs.
    """
    return tuple([(spec.name, spec.size) for spec in _checked(token_specs)])


def group_sizes(layout: Layout, tokens: int) -> dict[str, int | None]:
    """Return the number of tokens of each group by name, in the order of the input; None for one
    that is not in it.

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
        total += 0 if size is None else size  # no `or`: it would ask for the size
    if total != tokens:
        raise TokenGroupError(
            f"token_specs: Token specs total size {total} is not the number of tokens {tokens}; "
            f"the groups are {_sizes_text(sizes)}"
        )
    return sizes


def _checked(token_specs: Iterable[TokenSpec]) -> tuple[TokenSpec, ...]:
    specs = tuple(token_specs)
    for spec in specs:
        if not isinstance(spec, TokenSpec):
            raise TokenGroupError(
                f"token_specs: expected a list of TokenSpec, got {shown(spec)} in it"
            )
    return specs


def _sizes_text(sizes: Mapping[str, int | None]) -> str:
    """Return the groups and their sizes, as messages quote them: ``surface_anchors 6,
    volume_anchors None``.
    """
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"


Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Pieces that are taken one behind the other: of each run of neighbours the first, and the one
behind the last.
"""


class Cut(NamedTuple):
    """Where an axis is cut."""

    lengths: tuple[int, ...]
    """Tokens of each piece; together they are the axis."""

    runs: tuple[Runs, ...]
    """What is wanted of the axis, in pieces."""


def cut_groups(sizes: Mapping[str, int], wanted: Iterable[Sequence[str]]) -> Cut:
    """Return where to cut an axis so that groups can be taken from it.

    It asks for no size, only for the order of the groups: a graph that was compiled for some sizes
    fits all.

    Args:
        sizes: The groups on the axis, one behind the other, and their tokens.
        wanted: Names of the groups that are taken together, in the order in which they are to
            stand.
    """
    places = {name: place for place, name in enumerate(sizes)}
    runs = [_runs([places[name] for name in names]) for names in wanted]

    bounds = sorted({0, len(sizes), *(bound for some in runs for run in some for bound in run)})
    number = {bound: place for place, bound in enumerate(bounds)}
    of_groups = tuple(sizes.values())
    lengths = tuple(_total(of_groups[start:stop]) for start, stop in itertools.pairwise(bounds))
    return Cut(
        lengths,
        tuple(tuple((number[first], number[stop]) for first, stop in some) for some in runs),
    )


class Pieces:
    """A tensor whose axis of tokens is cut.

    Args:
        tensor: What is cut.
        lengths: Tokens of each piece, as `cut_groups` returns them.
        dim: The axis of the tokens.
    """

    __slots__ = ("_dim", "_lengths", "_pieces", "_tensor")

    def __init__(self, tensor: Tensor, lengths: tuple[int, ...], dim: int) -> None:
        self._tensor = tensor
        self._lengths = lengths
        self._dim = dim
        # One cut for all pieces: its gradient is written once, where each narrow would fill the
        # whole axis with zeros.
        self._pieces = tensor.split_with_sizes(lengths, dim) if len(lengths) > 1 else (tensor,)

    def take(self, runs: Runs) -> Tensor:
        """Return the tokens of *runs*, one behind the other; a view where they are one run."""
        if len(runs) == 1:
            return self._run(*runs[0])
        return torch.cat([self._run(first, stop) for first, stop in runs], self._dim)

    def _run(self, first: int, stop: int) -> Tensor:
        if stop - first == 1:
            return self._pieces[first]
        if stop - first == len(self._lengths):
            return self._tensor
        return self._tensor.narrow(
            self._dim, _total(self._lengths[:first]), _total(self._lengths[first:stop])
        )


def take_runs(tensor: Tensor, cut: Cut, *, dim: int) -> Tensor:
    """Return the tokens of the first that *cut* wants of the axis *dim*; a view where they are one
    run.
    """
    return Pieces(tensor, cut.lengths, dim).take(cut.runs[0])


def _total(sizes: Iterable[int]) -> int:
    """Return the sum of *sizes*, added one by one: files of ``torch.export`` have no sum of several
    symbols.
    """
    total = 0
    for size in sizes:
        total += size
    return total


def _runs(places: Sequence[int]) -> Runs:
    """Return *places* as runs of neighbours."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return tuple(runs)
