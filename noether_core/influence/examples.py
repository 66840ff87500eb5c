"""The call on which influence is measured: few tokens, along curves, in a variant's groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from noether_core.errors import ConfigError
from noether_core.hookspecs import AttentionVariant
from noether_core.nn import RopeFrequency
from noether_core.schemas.modules.attention import AttentionPattern, TokenSpec

if TYPE_CHECKING:
    from noether_core.schemas.modules.attention import AttentionConfig

TOKENS, QUERIES, CONTEXT = "tokens", "queries", "context"
"""What the tokens of a call are called where they are in no groups."""

_SHOWING = ({"hidden_dim": 32}, {"init_weights": "xavier"})
"""What is changed of a record's example: wide enough for results to differ, and weights with which
attention is not all but uniform.
"""

_ANCHORS = 4
_ANCHOR_SUFFIX = "_anchors"
_TWO_GROUPS = ("surface", "volume")

_SPACING = 0.2
"""How far apart tokens of a domain are, along its curve."""

_BETWEEN_CURVES = 0.6
"""How far apart the curves of two domains are, and those of two sets of tokens."""

_ALIKE = 0.5
"""Distance over which tokens are alike."""

_COORDINATES = 3


def options_that_show(variant: AttentionVariant) -> dict[str, Any]:
    """Return the options of a record's example, scaled so that a picture shows something."""
    options = dict(variant.example)
    for change in _SHOWING:
        if _is_sound(variant, {**options, **change}):
            options |= change
    return options


def _is_sound(variant: AttentionVariant, options: Mapping[str, Any]) -> bool:
    try:
        variant.config(**options)
    except (ConfigError, TypeError):
        return False
    return True


@attrs.frozen(kw_only=True, eq=False)
class Example:
    """A call of one sample: what goes in, and which tokens are which."""

    sources: Mapping[str, Tensor]
    """Arguments that are attended to, by name, each ``(1, tokens, features)`` in float64."""

    others: Mapping[str, Any]
    """All other arguments; tensors among them are of one sample too."""

    queries: Mapping[str, int]
    """Sizes of the groups that attend, in the order of the results."""

    keys: Mapping[str, int]
    """Sizes of the groups that are attended to, in the order of the sources."""

    positions: Mapping[str, Tensor]
    """Where the tokens of each group lie, ``(tokens, coordinates)``."""

    patterns: tuple[AttentionPattern, ...] = ()
    """Which groups attend to which, where the variant takes it from the call."""


def example(
    variant: AttentionVariant, config: AttentionConfig, *, tokens: int, seed: int
) -> Example:
    """Return a call of a variant's module that shows how it attends.

    Tokens of a domain lie on a closed curve, in their order, `_SPACING` apart, and those near each
    other are alike. Every group of a domain has points all around its curve.

    Args:
        variant: The record.
        config: The config of the module.
        tokens: How many tokens attend, about.
        seed: Draws the tokens' features.
    """
    maker = _Maker(variant, config, seed)
    if variant.interface == "cross":
        return maker.of_two_sets(tokens)
    if variant.interface == "tokens":
        return maker.of_groups(tokens)
    return maker.of_one_set(tokens)


class _Maker:
    """Makes calls for one config."""

    def __init__(self, variant: AttentionVariant, config: AttentionConfig, seed: int) -> None:
        self.variant, self.config, self.seed = variant, config, seed
        self.coordinates: int = getattr(config, "input_dim", None) or _COORDINATES

    def of_one_set(self, tokens: int) -> Example:
        """Return a call of the interface *self*."""
        groups = _sizes(self._domains(TOKENS), tokens)
        points = self._points(groups)
        sources = {"x": self._features(points, self.config.hidden_dim)}
        others: dict[str, Any] = {}
        if "positions" in self.variant.capabilities:
            others["positions"] = torch.cat([*points.values()])[None]
        if self.config.use_rope:
            others["freqs"] = self._frequencies(points)
        if TOKENS not in groups:
            others["token_specs"] = _specs(groups)

        keys, width = dict(groups), getattr(self.config, "context_dim", None)
        if "context" in self.variant.capabilities and width:
            keys[CONTEXT] = max(2, tokens // 4)
            points |= self._points({CONTEXT: keys[CONTEXT]}, above=1)
            sources["context"] = self._features({CONTEXT: points[CONTEXT]}, width)
        return Example(sources=sources, others=others, queries=groups, keys=keys, positions=points)

    def of_two_sets(self, tokens: int) -> Example:
        """Return a call of the interface *cross*, with more tokens to attend to than attend."""
        groups = _sizes(self._domains(QUERIES), 2 * tokens // 3)
        keys = {TOKENS: tokens}
        points, key_points = self._points(groups), self._points(keys, above=1)
        width = getattr(self.config, "kv_dim", None) or self.config.hidden_dim
        others: dict[str, Any] = {"q": self._features(points, self.config.hidden_dim)}
        if self.config.use_rope:
            others["q_freqs"] = self._frequencies(points)
            others["k_freqs"] = self._frequencies(key_points)
        if QUERIES not in groups:
            others["token_specs"] = _specs(groups)
        return Example(
            sources={"kv": self._features(key_points, width)},
            others=others,
            queries=groups,
            keys=keys,
            positions=points | key_points,
        )

    def of_groups(self, tokens: int) -> Example:
        """Return a call of the interface *tokens*."""
        groups = _sizes(self._groups(), tokens)
        points = self._points(groups)
        others: dict[str, Any] = {"token_specs": _specs(groups)}
        if self.config.use_rope:
            others["freqs"] = self._frequencies(points)
        patterns: tuple[AttentionPattern, ...] = ()
        if "attention_patterns" in self.variant.capabilities:
            patterns = others["attention_patterns"] = _each_to_itself_and_those_before(groups)
        return Example(
            sources={"x": self._features(points, self.config.hidden_dim)},
            others=others,
            queries=groups,
            keys=groups,
            positions=points,
            patterns=patterns,
        )

    def _domains(self, alone: str) -> dict[str, int | None]:
        """Return a group for each domain that has weights of its own, or those of the record.

        One group, called *alone*, where neither says anything.
        """
        number: int | None = getattr(self.config, "num_types", None)
        if number is not None:
            return dict.fromkeys(_domain_names(number))
        if "token_specs" in self.variant.capabilities and self.variant.example_groups:
            return dict(self.variant.example_groups)
        return {alone: None}

    def _groups(self) -> dict[str, int | None]:
        """Return the groups that a config has branches for, or else those of the record."""
        branches = getattr(self.config, "branches", None)
        if isinstance(branches, (tuple, list)) and branches:
            suffix = getattr(self.config, "anchor_suffix", _ANCHOR_SUFFIX)
            groups: dict[str, int | None] = {}
            for branch in branches:
                groups |= {f"{branch}_queries": None, f"{branch}{suffix}": _ANCHORS}
            return groups
        if self.variant.example_groups:
            return dict(self.variant.example_groups)
        return dict.fromkeys(_domain_names(getattr(self.config, "num_types", None) or 2))

    def _points(self, groups: Mapping[str, int], *, above: int = 0) -> dict[str, Tensor]:
        """Return where the tokens of each group lie."""
        domains = [TokenSpec(name, size).domain for name, size in groups.items()]
        levels = {domain: above + level for level, domain in enumerate(dict.fromkeys(domains))}
        lengths = dict.fromkeys(levels, 0.0)
        for domain, size in zip(domains, groups.values(), strict=True):
            lengths[domain] += _SPACING * size
        return {
            name: _curve(size, self.coordinates, lengths[domain], levels[domain])
            for (name, size), domain in zip(groups.items(), domains, strict=True)
        }

    def _features(self, points: Mapping[str, Tensor], width: int) -> Tensor:
        """Return features that change smoothly from point to point, with a variance of one.

        They are random Fourier features, after Rahimi and Recht, 2007.
        """
        generator = torch.Generator().manual_seed(self.seed)
        places = torch.cat([*points.values()])
        shape = (places.shape[1], width)
        waves = torch.randn(shape, generator=generator, dtype=torch.float64) / _ALIKE
        phases = 2 * math.pi * torch.rand(width, generator=generator, dtype=torch.float64)
        return math.sqrt(2) * torch.cos(places @ waves + phases)[None]

    def _frequencies(self, points: Mapping[str, Tensor]) -> Any:
        """Return what rotates heads, by as many coordinates as fit into one."""
        fitting = max(1, min(self.coordinates, self.config.head_dim // 2))
        places = torch.cat([*points.values()])[None, :, :fitting]
        return RopeFrequency(self.config.head_dim, fitting)(places.float())


def _curve(size: int, coordinates: int, length: float, level: int) -> Tensor:
    """Return points evenly along a circle of that length, at that level; on a line, one by one."""
    along = (torch.arange(size, dtype=torch.float64) + 0.5) / max(size, 1)
    points = torch.zeros(size, coordinates, dtype=torch.float64)
    if coordinates == 1:
        points[:, 0] = length * along + level * _BETWEEN_CURVES
        return points
    radius = length / (2 * math.pi)
    if coordinates == 2:  # noqa: PLR2004  in the plane, curves lie around each other
        radius += level * _BETWEEN_CURVES
    else:
        points[:, 2] = level * _BETWEEN_CURVES
    points[:, 0] = radius * torch.cos(2 * math.pi * along)
    points[:, 1] = radius * torch.sin(2 * math.pi * along)
    return points


def _domain_names(number: int) -> tuple[str, ...]:
    if number == len(_TWO_GROUPS):
        return _TWO_GROUPS
    return tuple(f"domain{position}" for position in range(1, number + 1))


def _sizes(groups: Mapping[str, int | None], tokens: int) -> dict[str, int]:
    """Return sizes of groups: the others share what those of a fixed size leave, and have one."""
    fixed = sum(size for size in groups.values() if size is not None)
    growing = [name for name, size in groups.items() if size is None]
    left = max(tokens - fixed, len(growing))
    edges = [round(left * number / max(len(growing), 1)) for number in range(len(growing) + 1)]
    shared = {
        name: stop - start for name, start, stop in zip(growing, edges[:-1], edges[1:], strict=True)
    }
    return {name: shared.get(name, size or 0) for name, size in groups.items()}


def _specs(groups: Mapping[str, int]) -> list[TokenSpec]:
    return [TokenSpec(name, size) for name, size in groups.items()]


def _each_to_itself_and_those_before(groups: Iterable[str]) -> tuple[AttentionPattern, ...]:
    """Return patterns that differ from attention of everything to everything."""
    names: Sequence[str] = tuple(groups)
    before = accumulate(((name,) for name in names), lambda left, right: left + right)
    return tuple(AttentionPattern((name,), keys) for name, keys in zip(names, before, strict=True))
