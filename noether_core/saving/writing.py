"""From a module to its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noether_core.atomic_writes import replacing
from noether_core.errors import UnsavableModuleError
from noether_core.provenance import Provenance, provenance_of
from noether_core.saving.contents import Contents, contents_of, metadata_of
from noether_core.saving.header import header_bytes
from noether_core.saving.tensors import bytes_of, digest_of, dtype_name, infos_of
from noether_core.schemas.accepted import accepted_by
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.unstructure import unstructure

if TYPE_CHECKING:
    from torch import Tensor, nn


def save(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a module that `build` made to one safetensors file, with its config and its provider.

    The file is written whole or not at all: a process that is killed leaves the older file or the
    new one. What a state dict holds is saved, each tensor in its own dtype; what it leaves out is
    not: training mode, ``requires_grad``, hooks, and the values of buffers that are not persistent.
    Names that share one tensor are saved each by itself.

    Args:
        module: The module, or what ``torch.compile`` made of it: then the original is saved.
        path: The file; an older one is replaced.

    Raises:
        UnsavableModuleError: If `build` did not make the module, or its state dict holds what a
            file cannot.
        SavedModuleError: If its config and its names of tensors are more than a file can say.
        OSError: If the file cannot be written.
    """
    name = os.fspath(path)
    # torch.compile wraps a module, and the provenance may be noted on either of the two.
    original = getattr(module, "_orig_mod", module)
    provenance = provenance_of(module) or _provenance(original)
    config = _config(original)

    state = original.state_dict()
    tensors = infos_of(state)
    # Of a module on the CPU these are views, so that a GiB is saved without another one.
    content = {tensor: bytes_of(state[tensor]) for tensor in tensors}
    contents = Contents(
        config=unstructure(config),
        provenance=provenance,
        parts=_parts(original, provenance),
        schema=accepted_by(type(config)),
        buffers=_unsaved_buffers(original, state),
        sha256={tensor: digest_of(view) for tensor, view in content.items()},
    )
    metadata = metadata_of(contents, tensors)
    sizes = {tensor: view.nbytes for tensor, view in content.items()}
    header = header_bytes(metadata, tensors, sizes, name)
    contents_of(metadata, tensors, name)  # what could not be read back is not written

    with replacing(path) as file:
        file.write(header)
        for view in content.values():
            file.write(view)


def _provenance(module: Any) -> Provenance:
    found = provenance_of(module)
    if found is None:
        made_by = f"this {type(module).__name__} was not made by noether_core.build"
        raise UnsavableModuleError(
            f"{made_by}, which notes who provides a module; save the module that build returned"
        )
    return found


def _config(module: nn.Module) -> AttentionConfig:
    config = getattr(module, "config", None)
    if not isinstance(config, AttentionConfig):
        raise UnsavableModuleError(
            f"this {type(module).__name__} has lost the 'config' that build made it from"
        )
    return config


def _parts(module: nn.Module, own: Provenance) -> tuple[Provenance, ...]:
    """Return which plugins made the built modules within a module, each once."""
    found: set[Provenance] = set()
    for part in module.modules():
        provenance = provenance_of(part)
        if provenance is not None and provenance != own:
            found.add(provenance)
    return tuple(sorted(found, key=lambda one: (one.type, one.distribution)))


def _unsaved_buffers(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the dtypes of the buffers of a module that its state dict leaves out."""
    return {
        name: dtype_name(buffer.dtype)
        for name, buffer in module.named_buffers()
        if name not in state
    }
