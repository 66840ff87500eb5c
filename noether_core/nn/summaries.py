"""What is left of tokens once they are gathered: of fixed size, merged exactly, read by tokens."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import attrs
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from noether_core.errors import SummaryError
from noether_core.nn.cache import KeyValues, join_key_values

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from noether_core.schemas import AttentionConfig


class Summed(NamedTuple):
    """A part of a summary that is a sum over tokens."""

    value: Tensor
    """The sum, of any shape; zeros for no tokens."""

    @classmethod
    def merged(cls, parts: Sequence[Summed]) -> Summed:
        """Return the sum over the tokens of all *parts*."""
        total, *others = [part.value for part in parts]
        for value in others:
            total = total + value
        return cls(total)


class Attended(NamedTuple):
    """A part of a summary that is an attention to tokens: a mean of values by softmax weights."""

    mean: Tensor
    """``(..., width)``; zeros where nothing was attended to."""

    log_mass: Tensor
    """``(..., 1)``: the logarithm of the sum of ``exp(logit)``; minus infinity for no tokens."""

    @classmethod
    def merged(cls, parts: Sequence[Attended]) -> Attended:
        """Return the attention to the tokens of all *parts*.

        Milakov and Gimelshein, Online normalizer calculation for softmax, 2018 (arXiv 1805.02867).
        """
        log_masses = torch.stack([part.log_mass for part in parts])
        means = torch.stack([part.mean for part in parts])

        # What the largest is subtracted for: any number would do, so that it has no gradient.
        largest = log_masses.detach().amax(dim=0)
        is_empty = largest == -math.inf
        largest = largest.masked_fill(is_empty, 0.0)
        weights = (log_masses - largest).exp()

        # Ones in the place of empty sums, so that gradients are zeros and no NaN.
        total = weights.sum(dim=0).masked_fill(is_empty, 1.0)
        mean = (weights * means).sum(dim=0) / total
        return cls(mean, (largest + total.log()).masked_fill(is_empty, -math.inf))


class NumberedKeyValues(NamedTuple):
    """Keys and values of tokens whose numbers decide what is dropped when they are read."""

    keys: Tensor
    """As in `KeyValues`, and so are the next two."""

    values: Tensor
    real: Tensor | None

    numbers: Tensor
    """``(tokens,)``."""

    @classmethod
    def merged(cls, parts: Sequence[NumberedKeyValues]) -> NumberedKeyValues:
        """Return those of all *parts*, one behind the other."""
        joined = join_key_values([KeyValues(*part[:3]) for part in parts])
        return cls(*joined, torch.cat([part.numbers for part in parts]))

    def in_order(self) -> KeyValues:
        """Return keys and values in the order of the numbers, however parts were merged."""
        order = self.numbers.argsort(stable=True)
        real = None if self.real is None else self.real[:, order]
        return KeyValues(self.keys[:, :, order], self.values[:, :, order], real)


def numbered(group: KeyValues, first_token: int) -> NumberedKeyValues:
    """Return keys and values of tokens in a row, whose first has the number *first_token*."""
    stop = first_token + group.keys.shape[2]
    return NumberedKeyValues(*group, torch.arange(first_token, stop, device=group.keys.device))


Part = Summed | Attended | KeyValues | NumberedKeyValues
"""A part of a summary, by how it is merged: added, weighed, or put one behind the other."""


class Origin(NamedTuple):
    """Where a summary comes from: what it has to agree with that is merged with it, or reads it."""

    module: weakref.ref[nn.Module] | None
    """The module that gathered; None where it is known by its config alone, as in another process.
    """

    config: AttentionConfig
    """Its config."""

    round: int
    """Which of the module's rounds of gathering, from 1."""

    batch: int
    """Samples."""

    dtype: torch.dtype
    """Dtype of the tokens."""

    domains: tuple[str, ...] | None = None
    """Domains of groups that have weights of their own, as they were counted."""


@dataclass(frozen=True, eq=False, repr=False)  # compilers see through it, and not through attrs
class Summary:
    """What tokens contribute to attention whose tokens meet only in something of fixed size.

    A module that has the capability ``summary`` is three functions::

        summary = module.gather(x)  # what these tokens contribute; differentiable
        summary = summary.merge(*others)  # in any order, empty ones included
        y = module.read(x, summary)  # what these tokens get of it; equals module(x)

    Merging is exact: parts of the tokens give what all of them give at once, to rounding. What has
    random numbers, noise or dropout, draws them by the `seed` and the index of a token.

    A summary is a pytree node of torch, whose leaves are its tensors. A pickled one is known by the
    config of its module, and serves any module with an equal one.
    """

    parts: Mapping[str, Part]
    """The tensors, by what they hold; sums in the dtype of sums, float32 for half precision."""

    origin: Origin
    """Where it comes from."""

    seed: Tensor | None = None
    """Decides the noise and the dropout of tokens that gather and read; None without any."""

    @classmethod
    def of(
        cls,
        module: nn.Module,
        x: Tensor,
        *,
        parts: Mapping[str, Part],
        round: int = 1,
        seed: Tensor | None = None,
        domains: tuple[str, ...] | None = None,
    ) -> Self:
        """Return the summary that *module* gathered.

        Args:
            module: The attention, whose ``config`` says what it is.
            x: ``(batch, tokens, hidden_dim)``, the tokens.
            parts: What they contribute.
            round: Which of the module's rounds this is, from 1.
            seed: Decides what is random in it.
            domains: Domains of groups that have weights of their own, in the order of their
                numbers.
        """
        config: Any = module.config
        origin = Origin(weakref.ref(module), config, round, x.shape[0], x.dtype, domains)
        return cls(dict(parts), origin, seed)

    def merge(self, *others: Summary) -> Summary:
        """Return the summary of the tokens of this one and *others*.

        Raises:
            SummaryError: If one was gathered by another module, or in another batch, dtype or
                round; is on another device; or has other random numbers.
        """
        for other in others:
            _check_kind(other)
            _check_module(self.origin, other.origin.module, other.origin.config, "another one")
            _check_facts(self, other.facts(), "another one")
            self._check_domains(other)
            self._check_seed(other.seed)
        if not others:
            return self

        merged: dict[str, Part] = {}
        names = [name for each in (self, *others) for name in each.parts]
        for name in dict.fromkeys(names):
            alike: list[Any] = [each.parts[name] for each in (self, *others) if name in each.parts]
            merged[name] = type(alike[0]).merged(alike)
        return Summary(merged, self.origin, self.seed)

    def owned_by(self, module: nn.Module) -> Summary:
        """Return the summary as that of *module*, which has the module that gathered within it."""
        config: Any = module.config
        origin = self.origin._replace(module=weakref.ref(module), config=config)
        return Summary(self.parts, origin, self.seed)

    def facts(self) -> dict[str, object]:
        """Return what summaries must have in common, by the words of messages."""
        own = self.origin
        device = next(iter(self._tensors())).device
        return {"batch": own.batch, "dtype": own.dtype, "round": own.round, "device": device}

    def to(self, device: torch.device | str) -> Summary:
        """Return the summary on another device."""
        return self._mapped(lambda tensor: tensor.to(device))

    def detach(self) -> Summary:
        """Return the summary as a constant, through which no gradient flows."""
        return self._mapped(Tensor.detach)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the summary to one safetensors file, whole or not at all.

        The file says which config and which weights gathered it. Equal summaries give equal files.

        Args:
            path: The file; an older one is replaced.

        Raises:
            SummaryError: If the module that gathered is gone.
            OSError: If the file cannot be written.
        """
        from noether_core.nn.summary_files import save_summary

        save_summary(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], module: nn.Module) -> Summary:
        """Return the summary that `save` wrote, on the device of the module that is to read it.

        Args:
            path: The file.
            module: A module of the config and with the weights that gathered.

        Raises:
            SummaryError: If *module* has another config, or other weights.
            SavedModuleError: If the file cannot be read, or is damaged.
            MissingExtraError: If safetensors is not installed.
        """
        from noether_core.nn.summary_files import load_summary

        return load_summary(path, module)

    @property
    def nbytes(self) -> int:
        """Bytes that its tensors take; sums and means do not grow with the number of tokens."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def __repr__(self) -> str:
        return f"Summary({self.origin.config.type}: {', '.join(self.parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy or a pickle holds: everything but the module."""
        return Summary, (self.parts, self.origin._replace(module=None), self.seed)

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> Summary:
        mapped: Summary = pytree.tree_map(function, self)
        return mapped

    def _tensors(self) -> list[Tensor]:
        seeds = [] if self.seed is None else [self.seed]
        held = [tensor for part in self.parts.values() for tensor in part]
        return [tensor for tensor in held if tensor is not None] + seeds

    def _check_domains(self, other: Summary) -> None:
        own, found = self.origin.domains, other.origin.domains
        if own != found:
            raise SummaryError(
                f"summary: it was gathered with domains {own}, and another one has {found}"
            )

    def _check_seed(self, other: Tensor | None) -> None:
        """Check that random numbers of two parts are those of one whole."""
        own = self.seed
        if own is other:
            return
        if own is None or other is None or not torch.equal(own, other):
            raise SummaryError(
                "summary: parts were gathered with other random numbers; "
                "give each of them the seed of the first, gather(x, seed=summary.seed)"
            )


def _described(config: AttentionConfig, other: AttentionConfig) -> str:
    """Return a config in words by which it differs from another one."""
    if config.type != other.type:
        return repr(config.type)
    names = [field.name for field in attrs.fields(type(config))]
    differing = [name for name in names if getattr(config, name) != getattr(other, name, None)]
    return ", ".join(f"{name}={getattr(config, name)!r}" for name in differing)


class _Structure(NamedTuple):
    """What a summary is but for its tensors."""

    kinds: tuple[tuple[str, type[Part]], ...]
    """Names of the parts, and their classes."""

    origin: Origin


def _children(summary: Summary) -> tuple[list[Any], _Structure]:
    # None is a leaf to torch, and functions of leaves expect tensors.
    parts = {name: _tensors_of(part) for name, part in summary.parts.items()}
    seeds = [] if summary.seed is None else [summary.seed]
    kinds = tuple([(name, type(part)) for name, part in summary.parts.items()])
    return [parts, seeds], _Structure(kinds, summary.origin)


def check_summary(summary: Summary, module: nn.Module, x: Tensor, *, round: int = 1) -> None:
    """Check that *module* can read a summary for the tokens *x*.

    Args:
        summary: What it was given.
        module: The attention.
        x: ``(batch, tokens, hidden_dim)``.
        round: Which of its rounds it wants.

    Raises:
        SummaryError: If *summary* is none, or another module gathered it, or in another batch,
            dtype or round; or if it is on another device.
    """
    _check_kind(summary)
    config: Any = module.config
    _check_module(summary.origin, weakref.ref(module), config, "the call")
    wanted = {"batch": x.shape[0], "dtype": x.dtype, "round": round, "device": x.device}
    _check_facts(summary, wanted, "the call")


def _check_kind(summary: object) -> None:
    if not isinstance(summary, Summary):
        raise SummaryError(
            f"summary: got {type(summary).__name__}, wanted a Summary, which gather returns"
        )


def _check_module(
    own: Origin, module: weakref.ref[nn.Module] | None, config: AttentionConfig, who: str
) -> None:
    """Check that a summary of that origin is one of the module *who* has."""
    if own.module is not None and module is not None:
        if own.module() is module():
            return
        if own.config == config:
            raise SummaryError(
                "summary: it was gathered by another module of the same config "
                f"than that of {who}; each module reads what it gathered itself"
            )
    if own.config != config:
        raise SummaryError(
            f"summary: it was gathered by {_described(own.config, config)}, "
            f"and {who} has {_described(config, own.config)}"
        )


def _check_facts(summary: Summary, others: Mapping[str, object], who: str) -> None:
    for fact, own in summary.facts().items():
        if own != others[fact]:
            raise SummaryError(
                f"summary: it was gathered with {fact} {own}, and {who} has {others[fact]}"
            )


def _tensors_of(part: Part) -> dict[str, Tensor]:
    """Return the tensors of a part by the names of its fields."""
    fields = zip(part._fields, part, strict=True)
    return {name: tensor for name, tensor in fields if tensor is not None}


def _named_children(summary: Summary) -> tuple[list[Any], _Structure]:
    children, structure = _children(summary)
    names = [pytree.GetAttrKey("parts"), pytree.GetAttrKey("seed")]
    return list(zip(names, children, strict=True)), structure


def _from_children(children: Iterable[Any], structure: _Structure) -> Summary:
    tensors, seeds = children
    parts = {name: part_of(kind, tensors[name]) for name, kind in structure.kinds}
    return Summary(parts, structure.origin, *seeds)


def part_of(kind: type[Part], tensors: Mapping[str, Tensor]) -> Part:
    """Return the part of a class that holds *tensors* by the names of its fields."""
    values: Any = [tensors.get(field) for field in kind._fields]
    return kind(*values)


if Summary not in pytree.SUPPORTED_NODES:
    pytree.register_pytree_node(
        Summary, _children, _from_children, flatten_with_keys_fn=_named_children
    )
