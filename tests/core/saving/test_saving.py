"""Modules go into a file and come back as they were."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pytest
import torch
from annotated_types import Ge
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import noether_core
from noether_core import (
    AttentionConfig,
    AttentionVariant,
    Registry,
    build,
    load_module,
    provenance_of,
    registry,
    save,
    structure,
)
from noether_core.errors import SavedModuleError, UnsavableModuleError
from noether_core.plugins.metadata import Index
from noether_core.tensor_files.header import read_header

OPTIONS = {"hidden_dim": 8, "num_heads": 2}


@attrs.frozen(kw_only=True)
class OddConfig(AttentionConfig):
    """Of modules that only tests know."""

    type: Literal["odd"] = "odd"

    window: Annotated[int, Ge(1)] = 3
    """Tokens on either side."""


class Odd(nn.Module):
    """Holds tensors of every kind."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.randn(5, 3))
        self.scalar = nn.Parameter(torch.randn(()))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("is_seen", torch.tensor([True, False, True]))
        self.register_buffer("phase", torch.tensor([1 + 2j]).conj())
        self.register_buffer("made", torch.arange(3.0), persistent=False)
        self.register_buffer("largest", torch.tensor([2**64 - 1], dtype=torch.uint64))


class Many(nn.Module):
    """Holds more tensors than a header of a MiB has room for."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(2)) for _ in range(6000))


class LongNames(nn.Module):
    """Has names that no header has room for."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        for number in range(600):
            self.register_buffer(f"{'long' * 10_000}{number}", torch.zeros(1))


class Tied(nn.Module):
    """Uses one weight twice."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.reads, self.writes = nn.Linear(3, 3), nn.Linear(3, 3)
        self.writes.weight = self.reads.weight


class Separate(nn.Module):
    """Has the tensors of Tied, each by itself."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.reads, self.writes = nn.Linear(3, 3), nn.Linear(3, 3)


class Nested(nn.Module):
    """Holds a module that `build` makes as well."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.inner = build("flare", **OPTIONS, num_latents=4)


class Special(torch.Tensor):
    """A tensor that does what it likes."""


class Strange(nn.Module):
    """Holds what no file can."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.register_buffer("nowhere", torch.zeros(2, device="meta"))
        self.register_buffer("wide", torch.zeros(2, dtype=torch.complex128))
        self.register_buffer("special", torch.zeros(2).as_subclass(Special))
        self.lazy = nn.LazyLinear(3)

    def get_extra_state(self):
        return {"any": "object"}


def known_with(module: type[nn.Module], *, options: dict[str, Any] | None = None) -> Registry:
    """Return a registry whose one variant has that module."""
    known = Registry(index=Index((), (), ()))
    known.register(
        AttentionVariant(
            config=OddConfig,
            module=f"{__name__}:{module.__name__}",
            interface="self",
            time_exponent=1,
            memory_exponent=1,
            summary="Only tests know it.",
            example=OPTIONS | (options or {}),
            api_version=1,
        )
    )
    return known


def made(module: type[nn.Module]) -> tuple[nn.Module, Registry]:
    known = known_with(module)
    return build("odd", **OPTIONS, registry=known), known


def bits(module: nn.Module) -> dict[str, tuple[torch.dtype, list[int]]]:
    """Return the tensors of a state dict such that equal ones are equal, NaN included."""
    return {
        name: (
            value.dtype,
            value.resolve_conj().contiguous().reshape(-1).view(torch.uint8).tolist(),
        )
        for name, value in module.state_dict().items()
    }


@pytest.mark.parametrize("type", registry().types())
def test_every_variant_comes_back_with_its_config_weights_and_provenance(type, tmp_path):
    module = build(type, **registry().get(type).example)
    save(module, tmp_path / "module.safetensors")
    loaded = load_module(tmp_path / "module.safetensors", strict=True)
    assert loaded.__class__ is module.__class__
    assert loaded.config == module.config
    assert loaded.config.fingerprint() == module.config.fingerprint()
    assert bits(loaded) == bits(module)
    assert provenance_of(loaded) == provenance_of(module)


@pytest.mark.parametrize("type", registry().types())
def test_any_reader_of_safetensors_reads_the_weights(type, tmp_path):
    module = build(type, **registry().get(type).example)
    path = tmp_path / "module.safetensors"
    save(module, path)
    read = load_file(path)
    assert {name: value.tolist() for name, value in read.items()} == {
        name: value.tolist() for name, value in module.state_dict().items()
    }
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["noether.config"])["type"] == type
    assert json.loads(metadata["noether.provenance"])["distribution"] == "noether-attention"
    assert metadata["noether.format"] == "1"


def test_a_fresh_process_computes_the_same_numbers(tmp_path):
    torch.manual_seed(3)
    module, x = build("transolver", **OPTIONS, num_slices=5).eval(), torch.randn(2, 7, 8)
    save(module, tmp_path / "module.safetensors")
    torch.save(x, tmp_path / "x.pt")
    code = """
import sys, torch
from noether_core import load_module
module = load_module(sys.argv[1], strict=True).eval()
print(module(torch.load(sys.argv[2])).double().sum().item().hex())
"""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            code,
            tmp_path / "module.safetensors",
            tmp_path / "x.pt",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == module(x).double().sum().item().hex(), done.stderr


def test_equal_modules_are_equal_files(tmp_path):
    module = build("transolver", **OPTIONS)
    for name in "ab":
        save(module, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_module_of_six_thousand_tensors_comes_back(tmp_path):
    module, known = made(Many)
    save(module, tmp_path / "module")
    assert bits(load_module(tmp_path / "module", registry=known)) == bits(module)


def test_files_say_for_other_tools_that_the_tensors_are_torchs(tmp_path):
    save(made(Odd)[0], tmp_path / "module")
    with safe_open(tmp_path / "module", framework="pt") as file:
        assert file.metadata()["format"] == "pt"


def test_equal_modules_are_equal_files_in_any_process(tmp_path):
    code = f"""
import torch
from noether_core import build, save
torch.manual_seed(0)
save(build("transolver", **{OPTIONS}), "module")
"""
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path / name, check=True)
        files.append((tmp_path / name / "module").read_bytes())
    assert files[0] == files[1]


def test_every_tensor_lies_where_its_elements_are_aligned(tmp_path):
    module, _ = made(Odd)
    save(module, tmp_path / "module")
    with (tmp_path / "module").open("rb") as file:
        header = read_header(file, "module")
        start = file.tell()
    state = module.state_dict()
    assert list(header.tensors) != list(state)
    for name in header.tensors:
        assert start % state[name].element_size() == 0
        start += state[name].nbytes
    assert start == (tmp_path / "module").stat().st_size


def test_tensors_of_every_kind_come_back(tmp_path):
    module, known = made(Odd)
    with torch.no_grad():
        module.weight[0, 0], module.weight[0, 1] = float("nan"), -0.0
    save(module, tmp_path / "module")
    loaded = load_module(tmp_path / "module", registry=known, strict=True)
    assert bits(loaded) == bits(module)
    assert loaded.empty.shape == (0, 3)
    assert loaded.phase.item() == 1 - 2j
    assert "made" not in loaded.state_dict()


def test_memory_in_any_order_is_saved_row_by_row(tmp_path):
    module, known = made(Odd)
    stack = torch.randn(4, 3, 5)
    module.weight = nn.Parameter(stack[2].T)  # part of a larger memory, columns first
    assert not module.weight.is_contiguous()
    save(module, tmp_path / "module")
    assert load_module(tmp_path / "module", registry=known).weight.equal(stack[2].T)
    assert (tmp_path / "module").stat().st_size < 4096


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_of_a_module_is_kept_buffers_that_are_not_saved_included(dtype, tmp_path):
    module, known = made(Odd)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.to(dtype if tensor.is_floating_point() else tensor.dtype)
    save(module, tmp_path / "module")
    loaded = load_module(tmp_path / "module", registry=known)
    assert loaded.weight.dtype == loaded.made.dtype == dtype
    assert bits(loaded) == bits(module)
    assert loaded.made.tolist() == [0, 1, 2]
    assert loaded.count.dtype == torch.int64


def test_each_tensor_keeps_a_dtype_of_its_own_whatever_the_default_is(tmp_path):
    module, known = made(Odd)
    module.weight.data = module.weight.data.to(torch.float8_e5m2)
    save(module, tmp_path / "module")
    torch.set_default_dtype(torch.float64)
    try:
        loaded = load_module(tmp_path / "module", registry=known)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (loaded.weight.dtype, loaded.scalar.dtype, loaded.made.dtype) == (
        torch.float8_e5m2,
        torch.float32,
        torch.float32,
    )
    assert bits(loaded) == bits(module)


def test_one_weight_in_two_places_is_one_again(tmp_path):
    module, known = made(Tied)
    module.to(torch.bfloat16)
    save(module, tmp_path / "module")
    loaded = load_module(tmp_path / "module", registry=known)
    assert loaded.reads.weight is loaded.writes.weight
    assert bits(loaded) == bits(module)


def test_weights_that_were_separated_are_not_loaded_into_one(tmp_path):
    save(made(Separate)[0], tmp_path / "module")
    with pytest.raises(SavedModuleError) as caught:
        load_module(tmp_path / "module", registry=known_with(Tied))
    message = (
        "'reads.weight' and 'writes.weight' differ in the file, and are one tensor in the module"
    )
    assert caught.value.reason == f"its tensors do not fit the module:\n  {message}"


def test_a_module_whose_one_weight_was_separated_is_refused(tmp_path):
    module, _ = made(Tied)
    module.writes.weight = nn.Parameter(torch.zeros(3, 3))
    message = "'reads.weight' and 'writes.weight' differ, build makes them one tensor"
    with pytest.raises(UnsavableModuleError, match=message):
        save(module, tmp_path / "module")


def test_a_loaded_module_is_in_training_mode_and_learns(tmp_path):
    module = build("transolver", **OPTIONS).eval().requires_grad_(requires_grad=False)
    save(module, tmp_path / "module")
    loaded = load_module(tmp_path / "module")
    assert loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_saving_changes_nothing(tmp_path):
    module = build("transolver", **OPTIONS).eval()
    before, memory = (
        bits(module),
        {name: value.data_ptr() for name, value in module.state_dict().items()},
    )
    save(module, tmp_path / "module")
    assert bits(module) == before
    assert {name: value.data_ptr() for name, value in module.state_dict().items()} == memory
    assert not module.training


def test_loading_draws_no_random_numbers(tmp_path):
    save(build("transolver", **OPTIONS), tmp_path / "module")
    torch.manual_seed(5)
    wanted = torch.randn(3)
    torch.manual_seed(5)
    load_module(tmp_path / "module")
    assert torch.randn(3).equal(wanted)


def test_a_compiled_module_is_saved_as_its_original(tmp_path):
    module = build("transolver", **OPTIONS)
    compiled = torch.compile(module, backend="eager")
    compiled(torch.randn(1, 5, 8))
    save(compiled, tmp_path / "compiled")
    save(module, tmp_path / "module")
    assert (tmp_path / "compiled").read_bytes() == (tmp_path / "module").read_bytes()
    assert load_module(tmp_path / "compiled").__class__ is module.__class__


def test_a_module_goes_to_the_device_that_is_asked_for(tmp_path):
    save(build("transolver", **OPTIONS), tmp_path / "module")
    assert {
        value.device.type for value in load_module(tmp_path / "module", device="cpu").parameters()
    } == {"cpu"}
    with pytest.warns(
        UserWarning, match="copying from a non-meta parameter"
    ):  # a device that every machine has
        loaded = load_module(tmp_path / "module", device="meta")
    assert {value.device.type for value in loaded.parameters()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_module_on_a_gpu_is_saved_and_loaded_there(tmp_path):
    module = build("transolver", **OPTIONS)
    save(module, tmp_path / "before")
    save(module.cuda(), tmp_path / "module")
    assert (tmp_path / "module").read_bytes() == (tmp_path / "before").read_bytes()
    loaded = load_module(tmp_path / "module", device="cuda")
    assert {value.device.type for value in loaded.state_dict().values()} == {"cuda"}
    assert bits(loaded.cpu()) == bits(module.cpu())


def test_a_qualified_type_stays_as_it_was_written(tmp_path):
    module = build("noether-attention:transolver", **OPTIONS)
    save(module, tmp_path / "module")
    assert load_module(tmp_path / "module", strict=True).config == module.config


def test_options_that_a_config_keeps_unread_come_back(tmp_path):
    config = structure(
        {"type": "transolver", **OPTIONS, "num_latents": 3, "note": "änderung \x85"}, unknown="keep"
    )
    save(build(config), tmp_path / "module")
    assert load_module(tmp_path / "module").config == config
    assert dict(load_module(tmp_path / "module").config.extra) == {
        "num_latents": 3,
        "note": "änderung \x85",
    }


def test_modules_within_are_recorded_as_well(tmp_path):
    module, _ = made(Nested)
    save(module, tmp_path / "module")
    with safe_open(tmp_path / "module", framework="pt") as file:
        (part,) = json.loads(file.metadata()["noether.parts"])
    assert (part["type"], part["distribution"]) == ("flare", "noether-attention")


@pytest.mark.parametrize(
    "thing", [nn.Linear(2, 2), None, "module"], ids=lambda thing: type(thing).__name__
)
def test_what_build_did_not_make_is_refused_with_the_way_out(thing, tmp_path):
    with pytest.raises(UnsavableModuleError, match="save the module that build returned") as caught:
        save(thing, tmp_path / "module")
    assert f"this {type(thing).__name__} was not made by noether_core.build" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_lost_its_config_is_refused(tmp_path):
    module = build("transolver", **OPTIONS)
    module.config = {"type": "transolver"}
    with pytest.raises(UnsavableModuleError, match="has lost the 'config' that build made it from"):
        save(module, tmp_path / "module")


def test_everything_that_cannot_be_saved_is_reported_by_name(tmp_path):
    module, _ = made(Strange)
    with pytest.raises(UnsavableModuleError) as caught:
        save(module, tmp_path / "module")
    assert str(caught.value).removeprefix("the module cannot be saved: ").split("; ") == [
        "'sparse' has the layout torch.sparse_coo",
        "make it dense before",
        "'nowhere' is on the device 'meta' and has no values",
        "'wide' has the dtype complex128, which safetensors files do not hold",
        "'special' is of type Special, and only plain tensors are saved",
        "'_extra_state' is of type dict, and only tensors are saved",
        "'lazy.weight' has no shape yet",
        "call the module once before",
        "'lazy.bias' has no shape yet",
        "call the module once before",
    ]
    assert list(tmp_path.iterdir()) == []


def test_text_that_could_not_be_read_back_is_refused_before_anything_is_written(tmp_path):
    config = structure({"type": "transolver", **OPTIONS, "note": "\ud800"}, unknown="keep")
    with pytest.raises(SavedModuleError, match="half of a character"):
        save(build(config), tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_no_reader_takes_is_refused_before_anything_is_written(tmp_path):
    module, _ = made(LongNames)
    refusal = r"the header would have \d+ bytes, of at most 16777216"
    with pytest.raises(SavedModuleError, match=refusal):
        save(module, tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_replaced_with_its_permissions(tmp_path):
    path = tmp_path / "module"
    path.write_text("old")
    path.chmod(0o640)
    save(build("transolver", **OPTIONS), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load_module(path).config.type == "transolver"
    assert [file.name for file in tmp_path.iterdir()] == ["module"]


def test_a_missing_folder_is_reported_by_the_name_that_was_given(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        save(build("transolver", **OPTIONS), tmp_path / "missing" / "module")
    assert caught.value.filename == str(tmp_path / "missing" / "module")


def test_saving_takes_little_memory_of_its_own(tmp_path):
    module = build("dot_product", hidden_dim=512, num_heads=2)
    save(module, tmp_path / "module")
    tracemalloc.start()
    try:
        save(module, tmp_path / "module")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "module").stat().st_size > 4 * 2**20
    assert peak < 2**19


def test_no_part_of_saving_knows_pickle():
    home = Path(noether_core.__file__).parent
    files = [
        *(home / "saving").glob("*.py"),
        *(home / "tensor_files").glob("*.py"),
        home / "nn" / "summary_files.py",
        home / "structuring" / "lock.py",
        home / "provenance.py",
        *(home.parent / "noether_plugins" / "workbench").glob("*.py"),
    ]
    assert len(files) > 14
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = {
            name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
        }
        called = {
            f"{node.value.id}.{node.attr}" for node in ast.walk(tree) if is_name_of_name(node)
        }
        assert imported.isdisjoint(
            {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
        ), file
        assert called.isdisjoint({"torch.load", "torch.save", "pickle.load", "pickle.loads"}), file


def is_name_of_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    module = build("dot_product", hidden_dim=2, num_heads=1)
    try:
        save(module, path)
        piped = os.read(reader, 2**16)
    finally:
        os.close(reader)
    save(module, tmp_path / "module")
    assert piped == (tmp_path / "module").read_bytes()
