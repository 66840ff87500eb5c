"""The header of a safetensors file: which tensors it holds and where, and text about them. No
torch.

A file is the length of the header in eight bytes, the header in JSON, and the bytes of the tensors
without gaps.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

from noether_core.errors import ConfigError, SavedModuleError, shown
from noether_core.structuring.documents import parse
from noether_core.structuring.documents.writing import escaped

_LENGTH: Final = 8
"""Bytes that tell the length of the header."""

_LARGEST_HEADER: Final = 2**20
_MOST_NUMBERS: Final = 64
_LARGEST_NUMBER: Final = 2**63 - 1
_METADATA: Final = "__metadata__"

DTYPES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}
"""Bytes of an element, by the format's name for its dtype."""


class TensorInfo(NamedTuple):
    """One tensor of a file."""

    dtype: str
    """The format's name for it, such as ``BF16``."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * DTYPES[self.dtype]


class Header(NamedTuple):
    """What stands before the tensors."""

    metadata: Mapping[str, str]
    """Text by name."""

    tensors: Mapping[str, TensorInfo]
    """The tensors in the order of their bytes."""


def header_bytes(
    metadata: Mapping[str, str], tensors: Mapping[str, TensorInfo], file: str
) -> bytes:
    """Return the first bytes of a file whose tensors follow in the order of *tensors*.

    Raises:
        SavedModuleError: If the header would be longer than readers take.
    """
    import json

    entries: dict[str, Any] = {_METADATA: dict(metadata)}
    end = 0
    for name, info in tensors.items():
        start, end = end, end + info.size
        entries[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": (start, end)}
    text = escaped(json.dumps(entries, ensure_ascii=False, separators=(",", ":"))).encode()
    text += b" " * (
        -len(text) % _LENGTH
    )  # so that elements of eight bytes lie where machines like them
    if len(text) > _LARGEST_HEADER:
        raise SavedModuleError(
            file, f"the header would have {len(text)} bytes, of at most {_LARGEST_HEADER}"
        )
    return len(text).to_bytes(_LENGTH, "little") + text


def in_order(tensors: Mapping[str, TensorInfo]) -> list[str]:
    """Return the names of tensors in the order in which a file holds them: large elements first,
    then by name.
    """
    return sorted(tensors, key=lambda name: (-DTYPES[tensors[name].dtype], name))


def read_header(file: BinaryIO, name: str) -> Header:
    """Return the header of an open file, and leave the file at the first byte of its tensors.

    Time and memory are bounded, whatever the file holds.

    Args:
        file: The file, at its start.
        name: What errors call it.

    Raises:
        SavedModuleError: If it is no safetensors file, or is cut short.
        OSError: If it cannot be read.
    """
    size = os.fstat(file.fileno()).st_size
    length = _length(file.read(_LENGTH), size, name)
    entries = _entries(file.read(length), name)
    metadata = _metadata(entries.pop(_METADATA, {}), name)
    tensors = _in_place(entries, size - _LENGTH - length, name)
    return Header(metadata, tensors)


def _length(first: bytes, size: int, name: str) -> int:
    length = int.from_bytes(first, "little")
    if len(first) < _LENGTH or length > _LARGEST_HEADER:
        found = "it is empty" if not first else f"it starts with {shown(first)}"
        raise _foreign(name, found)
    if length > size - _LENGTH:
        raise SavedModuleError(
            name, f"is cut short: {length} bytes of header were written, {size - _LENGTH} are there"
        )
    return length


def _entries(text: bytes, name: str) -> dict[str, Any]:
    try:
        entries = parse(text.decode("utf-8"), "json", file=name).data
    except UnicodeDecodeError as error:
        raise _foreign(
            name, f"its header is not UTF-8 from byte {_LENGTH + error.start} on"
        ) from error
    except ConfigError as error:
        raise _foreign(name, f"its header is refused: {error.problems[0].message}") from error
    if not isinstance(entries, dict):
        raise _foreign(name, f"its header holds no names but {shown(entries)}")
    return entries


def _metadata(found: object, name: str) -> Mapping[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _foreign(name, f"its {_METADATA} is no mapping from text to text: {shown(found)}")
    return found


def _in_place(entries: Mapping[str, Any], size: int, name: str) -> dict[str, TensorInfo]:
    """Return the tensors in the order of their bytes, which must lie one behind the other and fill
    the file.
    """
    spans = sorted((*_span(entry, tensor, name), tensor) for tensor, entry in entries.items())
    end = 0
    for start, stop, tensor in spans:
        if start != end:
            raise _foreign(
                name,
                f"the tensor {shown(tensor)} starts at byte {start} of the tensors, not at {end}",
            )
        end = stop
    if end > size:
        raise SavedModuleError(
            name, f"is cut short: {end} bytes of tensors were written, {size} are there"
        )
    if end < size:
        raise SavedModuleError(
            name, f"is damaged: {end} bytes of tensors were written, {size} are there"
        )
    return {
        tensor: TensorInfo(entries[tensor]["dtype"], tuple(entries[tensor]["shape"]))
        for _, _, tensor in spans
    }


def _span(entry: object, tensor: str, name: str) -> tuple[int, int]:
    """Return where a tensor starts and ends, if its entry is sound."""
    match entry:
        case {
            "dtype": str(dtype),
            "shape": list(shape),
            "data_offsets": [start, end],
            **others,
        } if not others:
            if dtype not in DTYPES:
                raise SavedModuleError(
                    name, f"the tensor {shown(tensor)} has the unknown dtype {shown(dtype)}"
                )
            if (
                _are_sizes([*shape, start, end])
                and end - start == TensorInfo(dtype, tuple(shape)).size
            ):
                return start, end
    raise _foreign(name, f"its entry of the tensor {shown(tensor)} is unsound: {shown(entry)}")


def _are_sizes(numbers: Sequence[object]) -> bool:
    """Return whether *numbers* are few and whole, and none so large that to multiply them took
    long.
    """
    return len(numbers) <= _MOST_NUMBERS and all(
        type(n) is int and 0 <= n <= _LARGEST_NUMBER for n in numbers
    )


def _foreign(name: str, reason: str) -> SavedModuleError:
    return SavedModuleError(name, f"is no safetensors file, or a damaged one: {reason}")
