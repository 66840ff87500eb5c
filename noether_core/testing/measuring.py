"""What torch does in a call: which operations, how much work, and how much memory at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Writes down every operation with the shapes of its results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.seen: list[tuple[str, tuple[tuple[int, ...], ...]]] = []

    def __torch_dispatch__(
        self, func: Any, _: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and write it down."""
        result = func(*args, **(kwargs or {}))
        self.seen.append((str(func), tuple(tuple(tensor.shape) for tensor in _tensors(result))))
        return result


class Consumption(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts multiplications and additions, and the bytes that are alive at once; no clock is
    asked.

    Products of matrices and attention count as `torch.utils.flop_counter` counts them, everything
    else as the numbers that it reads and writes. Views cost nothing. Memory is that of what the
    operations return, for as long as somebody holds it, an autograd graph among them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.work = 0
        self.peak = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, _: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count what it takes."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given, returned = list(_tensors((args, kwargs))), list(_tensors(result))
        is_new = [self._is_new(tensor, given) for tensor in returned]
        for tensor, new in zip(returned, is_new, strict=True):
            if new:
                self._keep(tensor)
        if any(is_new) or func._schema.is_mutable:  # noqa: SLF001  nothing public tells it
            self.work += _flops(func, args, kwargs, result) + sum(
                tensor.numel() for tensor in (*given, *returned)
            )
        return result

    def _is_new(self, tensor: Tensor, given: list[Tensor]) -> bool:
        key = _storage_key(tensor)
        return key not in self._alive and all(_storage_key(other) != key for other in given)

    def _keep(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), _storage_key(tensor)
        if key not in self._alive:
            self._alive[key] = storage.nbytes()
            weakref.finalize(storage, self._alive.pop, key, None)
        self.peak = max(self.peak, sum(self._alive.values()))


def _storage_key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  empty storages share their address


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _flops(func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> int:
    packet = func.overloadpacket
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    if "scaled_dot_product" in str(packet) and "backward" not in str(
        packet
    ):  # kernels that torch has no formula for
        queries, keys, values = args[:3]
        pairs = queries.numel() // max(1, queries.shape[-1]) * keys.shape[-2]
        return int(2 * pairs * (keys.shape[-1] + values.shape[-1]))
    return 0
