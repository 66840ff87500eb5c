"""What docs/your-data.md shows of broken files is what such files get."""

import numpy as np
import pytest
import yaml

from noether_core.building import make_task
from noether_core.tasks import TaskError
from tests.docs.pages import blocks
from tests.fresh_environment import ROOT


def test_the_problems_on_the_page_are_what_such_files_get(tmp_path, monkeypatch):
    pv = pytest.importorskip("pyvista", reason="the extra pyvista is not installed")
    page = list(blocks((ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")))
    named = {block.file: block.text for block in page if block.file}
    (shown,) = (block.text for block in page if block.text.startswith("data/train/"))
    monkeypatch.chdir(tmp_path)
    exec(named["make_data.py"], {})  # noqa: S102  what a reader runs

    def change(number, do):
        mesh = pv.read(f"data/train/case_{number}.vtu")
        do(mesh)
        mesh.save(f"data/train/case_{number}.vtu")

    def spoil(mesh):
        mesh.point_data["velocity"][[17, 20], 1] = np.nan

    def move(mesh):
        del mesh.point_data["pressure"]
        mesh.cell_data["pressure"] = np.zeros(mesh.n_cells)

    change(1, spoil)
    change(3, move)
    (tmp_path / "data/train/case_4_surface.vtp").unlink()
    cut = tmp_path / "data/train/case_6.vtu"
    cut.write_bytes(cut.read_bytes()[:-1000])
    change(7, lambda mesh: mesh.rename_array("sdf", "SDF"))
    task = make_task(yaml.safe_load(named["flow.yaml"])["task"], seed=0)
    with pytest.raises(TaskError) as caught:
        _ = task.layout
    assert str(caught.value) == shown.rstrip()
