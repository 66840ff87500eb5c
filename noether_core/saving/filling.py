"""Saved tensors in a module that has just been made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from noether_core.saving.tensors import bits_of, dtype_name, dtype_named

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def fill(module: nn.Module, state: Mapping[str, Tensor], buffers: Mapping[str, str]) -> list[str]:
    """Give the tensors of a module saved values and dtypes.

    Args:
        module: The module; it is not to be used if anything does not fit.
        state: Its state dict.
        buffers: Dtypes, by torch's names, of buffers that a state dict leaves out.

    Returns:
        What does not fit, each with the name of its tensor.
    """
    own = module.state_dict(keep_vars=True)
    try:
        _take_dtypes(own, {name: value.dtype for name, value in state.items()})
        _take_dtypes(
            dict(module.named_buffers()),
            {name: dtype_named(dtype) for name, dtype in buffers.items()},
        )
        module.load_state_dict(state)
    except RuntimeError as error:
        return list(_misfits(own, state)) or [str(error)]
    return list(_torn_ties(own, state))


def _take_dtypes(tensors: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype | None]) -> None:
    """Change tensors in place, so that one that a module uses twice stays one."""
    for name, dtype in dtypes.items():
        if name in tensors and dtype is not None:
            tensors[name].data = tensors[name].data.to(dtype)


def _misfits(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted(own.keys() | saved.keys()):
        if name not in saved:
            yield f"'{name}' is not in the file"
        elif name not in own:
            yield f"'{name}' is not in the module"
        elif (there := _kind(saved[name])) != (here := _kind(own[name])):
            yield f"'{name}' has {there} in the file, {here} in the module"


def _kind(tensor: Tensor) -> str:
    """Return in words what two tensors must share for one to take the values of the other."""
    number = "" if tensor.is_floating_point() else f" and the dtype {dtype_name(tensor.dtype)}"
    return f"the shape {tuple(tensor.shape)}{number}"


def _torn_ties(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield names that are one tensor in the module and have different values in the file."""
    first: dict[int, str] = {}
    for name in sorted(own.keys() & saved.keys()):
        other = first.setdefault(id(own[name]), name)
        if not bits_of(saved[name]).equal(bits_of(saved[other])):
            yield f"'{other}' and '{name}' differ in the file, and are one tensor in the module"
