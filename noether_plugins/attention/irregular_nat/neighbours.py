"""The nearest points within a radius, exactly: a k-d tree proposes, distances decide."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from noether_core import NoetherError
from noether_core.errors import UnsupportedExportError
from noether_core.nn.operators import define_operator


class PositionError(NoetherError, ValueError):
    """The position of a token is no point."""


_SLACK = 1e-9
"""Relative error of a distance that the tree may make; what it proposes is measured again."""

_POINTS_AT_ONCE = 1 << 16
"""Points whose neighbours are looked for at once."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class Nearest(NamedTuple):
    """The neighbours of all tokens, and an order of the tokens; int64, where the positions are."""

    neighbours: Tensor
    """``(batch, tokens, max_degree)`` numbers of tokens, nearest first; -1 where there is no
    further one.
    """

    walk: Tensor
    """``(batch, tokens)`` numbers of tokens: points near each other together, padding last."""


def nearest_neighbours(
    positions: Tensor, real: Tensor | None, *, radius: float, max_degree: int
) -> Nearest:
    """Return the neighbours of every token: the nearest within *radius*, itself always.

    Distances are compared in float64. Of points equally far away, the earlier ones are taken. The
    walk goes from leaf to leaf of the k-d tree, which costs nothing beside the search.

    Args:
        positions: ``(batch, tokens, coordinates)``.
        real: ``(batch, tokens)`` booleans, True for real tokens; None where all are. Padding is
            nobody's neighbour and has none; its positions are not looked at.
        radius: Farthest distance of a neighbour.
        max_degree: Most neighbours of a token.

    Raises:
        PositionError: If the position of a real token is not finite.
    """
    if real is None:
        real = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
    return Nearest(*_search(positions.detach(), real, radius, max_degree))


def _find(positions: Tensor, real: Tensor, radius: float, max_degree: int) -> tuple[Tensor, Tensor]:
    points = positions.to("cpu", torch.float64).numpy()
    is_real = real.cpu().numpy()
    neighbours = np.full((*is_real.shape, max_degree), -1, dtype=np.int64)
    # Where a sample has no real token, and behind those that it has: padding, in its order.
    walk = np.argsort(~is_real, axis=1, kind="stable")

    for sample, of_sample in enumerate(points):
        tokens = np.flatnonzero(is_real[sample])
        own = of_sample[tokens]
        _check_finite(own, tokens, sample)
        if len(tokens):
            near, order = _nearest(own, radius, max_degree)
            if len(tokens) < len(of_sample):
                near = np.where(near >= 0, tokens[near], -1)
            neighbours[sample, tokens] = near
            walk[sample, : len(tokens)] = tokens[order]

    device = positions.device
    return torch.from_numpy(neighbours).to(device), torch.from_numpy(walk).to(device)


def _check_finite(points: _Floats, tokens: _Ints, sample: int) -> None:
    """Check the positions of some *tokens* of a sample."""
    is_finite = np.isfinite(points).all(axis=1)
    if not is_finite.all():
        first = np.flatnonzero(~is_finite)[0]
        raise PositionError(
            f"positions: got {points[first]} for token {tokens[first]} of sample {sample}, "
            "wanted finite numbers"
        )


def _fake(positions: Tensor, real: Tensor, radius: float, max_degree: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    neighbours = positions.new_empty((*real.shape, max_degree), dtype=torch.int64)
    return neighbours, positions.new_empty(real.shape, dtype=torch.int64)


def _refuse(*_: Any) -> NoReturn:
    raise UnsupportedExportError(
        "irregular_nat: nearest neighbours are found by a k-d tree, which ONNX does not have; "
        "export with torch.export, or another variant"
    )


_search = define_operator(
    "noether::nearest_neighbours",
    "(Tensor positions, Tensor real, float radius, int max_degree) "
    "-> (Tensor neighbours, Tensor walk)",
    _find,
    fake=_fake,
    decomposition=_refuse,
)


class _Cloud(NamedTuple):
    """Points, and a tree over those of them that may be neighbours."""

    points: _Floats
    candidates: _Ints
    tree: cKDTree


def _nearest(points: _Floats, radius: float, degree: int) -> tuple[_Ints, _Ints]:
    """Return the *degree* nearest of *points* to each, and a walk through the points.

    Args:
        points: ``(n, coordinates)``.
        radius: Farthest distance of a neighbour.
        degree: Columns of the result, -1 where there is no further neighbour.
    """
    candidates = _distinct(points, degree)
    cloud = _Cloud(points, candidates, cKDTree(points[candidates]))
    tree = cloud.tree if len(candidates) == len(points) else cKDTree(points)
    order = tree.indices  # from leaf to leaf, so that a query finds its part of the tree in caches

    found = np.empty((len(points), degree), dtype=np.int64)
    for start in range(0, len(points), _POINTS_AT_ONCE):
        rows = order[start : start + _POINTS_AT_ONCE]
        found[rows] = _nearest_to(rows, cloud, radius, degree)
    return found, order


def _nearest_to(rows: _Ints, cloud: _Cloud, radius: float, degree: int) -> _Ints:
    """Return the neighbours of some points.

    The tree orders points equally far away in its own way, so one candidate more than *degree* is
    taken, and twice as many where the last may be tied with one that the tree did not return.
    """
    count = len(cloud.candidates)
    found = np.empty((len(rows), degree), dtype=np.int64)
    is_open = np.arange(len(rows))
    wanted = degree + 1
    while len(is_open):
        own = rows[is_open]
        distances, near = cloud.tree.query(
            cloud.points[own],
            k=np.arange(1, min(wanted, count) + 1),
            distance_upper_bound=radius * (1 + _SLACK),
            workers=torch.get_num_threads(),
        )

        # Where the tree finds no more, it returns the number *count*, which becomes -1.
        others = np.append(cloud.candidates, -1)[near]
        found[is_open], farthest = _ranked(own, others, cloud.points, radius, degree)

        may_be_tied = distances[:, -1] <= farthest * (1 + _SLACK)
        is_full = near[:, -1] < count
        is_open = is_open[may_be_tied & is_full & (wanted < count)]
        wanted *= 2
    return found


def _ranked(
    own: _Ints, others: _Ints, points: _Floats, radius: float, degree: int
) -> tuple[_Ints, _Floats]:
    """Sort the candidates *others* of each point by distance and number, the point itself first.

    Returns:
        The numbers of the first *degree*, -1 where there are fewer, and how far the last of them
        is, infinite where there are fewer.
    """
    squares = _squares(own, others, points)
    squares[(others < 0) | (squares > radius * radius)] = np.inf
    squares[others == own[:, None]] = -1.0

    # Most rows come in order from the tree; those with ties, or without the point itself, are
    # sorted anew.
    ascends = (squares[:, 1:] > squares[:, :-1]) | np.isinf(squares[:, 1:])
    is_sorted = ascends.all(axis=1) & (squares[:, 0] < 0)
    unsorted = np.flatnonzero(~is_sorted)
    ranked, reach = _padded(others, degree, -1), _padded(squares, degree, np.inf)
    ranked[unsorted], reach[unsorted] = _sorted(
        own[unsorted], others[unsorted], squares[unsorted], degree
    )

    ranked[np.isinf(reach)] = -1
    return ranked, np.sqrt(np.maximum(reach[:, -1], 0.0))


def _squares(own: _Ints, others: _Ints, points: _Floats) -> _Floats:
    """Return the squared distances of each point from its candidates."""
    total = np.zeros(others.shape)
    for coordinates in points.T.copy():
        steps = coordinates[others]
        steps -= coordinates[own][:, None]
        steps *= steps
        total += steps
    return total


def _sorted(own: _Ints, others: _Ints, squares: _Floats, degree: int) -> tuple[_Ints, _Floats]:
    """Sort candidates by distance and number; each point is first, be it a candidate or not."""
    first = np.full(len(own), -1.0)
    squares = np.where(others == own[:, None], np.inf, squares)
    squares = np.column_stack([first, squares])
    others = np.column_stack([own, others])

    order = np.lexsort((others, squares), axis=1)
    squares = np.take_along_axis(squares, order, axis=1)
    others = np.take_along_axis(others, order, axis=1)
    return _padded(others, degree, -1), _padded(squares, degree, np.inf)


def _padded(table: NDArray[Any], degree: int, filler: float) -> NDArray[Any]:
    """Return a copy of *table* with *degree* columns."""
    missing = max(0, degree - table.shape[1])
    return np.pad(table[:, :degree], ((0, 0), (0, missing)), constant_values=filler)


def _distinct(points: _Floats, degree: int) -> _Ints:
    """Return the numbers of the points that may be neighbours: of equal points the first *degree*.

    Whoever has a later one for a neighbour has all of these before it, as they are equally far
    away. It bounds how many equal points there are, which a tree cannot tell apart.
    """
    if not _may_repeat(points):
        return np.arange(len(points))

    order = np.lexsort((*points.T,))  # stable: equal points stay in their order
    ordered = points[order]
    is_first = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    numbers = np.arange(len(points))
    rank = numbers - np.maximum.accumulate(np.where(is_first, numbers, 0))
    return np.sort(order[rank < degree])


def _may_repeat(points: _Floats) -> bool:
    """Return whether two points may be equal: never False where they are."""
    bits = (points + 0.0).view(np.uint64)  # the sum has one zero, where there are two
    keys = np.zeros(len(points), dtype=np.uint64)
    for column in bits.T:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(32)
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())
