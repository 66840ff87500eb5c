"""What torch does in a call: operations, work, memory at once, and compiled graphs that run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from noether_core.nn.consumption import HeldBytes, operations_of


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
    """Counts multiplications and additions, and the bytes alive at once; no clock decides.

    Products of matrices and attention count as `torch.utils.flop_counter` counts them, everything
    else as the numbers that it reads and writes. Views cost nothing. Memory is that of what the
    operations return, for as long as somebody holds it, an autograd graph among them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.work = 0
        self._held = HeldBytes()

    @property
    def peak(self) -> int:
        """The most bytes alive at once."""
        return self._held.most

    def __torch_dispatch__(
        self, func: Any, _: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count what it takes."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        new = self._held.take((args, kwargs), result)
        is_mutable = func._schema.is_mutable  # noqa: SLF001  nothing public says so
        if new or is_mutable:
            self.work += operations_of(func, args, kwargs, result)
            self.work += sum(tensor.numel() for tensor in _tensors((args, kwargs, result)))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


_Backend = Callable[..., Callable[..., Any]]


def _backend(name: str) -> _Backend:
    found: _Backend = torch._dynamo.lookup_backend(name)  # noqa: SLF001  nothing public
    return found


class Graphs:
    """A backend of `torch.compile` that leaves the work to another, and knows which graphs run.

    Args:
        backend: Name of the backend that does the work.
        most: How many graphs there may be.
        first: Another for the first graph; the same where it is empty.
    """

    def __init__(self, backend: str, *, most: int, first: str = "") -> None:
        self.most = most
        self._first, self._later = (_backend(name) for name in (first or backend, backend))
        self._captured = 0
        self.ran: list[int] = []
        """The numbers of the graphs that ran, in that order.

        A graph that the compiler throws away never runs.
        """

    @property
    def count(self) -> int:
        """How many different graphs ran."""
        return len(set(self.ran))

    def __call__(self, graph: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile a graph."""
        self._captured += 1
        compile_graph = self._later if self._captured > 1 else self._first
        number, run = self._captured, compile_graph(graph, inputs)

        def recorded(*arguments: Any) -> Any:
            self.ran.append(number)
            return run(*arguments)

        return recorded

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Let the compiler raise a RecompileError, saying what changed, for a graph too many."""
        settings = torch._dynamo.config  # noqa: SLF001  nothing public
        with settings.patch(error_on_recompile=self.count >= self.most):
            yield


@contextmanager
def quiet_compiler() -> Iterator[None]:
    """Start with nothing compiled and end so, without warnings and logs of the compiler.

    It speaks of itself in them, and a test that takes warnings for errors would fail.
    """
    level, tracer = logging.root.manager.disable, logging.getLogger("torch.__trace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        tracer.disabled = True  # it logs whatever is disabled elsewhere
        torch.compiler.reset()
        try:
            yield
        finally:
            torch.compiler.reset()
            tracer.disabled = False
            logging.disable(level)
