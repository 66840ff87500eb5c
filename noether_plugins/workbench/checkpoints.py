"""The state of a training in a file: nested plain data and tensors, and no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from noether_core import NoetherError
from noether_core.saving.runs import RunContents, run_contents, run_texts
from noether_core.tensor_files.header import TensorInfo
from noether_core.tensor_files.reading import read_tensors
from noether_core.tensor_files.writing import write_tensors

_PLAIN: Final = "plain"
"""The tensor that holds all but the tensors, as JSON: a header is too small for many losses."""


class CheckpointError(NoetherError, TypeError):
    """The state of a training holds what no checkpoint can."""


def write_checkpoint(file: Path, state: Mapping[str, Any], contents: Mapping[str, Any]) -> None:
    """Write the state of a training, such that a reader sees the older checkpoint or this one.

    Args:
        file: The file.
        state: Nested mappings, lists and tuples of tensors, numbers, texts, booleans and None.
        contents: What the file says of its run: the arguments of `RunContents`.

    Raises:
        CheckpointError: If there is something else in the state; the message says where.
        OSError: If the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    plain = json.dumps(_packed(state, "", tensors)).encode()
    tensors[_PLAIN] = torch.frombuffer(bytearray(plain), dtype=torch.uint8)
    write_run_file(file, tensors, contents, "checkpoint")


def write_run_file(
    file: Path, tensors: Mapping[str, Tensor], contents: Mapping[str, Any], kind: Any
) -> None:
    """Write tensors of a run, with what the file says of it, whole or not at all.

    Raises:
        UnsavableModuleError: If a value is no tensor that a file can hold.
        OSError: If the file cannot be written.
    """

    def texts_of(infos: Mapping[str, TensorInfo], digests: Mapping[str, str]) -> dict[str, str]:
        return run_texts(RunContents(**contents, sha256=digests), infos, kind)

    def check(texts: Mapping[str, str], infos: Mapping[str, TensorInfo]) -> None:
        run_contents(texts, infos, str(file), kind)

    write_tensors(file, tensors, texts_of, check)


def read_checkpoint(file: Path) -> tuple[RunContents, dict[str, Any]]:
    """Return what a checkpoint says of its run, and the state of the training.

    Raises:
        SavedModuleError: If the file is no checkpoint, or a damaged one.
    """
    contents, tensors = read_run_file(file, "checkpoint")
    plain = json.loads(tensors[_PLAIN].numpy().tobytes())
    return contents, _unpacked(plain, tensors)


def read_run_file(file: Path, kind: Any) -> tuple[RunContents, dict[str, Tensor]]:
    """Return what a file says of its run, and its tensors, of which not a bit has changed.

    Raises:
        SavedModuleError: If the file is of another kind, or damaged.
    """
    found: list[RunContents] = []

    def digests_of(
        metadata: Mapping[str, str], infos: Mapping[str, TensorInfo]
    ) -> Mapping[str, str]:
        found.append(run_contents(metadata, infos, str(file), kind))
        return found[0].sha256

    tensors = read_tensors(str(file), digests_of)
    return found[0], tensors


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return what JSON can say of a value; its tensors are put beside, under their paths."""
    if isinstance(value, np.ndarray):
        return {"array": _packed(torch.from_numpy(value), path, tensors)["tensor"]}
    if isinstance(value, Tensor):
        tensors[path] = value.detach()
        return {"tensor": path}
    if isinstance(value, Mapping):
        items = [
            (_key(key, path), _packed(item, f"{path}.{key}".lstrip("."), tensors))
            for key, item in value.items()
        ]
        return {"mapping": items}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        if all(type(item) in (int, float) for item in value):  # losses are many
            return {kind: [*value]}
        return {
            kind: [_packed(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
        }
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(
        f"the state of the training holds a value of type {type(value).__name__} at {path!r}, "
        "which no checkpoint can"
    )


def _key(key: object, path: str) -> object:
    if isinstance(key, str | int):
        return key
    raise CheckpointError(f"the state of the training has the key {key!r} at {path!r}")


def _unpacked(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value of which `_packed` made plain data."""
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "mapping":
        return {key: _unpacked(item, tensors) for key, item in content}
    items = [_unpacked(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)
