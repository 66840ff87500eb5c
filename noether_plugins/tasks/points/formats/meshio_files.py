"""Meshes of all other formats, by meshio; what was written is read again, to see what is lost."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether_core.errors import MissingExtraError
from noether_plugins.tasks.points.formats.mesh import MeshTable
from noether_plugins.tasks.points.formats.source import Addition, File, FileFault, Place

_RELATIVE = 1e-6
"""Most that a number may differ once it was written, relatively: formats of text round."""

_SECOND_CHOICES = {"gmsh": "gmsh22"}
"""Versions of formats for what meshio cannot write in its first choice: Gmsh 4.1 without physical
groups."""

_BOOKKEEPING = frozenset({"gmsh:dim_tags"})
"""Data of meshio's own, which not all versions of a format have."""


def extensions() -> Sequence[str]:
    """Return the extensions that meshio knows; none where it is not installed."""
    try:
        import meshio  # noqa: PLC0415  an extra
    except ImportError:
        return ()
    return tuple(meshio.extension_to_filetypes)


class MeshioFile(File):
    """A mesh, its blocks of cells one after the other."""

    def __init__(self, path: str) -> None:
        try:
            import meshio  # noqa: PLC0415  an extra
        except ImportError as error:
            purpose = f"reading {Path(path).suffix} files"
            raise MissingExtraError(purpose, "meshio", "meshio") from error
        self._mesh, self._format = _read(meshio, path)

    def table(self, place: Place) -> MeshTable:  # noqa: D102  inherited
        at_points: dict[str, NDArray[Any]] = dict(self._mesh.point_data)
        at_cells = {
            name: np.concatenate([np.asarray(block) for block in blocks])
            for name, blocks in self._mesh.cell_data.items()
        }
        here, other = (at_points, at_cells) if place == "points" else (at_cells, at_points)
        find = self._points if place == "points" else self._centres
        return MeshTable(place, find, here, elsewhere=list(other), units={})

    def _points(self) -> NDArray[Any]:
        return np.asarray(self._mesh.points)

    def _centres(self) -> NDArray[Any]:
        points = self._points()
        centres = [np.empty((0, points.shape[1]))]
        for block in self._mesh.cells:
            for cells in _corners(block.data):
                if not ((cells >= 0) & (cells < len(points))).all():
                    raise FileFault(f"a cell names a point that none of the {len(points)} is")
                centres.append(points[cells].mean(axis=1))
        return np.concatenate(centres)

    def whole(self, name: str) -> NDArray[Any]:  # noqa: D102  inherited
        raise FileFault(
            f"has no {name!r} for the case as a whole, which this format cannot hold; "
            "write a table of parameters"
        )

    def write(self, path: str, additions: Sequence[Addition]) -> None:  # noqa: D102  inherited
        import meshio  # noqa: PLC0415  it was there when the file was read

        ends = np.cumsum([len(block.data) for block in self._mesh.cells])
        for addition in additions:
            if addition.place == "points":
                self._mesh.point_data[addition.name] = addition.values
            else:
                self._mesh.cell_data[addition.name] = np.split(addition.values, ends[:-1])
        try:
            self._write(path, self._format)
        except FileFault:
            if self._format not in _SECOND_CHOICES:
                raise
            self._write(path, _SECOND_CHOICES[self._format])
        again, _ = _read(meshio, path, self._format)
        lost = list(_differences(self._mesh, again))
        if lost:
            raise FileFault(f"its format does not keep {', '.join(lost)}; convert it to .vtu first")

    def _write(self, path: str, kind: str) -> None:
        import meshio  # noqa: PLC0415  it was there when the file was read

        _quietly("cannot be written", lambda: meshio.write(path, self._mesh, file_format=kind))


def _corners(cells: Any) -> Iterator[NDArray[Any]]:
    """Yield ``(cells, corners)`` points: a block at once, or polyhedra one by one."""
    if isinstance(cells, np.ndarray) and cells.ndim == 2:  # noqa: PLR2004  all alike
        yield cells
        return
    for cell in cells:
        faces = [np.asarray(face).reshape(-1) for face in cell]
        yield np.unique(np.concatenate(faces))[None]


def _read(meshio: Any, path: str, known: str | None = None) -> tuple[Any, str]:
    """Return a mesh, and its format: of several with one extension the first that reads it."""
    faults: list[str] = []
    name = Path(path).name.lower()
    formats = (
        [known]
        if known
        else next(
            meshio.extension_to_filetypes[extension]
            for extension in sorted(meshio.extension_to_filetypes, key=len, reverse=True)
            if name.endswith(extension)
        )
    )
    for kind in formats:
        try:
            what = "cannot be read" if len(formats) == 1 else f"cannot be read as {kind}"
            return _quietly(what, lambda kind=kind: meshio.read(path, kind)), kind
        except FileFault as fault:
            faults += fault.faults
    raise FileFault("; ".join(faults))


def _quietly(what: str, do: Any) -> Any:
    """Return what meshio does; it prints, and ends the process, where others raise.

    Raises:
        FileFault: If it did that, or raised.
    """
    printed = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of numbers in damaged files, which overflow
            return do()
    except ModuleNotFoundError as error:
        package = error.name or "a package"
        raise MissingExtraError("reading this format", package, "meshio") from error
    except (SystemExit, Exception) as error:  # its readers raise whatever indexing does
        reason = " ".join(printed.getvalue().split()) or f"{type(error).__name__}: {error}"
        raise FileFault(f"{what} by meshio: {reason}") from error


def _differences(before: Any, after: Any) -> Iterator[str]:
    """Yield what of a mesh is another in its copy."""
    if not _is_alike(before.points, after.points):
        yield "the points"
    kinds = [[block.type for block in mesh.cells] for mesh in (before, after)]
    if kinds[0] != kinds[1] or not all(
        _is_alike(old.data, new.data) for old, new in zip(before.cells, after.cells, strict=True)
    ):
        yield "the cells"
    for name, values in before.point_data.items():
        if name in _BOOKKEEPING:
            continue
        if name not in after.point_data or not _is_alike(values, after.point_data[name]):
            yield f"data at points, {name!r}"
    for name, blocks in before.cell_data.items():
        copies = after.cell_data.get(name, [])
        if len(copies) != len(blocks) or not all(map(_is_alike, blocks, copies)):
            yield f"data at cells, {name!r}"


def _is_alike(before: Any, after: Any) -> bool:
    old, new = np.asarray(before), np.asarray(after)
    if old.size != new.size:
        return False
    old, new = old.reshape(-1), new.reshape(-1)
    if old.dtype.kind == "f":
        return bool(np.allclose(old, new, rtol=_RELATIVE, atol=0, equal_nan=True))
    return bool((old == new).all())
