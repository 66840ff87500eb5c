"""Whole graphs: `torch.compile` and `torch.export`."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from noether_core.testing import calls
from noether_core.testing.comparing import check_close
from noether_core.testing.failures import CheckFailed
from noether_core.testing.gradients import gradients_of
from noether_core.testing.subject import Subject

_IN_FULL = "aot_eager"
"""Backend that traces forward and backward pass, and leaves generating code, the slow part, out."""

_CAPTURE = "eager"
"""Backend that captures the graph and runs it as it is."""

_MOST_TOKENS = 1 << 16


def check_compile(subject: Subject) -> None:
    """`torch.compile` with fullgraph takes the module whole, and results and gradients stay what they are.

    In training with two numbers of tokens, and in evaluation with two and with each argument that the record declares;
    a cache is no part of a graph.
    """
    module, sizes = subject.module(), subject.sizes
    few, many = (subject.arguments(tokens=tokens) for tokens in (sizes.tokens, sizes.more_tokens))
    _, *others = subject.each_call(module)
    declared = [arguments for arguments in others if "kv_cache" not in arguments] or [few]
    _check_compiled(subject, module.train(), _IN_FULL, [few, many])
    _check_compiled(subject, module.eval(), _CAPTURE, [many, *declared])
    if subject.honours("rope"):
        turning = subject.module(use_rope=True)
        _check_compiled(subject, turning, _CAPTURE, [subject.arguments(turning)])


def _check_compiled(subject: Subject, module: nn.Module, backend: str, each: list[dict[str, Any]]) -> None:
    with _quiet_compiler():
        compiled = torch.compile(module, fullgraph=True, backend=backend)
        for arguments in each:
            try:
                got = _results(subject, module, compiled, arguments)
            except Exception as error:
                told = f"{subject.type}: torch.compile with fullgraph fails: {_gist(error)}"
                raise CheckFailed(told) from error
            for one, other in zip(got, _results(subject, module, module, arguments), strict=True):
                check_close(one, other, f"{subject.type}: a compiled module computes something else")


def _results(subject: Subject, module: nn.Module, called: Any, arguments: calls.Arguments) -> tuple[Tensor, Tensor]:
    """Return the result of a call, and the gradients that parameters get, one behind the other."""
    y = subject.call(called, arguments)
    gradients = [gradient.flatten() for gradient in gradients_of(module, y).values() if gradient is not None]
    return y, torch.cat([y.new_zeros(1), *gradients])


def check_export(subject: Subject) -> str:
    """`torch.export` takes the module with any number of tokens; where `token_specs` fix it, of samples."""
    module, sizes = subject.module(), subject.sizes
    arguments = subject.arguments()
    groups = {"token_specs": arguments.pop("token_specs")} if subject.variant.interface == "tokens" else {}
    with _quiet_compiler():
        try:
            program = torch.export.export(
                _Exported(module, groups, tuple(arguments)),
                tuple(arguments.values()),
                dynamic_shapes={"tensors": tuple(_axes(arguments, is_grouped=bool(groups)))},
                strict=False,
            )
        except Exception as error:
            told = f"{subject.type}: torch.export fails: {_gist(error, tuple(arguments))}"
            raise CheckFailed(f"{told}; let no branch and no layout depend on how many tokens there are") from error
    tokens, batch = (sizes.tokens, sizes.batch + 1) if groups else (sizes.more_tokens, sizes.batch)
    other = subject.arguments(tokens=tokens, batch=batch)
    given = tuple(value for name, value in other.items() if name not in groups)
    told = f"{subject.type}: an exported module computes something else for {tokens} tokens in {batch} samples"
    check_close(program.module()(*given), subject.call(module, other), told)
    return "any number of samples" if groups else "any number of tokens"


class _Exported(nn.Module):
    """A module whose tensors are given by position, and its groups of tokens beforehand."""

    def __init__(self, module: nn.Module, groups: dict[str, Any], names: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.groups = groups
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        """Call the module."""
        y: Tensor = self.module(**dict(zip(self.names, tensors, strict=True)), **self.groups)
        return y


def _axes(arguments: calls.Arguments, *, is_grouped: bool) -> Iterator[Any]:
    """Yield which axes of each argument may have any size."""
    samples = torch.export.Dim("samples", min=2, max=_MOST_TOKENS)
    tokens = torch.export.Dim("tokens", min=2, max=_MOST_TOKENS)
    queries = torch.export.Dim("queries", min=2, max=_MOST_TOKENS)
    axes = calls.on_tokens(
        lambda _, is_asking: {0: samples} if is_grouped else {1: queries if is_asking else tokens}, arguments
    )
    yield from axes.values()


def _gist(error: Exception, names: Sequence[str] = ()) -> str:
    """Return what a compiler says: its first line, what it gives as context, and the line of the variant's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines[1:] if line.startswith(("Developer debug context", "File "))][-2:]
    telling += [line for line in lines[1:] if line.startswith("- Not all values")][:1]
    gist = "; ".join([*lines[:1], *telling])
    for number, name in enumerate(names):
        gist = re.sub(rf"L\['tensors'\]\[{number}\]\.size\(\)\[(\d+)\]", rf"{name}.shape[\1]", gist)
    return f"{type(error).__name__}: {gist}"


@contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Start with nothing compiled and end so; leave out what the compiler warns of and logs about itself."""
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
