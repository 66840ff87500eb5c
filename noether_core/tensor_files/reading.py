"""From a safetensors file to its tensors, of which not a bit has changed since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from noether_core.errors import MissingExtraError, SavedModuleError
from noether_core.tensor_files.header import TensorInfo, opened, read_header
from noether_core.tensor_files.tensors import bytes_of, digest_of

if TYPE_CHECKING:
    from torch import Tensor

    DigestsOf = Callable[[Mapping[str, str], Mapping[str, TensorInfo]], Mapping[str, str]]
    """Makes digests of tensors by name from the text and the tensors of a header."""


def check_installed(purpose: str) -> None:
    """Check that tensors can be read.

    Raises:
        MissingExtraError: If torch or safetensors is not installed.
    """
    try:
        import torch  # noqa: F401
        from safetensors import safe_open  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(purpose, error.name or "torch", "torch") from error


def read_tensors(name: str, digests_of: DigestsOf) -> dict[str, Tensor]:
    """Return the tensors of a file.

    It is opened once: whoever replaces it meanwhile changes nothing.

    Args:
        name: The file.
        digests_of: Checks what the header says, and returns the digest of each tensor's bytes.

    Raises:
        SavedModuleError: If it is no such file, or a damaged one.
    """
    from safetensors import SafetensorError, safe_open

    with opened(name) as source:
        try:
            # Read rather than mapped: to cut a mapped file short would end this process.
            with safe_open(name, framework="pt", backend="pread") as tensors:
                digests = digests_of(tensors.metadata() or {}, _infos(tensors))
                return _undamaged(tensors, digests, name)
        except SafetensorError as error:
            read_header(source, name)  # says more of most faults than the library does
            reason = f"is no safetensors file, or a damaged one: {error}"
            raise SavedModuleError(name, reason) from error


def _infos(tensors: Any) -> dict[str, TensorInfo]:
    """Return what the header says of each tensor of an open file, of the class ``safe_open``."""
    infos: dict[str, TensorInfo] = {}
    for name in tensors.keys():  # noqa: SIM118  it is no mapping
        view = tensors.get_slice(name)
        infos[name] = TensorInfo(view.get_dtype(), tuple(view.get_shape()))
    return infos


def _undamaged(tensors: Any, digests: Mapping[str, str], name: str) -> dict[str, Tensor]:
    """Return the tensors of a file if each has the bytes that were written."""
    state: dict[str, Tensor] = {}
    for tensor, digest in digests.items():
        state[tensor] = tensors.get_tensor(tensor)
        if digest_of(bytes_of(state[tensor])) != digest:
            reason = f"is damaged: the tensor '{tensor}' is not the one that was written"
            raise SavedModuleError(name, reason)
    return state
