"""From tensors to the bytes of a file and back; the only part of saving that computes with torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import UnsavableModuleError
from noether_core.saving.header import TensorInfo

if TYPE_CHECKING:
    from io import BufferedReader

    import torch
    from torch import Tensor, nn

_NAMES: Final[Mapping[str, str]] = {
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
"""torch's names for dtypes, and the format's."""

_BY_FORMAT: Final = {told: name for name, told in _NAMES.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """Return torch's name for a dtype, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def dtype_named(name: str) -> torch.dtype | None:
    """Return the dtype of torch's name; None where it has none."""
    import torch

    found = getattr(torch, name, None)
    return found if isinstance(found, torch.dtype) else None


def infos_of(state: Mapping[str, Any]) -> dict[str, TensorInfo]:
    """Return what a file tells of the tensors of a state dict.

    Raises:
        UnsavableModuleError: If a value is no tensor with plain memory and a dtype that files hold;
            all such are told.
    """
    refused = [f"'{name}' {reason}" for name, value in state.items() if (reason := _refusal(value))]
    if refused:
        raise UnsavableModuleError(f"the module cannot be saved: {'; '.join(refused)}")
    return {
        name: TensorInfo(_NAMES[dtype_name(value.dtype)], tuple(value.shape))
        for name, value in state.items()
    }


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
    if dtype_name(value.dtype) not in _NAMES:
        return f"has the dtype {dtype_name(value.dtype)}, which safetensors files do not hold"
    return None


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, row by row; those of one that lies so on the CPU are its own
    and no copy.
    """
    return bits_of(tensor.detach().to("cpu").resolve_conj().resolve_neg()).numpy().data


def bits_of(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor, row by row, as a tensor."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)


def read_tensor(file: BufferedReader, info: TensorInfo) -> tuple[Tensor, str]:
    """Return the next tensor of a file, and the digest of its bytes.

    Raises:
        EOFError: If the file ends before.
    """
    import torch

    raw = torch.empty(info.size, dtype=torch.uint8, device="cpu")
    view = raw.numpy().data
    if file.readinto(view) != info.size:
        raise EOFError
    dtype = getattr(torch, _BY_FORMAT[info.dtype])
    return raw.view(dtype).reshape(info.shape), digest_of(view)


def digest_of(view: memoryview) -> str:
    """Return the digest of bytes."""
    return hashlib.sha256(view).hexdigest()


def unsaved_buffers(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the dtypes of the buffers of a module that its state dict leaves out."""
    return {
        name: dtype_name(buffer.dtype)
        for name, buffer in module.named_buffers()
        if name not in state
    }
