"""Types that fields of several configs share."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, NamedTuple

import annotated_types

InitWeightsMode = Literal[
    "truncnormal002", "truncnormal002-identity", "truncnormal", "xavier", "zeros", "torch"
]
"""How weights start; see `noether_core.nn.init_weights_`."""


Backend = Literal["auto", "sdpa", "flex", "math"]
"""Kernel that computes attention; see `noether_core.nn.attend`."""


class Because(NamedTuple):
    """Why a field is bounded as it is; stands in ``Annotated`` and is appended to what the bound
    reports.

    ``use_rope: Annotated[Literal[False], Because("slices have no position to rotate")] = False``
    """

    reason: str


class Distinct(annotated_types.GroupedMetadata):
    """The items of a list differ from each other; stands in ``Annotated`` beside the bounds of
    ``annotated_types``.

    ``branches: Annotated[tuple[str, ...], MinLen(1), Distinct()]``
    """

    def __iter__(self) -> Iterator[annotated_types.BaseMetadata]:
        """Yield the predicate by which others that read ``annotated_types``, such as hypothesis,
        understand it.
        """
        yield annotated_types.Predicate(_are_distinct)


def _are_distinct(items: Sequence[Hashable]) -> bool:
    return len(set(items)) == len(items)
