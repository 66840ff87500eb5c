"""Files of every format with the same few points, and the task of them."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import numpy as np

from noether_core import structure
from noether_plugins.tasks.points.config import PointsConfig
from noether_plugins.tasks.points.task import PointsTask

POINTS = 11


def arrays(number=0, points=POINTS):
    """Arrays of one case, unlike those of any other."""
    rng = np.random.default_rng(number)
    return {
        "points": rng.normal(size=(points, 3)),
        "sdf": rng.random(points).astype(np.float32),
        "pressure": rng.normal(size=points),
        "velocity": rng.normal(size=(points, 3)),
    }


def columns(case):
    """The same with a column for each number."""
    flat = {"sdf": case["sdf"], "p": case["pressure"]}
    flat |= dict(zip("xyz", case["points"].T, strict=True))
    flat |= dict(zip("uvw", case["velocity"].T, strict=True))
    return flat


def write_npz(path, case, **others):
    np.savez(path, **case, **others)


def write_csv(path, case, **others):
    table = {**columns(case), **others}
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*[values.tolist() for values in table.values()], strict=True))


def write_parquet(path, case, **others):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({**columns(case), **others}), path, row_group_size=4)


def write_vtk(path, case, **field_data):
    import pyvista

    cloud = pyvista.PolyData(case["points"])
    grid = cloud if str(path).endswith((".vtp", ".vtk")) else cloud.cast_to_unstructured_grid()
    for name in case.keys() - {"points"}:
        grid.point_data[name] = case[name]
    for name, value in field_data.items():
        grid.field_data[name] = np.atleast_1d(value)
    grid.save(path)


def write_meshio(path, case, cells=None, cell_data=None, **options):
    import meshio

    points = len(case["points"])
    cells = cells or [("line", np.arange(points - points % 2).reshape(-1, 2))]
    data = {name: case[name] for name in sorted(case.keys() - {"points"})}
    meshio.Mesh(case["points"], cells, point_data=data, cell_data=cell_data).write(path, **options)


WRITERS = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".vtu": write_vtk,
    ".vtp": write_vtk,
    ".vtk": write_vtk,
    ".xdmf": write_meshio,
    ".msh": functools.partial(write_meshio, file_format="gmsh"),
}
ARRAYS = {"inputs": ["sdf"], "fields": ["pressure", "velocity"]}
COLUMNS = {
    "positions": ["x", "y", "z"],
    "inputs": ["sdf"],
    "fields": {"pressure": "p", "velocity": ["u", "v", "w"]},
}


def group_for(extension):
    """What in a file of a format is what."""
    return COLUMNS if extension in (".csv", ".parquet") else ARRAYS


def write_cases(folder, extension, numbers, points=POINTS):
    """Write cases of their own numbers, each in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        WRITERS[extension](folder / f"case_{number}{extension}", arrays(number, points))


def task_of(folder, extension=".npz", *, seed=0, group=None, **options):
    """The task of all such files in a folder, a part of them held out."""
    default = {
        "train": str(folder / f"*{extension}"),
        "groups": {"volume": group or group_for(extension)},
    }
    if "test" not in options:
        default["hold_out"] = 0.4
    return PointsTask(structure({**default, **options}, PointsConfig), seed=seed)
