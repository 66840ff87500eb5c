"""Types that fields of several configs share."""

from __future__ import annotations

from typing import Literal, NamedTuple

InitWeightsMode = Literal["truncnormal002", "truncnormal002-identity", "truncnormal", "xavier", "zeros", "torch"]
"""How weights start; see `noether_core.nn.init_weights_`."""


class Because(NamedTuple):
    """Why a field is bounded as it is; stands in ``Annotated`` and is appended to what the bound reports.

    ``use_rope: Annotated[Literal[False], Because("slices have no position to rotate")] = False``
    """

    reason: str
