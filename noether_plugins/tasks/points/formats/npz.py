"""Arrays of numpy in `.npz` files: mapped into memory where they are not compressed."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noether_plugins.tasks.points.formats.source import (
    CHUNK_ROWS,
    Addition,
    Arrays,
    File,
    FileFault,
    Place,
    Shape,
    Table,
    as_table,
    as_whole,
    shape_of,
)

EXTENSIONS: Final = (".npz",)

_SUFFIX = ".npy"
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member of a zip file: the lengths of its name and of what stands behind it."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    length: int
    """Bytes before the numbers."""


class NpzFile(File, Table):
    """Arrays by name. Objects in them, which pickle would make, are refused."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        with _readable(), zipfile.ZipFile(path) as archive:
            self._members = {
                info.filename.removesuffix(_SUFFIX): info
                for info in archive.infolist()
                if info.filename.endswith(_SUFFIX)
            }
        self._headers: dict[str, _Header] = {}

    def table(self, place: Place) -> Table:  # noqa: ARG002, D102  inherited
        return self

    @property
    def names(self) -> Sequence[str]:  # noqa: D102  inherited
        return list(self._members)

    def shape(self, name: str) -> Shape:  # noqa: D102  inherited
        header = self._header(name)
        return shape_of(name, header.shape, header.dtype)

    def _header(self, name: str) -> _Header:
        if name not in self._headers:
            self._headers[name] = self._read_header(name)
        return self._headers[name]

    def _read_header(self, name: str) -> _Header:
        info = self._members[name]
        with _readable(name), zipfile.ZipFile(self._path) as archive, archive.open(info) as file:
            major, _ = np.lib.format.read_magic(file)
            read = {
                1: np.lib.format.read_array_header_1_0,
                2: np.lib.format.read_array_header_2_0,
            }
            if major not in read:
                raise FileFault(f"{name!r} is of version {major} of numpy's format")
            shape, is_fortran, dtype = read[major](file)
            length = file.tell()
        header = _Header(shape, is_fortran, dtype, length)
        needed = length + dtype.itemsize * int(np.prod(shape, dtype=object))
        if not dtype.hasobject and info.file_size != needed:
            raise FileFault(f"{name!r} has {info.file_size} bytes, expected {needed}")
        return header

    def chunks(self, names: Sequence[str]) -> Iterator[Arrays]:  # noqa: D102  inherited
        parts = [self._parts(name) for name in names]
        for arrays in zip(*parts, strict=True):
            yield {name: as_table(array) for name, array in zip(names, arrays, strict=True)}

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> Arrays:  # noqa: D102  inherited
        return {name: self._taken(name, rows) for name in names}

    def _taken(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        if self._is_mapped(name):
            return as_table(self._mapped(name)[rows])
        parts: list[NDArray[Any]] = []
        first = 0
        for part in self._parts(name):
            start, stop = np.searchsorted(rows, [first, first + len(part)])
            parts.append(as_table(part[rows[start:stop] - first]))
            first += len(part)
        return np.concatenate(parts)

    def _is_mapped(self, name: str) -> bool:
        info = self._members[name]
        is_plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
        return is_plain and bool(np.prod(self._header(name).shape))

    def _mapped(self, name: str) -> NDArray[Any]:
        """Return an array whose numbers are read from the disk when they are looked at."""
        info, header = self._members[name], self._header(name)
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + sum(lengths) + header.length
        order: Literal["C", "F"] = "F" if header.is_fortran else "C"
        mapped: NDArray[Any] = np.memmap(
            self._path, header.dtype, mode="r", offset=start, shape=header.shape, order=order
        )
        return mapped

    def _parts(self, name: str) -> Iterator[NDArray[Any]]:
        header = self._header(name)
        if self._is_mapped(name):
            array = self._mapped(name)
        elif header.is_fortran or not header.shape or not header.shape[0]:
            array = self._loaded(name)
        else:
            yield from self._streamed(name, header)
            return
        for start in range(0, len(array), CHUNK_ROWS):
            yield array[start : start + CHUNK_ROWS]

    def _streamed(self, name: str, header: _Header) -> Iterator[NDArray[Any]]:
        """Yield parts of a compressed array, one after the other."""
        rows = header.shape[0]
        row_bytes = header.dtype.itemsize * int(np.prod(header.shape[1:], dtype=object))
        with (
            _readable(name),
            zipfile.ZipFile(self._path) as archive,
            archive.open(self._members[name]) as file,
        ):
            file.read(header.length)
            for start in range(0, rows, CHUNK_ROWS):
                count = min(CHUNK_ROWS, rows - start)
                content = file.read(count * row_bytes)
                yield np.frombuffer(content, header.dtype).reshape(count, *header.shape[1:])

    def _loaded(self, name: str) -> NDArray[Any]:
        with (
            _readable(name),
            zipfile.ZipFile(self._path) as archive,
            archive.open(self._members[name]) as file,
        ):
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array

    def whole(self, name: str) -> NDArray[Any]:  # noqa: D102  inherited
        if name not in self._members:
            raise FileFault(f"has no array {name!r} for the case as a whole")
        header = self._header(name)
        if int(np.prod(header.shape, dtype=object)) > CHUNK_ROWS:
            raise FileFault(f"{name!r} has the shape {header.shape}, expected one number or vector")
        return as_whole(name, self._loaded(name))

    def write(self, path: str, additions: Sequence[Addition]) -> None:  # noqa: D102  inherited
        added = {addition.name + _SUFFIX for addition in additions}
        kind = zipfile.ZIP_STORED
        with zipfile.ZipFile(self._path) as old, zipfile.ZipFile(path, "w") as new:
            for info in old.infolist():
                kind = info.compress_type
                if info.filename in added:
                    continue
                copy = zipfile.ZipInfo(info.filename, info.date_time)
                copy.compress_type = kind
                with old.open(info) as source, new.open(copy, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            for addition in additions:
                entry = zipfile.ZipInfo(addition.name + _SUFFIX)
                entry.compress_type = kind
                with new.open(entry, "w", force_zip64=True) as target:
                    np.lib.format.write_array(target, addition.values, allow_pickle=False)


@contextmanager
def _readable(name: str | None = None) -> Iterator[None]:
    """Turn what zipfile and numpy raise of damaged files into faults."""
    try:
        yield
    except FileFault:
        raise
    except Exception as error:  # zipfile, zlib, lzma and numpy raise a dozen kinds
        what = "cannot be read" if name is None else f"{name!r} cannot be read"
        raise FileFault(f"{what}: {error}") from error
