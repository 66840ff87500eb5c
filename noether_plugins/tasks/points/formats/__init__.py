"""Files of every format that the task reads and writes, opened by their extension."""

from __future__ import annotations

import os
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
    if os.path.isdir(path):
        raise FileFault("is a folder")
    if is_irregular(path):
        raise FileFault("is no regular file, but a pipe or a device")
    try:
        size = os.stat(path).st_size
        if size == 0:
            raise FileFault("is empty")
        return _class_for(path)(path)
    except OSError as error:
        raise FileFault((error.strerror or str(error)).lower()) from error


def _class_for(path: str) -> Any:
    name = os.path.basename(path).lower()
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
