"""Cases in files of every format: the same samples, drawn, held out, read and written."""

import numpy as np
import pytest

from noether_core.tasks import check_sample
from tests.plugins.tasks.points.made import (
    WRITERS,
    arrays,
    task_of,
    write_cases,
)

every_format = pytest.mark.parametrize("extension", WRITERS)
NEEDS = {".parquet": "pyarrow", ".vtu": "pyvista", ".vtp": "pyvista", ".vtk": "pyvista"}
NEEDS |= {".xdmf": "meshio", ".msh": "meshio"}


@every_format
def test_files_of_every_format_are_the_same_samples(tmp_path, extension):
    if extension in NEEDS:
        pytest.importorskip(NEEDS[extension])
    write_cases(tmp_path, extension, range(5))
    task = task_of(tmp_path, extension)
    assert (len(task.train), len(task.test)) == (3, 2)
    assert task.layout.coordinates == 3
    assert task.layout.field_names == ("volume.pressure", "volume.velocity")
    for sample in (*task.train, *task.test):
        check_sample(sample, task.layout)
        case = arrays(int(sample.name.removeprefix("case_")))
        volume = sample.groups["volume"]
        np.testing.assert_allclose(volume.positions, case["points"], rtol=1e-6)
        np.testing.assert_allclose(volume.inputs["sdf"][:, 0], case["sdf"], rtol=1e-6)
        np.testing.assert_allclose(volume.fields["pressure"][:, 0], case["pressure"], rtol=1e-6)
        np.testing.assert_allclose(volume.fields["velocity"], case["velocity"], rtol=1e-6)


@every_format
def test_predictions_stand_beside_what_was_there(tmp_path, extension):
    if extension in NEEDS:
        pytest.importorskip(NEEDS[extension])
    write_cases(tmp_path, extension, range(2))
    task = task_of(tmp_path, extension)
    file = tmp_path / f"case_0{extension}"
    sample = task.read(file, task.layout)
    check_sample(sample, task.layout)
    predicted = {"volume": {name: 2 * v for name, v in sample.groups["volume"].fields.items()}}
    folder = tmp_path / "out"
    folder.mkdir()
    written = task.write(file, predicted, folder)
    assert written[0] == folder / file.name
    names = {"p": "pressure"} if extension in (".csv", ".parquet") else {}
    again = task_of(
        folder,
        extension,
        train=str(file),
        test=str(folder / file.name),
        group={
            "positions": task.config.groups["volume"].positions,
            "inputs": ["sdf"],
            "fields": {
                "pressure": "predicted_p",
                "velocity": ["predicted_u", "predicted_v", "predicted_w"],
            }
            if names
            else {"pressure": "predicted_pressure", "velocity": "predicted_velocity"},
        },
    )
    new = again.read(folder / file.name, task.layout).groups["volume"]
    for name, values in predicted["volume"].items():
        np.testing.assert_allclose(new.fields[name], values, rtol=1e-6)
    old = task.read(folder / file.name, task.layout).groups["volume"]
    np.testing.assert_array_equal(
        old.fields["velocity"], sample.groups["volume"].fields["velocity"]
    )
