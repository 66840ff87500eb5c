"""VTK's own files, read and written by VTK itself through pyvista: nothing in them is lost."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from noether_core.errors import MissingExtraError
from noether_plugins.tasks.points.formats import legacy_vtk, meshio_files
from noether_plugins.tasks.points.formats.mesh import MeshTable
from noether_plugins.tasks.points.formats.source import (
    Addition,
    File,
    FileFault,
    Place,
    as_whole,
)

EXTENSIONS: Final = (".vtu", ".vtp", ".vtk", ".vts", ".vtr", ".vti")

_UNKNOWN_TYPE = "Unsupported data type"
"""What VTK says of 32-bit integers as meshio writes them, ``vtktypeint32``."""

_TAIL_BYTES = 1 << 10

_MESSAGE = re.compile(r"^(ERROR|Warning|Generic Warning): In .*, line \d+\n", re.MULTILINE)
_SPEAKER = re.compile(r"^\w+ \(0x[0-9a-f]+\): ", re.MULTILINE)


def open_legacy(path: str) -> File:
    """Return a mesh in one of VTK's old files; meshio writes some that VTK does not read.

    Raises:
        FileFault: If neither reads it.
        MissingExtraError: If pyvista is not installed, or meshio, and that is needed.
    """
    _required()
    legacy_vtk.refuse_what_crashes(path)
    try:
        return VtkFile(path)
    except FileFault as fault:
        if _UNKNOWN_TYPE not in str(fault):
            raise
    return meshio_files.MeshioFile(path)


def _required() -> Any:
    """Return pyvista.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import pyvista  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingExtraError("reading VTK's files", "pyvista", "pyvista") from error
    return pyvista


class VtkFile(File):
    """A mesh of any of VTK's kinds, its pieces put together."""

    def __init__(self, path: str) -> None:
        pyvista = _required()
        if not path.lower().endswith(legacy_vtk.EXTENSION):
            _check_end(path)
        with _complaints_are_faults():
            # not pyvista.read, which hands on what VTK complains of as warnings, and to the log
            reader = pyvista.get_reader(path).reader
            reader.Update()
            mesh = pyvista.wrap(reader.GetOutputDataObject(0))
        if not isinstance(mesh, pyvista.DataSet):
            raise FileFault(f"holds a {type(mesh).__name__}, which is no mesh")
        self._mesh: Any = mesh

    def table(self, place: Place) -> MeshTable:  # noqa: D102  inherited
        at_points, at_cells = self._mesh.point_data, self._mesh.cell_data
        here, other = (at_points, at_cells) if place == "points" else (at_cells, at_points)
        arrays = {name: np.asarray(here[name]) for name in here}
        return MeshTable(
            place,
            self._points if place == "points" else self._centres,
            arrays,
            elsewhere=list(other),
            units={name: _unit_of(here, name) for name in arrays},
        )

    def _points(self) -> NDArray[Any]:
        return np.asarray(self._mesh.points)

    def _centres(self) -> NDArray[Any]:
        """Return the centres of all cells.

        Raises:
            FileFault: If there is a cell without one.
        """
        self._check_cells()
        with _complaints_are_faults():
            centres = np.asarray(self._mesh.cell_centers(vertex=False).points)
        if len(centres) != self._mesh.n_cells:
            raise FileFault(f"{self._mesh.n_cells - len(centres)} of its cells are empty")
        return centres

    def _check_cells(self) -> None:
        """Refuse cells of points that there are not: VTK would read past the end of memory."""
        points = self._mesh.n_points
        for offsets, cells in _connectivity(self._mesh):
            if (np.diff(offsets) < 0).any() or [*offsets[[0, -1]]] != [0, len(cells)]:
                raise FileFault("its cells do not end where they should")
            wrong = cells[(cells < 0) | (cells >= points)]
            if len(wrong):
                raise FileFault(f"a cell has the point {wrong[0]}, and there are {points} points")

    def whole(self, name: str) -> NDArray[Any]:  # noqa: D102  inherited
        if name not in self._mesh.field_data:
            known = ", ".join(map(repr, self._mesh.field_data)) or "none"
            raise FileFault(f"has no field data {name!r} for the case as a whole; there is {known}")
        array = np.asarray(self._mesh.field_data[name])
        return as_whole(name, array.reshape(-1) if array.size == 1 else array)

    def write(self, path: str, additions: Sequence[Addition]) -> None:  # noqa: D102  inherited
        for addition in additions:
            data = self._mesh.point_data if addition.place == "points" else self._mesh.cell_data
            data[addition.name] = addition.values
        with _complaints_are_faults():
            self._mesh.save(path)


def _check_end(path: str) -> None:
    """Refuse a file in XML that is cut off: VTK would leave out some arrays, and say nothing."""
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        tail = file.read()
    if b"</VTKFile>" not in tail:
        raise FileFault("is cut off: it does not end with </VTKFile>")


def _connectivity(mesh: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield where the points of each cell begin, and those points, for each kind of cells."""
    for kind in ("GetCells", "GetVerts", "GetLines", "GetPolys", "GetStrips"):
        cells = getattr(mesh, kind, lambda: None)()
        if cells is not None:
            from vtkmodules.util.numpy_support import vtk_to_numpy  # noqa: PLC0415  an extra

            offsets = vtk_to_numpy(cells.GetOffsetsArray())
            yield offsets, vtk_to_numpy(cells.GetConnectivityArray())


def _unit_of(data: Any, name: str) -> str:
    """Return the unit that VTK keeps with an array, if there is one."""
    array = data.VTKObject.GetAbstractArray(name)
    if array is None or not array.HasInformation():
        return ""
    return array.GetInformation().Get(array.UNITS_LABEL()) or ""


@contextmanager
def _complaints_are_faults() -> Iterator[None]:
    """Turn what VTK prints, where others raise, into a fault.

    Raises:
        FileFault: If VTK complained, or pyvista raised.
    """
    from vtkmodules.vtkCommonCore import (  # noqa: PLC0415  an extra
        vtkLogger,
        vtkOutputWindow,
        vtkStringOutputWindow,
    )

    printed = vtkStringOutputWindow()
    before, verbosity = vtkOutputWindow.GetInstance(), vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(printed)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    except FileFault:
        raise
    except Exception as error:  # pyvista and VTK raise many kinds
        raise FileFault(f"VTK cannot read it: {_first(printed.GetOutput()) or error}") from error
    finally:
        vtkOutputWindow.SetInstance(before)
        vtkLogger.SetStderrVerbosity(verbosity)
    complaint = _first(printed.GetOutput()) or _invalid(warned)
    if complaint:
        raise FileFault(f"VTK cannot read it: {complaint}")


def _first(printed: str | bytes | None) -> str:
    """Return the first of VTK's messages that is of an error, without its place in VTK."""
    if isinstance(printed, bytes):  # what it quotes of a file may be no text
        printed = printed.decode("utf-8", "replace")
    _, *parts = _MESSAGE.split(printed or "")
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        # VTK cannot read the range that it writes of an array with NaN, and does not need it
        is_error = kind == "ERROR" or "error" in text.lower()
        if is_error and "InformationKey" not in text:
            return " ".join(_SPEAKER.sub("", text).split())
    return ""


def _invalid(warned: Sequence[warnings.WarningMessage]) -> str:
    texts = [str(item.message) for item in warned if "Invalid" in item.category.__name__]
    return " ".join(" ".join(texts).split())
