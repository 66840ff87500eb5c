"""Whole graphs: `torch.compile` and `torch.export`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import RecompileError
from torch.export import Dim, ExportedProgram

from noether_core.testing import calls
from noether_core.testing.comparing import check_close
from noether_core.testing.failures import CheckFailed
from noether_core.testing.gradients import gradients_of
from noether_core.testing.graphs import Graphs, quiet_compiler
from noether_core.testing.subject import Subject

_IN_FULL = "aot_eager"
"""Backend that traces forward and backward pass, and leaves generating code, the slow part, out."""

_CAPTURE = "eager"
"""Backend that captures the graph and runs it as it is."""

_MOST_GRAPHS = 2
"""One for the first number of tokens, which the compiler takes for a constant, and one for all
others.
"""

_STEPS = (0, 1, 3, 5)
"""Numbers of tokens, as steps beyond the smallest."""

_FAR, _FARTHEST = 60, 300
"""Steps to a far larger one: hundreds of tokens, or some two thousand where time grows no faster
than they do.
"""

_MOST_TOKENS = 1 << 16

_REMEDY = "let no branch, loop, layout or attribute depend on how many tokens there are"


def check_compile(subject: Subject) -> None:
    """`torch.compile` takes a module whole, in two graphs for any number of tokens, and changes no
    result or gradient.

    In training with several numbers of tokens; in evaluation with these, none taken for a constant,
    in one graph, and with each argument that the record declares. A cache is no part of a graph. No
    call falls back to eager operations.
    """
    module = subject.module()
    growing = [subject.larger_call(steps) for steps in _steps(subject)]
    _, *others = subject.each_call(module)
    declared = [arguments for arguments in others if "kv_cache" not in arguments]
    _check_compiled(subject, module.train(), growing, _IN_FULL, most=_MOST_GRAPHS)
    _check_compiled(subject, module.eval(), growing, _CAPTURE, most=1, dynamic=True)
    _check_compiled(subject, module.eval(), declared, _CAPTURE, most=len(declared))
    if subject.honours("rope"):
        turning = subject.module(use_rope=True)
        _check_compiled(subject, turning, [subject.arguments(turning)], _CAPTURE, most=1)


def _steps(subject: Subject) -> tuple[int, ...]:
    exponent = subject.variant.time_exponent
    is_linear = exponent is not None and exponent <= 1
    return (*_STEPS, _FARTHEST if is_linear else _FAR)


def _check_compiled(
    subject: Subject,
    module: nn.Module,
    each: Sequence[calls.Arguments],
    backend: str,
    *,
    most: int,
    dynamic: bool | None = None,
) -> None:
    """Check that *most* graphs serve *each* of the calls, with the results and gradients of eager
    operations.
    """
    graphs = Graphs(backend, most=most)
    with quiet_compiler():
        compiled: Any = torch.compile(module, fullgraph=True, backend=graphs, dynamic=dynamic)
        for number, arguments in enumerate(each, start=1):
            got = _compiled_results(subject, compiled, graphs, arguments)
            if len(graphs.ran) != number:
                told = f"{subject.type}: a call of the compiled module runs outside of the graph of its compiler"
                raise CheckFailed(f"{told}; leave it to users how a module is compiled")
            for one, other in zip(got, _results(subject, module, arguments), strict=True):
                check_close(
                    one, other, f"{subject.type}: a compiled module computes something else"
                )


def _compiled_results(
    subject: Subject, compiled: nn.Module, graphs: Graphs, arguments: calls.Arguments
) -> tuple[Tensor, Tensor]:
    """Return the result of a call and its gradients; tell where the compiler fails, or makes a
    graph too many.
    """
    try:
        with graphs.limited():
            return _results(subject, compiled, arguments)
    except RecompileError as error:
        told = f"{subject.type}: torch.compile makes more than {graphs.most} graphs for many numbers of tokens"
        raise CheckFailed(f"{told}: {_gist(error)}; {_REMEDY}") from error
    except Exception as error:
        raise CheckFailed(
            f"{subject.type}: torch.compile with fullgraph fails: {_gist(error)}"
        ) from error


def _results(
    subject: Subject, module: nn.Module, arguments: calls.Arguments
) -> tuple[Tensor, Tensor]:
    """Return the result of a call, and the gradients that parameters get, one behind the other."""
    y = subject.call(module, arguments)
    gradients = [
        gradient.flatten() for gradient in gradients_of(module, y).values() if gradient is not None
    ]
    return y, torch.cat([y.new_zeros(1), *gradients])


def check_export(subject: Subject) -> None:
    """`torch.export` takes a module with any number of tokens, and what a file keeps of it computes
    the same.

    In evaluation, without and with a `key_padding_mask` where the record declares it.
    """
    module = subject.module()
    for masked in {False, subject.honours("key_padding_mask")}:
        first, *others = (_call(subject, steps, masked=masked) for steps in _steps(subject))
        with quiet_compiler():
            loaded = _reloaded(subject, _exported(subject, module, first))
        for arguments in others:
            tokens = arguments[calls.READ[subject.variant.interface]].shape[1]
            told = f"{subject.type}: an exported module computes something else for {tokens} tokens"
            check_close(loaded(**arguments), subject.call(module, arguments), told)


def _call(subject: Subject, steps: int, *, masked: bool) -> dict[str, Any]:
    arguments = subject.larger_call(steps)
    return (
        {**arguments, "key_padding_mask": subject.optional("key_padding_mask", arguments)}
        if masked
        else arguments
    )


def _exported(subject: Subject, module: nn.Module, arguments: calls.Arguments) -> ExportedProgram:
    try:
        return torch.export.export(
            module, (), arguments, dynamic_shapes=dict(_axes(arguments)), strict=False
        )
    except Exception as error:
        raise CheckFailed(
            f"{subject.type}: torch.export fails: {_gist(error)}; {_REMEDY}"
        ) from error


def _reloaded(subject: Subject, program: ExportedProgram) -> nn.Module:
    """Return what a file keeps of a program, as a module."""
    file = io.BytesIO()
    try:
        torch.export.save(program, file)
        file.seek(0)
        return torch.export.load(file).module()
    except Exception as error:
        told = f"{subject.type}: what torch.export makes of the module cannot be saved to a file and loaded"
        raise CheckFailed(f"{told}: {_gist(error)}") from error


def _axes(arguments: calls.Arguments) -> Mapping[str, Any]:
    """Return which axes of each argument may have any size; groups of tokens may as well."""
    if "token_specs" in arguments:
        axes = calls.on_tokens(lambda *_: {1: Dim.DYNAMIC}, arguments)
        return {**axes, "token_specs": [[Dim.DYNAMIC] for _ in arguments["token_specs"]]}
    tokens, queries = (Dim(name, min=2, max=_MOST_TOKENS) for name in ("tokens", "queries"))
    return calls.on_tokens(lambda _, is_asking: {1: queries if is_asking else tokens}, arguments)


def _gist(error: Exception) -> str:
    """Return what a compiler says: its first line, what it gives as context, and the line of the
    variant's code.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines[1:] if line.startswith(("Developer debug context", "File "))][
        -2:
    ]
    telling += [line for line in lines[1:] if line.startswith(("- Not all values", "- 0/"))][:1]
    return f"{type(error).__name__}: {'; '.join([*lines[:1], *telling])}"
