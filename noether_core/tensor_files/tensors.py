"""Tensors as a file holds them: the format's names for dtypes, bytes, and digests of bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import UnsavableModuleError
from noether_core.tensor_files.header import TensorInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_FORMAT_NAMES: Final[Mapping[str, str]] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
"""The format's names for dtypes, by torch's."""


def dtype_name(dtype: torch.dtype) -> str:
    """Return torch's name for a dtype, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def dtype_named(name: str) -> torch.dtype | None:
    """Return the dtype of torch's name; None where it has none."""
    import torch

    found = getattr(torch, name, None)
    return found if isinstance(found, torch.dtype) else None


def infos_of(state: Mapping[str, Any]) -> dict[str, TensorInfo]:
    """Return what a header says of the tensors of a state dict, in the order of a file.

    Large elements stand first, so that each lies where machines like it, then names decide.

    Raises:
        UnsavableModuleError: If a value is no tensor with plain memory and a dtype that files hold;
            the message names all of them.
    """
    reasons = {name: _refusal(value) for name, value in state.items()}
    refused = [f"'{name}' {reason}" for name, reason in reasons.items() if reason is not None]
    if refused:
        raise UnsavableModuleError(f"the module cannot be saved: {'; '.join(refused)}")

    infos: dict[str, TensorInfo] = {}
    for name in sorted(state, key=lambda name: (-state[name].element_size(), name)):
        value = state[name]
        dtype = _FORMAT_NAMES[dtype_name(value.dtype)]
        infos[name] = TensorInfo(dtype, tuple(value.shape))
    return infos


def _refusal(value: object) -> str | None:  # noqa: PLR0911  one return per reason
    """Return why a value of a state dict cannot be saved."""
    import torch

    if not isinstance(value, torch.Tensor):
        return f"is of type {type(value).__name__}, and only tensors are saved"
    if torch.nn.parameter.is_lazy(value):
        return "has no shape yet; call the module once before"
    if type(value) not in {torch.Tensor, torch.nn.Parameter}:
        return f"is of type {type(value).__name__}, and only plain tensors are saved"
    if value.layout != torch.strided:
        return f"has the layout {value.layout}; make it dense before"
    if value.is_meta:
        return "is on the device 'meta' and has no values"
    if dtype_name(value.dtype) not in _FORMAT_NAMES:
        return f"has the dtype {dtype_name(value.dtype)}, which safetensors files do not hold"
    return None


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, row by row.

    Those of a tensor that lies so on the CPU are its own and no copy.
    """
    # Conjugates and negatives are marks on a tensor; a file has to hold their values.
    values = tensor.detach().to("cpu").resolve_conj().resolve_neg()
    return bits_of(values).numpy().data


def bits_of(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor, row by row, as a tensor; equal NaNs have equal ones."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)


def digest_of(view: memoryview) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(view).hexdigest()
