"""What a call takes: its operations, and the bytes that it holds at once; no clock decides."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count


def operations_of(
    function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> int:
    """Return how many multiplications and additions an operation of torch takes.

    Products of matrices and attention count, as `torch.utils.flop_counter` counts them, and what
    operators of plugins register there; everything else is 0.
    """
    packet = function.overloadpacket
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    if "scaled_dot_product" not in str(packet):
        return 0
    # Torch has no formula for some of the kernels of attention, that of the CPU among them.
    if "backward" in str(packet):
        shapes = [tensor.shape for tensor in args[:4]]
        return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]
    shapes = [tensor.shape for tensor in args[:3]]
    return int(sdpa_flop_count(*shapes))  # type: ignore[no-untyped-call]


class HeldBytes:
    """The bytes of tensors that were made while somebody looked, and of those the most at once."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._sizes: dict[int, int] = {}

    def take(self, given: Any, made: Any) -> list[Tensor]:
        """Count what an operation made until it is let go; return what it made.

        Args:
            given: What the operation was given. Views of it take nothing.
            made: What it returned.
        """
        known = {storage_key(leaf) for leaf in tree_leaves(given) if isinstance(leaf, Tensor)}
        new: list[Tensor] = []
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                key = storage_key(leaf)
                if key not in known and key not in self._sizes:
                    new.append(leaf)
        for tensor in new:
            self._keep(tensor.untyped_storage())
        return new

    def _keep(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # noqa: SLF001  what tells storages apart, not the objects around them
        if key in self._sizes:  # an operation may return one tensor twice
            return
        self._sizes[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._let_go, key)

    def _let_go(self, key: int) -> None:
        self._now -= self._sizes.pop(key, 0)


def storage_key(tensor: Tensor) -> int:
    """Return what tells the memory of a tensor from that of others."""
    key: int = tensor.untyped_storage()._cdata  # noqa: SLF001  empty storages share their address
    return key


class TooManyCallsError(Exception):
    """A call goes on and on."""


class Consumption(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts what is done in a ``with`` block, operation by operation.

    What an operation takes and gives back within itself does not count as held.

    Args:
        most_calls: How many operations of torch there may be; None for any number.

    Raises:
        TooManyCallsError: If there are more.
    """

    def __init__(self, *, most_calls: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.operations = 0
        """Multiplications and additions."""

        self.calls = 0
        """Operations of torch that were called."""

        self._most_calls = most_calls
        self._held = HeldBytes()

    @property
    def bytes(self) -> int:
        """The most bytes of tensors made here that were held at once."""
        return self._held.most

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and count it."""
        kwargs = kwargs or {}
        self.calls += 1
        made = func(*args, **kwargs)
        new = self._held.take((args, kwargs), made)
        # Not at a view: autograd makes some where no error may pass, and the process would abort.
        if new and self._most_calls is not None and self.calls > self._most_calls:
            raise TooManyCallsError
        self.operations += operations_of(func, args, kwargs, made)
        return made
