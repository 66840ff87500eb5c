"""Keys and values that outlive a call."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from noether_core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


class KeyValues(NamedTuple):
    """What a group of tokens answers with."""

    keys: Tensor
    """``(batch, heads, tokens, head_dim)``, normalised and rotated."""

    values: Tensor
    """``(batch, heads, tokens, head_dim)``."""

    real: Tensor | None
    """``(batch, tokens)`` booleans, True for real tokens; None where all are."""


class KVCache:
    """Keys and values of groups of tokens: filled by one call of a module, read by its later ones.

    A call that gets a cache stores the groups that are read as keys in it, and takes from it those that are not in its
    input. A group given afresh replaces the stored one. Each module needs a cache of its own: a transformer of three
    blocks takes three.

    The cache owns contiguous copies, ``2 * batch * heads * tokens * head_dim`` numbers a group, and with a padding mask
    ``batch * tokens`` booleans more. What is stored under ``torch.inference_mode()`` cannot be read where gradients are
    computed, as torch says of any such tensor; ``torch.no_grad()`` has no such end.

    Args:
        keep_graph: Whether gradients of later calls flow back through what is stored. Without it the cache holds
            constants, and no autograd graph.
    """

    def __init__(self, *, keep_graph: bool = False) -> None:
        self.keep_graph = keep_graph
        self._groups: dict[str, KeyValues] = {}
        self._module: weakref.ref[nn.Module] | None = None

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {group.keys.shape[2]}" for name, group in self._groups.items())
        return f"KVCache({sizes or 'empty'})"

    @property
    def nbytes(self) -> int:
        """Bytes that the stored tensors take."""
        return sum(tensor.nbytes for group in self._groups.values() for tensor in group if tensor is not None)

    def clear(self) -> None:
        """Forget everything, so that any module may fill the cache."""
        self._groups.clear()
        self._module = None

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
        self._module = weakref.ref(module)
        real = None if group.real is None else self._copied(group.real)
        self._groups[name] = KeyValues(self._copied(group.keys), self._copied(group.values), real)

    def read(self, module: nn.Module, name: str, queries: Tensor) -> KeyValues:
        """Return the keys and values of a group.

        Args:
            module: The attention that reads them.
            name: Name of the group.
            queries: ``(batch, heads, tokens, head_dim)``, what is to read them.

        Raises:
            CacheError: If the cache does not hold the group, holds it in another batch, number of heads, width, dtype
                or device than *queries*, or was filled by another module.
        """
        if name not in self._groups:
            raise CacheError(f"kv_cache: {name!r} is not in the cache, which holds {', '.join(self) or 'nothing'}")
        group = self._groups[name]
        _check_fit(name, group.keys, queries)
        self._check_module(module)
        return group

    def _copied(self, tensor: Tensor) -> Tensor:
        source = tensor if self.keep_graph else tensor.detach()
        return source.clone(memory_format=torch.contiguous_format)

    def _check_module(self, module: nn.Module) -> None:
        if self._module is not None and self._module() is not module:
            raise CacheError(
                "kv_cache: another module filled this cache; give each module a cache of its own, or clear() this one"
            )


def _check_fit(name: str, keys: Tensor, queries: Tensor) -> None:
    cached = (keys.shape[0], keys.shape[1], keys.shape[3], keys.dtype, keys.device)
    wanted = (queries.shape[0], queries.shape[1], queries.shape[3], queries.dtype, queries.device)
    for fact, has, needs in zip(("batch", "heads", "head width", "dtype", "device"), cached, wanted, strict=True):
        if has != needs:
            raise CacheError(f"kv_cache: {name!r} is cached with {fact} {has}, and the queries have {fact} {needs}")
