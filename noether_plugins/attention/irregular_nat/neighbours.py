"""The nearest points within a radius, exactly: a k-d tree proposes, distances decide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from noether_core import NoetherError


class PositionError(NoetherError, ValueError):
    """The position of a token is no point."""


_SLACK = 1e-9
"""Relative error of a distance that the tree may make; what it proposes is measured again."""

_ROWS = 1 << 16
"""Points that are asked for at once."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def nearest_neighbours(positions: Tensor, real: Tensor | None, *, radius: float, max_degree: int) -> Tensor:
    """Return the tokens that every token sees: at most *max_degree* within *radius*, itself always, nearest first.

    Distances are compared in float64. Of points equally far away, the earlier ones are taken.

    Args:
        positions: ``(batch, tokens, coordinates)``.
        real: ``(batch, tokens)`` booleans, True for real tokens; None where all are. Padding is seen by no token and
            sees none; its positions are not looked at.
        radius: Farthest distance seen.
        max_degree: Most tokens seen.

    Returns:
        ``(batch, tokens, max_degree)`` numbers of tokens, int64 on the device of *positions*; -1 where there is no
        further one.

    Raises:
        PositionError: If the position of a real token is not finite.
    """
    if real is None:
        real = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
    found: Tensor = _search(positions.detach(), real, radius, max_degree)
    return found


@torch.library.custom_op("noether::nearest_neighbours", mutates_args=())
def _search(positions: Tensor, real: Tensor, radius: float, max_degree: int) -> Tensor:
    points, is_real = positions.to("cpu", torch.float64).numpy(), real.cpu().numpy()
    found = np.full((*is_real.shape, max_degree), -1, dtype=np.int64)
    for sample, (some, chosen) in enumerate(zip(points, is_real, strict=True)):
        tokens = np.flatnonzero(chosen)
        own = some[tokens]
        if not np.isfinite(own).all():
            token = tokens[~np.isfinite(own).all(axis=1)][0]
            raise PositionError(
                f"positions: got {some[token]} for token {token} of sample {sample}, wanted finite numbers"
            )
        if len(tokens):
            near = _nearest(own, radius, max_degree)
            found[sample, tokens] = np.where(near >= 0, tokens[near], -1)
    return torch.from_numpy(found).to(positions.device)


@_search.register_fake
def _(positions: Tensor, real: Tensor, radius: float, max_degree: int) -> Tensor:  # noqa: ARG001
    return positions.new_empty((*real.shape, max_degree), dtype=torch.int64)


class _Cloud(NamedTuple):
    """Points, and a tree over those of them that others may see."""

    points: _Floats
    candidates: _Ints
    tree: cKDTree


def _nearest(points: _Floats, radius: float, degree: int) -> _Ints:
    """Return the numbers of the *degree* nearest of *points* ``(n, coordinates)`` to each; -1 where there is none."""
    candidates = _distinct(points, degree)
    cloud = _Cloud(points, candidates, cKDTree(points[candidates]))
    tree = cloud.tree if len(candidates) == len(points) else cKDTree(points)
    order = tree.indices  # points near each other are asked for together
    found = np.empty((len(points), degree), dtype=np.int64)
    for start in range(0, len(points), _ROWS):
        rows = order[start : start + _ROWS]
        found[rows] = _nearest_to(rows, cloud, radius, degree)
    return found


def _nearest_to(rows: _Ints, cloud: _Cloud, radius: float, degree: int) -> _Ints:
    """Return the neighbours of some points; asks for more of those whose last place several may take."""
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
        others = np.append(cloud.candidates, -1)[near]  # the tree says *count* where it finds no more
        found[is_open], farthest = _ranked(own, others, cloud.points, radius, degree)
        may_hide_more = (reach[:, -1] <= farthest * (1 + _SLACK)) & (near[:, -1] < count)
        is_open = is_open[may_hide_more & (asked < count)]
        asked *= 2
    return found


def _ranked(own: _Ints, others: _Ints, points: _Floats, radius: float, degree: int) -> tuple[_Ints, _Floats]:
    """Sort the candidates *others* of each point by distance and number, and put the point itself first.

    Returns:
        The numbers of the first *degree*, -1 where there are fewer, and how far the last of them is, infinite where
        there are fewer.
    """
    squares = ((points[others] - points[own][:, None]) ** 2).sum(axis=2)
    squares[(others < 0) | (others == own[:, None]) | (squares > radius * radius)] = np.inf
    order = np.lexsort((others, squares), axis=1)[:, : degree - 1]
    squares, others = np.take_along_axis(squares, order, axis=1), np.take_along_axis(others, order, axis=1)

    missing = ((0, 0), (0, degree - 1 - others.shape[1]))
    squares = np.pad(squares, missing, constant_values=np.inf)
    others = np.pad(others, missing, constant_values=-1)
    ranked = np.column_stack([own, np.where(np.isfinite(squares), others, -1)])
    farthest = np.sqrt(squares[:, -1]) if degree > 1 else np.zeros(len(own))
    return ranked, farthest


def _distinct(points: _Floats, degree: int) -> _Ints:
    """Return the numbers of the points that others may see: of those in one place, the first *degree*.

    Whoever sees a later one sees all of these before it, as they are equally far away. It bounds how many points lie
    in one place, where a tree has nothing to tell them apart.
    """
    order = np.lexsort((*points.T,))  # stable: points in one place stay in their order
    ordered = points[order]
    is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    places = np.arange(len(points))
    rank = places - np.maximum.accumulate(np.where(is_new, places, 0))
    return np.sort(order[rank < degree])
