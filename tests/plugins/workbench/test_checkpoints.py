"""The state of a training in a file, and back."""

import errno
import math
import os
import random

import numpy as np
import pytest
import torch

from noether_core import registry, structure
from noether_core.errors import SavedModuleError
from noether_plugins.workbench.checkpoints import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.saved import contents_of_run

EXPERIMENT = {
    "task": {"type": "airfoil"},
    "attention": {"type": "flare", "hidden_dim": 8, "num_heads": 2},
}


@pytest.fixture(scope="module")
def contents():
    experiment = structure(EXPERIMENT, Experiment, registry=registry())
    layout = __import__("noether_core").building.make_task(experiment.task, seed=0).layout
    return contents_of_run(experiment, torch.nn.Identity(), layout, {"steps": 3})


def _same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.equal(other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        is_alike = type(one) is type(other) and len(one) == len(other)
        return is_alike and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or math.isnan(one))


STATE = {
    "numbers": [0.1, 1e-300, math.inf, math.nan, 2**70, True, None, "text"],
    "losses": [random.Random(0).random() for _ in range(100)],
    "nested": {3: ({"a.b": torch.arange(5)}, [torch.tensor(2.5), []]), "3": ()},
    "half": torch.randn(2, 3).half(),
    "empty": torch.zeros(0, 3),
    "view": torch.arange(12).reshape(3, 4).T,
    "random": random.Random(1).getstate(),
    "random_of_numpy": np.random.RandomState(1).get_state(),
}


def test_a_state_comes_back_as_it_was(tmp_path, contents):
    write_checkpoint(tmp_path / "state", STATE, contents)
    found, state = read_checkpoint(tmp_path / "state")
    assert _same(state, STATE)
    assert found.result["steps"] == 3
    assert found.layout == contents["layout"]
    assert list(found.layout.groups) == ["surface", "volume"]


def test_what_no_checkpoint_holds_is_refused_by_its_place(tmp_path, contents):
    with pytest.raises(CheckpointError, match=r"a value of type set at 'model\.1'"):
        write_checkpoint(tmp_path / "state", {"model": [0, {1, 2}]}, contents)
    with pytest.raises(CheckpointError, match=r"the key 0\.5 at 'model'"):
        write_checkpoint(tmp_path / "state", {"model": {0.5: 1}}, contents)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, contents, monkeypatch):
    write_checkpoint(tmp_path / "state", STATE, contents)

    def refuse(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path / "state", {"new": 1}, contents)
    assert _same(read_checkpoint(tmp_path / "state")[1], STATE)
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_damage_is_found(tmp_path, contents):
    file = tmp_path / "state"
    write_checkpoint(file, STATE, contents)
    whole = file.read_bytes()
    for position in range(8, len(whole), len(whole) // 50):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(SavedModuleError):
            read_checkpoint(file)
    file.write_bytes(whole[:-1])
    with pytest.raises(SavedModuleError, match="is cut short"):
        read_checkpoint(file)
