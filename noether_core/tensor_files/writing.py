"""From tensors to a safetensors file, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from noether_core.atomic_writes import replacing
from noether_core.tensor_files.header import TensorInfo, header_bytes
from noether_core.tensor_files.tensors import bytes_of, digest_of, infos_of

if TYPE_CHECKING:
    from torch import Tensor

    TextsOf = Callable[[Mapping[str, TensorInfo], Mapping[str, str]], Mapping[str, str]]
    """Makes the text of a header from its tensors, and digests of their bytes, by name."""

    Check = Callable[[Mapping[str, str], Mapping[str, TensorInfo]], object]
    """Refuses text and tensors of a header that could not be read back."""


def write_tensors(
    path: str | os.PathLike[str], state: Mapping[str, Tensor], texts_of: TextsOf, check: Check
) -> None:
    """Write tensors to a file, such that a reader sees the older file or the new one.

    Args:
        path: The file; an older one is replaced.
        state: The tensors by name.
        texts_of: Makes the text that is to stand beside them.
        check: Raises if that is not what could be read back; nothing is written then.

    Raises:
        UnsavableModuleError: If a value is no tensor that a file can hold.
        SavedModuleError: If names and text are more than a header holds.
        OSError: If the file cannot be written.
    """
    infos = infos_of(state)
    # Of tensors on the CPU these are views, so that a GiB is written without another one.
    content = {name: bytes_of(state[name]) for name in infos}
    texts = texts_of(infos, {name: digest_of(view) for name, view in content.items()})
    sizes = {name: view.nbytes for name, view in content.items()}
    header = header_bytes(texts, infos, sizes, os.fspath(path))
    check(texts, infos)

    with replacing(path) as file:
        file.write(header)
        for view in content.values():
            file.write(view)
