"""Weights for each domain of tokens: which tokens are whose, and linear layers that know it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from noether_core.errors import TokenGroupError
from noether_core.schemas.modules.attention import domain_of

if TYPE_CHECKING:
    from noether_core.nn.groups import Layout

_LEAVES = ("weight", "bias")
"""Parameters of a linear layer."""


class DomainRun(NamedTuple):
    """Neighbouring tokens of one domain."""

    domain: int
    """The number of the domain."""

    tokens: int
    """How many tokens these are."""


DomainRuns: TypeAlias = tuple[DomainRun, ...]
"""An axis of tokens, domain by domain."""


class DomainTokens(NamedTuple):
    """Tokens in pieces, each of one domain: what a `DomainLinear` takes."""

    pieces: tuple[Tensor, ...]
    """``(batch, tokens, width)`` each; together they are the tokens."""

    domains: tuple[int, ...]
    """The number of the domain of each piece."""


def number_domains(layout: Layout, num_types: int) -> dict[str, int]:
    """Return the number of each domain: they are counted as they first appear.

    Groups without tokens do not count. Those that are not in the input, and come from a cache, do.

    Args:
        layout: The groups, in the order of the input; see `noether_core.nn.layout_of`.
        num_types: How many domains there must be.

    Raises:
        TokenGroupError: If there are more domains or fewer, or the tokens of one lie apart.
    """
    numbers: dict[str, int] = {}
    last_group_of: dict[str, str] = {}
    before: str | None = None
    for name, size in layout:
        if size == 0:
            continue
        domain = domain_of(name)
        numbers.setdefault(domain, len(numbers))
        if size is None:  # it stands nowhere among the tokens
            continue
        if before is not None and domain in last_group_of and domain != domain_of(before):
            raise TokenGroupError(
                f"token_specs: the groups of domain {domain!r} lie apart: {before!r} stands "
                f"between {last_group_of[domain]!r} and {name!r}; put them side by side"
            )
        last_group_of[domain] = before = name

    if len(numbers) != num_types:
        domains = ", ".join(map(repr, numbers)) or "none"
        raise TokenGroupError(
            f"token_specs: num_types is {num_types}, and the domains of groups with tokens are "
            f"{len(numbers)}: {domains}; a domain is what stands before the first underscore in "
            "the name of a group"
        )
    return numbers


def runs_of(groups: Iterable[tuple[str, int | None]], numbers: Mapping[str, int]) -> DomainRuns:
    """Return the tokens of *groups*, one behind the other, domain by domain.

    Args:
        groups: Names and sizes; those of size None have no tokens here.
        numbers: What `number_domains` returns.
    """
    runs: list[DomainRun] = []
    for name, size in groups:
        if size is None or size == 0:
            continue
        domain = numbers[domain_of(name)]
        if runs and runs[-1].domain == domain:
            size += runs.pop().tokens  # noqa: PLW2901  the tokens of both, one behind the other
        runs.append(DomainRun(domain, size))
    return tuple(runs)


def runs_within(runs: DomainRuns, span: slice) -> DomainRuns:
    """Return the part of *runs* that lies in a span of tokens."""
    found: list[DomainRun] = []
    start = 0
    for domain, tokens in runs:
        stop = start + tokens
        shared = min(stop, span.stop) - max(start, span.start)
        if shared > 0:
            found.append(DomainRun(domain, shared))
        start = stop
    return tuple(found)


def by_domain(x: Tensor, runs: DomainRuns) -> DomainTokens:
    """Return tokens, ``(batch, tokens, width)``, split by domain.

    Args:
        x: The tokens.
        runs: Their domains, in the same order.
    """
    if not runs:  # of no tokens, any domain will do
        return DomainTokens((x,), (0,))
    if len(runs) == 1:
        return DomainTokens((x,), (runs[0].domain,))
    pieces = x.split_with_sizes([run.tokens for run in runs], 1)
    # One copy where samples lie apart, which each layer would make for itself.
    return DomainTokens(
        tuple([piece.contiguous() for piece in pieces]), tuple([run.domain for run in runs])
    )


class DomainLinear(nn.Module):
    """A linear layer for each domain of tokens.

    ``q`` has the layers ``q.0``, ``q.1`` and so on, which are called, each with the tokens of its
    domain: hooks and adapters act there. Their parameters are known as ``q.weight.0``,
    ``q.bias.0``, ``q.weight.1`` and so on, in state dicts and by `named_parameters`.

    Args:
        in_features: Width of what goes in.
        out_features: Width of what comes out.
        bias: Whether biases are added.
        num_types: Number of domains.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool, num_types: int) -> None:
        super().__init__()
        for number in range(num_types):
            self.add_module(str(number), nn.Linear(in_features, out_features, bias=bias))
        self.register_state_dict_post_hook(_name_by_leaf)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_name_by_layer)  # type: ignore[no-untyped-call]

    def forward(self, tokens: DomainTokens) -> Tensor:
        """Return ``(batch, tokens, out_features)``, made of each token by its domain's layer."""
        projected = [
            self._modules[str(domain)](piece)  # type: ignore[misc]  # none of them is None
            for piece, domain in zip(tokens.pieces, tokens.domains, strict=True)
        ]
        return projected[0] if len(projected) == 1 else torch.cat(projected, dim=1)

    @property
    def weight(self) -> nn.Module:
        """What has the layers' weights as its parameters ``0``, ``1`` and so on."""
        return _Leaves(self._modules, "weight")

    @property
    def bias(self) -> nn.Module:
        """What has the layers' biases as its parameters ``0``, ``1`` and so on."""
        return _Leaves(self._modules, "bias")

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield this module, what names its parameters, and its layers.

        With duplicates, parameters have the names that their layers give them: torch would take two
        names for two places, and put back into one what it took from the other.
        """
        for name, module in super().named_modules(memo, prefix, remove_duplicate):
            yield name, module
            if module is self and remove_duplicate:
                # Before the layers: a parameter is known by the first name that is found.
                start = f"{prefix}." if prefix else ""
                yield f"{start}weight", self.weight
                yield f"{start}bias", self.bias


class _Leaves(nn.Module):
    """The weights, or the biases, of the layers of a `DomainLinear`, which keeps them."""

    def __init__(self, layers: Mapping[str, nn.Module | None], leaf: str) -> None:
        super().__init__()
        self.__dict__["_parameters"] = _LeafParameters(layers, leaf)


class _LeafParameters(MutableMapping[str, Any]):
    """One parameter of each linear layer, by the name of the layer; kept by the layer alone.

    A layer that somebody replaced is there if it has such a parameter itself.
    """

    def __init__(self, layers: Mapping[str, nn.Module | None], leaf: str) -> None:
        self._layers, self._leaf = layers, leaf

    def __getitem__(self, name: str) -> Any:
        parameter = self._parameters_of(name).get(self._leaf)
        if parameter is None:
            raise KeyError(name)
        return parameter

    def __setitem__(self, name: str, parameter: Any) -> None:
        self._parameters_of(name)[self._leaf] = parameter

    def __delitem__(self, name: str) -> None:
        del self._parameters_of(name)[self._leaf]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._layers if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _parameters_of(self, name: str) -> dict[str, Any]:
        layer = self._layers[name]
        return {} if layer is None else layer._parameters  # noqa: SLF001  functions of torch swap them there


def _name_by_leaf(
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: object,  # noqa: ARG001  part of what torch passes
) -> None:
    """Name the entries of layers ``weight.0`` rather than ``0.weight``."""
    for leaf in _LEAVES:
        for name in module._modules:  # noqa: SLF001  `children` names none
            key = f"{prefix}{name}.{leaf}"
            if key in state_dict:
                state_dict[f"{prefix}{leaf}.{name}"] = state_dict.pop(key)


def _name_by_layer(  # noqa: PLR0917  torch passes everything by position
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: object,  # noqa: ARG001  part of what torch passes
    strict: bool,  # noqa: ARG001  likewise
    missing_keys: list[str],
    unexpected_keys: list[str],  # noqa: ARG001  likewise
    error_msgs: list[str],
) -> None:
    """Give layers the entries that are named ``weight.0``, and report those that do not fit.

    The layers would report them by names that stand in no file.
    """
    for name, layer in module.named_children():
        for leaf in _LEAVES:
            own, given = layer._parameters.get(leaf), f"{prefix}{leaf}.{name}"  # noqa: SLF001
            target = f"{prefix}{name}.{leaf}"
            if own is None or target in state_dict:
                continue
            entry = state_dict.pop(given, None)
            if entry is None:
                missing_keys.append(given)
            elif isinstance(entry, Tensor) and entry.shape != own.shape:
                error_msgs.append(
                    f"size mismatch for {given}: copying a param with shape {entry.shape} from "
                    f"checkpoint, the shape in current model is {own.shape}."
                )
                entry = None
            state_dict[target] = own if entry is None else entry
