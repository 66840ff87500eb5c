"""How keys and values outlive a call: a cache of them by group."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from noether_core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn


class KeyValues(NamedTuple):
    """What the tokens of a group are attended to by."""

    keys: Tensor
    """``(batch, heads, tokens, head_dim)``, normalised and rotated."""

    values: Tensor
    """``(batch, heads, tokens, head_dim)``."""

    real: Tensor | None
    """``(batch, tokens)`` booleans, True for real tokens; None where all are."""

    @classmethod
    def merged(cls, parts: Sequence[KeyValues]) -> KeyValues:
        """Return the keys and values of all *parts*, one behind the other."""
        return join_key_values(parts)

    def in_order(self) -> KeyValues:
        """Return the same: tokens that draw nothing may stand in any order."""
        return self


def join_key_values(groups: Sequence[KeyValues]) -> KeyValues:
    """Return the keys and values of *groups*, one behind the other.

    Tokens of a group without a mask are real.
    """
    if len(groups) == 1:
        return groups[0]
    keys, values, real = zip(*groups, strict=True)
    return KeyValues(torch.cat(keys, dim=2), torch.cat(values, dim=2), _joined_masks(real, keys))


class KVCache:
    """Keys and values of groups of tokens, filled by one call of a module for its later ones.

    A call that gets a cache stores the groups that are attended to in it, and takes from it those
    that are not in its input. A group given afresh replaces the stored one. Each module needs a
    cache of its own: a transformer of three blocks takes three.

    The cache owns copies, ``2 * batch * heads * tokens * head_dim`` numbers a group, and with a
    padding mask ``batch * tokens`` booleans more; groups that are read together lie together. A
    copy of a cache, by `copy.deepcopy` or by pickling, serves the first module that uses it. Graphs
    of ``torch.compile`` and ``torch.export`` take no cache: it is for eager calls. What is stored
    under ``torch.inference_mode()`` cannot be read where gradients are computed, as torch says of
    any such tensor; ``torch.no_grad()`` has no such end.

    Args:
        keep_graph: Whether gradients of later calls flow back through what is stored. Without it
            the cache holds constants, and no autograd graph.
    """

    def __init__(self, *, keep_graph: bool = False) -> None:
        self.keep_graph = keep_graph
        self._groups: dict[str, KeyValues] = {}
        # What groups that were read together are views of, by their names.
        self._joined: dict[tuple[str, ...], KeyValues] = {}
        self._module: weakref.ref[nn.Module] | None = None
        self._domains: tuple[str, ...] | None = None

    @classmethod
    def of(cls, module: nn.Module, groups: Mapping[str, KeyValues]) -> KVCache:
        """Return a cache of groups that were gathered, for *module*; it copies nothing.

        Args:
            module: The attention that reads them.
            groups: Their keys and values, by name.
        """
        cache = cls(keep_graph=True)
        cache._groups.update(groups)
        cache._module = weakref.ref(module)
        return cache

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy holds: the groups without what they share, and no module."""
        together = {name for names in self._joined for name in names}
        groups = {
            name: self._own(group) if name in together else group
            for name, group in self._groups.items()
        }
        return {
            "keep_graph": self.keep_graph,
            "_groups": groups,
            "_joined": {},
            "_module": None,
            "_domains": self._domains,
        }

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {group.keys.shape[2]}" for name, group in self._groups.items())
        return f"KVCache({sizes or 'empty'})"

    @property
    def nbytes(self) -> int:
        """Bytes that the stored tensors take."""
        total = 0
        for keys, values, is_real in self._groups.values():
            total += keys.nbytes + values.nbytes
            total += 0 if is_real is None else is_real.nbytes
        return total

    def clear(self) -> None:
        """Forget everything, so that any module may fill the cache."""
        self._groups.clear()
        self._joined.clear()
        self._module = None

    def agree_on_domains(self, names: tuple[str, ...]) -> None:
        """Check that domains are counted as by the call that began to fill the cache.

        Args:
            names: The domains that have weights of their own, in the order in which they are
                counted.

        Raises:
            CacheError: If they were counted in another order.
        """
        if not self._groups:
            self._domains = names
        elif self._domains not in (None, names):
            raise CacheError(
                f"kv_cache: was filled with the domains {_quoted(self._domains)}, in this order, "
                f"and this call counts {_quoted(names)}; name them in the order of the cache"
            )

    def store(self, module: nn.Module, name: str, group: KeyValues) -> None:
        """Keep copies of the keys and values of a group.

        Args:
            module: The attention that made them.
            name: Name of the group.
            group: Its keys, values and padding.

        Raises:
            CacheError: If another module filled the cache.
        """
        self._check_module(module)
        self._part(name)
        self._groups[name] = self._own(group)

    def read(self, module: nn.Module, name: str, queries: Tensor) -> KeyValues:
        """Return the keys and values of a group.

        Args:
            module: The attention that reads them.
            name: Name of the group.
            queries: ``(batch, heads, tokens, head_dim)``, what is to attend to them.

        Raises:
            CacheError: If the cache does not hold the group, holds it in another batch, number of
                heads, width, dtype or device than *queries*, or was filled by another module.
        """
        if name not in self._groups:
            raise CacheError(
                f"kv_cache: {name!r} is not in the cache, "
                f"which holds {', '.join(self) or 'nothing'}"
            )
        group = self._groups[name]
        _check_fit(name, group.keys, queries)
        self._check_module(module)
        return group

    def read_joined(self, module: nn.Module, names: tuple[str, ...], queries: Tensor) -> KeyValues:
        """Return the keys and values of groups, one behind the other.

        Groups that were read together lie together: later reads of the same ones copy nothing.

        Args:
            module: The attention that reads them.
            names: Names of the groups; at least one.
            queries: As in `read`.

        Raises:
            CacheError: As in `read`.
        """
        groups = [self.read(module, name, queries) for name in names]
        joined = self._joined.get(names)
        if joined is None:
            joined = join_key_values(groups)
            if len(groups) > 1 and self._may_move(names):
                self._joined[names] = joined
                self._groups.update(zip(names, _views_of(joined, groups), strict=True))
        return joined

    def _may_move(self, names: tuple[str, ...]) -> bool:
        """Return whether groups can become views of what they are joined to."""
        if self.keep_graph or len(set(names)) < len(names):
            return False
        if any(not others.isdisjoint(names) for others in map(set, self._joined)):
            return False
        # A tensor that was made under inference mode stays one of it; a view of another would not.
        inference = torch.is_inference_mode_enabled()
        return all(self._groups[name].keys.is_inference() == inference for name in names)

    def _part(self, name: str) -> None:
        """Give the groups that lie together with one that is replaced memory of their own."""
        joined_with_it = [names for names in self._joined if name in names]
        for names in joined_with_it:
            del self._joined[names]
            for other in names:
                if other != name:
                    self._groups[other] = self._own(self._groups[other])

    def _own(self, group: KeyValues) -> KeyValues:
        real = None if group.real is None else self._copied(group.real)
        return KeyValues(self._copied(group.keys), self._copied(group.values), real)

    def _copied(self, tensor: Tensor) -> Tensor:
        source = tensor if self.keep_graph else tensor.detach()
        return source.clone(memory_format=torch.contiguous_format)

    def _check_module(self, module: nn.Module) -> None:
        """Check that *module* is the one whose cache this is; the first that uses it is."""
        if self._module is None:
            self._module = weakref.ref(module)
        elif self._module() is not module:
            raise CacheError(
                "kv_cache: another module filled this cache; "
                "give each module a cache of its own, or clear() this one"
            )


def _views_of(joined: KeyValues, groups: Sequence[KeyValues]) -> list[KeyValues]:
    """Return *groups* as views of what they were joined to."""
    lengths = [group.keys.shape[2] for group in groups]
    keys = joined.keys.split_with_sizes(lengths, 2)
    values = joined.values.split_with_sizes(lengths, 2)
    masks: Sequence[Tensor | None] = [None] * len(groups)
    if joined.real is not None:
        masks = joined.real.split_with_sizes(lengths, 1)

    views = []
    for group, key, value, mask in zip(groups, keys, values, masks, strict=True):
        views.append(KeyValues(key, value, None if group.real is None else mask))
    return views


def _quoted(names: Sequence[str] | None) -> str:
    return ", ".join(map(repr, names or ()))


def _check_fit(name: str, keys: Tensor, queries: Tensor) -> None:
    cached, wanted = _facts_of(keys), _facts_of(queries)
    for fact, needs in wanted.items():
        if cached[fact] != needs:
            raise CacheError(
                f"kv_cache: {name!r} is cached with {fact} {cached[fact]}, "
                f"and the queries have {fact} {needs}"
            )


def _facts_of(heads: Tensor) -> dict[str, object]:
    """Return what queries and cached keys must have in common, by the words of the message."""
    batch, num_heads, _, width = heads.shape
    return {
        "batch": batch,
        "heads": num_heads,
        "head width": width,
        "dtype": heads.dtype,
        "device": heads.device,
    }


def _joined_masks(masks: Sequence[Tensor | None], keys: Sequence[Tensor]) -> Tensor | None:
    if all(mask is None for mask in masks):
        return None
    whole = []
    for mask, key in zip(masks, keys, strict=True):
        all_real = key.new_ones(key.shape[0], key.shape[2], dtype=torch.bool)
        whole.append(all_real if mask is None else mask)
    return torch.cat(whole, dim=1)
