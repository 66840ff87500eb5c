"""The header of a safetensors file: which tensors it holds, and text about them. No torch.

A file is the length of the header in eight bytes, the header in JSON, and the bytes of the tensors
without gaps.
"""

# The library `safetensors` reads the tensors when a module is loaded. Headers are read here so that
# `noether show FILE` works without it, since it comes with torch; and written here since its
# `save_file` puts the text in another order each time, so that equal modules gave unequal files,
# replaces a pipe instead of writing to it, and refuses a tensor that has two names.

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from noether_core.errors import SavedModuleError, shown
from noether_core.schemas.accepted import canonical_json

if TYPE_CHECKING:
    from io import BufferedReader

_LENGTH: Final = 8
"""Bytes that hold the length of the header."""

_LARGEST_HEADER: Final = 16 * 2**20
"""Bytes of header that are read and written: those of 100,000 tensors."""

_METADATA: Final = "__metadata__"


class TensorInfo(NamedTuple):
    """One tensor of a file."""

    dtype: str
    """The format's name for it, such as ``BF16``."""

    shape: tuple[int, ...]


class Header(NamedTuple):
    """What stands before the tensors."""

    metadata: Mapping[str, str]
    """Text by name."""

    tensors: Mapping[str, TensorInfo]

    size: int
    """Bytes of all tensors together."""


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Yield the file at *path*; whatever keeps it from being read is a SavedModuleError."""
    name = os.fsdecode(path)
    # Opening a pipe would wait for whoever writes to it.
    if os.path.exists(name) and not os.path.isfile(name):
        raise SavedModuleError(name, "is no file")
    try:
        file = open(name, "rb")  # noqa: SIM115  closed below
    except ValueError as error:  # NUL, or half of a character
        raise SavedModuleError(name, f"is no name of a file: {error}") from error
    except OSError as error:
        raise SavedModuleError(name, f"cannot be read: {error.strerror}") from error
    try:
        with file:
            yield file
    except OSError as error:
        raise SavedModuleError(name, f"cannot be read: {error.strerror}") from error


def header_bytes(
    metadata: Mapping[str, str],
    tensors: Mapping[str, TensorInfo],
    sizes: Mapping[str, int],
    file: str,
) -> bytes:
    """Return the first bytes of a file whose tensors follow in the order of *tensors*.

    Args:
        metadata: Text by name.
        tensors: What the header says of each tensor.
        sizes: How many bytes each has.
        file: What errors call the file.

    Raises:
        SavedModuleError: If the header would be longer than readers take.
    """
    entries: dict[str, Any] = {_METADATA: dict(metadata)}
    start = 0
    for name, info in tensors.items():
        end = start + sizes[name]
        entries[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": (start, end)}
        start = end

    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # so that tensors start where machines like them
    if len(text) > _LARGEST_HEADER:
        message = f"the header would have {len(text)} bytes, of at most {_LARGEST_HEADER}"
        raise SavedModuleError(file, message)
    return len(text).to_bytes(_LENGTH, "little") + text


def header_digest(texts: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> str:
    """Return the digest of all that a header says, digests of tensors among its texts included.

    Where tensors lie is left to readers: bytes of another place have another digest.
    """
    table = {name: [info.dtype, list(info.shape)] for name, info in tensors.items()}
    return hashlib.sha256(canonical_json([texts, table]).encode()).hexdigest()


def read_header(file: BinaryIO, name: str) -> Header:
    """Return the header of an open file.

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

    metadata = entries.pop(_METADATA, {})
    if not _is_text_by_text(metadata):
        reason = f"its {_METADATA} is no mapping from text to text: {shown(metadata)}"
        raise _foreign(name, reason)

    tensors: dict[str, TensorInfo] = {}
    written = 0
    for tensor, entry in entries.items():
        tensors[tensor], end = _info_and_end(entry, tensor, name)
        written = max(written, end)
    _check_size(written, size - _LENGTH - length, name)
    return Header(metadata, tensors, written)


def _length(first: bytes, size: int, name: str) -> int:
    """Return the length of the header, which stands in the *first* bytes of a file."""
    length = int.from_bytes(first, "little")
    if not first:
        raise _foreign(name, "it is empty")
    if len(first) < _LENGTH or length > _LARGEST_HEADER:
        raise _foreign(name, f"it starts with {shown(first)}")
    if length > size - _LENGTH:
        reason = f"{length} bytes of header were written, {size - _LENGTH} are there"
        raise SavedModuleError(name, f"is cut short: {reason}")
    return length


def _entries(text: bytes, name: str) -> dict[str, Any]:
    """Return what the text of a header says by name."""
    try:
        entries = json.loads(text.decode())
    except UnicodeDecodeError as error:
        reason = f"its header is not UTF-8 from byte {_LENGTH + error.start} on"
        raise _foreign(name, reason) from error
    except (ValueError, RecursionError) as error:
        raise _foreign(name, f"its header is not valid JSON: {error}") from error
    if not isinstance(entries, dict):
        raise _foreign(name, f"its header holds no names but {shown(entries)}")
    return entries


def _is_text_by_text(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _info_and_end(entry: object, tensor: str, name: str) -> tuple[TensorInfo, int]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(), int(end)]}:
            return TensorInfo(dtype, tuple(shape)), end
    raise _foreign(name, f"its entry of the tensor {shown(tensor)} is unsound: {shown(entry)}")


def _check_size(written: int, found: int, name: str) -> None:
    """Refuse a file that has lost bytes of tensors, or has more than were written."""
    if written != found:
        what = "cut short" if written > found else "damaged"
        reason = f"is {what}: {written} bytes of tensors were written, {found} are there"
        raise SavedModuleError(name, reason)


def _foreign(name: str, reason: str) -> SavedModuleError:
    return SavedModuleError(name, f"is no safetensors file, or a damaged one: {reason}")
