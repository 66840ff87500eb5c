"""Whether models are one computation: equal weights give equal outputs.

Equality is found by computing, so that it holds for variants of strangers too; no name of a type is
looked at. Two models with equally many parameters get the same weights and the same random points,
in double precision. That their outputs agree is as good as a proof: functions that differ do not
agree to twelve digits at random points with random weights. That they do not agree proves nothing:
the weights of one may have to be put into the other in a way that is not tried here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs
import torch
from torch import Tensor

from noether_core import NoetherError
from noether_core.tasks import Layout
from noether_plugins.comparison.points import proportional, random_features
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.model import PointTransformer

_MOST_TOKENS = 1024
"""Points of one call; a variant that looks at so many neighbours and no further is not told from
one that looks at all.
"""

_DEEPEST = 2
"""Blocks of the models: all blocks are alike, so that more would show no more."""

_DIGITS = 1e-10
"""Largest difference of outputs, over the largest of them, that is rounding."""

_SPREAD = 0.1
"""Of what is added to the weights: where some begin at 0 or 1, much would be equal."""

_SCATTER = 30.0
"""How much farther apart the points of a second sample lie than those of a task.

Neighbours within a radius may be all that there are in the one, and are not in the other.
"""


class _Case(NamedTuple):
    """What models are compared on."""

    features: Mapping[str, Tensor]
    real: Mapping[str, Tensor] | None
    is_training: bool


def same_models(
    experiments: Sequence[Experiment], layout: Layout, sizes: Mapping[str, int]
) -> list[list[int]]:
    """Return the groups of experiments whose models are one computation, by their numbers.

    In evaluation mode that is what counts. Of models that compute something else in training,
    through dropout or noise, the outputs there have to agree too, from the same seed; elsewhere two
    rows that differ in their dropout alone would be one.

    Args:
        experiments: What is compared.
        layout: What their samples are made of.
        sizes: Points of each group in a sample; more than 1,024 in all are scaled down.

    Returns:
        Groups of two or more, each sorted; an experiment whose model fails is in none.
    """
    if sum(sizes.values()) > _MOST_TOKENS:
        sizes = proportional(sizes, _MOST_TOKENS)
    counts: dict[int, list[int]] = {}
    for number, experiment in enumerate(experiments):
        model = _model(experiment, layout, torch.device("meta"))
        if model is not None:
            counts.setdefault(sum(each.numel() for each in model.parameters()), []).append(number)

    groups: list[list[int]] = []
    for candidates in counts.values():
        groups += _groups(candidates, experiments, layout, sizes)
    return sorted(groups)


def _groups(
    candidates: Sequence[int],
    experiments: Sequence[Experiment],
    layout: Layout,
    sizes: Mapping[str, int],
) -> list[list[int]]:
    """Sort experiments into groups: each is compared with the first of every group so far."""
    if len(candidates) == 1:
        return []
    cases = _cases(layout, sizes)
    groups: list[tuple[PointTransformer, list[int]]] = []
    for number in candidates:
        model = _model(experiments[number], layout, torch.device("cpu"))
        if model is None:
            continue
        for first, members in groups:
            if _is_same(first, model, cases):
                members.append(number)
                break
        else:
            groups.append((model, [number]))
    return [members for _, members in groups if len(members) > 1]


def _model(experiment: Experiment, layout: Layout, device: torch.device) -> PointTransformer | None:
    """Return a model in double precision with random weights; None where it cannot be made."""
    config = attrs.evolve(experiment.model, depth=min(experiment.model.depth, _DEEPEST))
    try:
        with torch.random.fork_rng(devices=[]), device:
            torch.manual_seed(0)
            model = PointTransformer(experiment.attention, config, layout).double()
    except (NoetherError, RuntimeError, TypeError, ValueError):
        return None
    if device.type == "cpu":
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.parameters():
                change = torch.randn(weights.shape, generator=random, dtype=weights.dtype)
                weights.add_(_SPREAD * change)
    return model


def _cases(layout: Layout, sizes: Mapping[str, int]) -> list[_Case]:
    """Return samples with and without padding, in evaluation and in training."""
    near = random_features(layout, sizes, torch.float64, seed=0)
    far = {group: values.clone() for group, values in near.items()}
    for values in far.values():
        values[..., : layout.coordinates] *= _SCATTER
    features = {group: torch.cat([near[group], far[group]]) for group in near}

    random = torch.Generator().manual_seed(1)
    real: dict[str, Tensor] = {}
    for group, size in sizes.items():
        counts = torch.randint(min(1, size), size + 1, (2, 1), generator=random)
        real[group] = torch.arange(size) < counts
    return [
        _Case(features, mask, is_training) for mask in (None, real) for is_training in (False, True)
    ]


def _is_same(first: PointTransformer, second: PointTransformer, cases: Sequence[_Case]) -> bool:
    """Return whether outputs agree once *second* has the weights of *first*."""
    if not _give_weights(first, second):
        return False
    takes_padding = first.takes_padding and second.takes_padding
    for case in cases:
        if case.real is not None and not takes_padding:
            continue
        outputs, others = _outputs(first, case), _outputs(second, case)
        if outputs is None or others is None or not _agree(outputs, others):
            return False
    return True


def _give_weights(source: PointTransformer, target: PointTransformer) -> bool:
    """Put the weights of one model into another; return whether they fit.

    Linear layers that are one in the one model and several in the other, such as ``qkv`` and ``q``
    with ``kv``, hold the same rows in the same order. So all weights whose rows are of one shape
    are stacked, in the order in which the model registers them, and handed out as they are wanted.
    """
    given, wanted = _by_shape_of_row(source), _by_shape_of_row(target)
    if _n_rows(given) != _n_rows(wanted):
        return False
    with torch.no_grad():
        for shape, weights in wanted.items():
            rows = torch.cat([each.reshape(-1, *shape) for each in given[shape]])
            start = 0
            for each in weights:
                end = start + each.reshape(-1, *shape).shape[0]
                each.copy_(rows[start:end].reshape(each.shape))
                start = end
    return True


def _n_rows(weights: Mapping[tuple[int, ...], Sequence[Tensor]]) -> dict[tuple[int, ...], int]:
    """Return how many rows there are of each shape."""
    return {
        shape: sum(each.reshape(-1, *shape).shape[0] for each in own)
        for shape, own in weights.items()
    }


def _by_shape_of_row(model: PointTransformer) -> dict[tuple[int, ...], list[Tensor]]:
    """Return the parameters in their order, by the shape that is left without the first axis."""
    found: dict[tuple[int, ...], list[Tensor]] = {}
    for weights in model.parameters():
        found.setdefault(tuple(weights.shape[1:]), []).append(weights)
    return found


@torch.no_grad()
def _outputs(model: PointTransformer, case: _Case) -> Tensor | None:
    """Return all fields of real points in a row; None where the model fails."""
    model.train(case.is_training)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            predicted = model(case.features, case.real)
    except (NoetherError, RuntimeError, TypeError, ValueError):
        return None
    values: list[Tensor] = []
    for group, fields in predicted.items():
        mask = None if case.real is None else case.real[group]
        values += [(field if mask is None else field[mask]).flatten() for field in fields.values()]
    return torch.cat(values)


def _agree(outputs: Tensor, others: Tensor) -> bool:
    """Return whether outputs differ by rounding alone; numbers that are not finite agree never."""
    if not outputs.isfinite().all():
        return False
    return bool((outputs - others).abs().max() <= _DIGITS * outputs.abs().max())
