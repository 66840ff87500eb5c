"""Whole graphs: `torch.compile` and `torch.export`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed, RecompileError, TorchDynamoException
from torch.export import Dim, ExportedProgram

from noether_core.testing import calls
from noether_core.testing.comparing import check_close
from noether_core.testing.contract import CheckFailed, check
from noether_core.testing.gradients import gradients_of
from noether_core.testing.measuring import Graphs, quiet_compiler
from noether_core.testing.subject import Subject

_IN_FULL = ("aot_eager", "aot_eager_decomp_partition")
"""Backends that trace forward and backward pass, and leave generating code, the slow part, out.

The second decides where the first fails: without decompositions it runs views on tensors whose
strides are not those that it foresaw, such as a view of the transposed result of `elu`.
"""

_CAPTURE = "eager"
"""Backend that captures the graph and runs it as it is."""

_MOST_GRAPHS = 2
"""One for the first number of tokens, which compilers take for a constant, and one for others."""

_STEPS = (0, 1, 3, 5)
"""Numbers of tokens, as steps beyond the smallest."""

_FAR, _FARTHEST = 60, 300
"""Steps to a far larger one.

Hundreds of tokens, or some two thousand where the record promises time that grows no faster.
"""

_MOST_TOKENS = 1 << 16

_REMEDY = "let no branch, loop, layout or attribute depend on how many tokens there are"


@check(needs="gradients")
def check_compile(subject: Subject) -> str | None:
    """`torch.compile` makes two graphs for any number of tokens, and changes no number.

    In training with several numbers of tokens; in evaluation with these, none taken for a constant,
    in one graph, and with each argument that the record promises. A cache is no part of a graph. No
    call falls back to eager operations.
    """
    module = subject.module()
    growing = [subject.larger_call(steps) for steps in _steps(subject)]
    fault = _check_in_full(subject, module.train(), growing)
    _check_compiled(subject, module.eval(), growing, _CAPTURE, most=1, dynamic=True)

    rotates = subject.honours("rope")
    if rotates:
        module = subject.module(use_rope=True)
    plain, *others = subject.each_call(module)
    promised = [arguments for arguments in others if "kv_cache" not in arguments]
    if rotates and not promised:
        promised = [plain]
    _check_compiled(subject, module.eval(), promised, _CAPTURE, most=len(promised))
    return fault


def _check_in_full(
    subject: Subject, module: nn.Module, growing: Sequence[calls.Arguments]
) -> str | None:
    """Check forward and backward pass by one backend or, where that fails, by the other.

    Returns:
        What is wrong with the first backend, where the second finds nothing wrong.

    Raises:
        CheckFailed: If both find something.
    """
    found: list[str] = []
    for backend in _IN_FULL:
        try:
            _check_compiled(subject, module, growing, backend, most=_MOST_GRAPHS)
        except CheckFailed as failure:
            if _is_of_the_tracer(failure.__cause__):
                raise
            found.append(str(failure).removeprefix(f"{subject.type}: "))
        else:
            return f"{backend} is right where {_IN_FULL[0]} is not: {found[0]}" if found else None
    first, second = found
    if first == second:
        raise subject.failure(first)
    raise subject.failure(
        f"with the backend {_IN_FULL[0]} {first}\nwith the backend {_IN_FULL[1]} {second}"
    )


def _is_of_the_tracer(cause: BaseException | None) -> bool:
    """Return whether what failed comes before any backend, and is the same for all."""
    is_of_backend = isinstance(cause, BackendCompilerFailed)
    return isinstance(cause, TorchDynamoException) and not is_of_backend


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
    """Check that *most* graphs serve *each* of the calls, with the numbers of eager operations."""
    graphs = Graphs(backend, most=most, first=_CAPTURE)
    with quiet_compiler():
        compiled: Any = torch.compile(module, fullgraph=True, backend=graphs, dynamic=dynamic)
        for number, arguments in enumerate(each, start=1):
            got = _compiled_results(subject, compiled, graphs, arguments)
            if len(graphs.ran) != number:
                raise subject.failure(
                    "a call of the compiled module runs outside of the graph of its compiler; "
                    "leave it to users how a module is compiled"
                )
            problem = f"{subject.type}: a compiled module computes something else"
            for one, other in zip(got, _results(subject, module, arguments), strict=True):
                check_close(one, other, problem)


def _compiled_results(
    subject: Subject, compiled: nn.Module, graphs: Graphs, arguments: calls.Arguments
) -> tuple[Tensor, Tensor]:
    """Return the result of a call and its gradients.

    Raises:
        CheckFailed: If the compiler fails, or makes a graph too many.
    """
    try:
        with graphs.limited():
            return _results(subject, compiled, arguments)
    except RecompileError as error:
        problem = f"torch.compile makes more than {graphs.most} graphs for many numbers of tokens"
        raise subject.failure(f"{problem}: {_gist(error)}; {_REMEDY}") from error
    except Exception as error:
        problem = "torch.compile with fullgraph fails"
        raise subject.failure(f"{problem}: {_gist(error)}") from error


def _results(
    subject: Subject, module: nn.Module, arguments: calls.Arguments
) -> tuple[Tensor, Tensor]:
    """Return the result of a call, and the gradients of the parameters, one behind the other."""
    y = subject.call(module, arguments)
    found = gradients_of(module, y).values()
    gradients = [gradient.flatten() for gradient in found if gradient is not None]
    return y, torch.cat([y.new_zeros(1), *gradients])  # there may be no parameters


@check()
def check_export(subject: Subject) -> None:
    """`torch.export` takes any number of tokens, and what a file keeps of it computes the same.

    In evaluation, without and with a `key_padding_mask` where the record promises it.
    """
    module = subject.module()
    for is_masked in {False, subject.honours("key_padding_mask")}:
        first, *others = (_call(subject, steps, is_masked=is_masked) for steps in _steps(subject))
        with quiet_compiler():
            loaded = _reloaded(subject, _exported(subject, module, first))
        for arguments in others:
            tokens = arguments[subject.signature.keys].shape[1]
            problem = f"an exported module computes something else for {tokens} tokens"
            wanted = subject.call(module, arguments)
            check_close(loaded(**arguments), wanted, f"{subject.type}: {problem}")


def _call(subject: Subject, steps: int, *, is_masked: bool) -> dict[str, Any]:
    arguments = subject.larger_call(steps)
    if is_masked:
        arguments["key_padding_mask"] = subject.optional("key_padding_mask", arguments)
    return arguments


def _exported(subject: Subject, module: nn.Module, arguments: calls.Arguments) -> ExportedProgram:
    axes = dict(_open_axes(arguments))
    try:
        return torch.export.export(module, (), dict(arguments), dynamic_shapes=axes, strict=False)
    except Exception as error:
        raise subject.failure(f"torch.export fails: {_gist(error)}; {_REMEDY}") from error


def _reloaded(subject: Subject, program: ExportedProgram) -> nn.Module:
    """Return what a file keeps of a program, as a module."""
    file = io.BytesIO()
    try:
        torch.export.save(program, file)
        file.seek(0)
        return torch.export.load(file).module()
    except Exception as error:
        problem = "what torch.export makes of the module cannot be saved to a file and loaded"
        raise subject.failure(f"{problem}: {_gist(error)}") from error


def _open_axes(arguments: calls.Arguments) -> Mapping[str, Any]:
    """Return which axes of each argument may have any size; groups of tokens may as well."""
    if "token_specs" in arguments:
        axes = calls.on_tokens(lambda *_: {1: Dim.DYNAMIC}, arguments)
        return {**axes, "token_specs": [[Dim.DYNAMIC] for _ in arguments["token_specs"]]}
    tokens, queries = (Dim(name, min=2, max=_MOST_TOKENS) for name in ("tokens", "queries"))
    return calls.on_tokens(
        lambda _, is_of_queries: {1: queries if is_of_queries else tokens}, arguments
    )


def _gist(error: Exception) -> str:
    """Return what a compiler says: its first line, its context, and the line of the variant."""
    first, *others = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    context = [line for line in others if line.startswith(("Developer debug context", "File "))]
    reasons = [line for line in others if line.startswith(("- Not all values", "- 0/"))]
    # The last frames are those of the variant; of many guards that failed one is enough.
    lines = [first, *context[-2:], *reasons[:1]]
    return f"{type(error).__name__}: {'; '.join(lines)}"
