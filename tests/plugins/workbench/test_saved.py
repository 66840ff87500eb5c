"""The model of a run in a file: loaded, shown, compared and refused."""

import json
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from safetensors import safe_open

from noether_core import Registry, build, load_module, registry, save
from noether_core.cli import main
from noether_core.errors import ProvenanceError, ProvenanceWarning, SavedModuleError
from noether_core.provenance import Provenance
from noether_core.tasks import TaskError
from noether_plugins.workbench import load_run
from noether_plugins.workbench.checkpoints import read_run_file, write_run_file
from tests.test_without_torch import PREAMBLE

EXPERIMENT = """\
attention: {type: transolver, hidden_dim: 8, num_heads: 2, num_slices: 3}
model: {depth: 1}
task: {type: airfoil, n_train: 6, n_test: 2, n_surface: 11, n_volume: 101}
training: {steps: 4, batch_size: 3, device: cpu}
"""


@pytest.fixture(scope="module")
def folder(forks, tmp_path_factory):
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    done = forks.run(["run", "tiny.yaml", "--output", "run"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def rewritten(folder, tmp_path):
    """What writes the run's file again with other contents, or other tensors."""

    def write(change=lambda contents: contents, tensors=lambda tensors: tensors):
        contents, found = read_run_file(folder / "weights.safetensors", "run")
        facts = attrs.asdict(contents, recurse=False)
        del facts["sha256"]
        write_run_file(tmp_path / "weights.safetensors", tensors(found), change(facts), "run")
        (tmp_path / "result.json").write_text("{}")
        return tmp_path

    return write


def test_a_loaded_run_predicts_what_the_run_was_evaluated_by(folder):
    run = load_run(folder)
    assert not run.model.training
    assert run.experiment.attention.type == "transolver"
    assert run.result["steps"] == 4
    errors = []
    for sample in run.task.test:
        fields = run.predict(sample)
        true = sample.groups["surface"].fields["pressure"]
        distance = np.linalg.norm(fields["surface"]["pressure"] - true)
        errors.append(distance / np.linalg.norm(true))
    expected = json.loads((folder / "result.json").read_text())["relative_errors"]
    assert np.mean(errors) == pytest.approx(expected["surface.pressure"], rel=1e-6)
    assert repr(run).endswith("transolver on airfoil>")


def test_loading_leaves_random_numbers_alone(folder):
    before = torch.get_rng_state()
    load_run(folder / "weights.safetensors")
    assert torch.get_rng_state().equal(before)


def test_parts_cover_every_point_and_keep_what_fits_whole(folder):
    run = load_run(folder)
    sample = run.task.test[0]
    seen = []
    run.model.register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(tensor.shape[1] for tensor in inputs[0].values()))
    )
    fields = run.predict(sample, at_once=11)
    assert seen == [(11, 11), *[(11, 10)] * 9]
    assert fields["volume"]["velocity"].shape == (101, 2)
    assert np.isfinite(fields["volume"]["velocity"]).all()
    whole = run.predict(sample)
    assert not np.array_equal(fields["volume"]["velocity"], whole["volume"]["velocity"])
    again = run.predict(sample, at_once=11)
    assert np.array_equal(fields["volume"]["velocity"], again["volume"]["velocity"])


def test_a_sample_of_another_layout_is_refused(folder):
    run = load_run(folder)
    sample = run.task.test[0]
    other = attrs.evolve(sample, groups={"surface": sample.groups["surface"]})
    with pytest.raises(TaskError, match="has the groups surface, not surface, volume"):
        run.predict(other)


def test_show_says_what_a_run_is(folder, capsys):
    assert main(["show", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["state"] == "complete: 4 of 4 steps"
    assert facts["attention"]["type"] == "transolver"
    assert facts["task"]["type"] == "airfoil"
    assert facts["differences"] == []
    assert not facts["is_interrupted"]
    assert facts["layout"]["groups"]["surface"]["fields"]["pressure"]["label"] == "Cp"
    assert facts["experiment"]["model"]["depth"] == 1

    assert main(["show", str(folder / "weights.safetensors"), "--plain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "attention\ttransolver of noether-attention 0.1.0",
        "difference\tnone",
        "volume.distance\tinput\t1\tchords\t",
        "surface.pressure\tfield\t1\t\tCp",
        "model.depth\t1",
    ):
        assert line in lines
    error = facts["relative_errors"]["surface.pressure"]
    assert any(line.startswith(f"surface.pressure\t{error:.4f}\t") for line in lines)


@pytest.mark.parametrize("path", ["", "weights.safetensors"])
def test_a_run_is_shown_where_there_is_no_torch(folder, path):
    code = f"{PREAMBLE}from noether_core.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "show", folder / path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "complete: 4 of 4 steps" in done.stdout


def test_a_folder_is_shown_by_its_bare_name_unless_that_is_a_type(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("finished", "transolver"):
        Path(name).symlink_to(folder)
    assert main(["show", "finished"]) == 0
    assert "complete: 4 of 4" in capsys.readouterr().out
    assert main(["show", "transolver"]) == 0
    assert "num_slices" in capsys.readouterr().out
    assert main(["show", "./transolver"]) == 0
    assert "complete: 4 of 4" in capsys.readouterr().out


def test_any_reader_of_safetensors_finds_tensors_and_experiment(folder):
    with safe_open(folder / "weights.safetensors", framework="numpy") as file:
        assert json.loads(file.metadata()["noether.experiment"])["model"]["depth"] == 1
        names = [name.partition(".")[0] for name in file.keys()]  # noqa: SIM118  it is no mapping
    assert set(names) == {"model", "units"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no folder of a run: there is no such folder"),
        ({}, "holds no run: neither result.json and weights.safetensors nor"),
        ({"result.json": b"{}", "weights.safetensors": b""}, "is no safetensors file"),
        ({"weights.safetensors": b"x"}, "holds no run"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, capsys, content, message):
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_bytes(text)
    with pytest.raises(SavedModuleError, match=message):
        load_run(folder)
    assert main(["show", str(folder)]) == 1
    if content is not None:
        assert message in capsys.readouterr().err


def test_files_of_other_kinds_name_what_reads_them(folder, tmp_path):
    save(build("flare", hidden_dim=8, num_heads=2), tmp_path / "module.safetensors")
    with pytest.raises(SavedModuleError, match="holds a saved module and no run; load_module"):
        load_run(tmp_path / "module.safetensors")
    with pytest.raises(SavedModuleError, match="holds a run and no saved module; load_run"):
        load_module(folder / "weights.safetensors")


def test_a_flipped_bit_anywhere_is_found(folder, tmp_path):
    whole = (folder / "weights.safetensors").read_bytes()
    file = tmp_path / "weights.safetensors"
    for position in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(SavedModuleError):
            load_run(file)


def test_a_small_file_that_names_large_sizes_takes_no_memory(rewritten):
    def enlarge(facts):
        experiment = json.loads(json.dumps(_plain(facts["experiment"])))
        experiment["attention"]["hidden_dim"] = 2**20
        return facts | {"experiment": experiment}

    with pytest.raises(SavedModuleError, match=r"do not fit the model: '.*' is .* in the file"):
        load_run(rewritten(enlarge))


def _plain(value):
    from noether_core import unstructure

    return unstructure(value)


def test_a_missing_unit_is_refused(rewritten):
    def without(tensors):
        return {name: value for name, value in tensors.items() if "pressure.mean" not in name}

    with pytest.raises(SavedModuleError, match=r"do not fit the model: .*pressure\.mean"):
        load_run(rewritten(tensors=without))


def _made_with(facts, section, **changes):
    made = facts[section]
    before = Provenance(**{**attrs.asdict(made.provenance), **changes})
    return facts | {section: attrs.evolve(made, provenance=before)}


@pytest.mark.parametrize("section", ["attention", "task"])
def test_a_provider_of_another_version_is_reported(rewritten, section, capsys):
    folder = rewritten(lambda facts: _made_with(facts, section, version="0.0.1"))
    with pytest.warns(ProvenanceWarning, match=r"noether-attention 0\.0\.1, here noether-att"):
        load_run(folder)
    assert main(["show", str(folder), "--json"]) == 0
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert difference["name"] == "version"


@pytest.mark.parametrize("section", ["attention", "task"])
def test_a_run_whose_plugin_is_missing_is_shown_and_not_loaded(
    folder, monkeypatch, capsys, section
):
    name = {"attention": "transolver", "task": "airfoil"}[section]
    known = Registry(block=[f"noether-attention:{name}"])
    with pytest.raises(ProvenanceError, match=f"'{name}'"):
        load_run(folder, registry=known)
    monkeypatch.setattr("noether_core.plugins.registry._default", known)
    assert main(["show", str(folder), "--json"]) == 0
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert difference["name"] == "missing"


def test_a_run_of_a_variant_of_this_process_says_so(folder):
    known = Registry(block=["noether-attention:transolver"])
    known.register(registry().get("transolver"))
    with pytest.warns(ProvenanceWarning, match="in-process"):
        run = load_run(folder, registry=known)
    assert run.experiment.attention.type == "transolver"


def test_the_workbench_is_imported_without_torch():
    code = (
        "import sys, noether_plugins.workbench as w; assert 'torch' not in sys.modules; w.nothing"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert "has no attribute 'nothing'" in done.stderr
