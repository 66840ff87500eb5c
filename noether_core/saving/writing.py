"""From a module to its file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from noether_core.atomic_writes import replacing
from noether_core.errors import UnsavableModuleError
from noether_core.provenance import Provenance, provenance_of
from noether_core.saving.contents import Contents, contents_of, metadata_of
from noether_core.saving.header import Header, header_bytes, in_order
from noether_core.saving.tensors import bytes_of, digest_of, infos_of, unsaved_buffers
from noether_core.schemas.accepted import accepted_by
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.unstructure import unstructure

if TYPE_CHECKING:
    from torch import nn


def save(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a module that `build` made to one safetensors file: weights, config, and which package
    made it.

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
    original = getattr(module, "_orig_mod", module)
    provenance, config = provenance_of(module) or _provenance(original), _config(original)
    state = original.state_dict()
    infos = infos_of(state)
    content = {tensor: bytes_of(state[tensor]) for tensor in in_order(infos)}
    tensors = {tensor: infos[tensor] for tensor in content}
    contents = Contents(
        config=unstructure(config),
        provenance=provenance,
        parts=_parts(original, provenance),
        schema=accepted_by(type(config)),
        buffers=unsaved_buffers(original, state),
        sha256={tensor: digest_of(view) for tensor, view in content.items()},
    )
    metadata = metadata_of(contents, tensors)
    contents_of(Header(metadata, tensors), name)  # what could not be read back is not written
    with replacing(path) as file:
        file.write(header_bytes(metadata, tensors, name))
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
    found = {provenance for part in module.modules() if (provenance := provenance_of(part))} - {own}
    return tuple(sorted(found, key=lambda provenance: (provenance.type, provenance.distribution)))
