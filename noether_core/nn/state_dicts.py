"""How weights that were stored in an older layout load."""

from __future__ import annotations

import contextlib
import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import Tensor, nn

_takes_some_biases: ContextVar[bool] = ContextVar("takes_some_biases", default=False)


def accept_fused_(module: nn.Module, *, fused: str, parts: tuple[str, ...]) -> None:
    """Let *module* load weights in which several projections were stacked into one.

    After ``accept_fused_(self, fused="qkv", parts=("q", "k", "v"))`` an entry ``qkv.weight`` (or
    ``qkv.bias``, or ``qkv.project.weight``) is read as the rows of ``q.weight``, ``k.weight`` and
    ``v.weight``, one below the other. The module saves the separate names, and the mapping it loads
    from is left as it is. An entry that does not have the rows of the parts, or that stands beside
    one of them, is reported among the other errors of ``load_state_dict``.

    Args:
        module: The module; it has the children *parts*.
        fused: Name of the stacked projection.
        parts: Names of its parts, in the order of their rows.
    """
    split = functools.partial(_split_entries, fused=fused, parts=parts)
    module.register_load_state_dict_pre_hook(split)  # type: ignore[no-untyped-call]


def expect_biases_(module: nn.Module, *, bias: bool) -> None:
    """Let *module* refuse weights that have biases in some of its layers alone, and explain them.

    The module has them in all layers or in none. The explanation stands among the other errors of
    ``load_state_dict``, strict or not: with some biases ignored, numbers would silently be others.
    Call it behind `accept_fused_`.

    Args:
        module: The module.
        bias: Whether its layers have biases.
    """
    explain = functools.partial(_explain_biases, bias=bias)
    module.register_load_state_dict_pre_hook(explain)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def taking_some_biases() -> Iterator[None]:
    """Let modules load weights that have biases in some layers alone; whoever does adds zeros."""
    token = _takes_some_biases.set(True)
    try:
        yield
    finally:
        _takes_some_biases.reset(token)


def _explain_biases(  # noqa: PLR0917  torch passes everything by position
    module: nn.Module,
    state_dict: Mapping[str, Any],
    prefix: str,
    local_metadata: Mapping[str, Any],  # noqa: ARG001  part of what torch passes
    strict: bool,  # noqa: ARG001  likewise; it is always True here
    missing_keys: list[str],  # noqa: ARG001  likewise
    unexpected_keys: list[str],  # noqa: ARG001  likewise
    error_msgs: list[str],
    *,
    bias: bool,
) -> None:
    own = [name for name, _ in module.named_parameters() if name.endswith(".weight")]
    weights = {f"{prefix}{name}" for name in own}
    if _takes_some_biases.get() or not weights <= state_dict.keys():
        return  # some weights alone may be meant to be so
    biases = [f"{prefix}{name.removesuffix('weight')}bias" for name in own]
    present = [name for name in biases if name in state_dict]
    if present and (not bias or len(present) < len(biases)):
        way_out = "" if bias else "build with bias: true, and "
        error_msgs.append(
            f'"{present[0]}": weights that the reference framework trained with bias: false have '
            f"biases in some layers; {way_out}load what convert_state_dict of "
            'noether_core.migration makes of them with origin="reference": zeros where there are '
            "none"
        )


def _split_entries(  # noqa: PLR0917  torch passes everything by position
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: Mapping[str, Any],
    strict: bool,  # noqa: ARG001  part of what torch passes
    missing_keys: list[str],  # noqa: ARG001  likewise
    unexpected_keys: list[str],  # noqa: ARG001  likewise
    error_msgs: list[str],
    *,
    fused: str,
    parts: tuple[str, ...],
) -> None:
    own = dict(module.named_parameters())
    start = f"{prefix}{fused}."
    for key in [key for key in state_dict if key.startswith(start)]:
        leaves = [f"{part}.{key.removeprefix(start)}" for part in parts]
        if not own.keys() >= set(leaves):
            continue  # no weight of this module: torch reports it as unexpected
        stack = state_dict.pop(key)
        shapes = [own[leaf].shape for leaf in leaves]
        targets = [prefix + leaf for leaf in leaves]
        present = [target for target in targets if target in state_dict]
        problem = _misfit(key, stack, shapes, present)
        if problem is not None:
            error_msgs.append(problem)
            continue
        for target, rows in zip(targets, stack.split([shape[0] for shape in shapes]), strict=True):
            # Parameters that are assigned, not copied, would otherwise share the memory of the
            # stack.
            state_dict[target] = (
                rows.clone() if local_metadata.get("assign_to_params_buffers") else rows
            )


def _misfit(key: str, stack: Tensor, shapes: list[torch.Size], present: list[str]) -> str | None:
    """Return why *stack* cannot be split into *shapes*, in the words of ``load_state_dict``."""
    if present:
        return f'"{key}" stands beside "{present[0]}": keep either the stacked entry or its parts'
    wanted = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    if stack.shape == wanted:
        return None
    rows = ", ".join(str(shape[0]) for shape in shapes)
    return f'"{key}": got shape {tuple(stack.shape)}, wanted {wanted}, whose rows split into {rows}'
