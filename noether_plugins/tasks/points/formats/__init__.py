"""Files of every format that the task reads and writes, opened by their extension."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noether_core.regular_files import is_irregular
from noether_plugins.tasks.points.formats import (
    csv_table,
    meshio_files,
    npz,
    parquet,
    vtk_files,
)
from noether_plugins.tasks.points.formats.source import File, FileFault

_CLASSES: tuple[tuple[tuple[str, ...], Any], ...] = (
    (csv_table.EXTENSIONS, csv_table.CsvFile),
    (npz.EXTENSIONS, npz.NpzFile),
    (parquet.EXTENSIONS, parquet.ParquetFile),
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
        file: File = _class_for(path)(path)
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


def _class_for(path: str) -> Any:
    name = Path(path).name.lower()
    for extensions, cls in _CLASSES:
        if name.endswith(extensions):
            return cls
    others = meshio_files.extensions()
    if others and not name.endswith(tuple(others)):
        raise FileFault(
            "has an extension of no format that is read: .npz, .csv, .parquet, and meshes "
            "such as .vtu, .vtp, .vtk, .msh and .xdmf"
        )
    return meshio_files.MeshioFile
