"""Keys and values that are read, whether they are of this call or of an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noether_core.nn import KeyValues
from noether_core.nn.cache import join_key_values
from noether_core.nn.groups import GroupSplit, Selection, SplitTokens

if TYPE_CHECKING:
    from collections.abc import Sequence


class Answers:
    """What each call of the kernel reads; groups that stand together are handed out as views.

    Args:
        fresh: Keys and values of groups of this call, one behind the other; None where no such
            group is read.
        cut: Where these are cut for what is wanted of them.
        cached: For each call of the kernel, what a cache holds for it.
    """

    def __init__(
        self, fresh: KeyValues | None, cut: GroupSplit, cached: Sequence[KeyValues | None]
    ) -> None:
        self._pieces = None if fresh is None else _cut(fresh, cut.lengths)
        self._wanted = cut.selections
        self._cached = cached

    def to(self, call: int) -> KeyValues:
        """Return the keys and values that the *call* with that number reads."""
        parts = [
            part
            for part in (self._cached[call], *self._fresh(self._wanted[call]))
            if part is not None
        ]
        return join_key_values(parts)

    def behind(self, calls: int) -> list[KeyValues]:
        """Return what is wanted of this call behind what its *calls* read."""
        return [group for runs in self._wanted[calls:] for group in self._fresh(runs)]

    def _fresh(self, runs: Selection) -> tuple[KeyValues, ...]:
        """Return the keys and values of this call in *runs*, if there are any."""
        if not runs or self._pieces is None:
            return ()
        keys, values, real = self._pieces
        return (
            KeyValues(
                keys.take(runs), values.take(runs), None if real is None else real.take(runs)
            ),
        )


def _cut(
    group: KeyValues, lengths: tuple[int, ...]
) -> tuple[SplitTokens, SplitTokens, SplitTokens | None]:
    real = None if group.real is None else SplitTokens(group.real, lengths, 1)
    return SplitTokens(group.keys, lengths, 2), SplitTokens(group.values, lengths, 2), real
