"""Which tokens attend to which in a module of a type, of a config, or with weights of your own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from noether_core.building import build
from noether_core.errors import NoetherError, PluginError
from noether_core.influence.derivatives import block_norms
from noether_core.influence.examples import Example, example, options_that_show
from noether_core.plugins.imports import describe, label
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.modules.attention import AttentionConfig, AttentionPattern
from noether_core.schemas.unstructure import unstructure

if TYPE_CHECKING:
    from noether_core.hookspecs import AttentionVariant, Interface
    from noether_core.plugins.metadata import EntryPoint

TOKENS = 48
"""How many tokens attend, where nobody says."""

_ROUNDING = 1e-12
"""What counts as zero beside the largest of its row: what float64 leaves of sums that cancel."""


@attrs.frozen(kw_only=True, eq=False)
class Influence:
    """How much each token acts on the result of each, in one small call of a module."""

    type: str
    """The type of the variant."""

    provider: str
    """The package that provides it, with its version."""

    interface: Interface
    """How the module is called: of ``cross``, tokens attend to others than themselves."""

    options: Mapping[str, Any]
    """Options of the module's config that are not their defaults, without ``type``."""

    seed: int
    """What drew the tokens, and the weights of a module that was built for it."""

    has_own_weights: bool
    """Whether the module was given, and no weights were drawn."""

    norms: Tensor
    """``(queries, keys)`` in float64: the Frobenius norm of the derivative of the result of a
    token that attends, by a token that is attended to. A token among both acts on its own result
    through its query as well.
    """

    queries: Mapping[str, int]
    """Sizes of the groups of tokens that attend, in the order of the rows."""

    keys: Mapping[str, int]
    """Sizes of the groups that are attended to, in the order of the columns: a context is one."""

    positions: Mapping[str, Tensor]
    """Where the tokens of each group lie, ``(tokens, coordinates)``."""

    patterns: tuple[AttentionPattern, ...] = ()
    """The patterns of the call, where the variant takes such."""

    @property
    def is_zero(self) -> Tensor:
        """Which tokens do not act on which results at all, to rounding: ``(queries, keys)``."""
        if not self.norms.numel():
            return self.norms == 0
        largest = self.norms.amax(dim=1, keepdim=True)
        return self.norms <= _ROUNDING * largest

    @property
    def shares(self) -> Tensor:
        """The share of each token in what acts on a result: rows sum to one.

        A row of zeros, of a result that no token acts on, stays one.
        """
        norms = self.norms.masked_fill(self.is_zero, 0)
        sums = norms.sum(dim=1, keepdim=True)
        return norms / sums.where(sums > 0, 1)


def influence(
    source: str | AttentionConfig | Mapping[str, Any] | nn.Module,
    /,
    *,
    tokens: int = TOKENS,
    seed: int = 0,
    options: Mapping[str, Any] = EMPTY,
    registry: Registry | None = None,
) -> Influence:
    """Return how much each token acts on the result of each, by derivatives of a small call.

    The call is one of float64 in evaluation mode. Tokens of a group lie along a closed curve in
    their order, and those near each other are alike, as points of a geometry are. Where a variant
    takes patterns, each group attends to itself and to those before it.

    Args:
        source: A type, for which the example of its record is scaled to something that shows; a
            config, or a mapping of its options, taken as it is; or a module that `build` made or
            `load_module` loaded, with its weights.
        tokens: How many tokens attend, about. Time and memory grow with their square.
        seed: Draws tokens and weights; torch's own generator stays where it was.
        options: Options that go before those of *source*; not for a module.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If the options make no config.
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do and it does not say which.
        PluginError: If the package that does cannot be used, or the module fails in the call that
            its record asks for, returns anything but a result for each query, or has derivatives
            that are not finite.
        TypeError: If options are given for a module, or it is none that `build` made.
    """
    known = default_registry() if registry is None else registry
    module = _module(source, options, known, seed)
    config = getattr(module, "config", None)
    if not isinstance(config, AttentionConfig):
        raise TypeError(f"{module.__class__.__name__} has no config of attention; build makes some")
    variant, entry = known.record_of(config), known.provider_of(config)
    call = example(variant, config, tokens=tokens, seed=seed)
    shown = unstructure(config, defaults=False)
    return Influence(
        type=config.type,
        provider=entry.provider,
        interface=variant.interface,
        options={name: value for name, value in shown.items() if name != "type"},
        seed=seed,
        has_own_weights=isinstance(source, nn.Module),
        norms=_norms(module, call, entry),
        queries=call.queries,
        keys=call.keys,
        positions=call.positions,
        patterns=call.patterns,
    )


def _module(
    source: str | AttentionConfig | Mapping[str, Any] | nn.Module,
    options: Mapping[str, Any],
    known: Registry,
    seed: int,
) -> nn.Module:
    """Return a module in float64 and evaluation mode that shares nothing with any other."""
    if isinstance(source, nn.Module):
        if options:
            raise TypeError("options are for a type or a config; the module has its own")
        return copy.deepcopy(source).double().eval()
    if isinstance(source, str):
        variant: AttentionVariant = known.get(source)
        options = {**options_that_show(variant), **options}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(source, registry=known, dtype=torch.float64, **options).eval()


def _norms(module: nn.Module, call: Example, entry: EntryPoint) -> Tensor:
    """Return the norms of a call's derivatives, with noise, where there is any, held fixed."""
    queries = sum(call.queries.values())

    def function(sources: Mapping[str, Tensor]) -> Tensor:
        batch = len(next(iter(sources.values())))
        others = {name: _copied(value, batch) for name, value in call.others.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            result = _called(module, {**sources, **others}, entry)
        if not isinstance(result, Tensor) or result.shape[:-1] != (batch, queries):
            got = f"a {result.__class__.__name__}"
            if isinstance(result, Tensor):
                got = f"shape {tuple(result.shape)}"
            reason = f"forward returns {got}, wanted one tensor ({batch}, {queries}, features)"
            raise PluginError(label(entry), reason)
        return result

    module.requires_grad_(requires_grad=False)
    with torch.enable_grad():
        norms = block_norms(function, call.sources)
    if not norms.isfinite().all():
        raise PluginError(label(entry), "derivatives of its results are not finite")
    return norms


def _called(module: nn.Module, arguments: Mapping[str, Any], entry: EntryPoint) -> object:
    """Return what a module makes of *arguments*.

    Raises:
        NoetherError: If it raises one.
        PluginError: If it raises anything else.
    """
    try:
        return module(**arguments)
    except NoetherError:
        raise
    except Exception as error:  # whatever a plugin may raise
        reason = f"forward fails in a small call: {describe(error)}"
        raise PluginError(label(entry), reason) from error


def _copied(value: Any, batch: int) -> Any:
    """Return an argument of one sample for a batch of copies."""
    if isinstance(value, Tensor):
        return value.expand(batch, *value.shape[1:]).contiguous()
    if isinstance(value, tuple) and all(isinstance(item, Tensor) for item in value):
        return tuple(_copied(item, batch) for item in value)
    return value
