"""Meshes as solvers write them: at points or cells, in pieces, packed, flat, damaged."""

import contextlib
import io
import os

import numpy as np
import pytest

from noether_core.tasks import TaskError
from noether_plugins.tasks.points.formats import open_file
from noether_plugins.tasks.points.formats.source import POSITIONS, Addition, FileFault
from tests.fresh_environment import ROOT
from tests.plugins.tasks.points.made import task_of

CORNERS = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float
)
FACES = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]


@pytest.fixture
def pv():
    return pytest.importorskip("pyvista", reason="the extra pyvista is not installed")


@pytest.fixture
def meshio():
    return pytest.importorskip("meshio", reason="the extra meshio is not installed")


def box(pv):
    """27 points, 8 cells, and data at both."""
    grid = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    grid.point_data["p"] = np.arange(27.0)
    grid.point_data["a name, 名"] = np.arange(27, dtype=np.int16)
    grid.cell_data["q"] = np.arange(8, dtype=np.float32)
    grid.cell_data["velocity"] = np.arange(24.0).reshape(8, 3)
    grid.field_data["mach"] = [0.7]
    grid.field_data["note"] = ["by hand"]
    return grid


def mixed(pv):
    """A hexahedron, a wedge and a tetrahedron."""
    points = np.vstack([CORNERS, [[2, 0, 0], [2, 0, 1], [2, 1, 0.5]]])
    cells = [8, *range(8), 6, 1, 2, 8, 5, 6, 9, 4, 8, 9, 10, 2]
    grid = pv.UnstructuredGrid(cells, [12, 13, 10], points)
    grid.cell_data["q"] = [1.0, 2, 3]
    return grid


def polyhedron(pv):
    stream = [6, *(number for face in FACES for number in (4, *face))]
    grid = pv.UnstructuredGrid([len(stream), *stream], [42], CORNERS)
    grid.cell_data["q"] = [7.0]
    return grid


def read(path, place, name):
    (chunk,) = open_file(str(path)).table(place).chunks([name])
    return chunk[name]


@pytest.mark.parametrize("make", [box, mixed, polyhedron])
@pytest.mark.parametrize("extension", [".vtu", ".vtk"])
def test_cells_are_at_their_centres(pv, tmp_path, make, extension):
    grid = make(pv)
    grid.save(tmp_path / f"a{extension}")
    centres = read(tmp_path / f"a{extension}", "cells", POSITIONS)
    expected = [cell.points.mean(axis=0) for cell in grid.cell]
    np.testing.assert_allclose(centres, expected, atol=0.2)  # VTK's centres are parametric
    np.testing.assert_allclose(centres, grid.cell_centers().points)
    np.testing.assert_array_equal(
        read(tmp_path / f"a{extension}", "cells", "q")[:, 0], grid.cell_data["q"]
    )


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["text", "binary", "appended"])
@pytest.mark.parametrize("packed", [0, 1, 2, 3], ids=["plain", "zlib", "lz4", "lzma"])
def test_however_numbers_are_packed_they_are_the_same(pv, tmp_path, mode, packed):
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    writer = vtkXMLUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "a.vtu"))
    writer.SetInputData(box(pv))
    writer.SetDataMode(mode)
    writer.SetCompressorType(packed)
    writer.SetByteOrderToBigEndian()
    writer.Write()
    np.testing.assert_array_equal(read(tmp_path / "a.vtu", "points", "p")[:, 0], np.arange(27))
    assert len(read(tmp_path / "a.vtu", "cells", POSITIONS)) == 8


def test_pieces_are_one_mesh(pv, tmp_path):
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    writer = vtkXMLUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "a.vtu"))
    writer.SetInputData(box(pv))
    writer.SetNumberOfPieces(2)
    writer.Write()
    assert len(read(tmp_path / "a.vtu", "points", "p")) == 54
    assert len(read(tmp_path / "a.vtu", "cells", POSITIONS)) == 16


@pytest.mark.parametrize("extension", [".vti", ".vtr", ".vts", ".vtk"])
def test_structured_grids_have_points_too(pv, tmp_path, extension):
    image = pv.ImageData(dimensions=(2, 3, 5), spacing=(1, 2, 3))
    image.point_data["p"] = np.arange(30.0)
    kinds = {".vtr": image.cast_to_rectilinear_grid, ".vts": image.cast_to_structured_grid}
    kinds.get(extension, lambda: image)().save(tmp_path / f"a{extension}")
    np.testing.assert_array_equal(
        read(tmp_path / f"a{extension}", "points", POSITIONS), image.points
    )


@pytest.mark.parametrize("make", [box, mixed, polyhedron])
@pytest.mark.parametrize("extension", [".vtu", ".vtk"])
def test_a_mesh_keeps_all_that_it_holds(pv, tmp_path, make, extension):
    make(pv).save(tmp_path / f"a{extension}")
    before = pv.read(tmp_path / f"a{extension}")
    predicted = np.arange(before.n_cells, dtype=np.float32)
    file = open_file(str(tmp_path / f"a{extension}"))
    file.write(str(tmp_path / f"b{extension}"), [Addition("cells", "predicted_q", predicted)])
    after = pv.read(tmp_path / f"b{extension}")
    np.testing.assert_array_equal(after.cell_data.pop("predicted_q"), predicted)
    assert after == before
    for name in before.array_names:
        assert after[name].dtype == before[name].dtype


def test_units_of_arrays_are_taken_over(pv, tmp_path):
    grid = box(pv)
    array = grid.point_data.VTKObject.GetArray("p")
    array.GetInformation().Set(array.UNITS_LABEL(), "Pa")
    grid.save(tmp_path / "a.vtu")
    assert open_file(str(tmp_path / "a.vtu")).table("points").shape("p").unit == "Pa"


def test_field_data_is_about_the_case(pv, tmp_path):
    box(pv).save(tmp_path / "a.vtu")
    file = open_file(str(tmp_path / "a.vtu"))
    assert file.whole("mach").tolist() == [0.7]
    with pytest.raises(FileFault, match="'note' holds no numbers"):
        file.whole("note")
    with pytest.raises(FileFault, match=r"no field data 'angle'.*there is 'mach', 'note'"):
        file.whole("angle")


def faults_of(tmp_path, group, **options):
    with pytest.raises(TaskError) as caught:
        _ = task_of(tmp_path, ".vtu", group=group, **options).layout
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_data_of_cells_is_no_data_of_points(pv, tmp_path):
    for name in "ab":
        box(pv).save(tmp_path / f"{name}.vtu")
    at_points = faults_of(tmp_path, {"fields": ["q"]})
    hint = "there is no 'q'; it is there at cells: take them with 'positions: cells'"
    assert at_points == [f"{name}.vtu: volume.q: {hint}" for name in "ab"]
    at_cells = faults_of(tmp_path, {"positions": "cells", "fields": ["p"]})
    assert at_cells[0].endswith("it is there at points: take them with 'positions: points'")


def test_values_that_are_not_finite_are_said_with_their_place(pv, tmp_path):
    grid = box(pv)
    grid.save(tmp_path / "a.vtu")
    grid.cell_data["velocity"][[3, 5], 1] = np.nan, np.inf
    grid.save(tmp_path / "b.vtu")
    (fault,) = faults_of(tmp_path, {"positions": "cells", "fields": ["velocity"]})
    assert fault == (
        "b.vtu: volume.velocity: 2 of 24 values are not finite; the first, nan, is at cell 3, "
        "counted from 0, which is at (1.5, 1.5, 0.5), component 1"
    )


@pytest.mark.parametrize("extension", [".vtu", ".vtp", ".vtk", ".msh", ".xdmf"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.97])
def test_what_is_cut_off_is_refused(pv, meshio, tmp_path, extension, share):
    path = tmp_path / f"a{extension}"
    if extension in (".msh", ".xdmf"):
        kind = "gmsh" if extension == ".msh" else "xdmf"
        mesh = meshio.Mesh(CORNERS, [("hexahedron", np.arange(8)[None])], {"p": np.arange(8.0)})
        mesh.write(path, file_format=kind)
    else:
        grid = box(pv)
        (grid.extract_surface(algorithm=None) if extension == ".vtp" else grid).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileFault) as caught:
        list(open_file(str(path)).table("points").chunks(["p", POSITIONS]))
    (fault,) = caught.value.faults
    assert fault


@pytest.mark.parametrize("missing", [30, 400, 800])
def test_arrays_behind_the_end_of_a_file_are_not_left_out(pv, tmp_path, missing):
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    writer = vtkXMLUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "a.vtu"))
    writer.SetInputData(box(pv))
    writer.SetDataMode(2)
    writer.Write()
    content = (tmp_path / "a.vtu").read_bytes()
    (tmp_path / "a.vtu").write_bytes(content[:-missing])
    with pytest.raises(FileFault, match="is cut off: it does not end with </VTKFile>"):
        open_file(str(tmp_path / "a.vtu"))


def test_a_file_that_crashes_vtk_is_refused_and_ends_nothing(pv, tmp_path, monkeypatch):
    from noether_plugins.tasks.points.formats import legacy_vtk

    crashing = legacy_vtk._READ_ALL.replace("import pyvista", "import os; os.abort()")
    box(pv).save(tmp_path / "a.vtk")
    with monkeypatch.context() as patched:
        patched.setattr(legacy_vtk, "_READ_ALL", crashing)
        patched.setattr(legacy_vtk, "_reader", legacy_vtk._Reader())
        for _ in range(2):
            with pytest.raises(FileFault, match="damaged: VTK crashes when it reads it"):
                open_file(str(tmp_path / "a.vtk"))
    assert open_file(str(tmp_path / "a.vtk"))
    process = legacy_vtk._reader._process
    assert os.getsid(process.pid) != os.getsid(0)  # Ctrl-C reaches the training alone


def test_cells_of_points_that_are_not_there_are_refused(pv, tmp_path):
    grid = box(pv)
    grid.GetCells().GetConnectivityArray().SetValue(3, 1000)
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    writer = vtkXMLUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "a.vtu"))
    writer.SetInputData(grid)
    writer.Write()
    with pytest.raises(FileFault, match="a cell has the point 1000, and there are 27 points"):
        read(tmp_path / "a.vtu", "cells", POSITIONS)


def flat(pv, z):
    grid = pv.ImageData(dimensions=(3, 5, 1), origin=(0, 0, z)).cast_to_unstructured_grid()
    grid.point_data["p"] = np.arange(15.0)
    return grid


def test_meshes_of_one_z_have_two_coordinates(pv, tmp_path):
    for name in "ab":
        flat(pv, 2.5).save(tmp_path / f"{name}.vtu")
    task = task_of(tmp_path, ".vtu", group={"fields": ["p"]})
    assert task.layout.coordinates == 2
    assert task.train[0].groups["volume"].positions.shape == (15, 2)
    flat(pv, 0).save(tmp_path / "new.vtu")
    assert task.read(tmp_path / "new.vtu", task.layout).groups["volume"].positions.shape == (15, 2)
    box(pv).save(tmp_path / "new.vtu")
    with pytest.raises(TaskError, match="positions: lie in space, and the model knows points of"):
        task.read(tmp_path / "new.vtu", task.layout)


def test_meshes_at_several_heights_are_in_space(pv, tmp_path):
    for number, name in enumerate("ab"):
        flat(pv, number).save(tmp_path / f"{name}.vtu")
    assert task_of(tmp_path, ".vtu", group={"fields": ["p"]}).layout.coordinates == 3


TETRAHEDRA = ("tetra", np.array([[0, 1, 2, 5], [0, 2, 3, 7]]))
TRIANGLES = ("triangle", np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]]))
LOSSLESS = {
    ".msh": "gmsh22",
    ".xdmf": "xdmf",
    ".xmf": "xdmf",
    ".avs": "avsucd",
    ".h5m": "h5m",
    ".ply": "ply",
    ".vtu": "vtu",
    ".vtk": "vtk",
}
"""Formats that keep data at points; those of the last ones keep data at cells as well."""

DATALESS = (".stl", ".obj", ".off", ".mesh", ".bdf", ".inp", ".xml")


@pytest.mark.parametrize(("extension", "kind"), LOSSLESS.items(), ids=LOSSLESS)
def test_meshes_of_meshio_keep_all_that_they_hold(meshio, pv, tmp_path, extension, kind):
    pytest.importorskip("h5py")
    path, copy = tmp_path / f"a{extension}", tmp_path / f"b{extension}"
    has_cell_data = extension not in (".avs", ".h5m", ".ply")
    data = {"p": np.arange(8.0)}
    blocks, cell_data = [TRIANGLES], {}
    if has_cell_data:
        data["v"] = np.arange(24.0).reshape(8, 3)
        blocks = [TETRAHEDRA, TRIANGLES]
        cell_data = {"q": [np.array([1.0, 2]), np.array([3.0, 4, 5])]}
    with contextlib.redirect_stderr(io.StringIO()):  # meshio warns of what gmsh would want
        meshio.Mesh(CORNERS, blocks, data, cell_data).write(path, file_format=kind)
    file = open_file(str(path))
    centres = read(path, "cells", POSITIONS)
    np.testing.assert_allclose(centres[-3], CORNERS[[0, 1, 2]].mean(axis=0), rtol=1e-6)

    kept = [("points", name) for name in (*data, POSITIONS)] + [("cells", POSITIONS)]
    additions = [Addition("points", "predicted_p", np.arange(8, dtype=np.float32))]
    if has_cell_data:
        kept.append(("cells", "q"))
        additions.append(Addition("points", "predicted_v", np.ones((8, 3), np.float32)))
        additions.append(Addition("cells", "predicted_q", np.arange(5, dtype=np.float32)))
    file.write(str(copy), additions)
    for place, name in kept:
        np.testing.assert_allclose(read(copy, place, name), read(path, place, name), rtol=1e-6)
    for addition in additions:
        new = read(copy, addition.place, addition.name)
        np.testing.assert_array_equal(new.reshape(addition.values.shape), addition.values)


def test_what_vtk_cannot_read_of_meshio_meshio_reads(meshio, pv, tmp_path):
    counts = np.arange(8, dtype=np.int32)
    meshio.Mesh(CORNERS, [TRIANGLES], {"n": counts}).write(tmp_path / "a.vtk")
    file = open_file(str(tmp_path / "a.vtk"))
    file.write(str(tmp_path / "b.vtk"), [Addition("points", "predicted_n", counts / 2)])
    for path in (tmp_path / "a.vtk", tmp_path / "b.vtk"):
        np.testing.assert_array_equal(read(path, "points", "n")[:, 0], counts)
    np.testing.assert_array_equal(read(path, "points", "predicted_n")[:, 0], counts / 2)


def test_meshio_loses_what_the_page_says(meshio, pv, tmp_path):
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    page = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    major, minor, _ = pv.vtk_version_info
    assert f"meshio {meshio.__version__}\nand VTK {major}.{minor}" in page

    def cells_in(grid, **options):
        writer = vtkXMLUnstructuredGridWriter()
        writer.SetFileName(str(tmp_path / "a.vtu"))
        writer.SetInputData(grid)
        for name, value in options.items():
            getattr(writer, name)(value)
        writer.Write()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return sum(len(block.data) for block in meshio.read(tmp_path / "a.vtu").cells)

    hexahedron = pv.UnstructuredGrid([8, *range(8)], [12], CORNERS)
    assert cells_in(hexahedron, SetNumberOfPieces=2) == 1
    voxels = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    assert cells_in(voxels) == 0
    for refused, options in ((polyhedron(pv), {}), (hexahedron, {"SetCompressorType": 2})):
        with pytest.raises((SystemExit, AssertionError)):
            cells_in(refused, **options)
    assert ".vtp" not in meshio.extension_to_filetypes
    meshio.Mesh(CORNERS, [TRIANGLES], field_data={"mach": np.ones(1)}).write(tmp_path / "b.vtu")
    assert pv.read(tmp_path / "b.vtu").field_data.keys() == []


@pytest.mark.parametrize("extension", DATALESS)
def test_a_format_without_data_says_so_and_writes_nothing(meshio, tmp_path, extension):
    path = tmp_path / f"a{extension}"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        meshio.write_points_cells(path, CORNERS, [TRIANGLES])
    task = task_of(
        tmp_path, extension, group={"positions": "points", "fields": ["p"]}, test=str(path)
    )
    (tmp_path / "out").mkdir()
    points = len(read(path, "points", POSITIONS))
    with pytest.raises(TaskError, match=r"its format does not keep data at points, 'predicted_p'"):
        task.write(path, {"volume": {"p": np.zeros((points, 1))}}, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_numbers_in_a_file_beside_are_written_too(meshio, tmp_path):
    pytest.importorskip("h5py")
    meshio.Mesh(CORNERS, [TRIANGLES], {"p": np.arange(8.0)}).write(tmp_path / "a.xdmf")
    task = task_of(tmp_path, ".xdmf", group={"fields": ["p"]})
    (tmp_path / "out").mkdir()
    written = task.write(tmp_path / "a.xdmf", {"volume": {"p": np.ones((8, 1))}}, tmp_path / "out")
    assert [path.name for path in written] == ["a.xdmf", "a.h5"]
    assert read(tmp_path / "out" / "a.xdmf", "points", "predicted_p").sum() == 8
