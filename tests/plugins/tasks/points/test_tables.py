"""Tables and arrays as people have them: what is read of them, and what is refused."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from noether_core.tasks import TaskError
from noether_plugins.tasks.points.formats import open_file
from noether_plugins.tasks.points.formats.source import FileFault
from tests.plugins.tasks.points.made import COLUMNS, arrays, task_of, write_cases, write_csv

XYP = "x,y,z,sdf,p,u,v,w"
GROUP = {"positions": ["x", "y"], "fields": ["p"]}


def read_text(tmp_path, content, group=GROUP):
    """The group in a table of this text, as the task reads it."""
    path = tmp_path / "one.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    write_text(tmp_path / "two.csv", "x,y,p\n0,0,0\n1,1,1\n")
    task = task_of(tmp_path, group=group, train=str(tmp_path / "two.csv"), test=str(path))
    return task.test[0].groups["volume"]


def write_text(path, content):
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "x,y,p\n1,2,3\n4,5,-6e-1\n",
        "x,y,p\r\n1,2,3\r\n4,5,-6e-1\r\n",
        "x,y,p\r1,2,3\r4,5,-6e-1\r",
        "\ufeffx,y,p\n1,2,3\n4,5,-0.6",
        "x;y;p\n1;2;3\n4;5;-0,6\n",
        "x\ty\tp\n1\t2\t3\n4\t5\t-.6\n",
        '"x","y","p"\n"1","2","3"\n4,5,"-0.6"\n',
        "# x, y, p\n1, 2, 3\n4, 5, -0.6\n",
        'note,x,y,p\n"a, ""quoted""\nnote",1,2,3\nplain,4,5,-0.6\n',
        "x,y,p\n\n1,2,3\n\n4,5,-0.6\n\n",
        "p,extra,y,x\n3,text,2,1\n-0.6,,5,4\n",
        "x [m],y [m],p [Pa]\n1,2,3\n4,5,-0.6\n",
    ],
)
def test_a_table_is_read_however_it_is_written(tmp_path, content):
    if "[Pa]" in content:
        (tmp_path / "unit.csv").write_text(content)
        table = open_file(str(tmp_path / "unit.csv")).table("points")
        assert table.shape("p").unit == "Pa"
        return
    points = read_text(tmp_path, content)
    np.testing.assert_array_equal(points.positions, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(points.fields["p"], [[3], [-0.6]])


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["one.csv: is empty"]),
        ("\n\n", ["its first line is empty, and should name the columns"]),
        ("1,2,3\n4,5,6\n", ["its first line has numbers, and should name the columns"]),
        ("x,y,p\n", ["volume.positions: there are no points"]),
        ("x,y,P2\n1,2,3\n", ["volume.p: there is no 'p'; did you mean 'P2'?"]),
        ("x,y,q,q\n1,2,3,4\n", ["volume.p: there is no 'p'; there is 'x', 'y', 'q', 'q'"]),
        ("x,y,p,p\n1,2,3,4\n", ["volume.p: 2 columns are named 'p'"]),
        (
            "x,y,p\n1,2,3\n4,5\n6,7,8,9\n1,2,abc\n",
            [
                "line 3 has 2 values, expected 3",
                "line 4 has 4 values, expected 3",
                "line 5: 'p' is 'abc', no number",
            ],
        ),
        (
            "x,y,p\n1,2,NaN\n4,,inf\n1,1,\n",
            [
                "volume.positions: 1 of 6 values are not finite; the first, nan, is at line 3",
                "volume.p: 3 of 3 values are not finite; the first, nan, is at line 2",
            ],
        ),
        ("x,y,p\n1,2,3\n6,7,8,9\n", ["line 3 has 4 values, expected 3"]),
        ('x,y,p\n"1,2,3\n', ["line 2: a quotation mark is never closed"]),
        ("x,y,p\n1,2,\xe9\n".encode("latin-1"), ["is no text in UTF-8, which has no byte 0xe9"]),
        ("x,y,p\n1,2,3\x00\n", ["line 2: 'p' is '3\\x00', no number"]),
    ],
)
def test_everything_wrong_with_a_table_is_said_at_once(tmp_path, content, problems):
    with pytest.raises(TaskError) as caught:
        read_text(tmp_path, content)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(problems)
    for line, problem in zip(lines, problems, strict=True):
        assert line.startswith(f"{tmp_path}/one.csv: ")
        assert problem in line


def test_a_table_that_is_wrong_in_every_line_is_told_of_briefly(tmp_path):
    with pytest.raises(TaskError) as caught:
        read_text(tmp_path, "x,y,p\n" + "1,2,bad\n" * 1000)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("there is more like that, which is left out")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_keeps_every_character_when_predictions_are_added(tmp_path, mark, end):
    lines = ['x;y;p;"a; note"', '1,5;2;3;"x ""y"""', "", "4;5;0001;plain"]
    path = tmp_path / "one.csv"
    path.write_bytes((mark + end.join(lines) + end).encode())
    task = task_of(tmp_path, group=GROUP, train=str(path))
    (tmp_path / "out").mkdir()
    task.write(path, {"volume": {"p": np.array([[0.5], [-7]])}}, tmp_path / "out")
    lines[0] += ";predicted_p"
    lines[1] += ";0,5"
    lines[3] += ";-7"
    written = (tmp_path / "out" / "one.csv").read_bytes().decode()
    assert written == mark + end.join(lines) + end
    (tmp_path / "again").mkdir()
    with pytest.raises(TaskError, match="has a column 'predicted_p' already; predict for the orig"):
        task.write(
            tmp_path / "out" / "one.csv", {"volume": {"p": np.ones((2, 1))}}, tmp_path / "again"
        )


def npz(path, **members):
    np.savez(path, **members)
    return path


def problems_of(path, group):
    task = task_of(path.parent, group=group, train=str(path), hold_out=0.5)
    with pytest.raises(TaskError) as caught:
        _ = task.layout
    # the first one is that hold_out needs two files
    return str(caught.value).replace(f"{path}: ", "").splitlines()[1:]


ONE = {"fields": ["p"]}


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"p": np.zeros(3)}, "volume.positions: there is no 'points'; there is 'p'"),
        (
            {"points": np.zeros((3, 2)), "p": np.zeros(4)},
            "volume.p: has 4 rows, and there are 3 points",
        ),
        (
            {"points": np.zeros((3, 4)), "p": np.zeros(3)},
            "volume.positions: have 4 coordinates, expected 1 to 3",
        ),
        (
            {"points": np.zeros((3, 2)), "p": np.zeros((3, 2, 2))},
            "volume.p: 'p' has the shape (3, 2, 2), expected (points,) or (points, width)",
        ),
        (
            {"points": np.zeros((3, 2)), "p": np.array(4.0)},
            "volume.p: 'p' has the shape (), expected (points,) or (points, width)",
        ),
        (
            {"points": np.zeros((3, 2)), "p": np.array(["a", "b", "c"])},
            "volume.p: 'p' holds no numbers, but <U1",
        ),
        (
            {"points": np.zeros((3, 2)), "p": np.array([1, None, {}], object)},
            "volume.p: 'p' holds no numbers, but object",
        ),
        (
            {"points": np.zeros((3, 2)), "p": np.zeros(3, complex)},
            "volume.p: 'p' holds no numbers, but complex128",
        ),
        (
            {"points": np.zeros((3, 2)), "p": np.zeros(3, "f4,f8")},
            "volume.p: 'p' holds no numbers, but",
        ),
        ({"points": np.zeros((0, 2)), "p": np.zeros(0)}, "volume.positions: there are no points"),
        (
            {"points": np.zeros((3, 2)), "p": np.array([1, np.inf, np.nan])},
            "volume.p: 2 of 3 values are not finite; the first, inf, is at row 1, counted from 0",
        ),
    ],
)
def test_arrays_that_are_none_of_points_are_refused(tmp_path, members, problem):
    lines = problems_of(npz(tmp_path / "a.npz", **members), ONE)
    assert len(lines) == 1
    assert lines[0].startswith(problem)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "values",
    [
        np.arange(66, dtype=np.int16).reshape(11, 6),
        np.arange(66, dtype=">f8").reshape(11, 6),
        np.asfortranarray(np.arange(66.0).reshape(11, 6)),
        np.arange(66, dtype=np.float16).reshape(11, 6),
        np.arange(11) > 4,
        np.arange(11, dtype=np.uint64),
    ],
    ids=["integers", "big-endian", "Fortran", "halves", "booleans", "1-D"],
)
def test_numbers_of_every_kind_are_read_whole_and_by_rows(tmp_path, save, values):
    save(tmp_path / "a.npz", points=np.zeros((11, 2)), **{"a name, 名": values})
    table = open_file(str(tmp_path / "a.npz")).table("points")
    expected = values.reshape(11, -1).astype(float)
    (chunk,) = table.chunks(["a name, 名"])
    for read, wanted in (
        (chunk, expected),
        (table.take(["a name, 名"], np.array([0, 3, 10])), expected[[0, 3, 10]]),
    ):
        array = read["a name, 名"]
        assert array.dtype in (np.float32, np.float64)
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, wanted)


def damaged(path, kind):
    content = path.read_bytes()
    if kind == "truncated":
        return content[: len(content) // 2]
    if kind == "no zip":
        return b"hello" * 100
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w") as archive:
        header = io.BytesIO()
        shape = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
        np.lib.format.write_array_header_1_0(header, shape)
        archive.writestr("points.npy", header.getvalue() + struct.pack("<d", 1.0))
        archive.writestr("p.npy", b"")
    return lying.getvalue()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("truncated", "cannot be read: File is not a zip file"),
        ("no zip", "cannot be read: File is not a zip file"),
        ("lying", "volume.positions: 'points' has 136 bytes, expected 24000000000128"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, kind, told):
    path = npz(tmp_path / "a.npz", points=np.zeros((3, 2)), p=np.zeros(3))
    path.write_bytes(damaged(path, kind))
    assert problems_of(path, ONE)[0] == told


def test_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    assert problems_of(tmp_path / "a.csv", ONE) == ["is no regular file, but a pipe or a device"]


def test_other_extensions_are_told_apart_from_damage(tmp_path):
    pytest.importorskip("meshio")
    (tmp_path / "a.foo").write_text("x")
    with pytest.raises(FileFault, match=r"has an extension of no format that is read: \.npz"):
        open_file(str(tmp_path / "a.foo"))


def test_npz_members_that_nobody_reads_are_copied(tmp_path):
    rng = np.random.default_rng(0)
    others = {"mask": rng.random(7) > 0.5, "names": np.array(["a", "b"])}
    np.savez_compressed(tmp_path / "a.npz", points=rng.random((3, 2)), p=np.zeros(3), **others)
    task = task_of(tmp_path, group=ONE)
    (tmp_path / "out").mkdir()
    task.write(tmp_path / "a.npz", {"volume": {"p": np.ones((3, 1))}}, tmp_path / "out")
    with np.load(tmp_path / "out" / "a.npz", allow_pickle=False) as new:
        assert set(new) == {"points", "p", "mask", "names", "predicted_p"}
        np.testing.assert_array_equal(new["mask"], others["mask"])
        np.testing.assert_array_equal(new["predicted_p"], np.ones(3, np.float32))


def test_parquet_keeps_its_row_groups_metadata_and_vectors(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(33.0)), 3)
    field = pa.field("p", pa.float32(), metadata={"unit": "Pa"})
    schema = pa.schema([("points", vectors.type), field, ("name", pa.string())], {"by": "me"})
    columns = [vectors, pa.array(np.arange(11, dtype=np.float32)), pa.array(list("abcdefghijk"))]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "a.parquet", row_group_size=4)
    file = open_file(str(tmp_path / "a.parquet"))
    assert file.table("points").shape("p").unit == "Pa"
    (chunk, *_) = file.table("points").chunks(["points"])
    assert chunk["points"].shape[1] == 3
    taken = file.table("points").take(["points"], np.array([0, 5, 10]))["points"]
    np.testing.assert_array_equal(taken[:, 0], [0, 15, 30])


def test_a_long_table_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("noether_plugins.tasks.points.formats.csv_table.CHUNK_ROWS", 5)
    write_csv(tmp_path / "a.csv", arrays(3, points=23))
    table = open_file(str(tmp_path / "a.csv")).table("points")
    assert [len(chunk["p"]) for chunk in table.chunks(["p"])] == [5, 5, 5, 5, 3]
    assert table.where(7) == "line 9"
    rows = np.array([0, 4, 5, 22])
    taken = table.take(["u", "p"], rows)
    np.testing.assert_array_equal(taken["p"][:, 0], arrays(3, points=23)["pressure"][rows])


def test_the_columns_of_a_table_make_up_vectors(tmp_path):
    write_cases(tmp_path, ".csv", range(3))
    task = task_of(tmp_path, ".csv", group=COLUMNS)
    assert task.layout.groups["volume"].fields["velocity"].width == 3
