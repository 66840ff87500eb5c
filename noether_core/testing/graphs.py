"""What `torch.compile` makes of a module: which graphs, and which of them run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import GraphModule


class Graphs:
    """A backend of `torch.compile` that leaves the work to another, and writes down which of its
    graphs run.

    Args:
        backend: Name of the backend that does the work.
        most: How many graphs there may be.
    """

    def __init__(self, backend: str, *, most: int) -> None:
        self.most = most
        self._compile: Callable[..., Callable[..., Any]] = torch._dynamo.lookup_backend(backend)  # noqa: SLF001
        self._captured = 0
        self.ran: list[int] = []
        """The numbers of the graphs that ran, in that order; a graph that the compiler throws away
        never runs.
        """

    @property
    def count(self) -> int:
        """How many different graphs ran."""
        return len(set(self.ran))

    def __call__(self, graph: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile a graph."""
        self._captured += 1
        number, run = self._captured, self._compile(graph, inputs)

        def recorded(*arguments: Any) -> Any:
            self.ran.append(number)
            return run(*arguments)

        return recorded

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Let the compiler raise a RecompileError, which says what changed, where it would make a
        graph too many.
        """
        with torch._dynamo.config.patch(error_on_recompile=self.count >= self.most):  # noqa: SLF001  nothing public
            yield


@contextmanager
def quiet_compiler() -> Iterator[None]:
    """Start with nothing compiled and end so; leave out what the compiler warns of and logs about
    itself.
    """
    level, tracer = logging.root.manager.disable, logging.getLogger("torch.__trace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        tracer.disabled = True  # it logs whatever is disabled
        torch.compiler.reset()
        try:
            yield
        finally:
            torch.compiler.reset()
            tracer.disabled = False
            logging.disable(level)
