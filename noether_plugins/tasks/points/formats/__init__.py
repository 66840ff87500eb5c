"""Files of every format that the task reads and writes, opened by their extension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from noether_core.regular_files import is_irregular
from noether_plugins.tasks.points.formats import (
    csv_table,
    legacy_vtk,
    meshio_files,
    npz,
    parquet,
    vtk_files,
)
from noether_plugins.tasks.points.formats.source import File, FileFault

Opener = Callable[[str], File]

_OPENERS: tuple[tuple[tuple[str, ...], Opener], ...] = (
    (csv_table.EXTENSIONS, csv_table.CsvFile),
    (npz.EXTENSIONS, npz.NpzFile),
    (parquet.EXTENSIONS, parquet.ParquetFile),
    ((legacy_vtk.EXTENSION,), vtk_files.open_legacy),
    (vtk_files.EXTENSIONS, vtk_files.VtkFile),
)


def open_file(path: str) -> File:
    """Return a file, opened as the format that its extension names.

    Raises:
        FileFault: If it is no file, empty, damaged, or of no format that is known.
        MissingExtraError: If what reads its format is not installed.
    """
    check_regular(path)
    try:
        file = _opener_for(path)(path)
    except OSError as error:
        raise FileFault((error.strerror or str(error)).lower()) from error
    return file


def check_regular(path: str) -> None:
    """Refuse what is no file that holds something; nothing is opened.

    Raises:
        FileFault: If it is not there, a folder, a pipe, a device or empty.
    """
    if is_irregular(path):
        raise FileFault("is no regular file, but a pipe or a device")
    try:
        status = Path(path).stat()
    except OSError as error:
        raise FileFault((error.strerror or str(error)).lower()) from error
    if Path(path).is_dir():
        raise FileFault("is a folder")
    if status.st_size == 0:
        raise FileFault("is empty")


def _opener_for(path: str) -> Opener:
    name = Path(path).name.lower()
    for extensions, opener in _OPENERS:
        if name.endswith(extensions):
            return opener
    others = meshio_files.extensions()
    if others and not name.endswith(tuple(others)):
        raise FileFault(
            "has an extension of no format that is read: .npz, .csv, .parquet, and meshes "
            "such as .vtu, .vtp, .vtk, .msh and .xdmf"
        )
    return meshio_files.MeshioFile
