"""A module that was changed after ``build`` is refused by name where it could not be loaded."""

from __future__ import annotations

import copy
import json
import os
import struct
import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from noether_core import build, load_module, registry, save
from noether_core.errors import SavedModuleError, UnsavableModuleError


@pytest.fixture(scope="module")
def built():
    return build("dot_product", hidden_dim=6, num_heads=2)


class Adapter(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def replaced(name, layer):
    return lambda module: setattr(module, name, layer)


CHANGES = {
    "weight_norm": (
        lambda module: parametrizations.weight_norm(module.q),
        "'q' is of class ParametrizedLinear, build makes Linear",
    ),
    "old weight_norm": (lambda module: nn.utils.weight_norm(module.q), "'q.weight_g' is new"),
    "pruned": (
        lambda module: prune.l1_unstructured(module.q, "weight", amount=2),
        "'q.weight' is gone; 'q.weight_mask' is new; 'q.weight_orig' is new",
    ),
    "parametrized whole": (
        lambda module: nn.utils.parametrize.register_parametrization(
            module.v, "bias", nn.Identity()
        ),
        "'v' is of class ParametrizedLinear",
    ),
    "wrapped": (
        lambda module: setattr(module, "v", Adapter(module.v)),
        "'v' is of class Adapter, build makes Linear",
    ),
    "same names": (replaced("q", Scaled(6, 6)), "'q' is of class Scaled, build makes Linear"),
    "no bias": (replaced("q", nn.Linear(6, 6, bias=False)), "'q.bias' is gone"),
    "wider": (
        replaced("proj", nn.Linear(6, 7)),
        "'proj.bias' has the shape (7,), build makes (6,)",
    ),
    "added": (replaced("gate", nn.Linear(6, 6)), "'gate.bias' is new"),
    "another of its name": (
        lambda module: setattr(module, "q", type("Linear", (nn.Linear,), {})(6, 6)),
        "'q' is of class tests.core.saving.test_changed_modules.Linear, build makes Linear",
    ),
    "compiled layer": (
        lambda module: setattr(module, "q", torch.compile(module.q)),
        "'q' is of class OptimizedModule, build makes Linear",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_module_is_refused_by_name_and_nothing_is_written(built, tmp_path, name):
    change, message = CHANGES[name]
    module = copy.deepcopy(built)
    change(module)
    with pytest.raises(UnsavableModuleError) as caught:
        save(module, tmp_path / "module.safetensors")
    assert "the module was changed after build" in str(caught.value)
    assert message in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_what_was_undone_is_saved(built, tmp_path):
    module = copy.deepcopy(built)
    prune.l1_unstructured(module.q, "weight", amount=2)
    prune.remove(module.q, "weight")
    parametrizations.weight_norm(module.v)
    nn.utils.parametrize.remove_parametrizations(module.v, "weight")
    save(module, tmp_path / "module.safetensors")
    loaded = load_module(tmp_path / "module.safetensors")
    assert all(
        value.equal(loaded.state_dict()[name]) for name, value in module.state_dict().items()
    )


@pytest.mark.parametrize("type", registry().types())
def test_every_module_is_saved_after_half_precision_freezing_and_a_new_mode(tmp_path, type):
    module = build(type, **registry().get(type).example).half().eval().requires_grad_(False)
    save(module, tmp_path / "module.safetensors")
    loaded = load_module(tmp_path / "module.safetensors")
    assert next(loaded.parameters()).dtype == torch.float16


def forged(file, **options):
    """Let a saved module's config say other *options*, with a digest that is right."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    config = json.loads(header["__metadata__"]["noether.config"]) | options
    header["__metadata__"]["noether.config"] = json.dumps(
        config, sort_keys=True, separators=(",", ":")
    )
    _sign(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return file


def test_a_small_file_that_names_large_sizes_is_refused_without_their_memory(built, tmp_path):
    """Three of such layers would take 3 TiB: building them would end this process."""
    save(built, tmp_path / "module.safetensors")
    file = forged(tmp_path / "module.safetensors", hidden_dim=500_000)
    with pytest.raises(SavedModuleError) as caught:
        load_module(file)
    assert "its tensors do not fit the module" in str(caught.value)
    assert "has the shape (6, 6) in the file, the shape (500000, 500000) in the module" in str(
        caught.value
    )


def test_a_small_file_that_names_many_layers_is_refused_before_they_are_made(tmp_path):
    module = build("flare", hidden_dim=6, num_heads=2, num_latents=5)
    save(module, tmp_path / "module.safetensors")
    file = forged(tmp_path / "module.safetensors", num_layers_k_proj=10**9)
    with pytest.raises(
        SavedModuleError, match="the module has more than 1,230 tensors, the file 23"
    ):
        load_module(file)


def _sign(header):
    """Give a header the digest of what it says, as whoever forges one can."""
    from noether_core.tensor_files.header import TensorInfo, header_digest

    metadata = header["__metadata__"]
    tensors = {
        name: TensorInfo(entry["dtype"], tuple(entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }
    metadata.pop("noether.digest")
    metadata["noether.digest"] = header_digest(metadata, tensors)


BAD_NAMES = [
    "module.safetensors/",
    "module.safetensors/.",
    "a\0b",
    "a\ud800b",
    "",
    "missing/module.safetensors",
    ".",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_path_that_can_be_no_file_is_one_class_of_error(built, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError) as caught:  # noqa: PT011  its text is the system's
        save(built, name)
    assert caught.value.filename == name
    with pytest.raises(SavedModuleError) as refused:
        load_module(name)
    assert refused.value.file == name
    assert not any(tmp_path.iterdir())


def test_files_saved_from_many_threads_have_the_permissions_of_any_new_file(built, tmp_path):
    before = os.umask(0o027)
    try:
        threads = [
            threading.Thread(target=_save_often, args=(built, tmp_path, number))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    modes = {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {0o640}


def _save_often(module, folder, number):
    for turn in range(6):
        save(module, folder / f"{number}-{turn}.safetensors")
