"""The nearest points within a radius, exactly: a k-d tree proposes, distances decide."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from noether_core import NoetherError
from noether_core.nn.operators import define_operator


class PositionError(NoetherError, ValueError):
    """The position of a token is no point."""


_SLACK = 1e-9
"""Relative error of a distance that the tree may make; what it proposes is measured again."""

_ROWS = 1 << 16
"""Points that are asked for at once."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class Nearest(NamedTuple):
    """Who sees whom, and in which order points are best looked through; int64, on the device of the
    positions.
    """

    neighbours: Tensor
    """``(batch, tokens, max_degree)`` numbers of tokens, nearest first; -1 where there is no
    further one.
    """

    walk: Tensor
    """``(batch, tokens)`` numbers of tokens: points near each other together, padding last."""


def nearest_neighbours(
    positions: Tensor, real: Tensor | None, *, radius: float, max_degree: int
) -> Nearest:
    """Return the tokens that every token sees: at most *max_degree* within *radius*, itself always,
    nearest first.

    Distances are compared in float64. Of points equally far away, the earlier ones are taken. The
    walk goes from leaf to leaf of the k-d tree, which costs nothing beside the search.

    Args:
        positions: ``(batch, tokens, coordinates)``.
        real: ``(batch, tokens)`` booleans, True for real tokens; None where all are. Padding is
            seen by no token and sees none; its positions are not looked at.
        radius: Farthest distance seen.
        max_degree: Most tokens seen.

    Raises:
        PositionError: If the position of a real token is not finite.
    """
    if real is None:
        real = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
    return Nearest(*_search(positions.detach(), real, radius, max_degree))


def _find(positions: Tensor, real: Tensor, radius: float, max_degree: int) -> tuple[Tensor, Tensor]:
    points, is_real = positions.to("cpu", torch.float64).numpy(), real.cpu().numpy()
    found = np.full((*is_real.shape, max_degree), -1, dtype=np.int64)
    walk = np.argsort(~is_real, axis=1, kind="stable")
    for sample, (some, chosen) in enumerate(zip(points, is_real, strict=True)):
        tokens = np.flatnonzero(chosen)
        own = some[tokens]
        if not np.isfinite(own).all():
            token = tokens[~np.isfinite(own).all(axis=1)][0]
            raise PositionError(
                f"positions: got {some[token]} for token {token} of sample {sample}, wanted finite numbers"
            )
        if len(tokens):
            near, order = _nearest(own, radius, max_degree)
            found[sample, tokens] = (
                near if len(tokens) == len(some) else np.where(near >= 0, tokens[near], -1)
            )
            walk[sample, : len(tokens)] = tokens[order]
    return torch.from_numpy(found).to(positions.device), torch.from_numpy(walk).to(positions.device)


def _fake(positions: Tensor, real: Tensor, radius: float, max_degree: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    neighbours = positions.new_empty((*real.shape, max_degree), dtype=torch.int64)
    return neighbours, positions.new_empty(real.shape, dtype=torch.int64)


_search = define_operator(
    "noether::nearest_neighbours",
    "(Tensor positions, Tensor real, float radius, int max_degree) -> (Tensor neighbours, Tensor walk)",
    _find,
    fake=_fake,
)


class _Cloud(NamedTuple):
    """Points, and a tree over those of them that others may see."""

    points: _Floats
    candidates: _Ints
    tree: cKDTree


def _nearest(points: _Floats, radius: float, degree: int) -> tuple[_Ints, _Ints]:
    """Return the *degree* nearest of *points* ``(n, coordinates)`` to each, -1 where there is none;
    and a walk.
    """
    candidates = _distinct(points, degree)
    cloud = _Cloud(points, candidates, cKDTree(points[candidates]))
    tree = cloud.tree if len(candidates) == len(points) else cKDTree(points)
    order = tree.indices  # points near each other are asked for together
    found = np.empty((len(points), degree), dtype=np.int64)
    for start in range(0, len(points), _ROWS):
        rows = order[start : start + _ROWS]
        found[rows] = _nearest_to(rows, cloud, radius, degree)
    return found, order


def _nearest_to(rows: _Ints, cloud: _Cloud, radius: float, degree: int) -> _Ints:
    """Return the neighbours of some points; asks for more of those whose last place several may
    take.
    """
    count = len(cloud.candidates)
    found = np.empty((len(rows), degree), dtype=np.int64)
    is_open = np.arange(len(rows))
    asked = degree + 1
    while len(is_open):
        own = rows[is_open]
        reach, near = cloud.tree.query(
            cloud.points[own],
            k=np.arange(1, min(asked, count) + 1),
            distance_upper_bound=radius * (1 + _SLACK),
            workers=torch.get_num_threads(),
        )
        others = np.append(cloud.candidates, -1)[
            near
        ]  # the tree says *count* where it finds no more
        found[is_open], farthest = _ranked(own, others, cloud.points, radius, degree)
        may_hide_more = (reach[:, -1] <= farthest * (1 + _SLACK)) & (near[:, -1] < count)
        is_open = is_open[may_hide_more & (asked < count)]
        asked *= 2
    return found


def _ranked(
    own: _Ints, others: _Ints, points: _Floats, radius: float, degree: int
) -> tuple[_Ints, _Floats]:
    """Sort the candidates *others* of each point by distance and number, and put the point itself
    first.

    Returns:
        The numbers of the first *degree*, -1 where there are fewer, and how far the last of them
        is, infinite where there are fewer.
    """
    squares = _squares(own, others, points)
    squares[(others < 0) | (squares > radius * radius)] = np.inf
    squares[others == own[:, None]] = -1.0

    is_ordered = (squares[:, 1:] > squares[:, :-1]) | np.isinf(squares[:, 1:])
    unordered = np.flatnonzero(
        ~(is_ordered.all(axis=1) & (squares[:, 0] < 0))
    )  # with ties, or not among candidates
    ranked, reach = _padded(others, degree, -1), _padded(squares, degree, np.inf)
    ranked[unordered], reach[unordered] = _sorted(
        own[unordered], others[unordered], squares[unordered], degree
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
    """Sort candidates by distance and number, each point itself first, whether it is among them or
    not.
    """
    squares = np.column_stack(
        [np.full(len(own), -1.0), np.where(others == own[:, None], np.inf, squares)]
    )
    others = np.column_stack([own, others])
    order = np.lexsort((others, squares), axis=1)
    squares, others = (
        np.take_along_axis(squares, order, axis=1),
        np.take_along_axis(others, order, axis=1),
    )
    return _padded(others, degree, -1), _padded(squares, degree, np.inf)


def _padded(table: NDArray[Any], degree: int, filler: float) -> NDArray[Any]:
    """Return a copy of *table* with *degree* columns."""
    missing = max(0, degree - table.shape[1])
    return np.pad(table[:, :degree], ((0, 0), (0, missing)), constant_values=filler)


def _distinct(points: _Floats, degree: int) -> _Ints:
    """Return the numbers of the points that others may see: of those in one place, the first
    *degree*.

    Whoever sees a later one sees all of these before it, as they are equally far away. It bounds
    how many points lie in one place, where a tree has nothing to tell them apart.
    """
    if not _may_repeat(points):
        return np.arange(len(points))
    order = np.lexsort((*points.T,))  # stable: points in one place stay in their order
    ordered = points[order]
    is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    places = np.arange(len(points))
    rank = places - np.maximum.accumulate(np.where(is_new, places, 0))
    return np.sort(order[rank < degree])


def _may_repeat(points: _Floats) -> bool:
    """Return whether two points may lie in one place: never False where they do."""
    bits = (points + 0.0).view(np.uint64)  # the sum has one zero, where there are two
    keys = np.zeros(len(points), dtype=np.uint64)
    for column in bits.T:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(32)
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())
