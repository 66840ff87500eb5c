"""Files that are cut short, damaged, foreign or hostile are clear errors, at a bounded cost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from noether_core import build, load_module, save
from noether_core.errors import SavedModuleError
from noether_core.saving.contents import contents_of
from noether_core.saving.loading import _read
from noether_core.tensor_files.tensors import dtype_named
from tests.sampling import sampled

FOREIGN = "is no safetensors file, or a damaged one: "


@pytest.fixture(scope="module")
def module():
    return build("dot_product", hidden_dim=2, num_heads=1, bias=False)


@pytest.fixture(scope="module")
def content(module, tmp_path_factory):
    """The bytes of a small file."""
    path = tmp_path_factory.mktemp("saved") / "module.safetensors"
    save(module, path)
    return path.read_bytes()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "module.safetensors"


def reason(file: Path) -> str:
    """Return why a file cannot be loaded."""
    with pytest.raises(SavedModuleError) as caught:
        load_module(file)
    assert caught.value.file == str(file)
    assert str(caught.value) == f"{file}: {caught.value.reason}"
    return caught.value.reason


def header_of(content: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("every", sampled([1, 11], 11))
def test_every_flipped_bit_is_found(every, content, file):
    passed = []
    for number in range(0, 8 * len(content), every):  # eleven apart, they are of bytes of all kinds
        at, bit = divmod(number, 8)
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        file.write_bytes(damaged)
        try:
            _read(str(file))
        except SavedModuleError:
            continue
        passed.append((at, bit))
    assert passed == []


@pytest.mark.parametrize("every", sampled([1, 5], 5))
def test_every_shorter_file_is_found(every, content, file):
    for length in range(0, len(content), every):
        file.write_bytes(content[:length])
        with pytest.raises(SavedModuleError):
            _read(str(file))


def test_a_tensor_that_is_damaged_is_reported_by_name(content, file):
    header, _ = header_of(content)
    start, _ = header["v.weight"]["data_offsets"]
    damaged = bytearray(content)
    damaged[
        len(content)
        - max(entry["data_offsets"][1] for name, entry in header.items() if "." in name)
        + start
    ] ^= 1
    file.write_bytes(damaged)
    assert reason(file) == "is damaged: the tensor 'v.weight' is not the one that was written"


def test_a_header_that_is_damaged_is_reported(content, file):
    file.write_bytes(content.replace(b'\\"num_heads\\":1', b'\\"num_heads\\":2'))
    assert reason(file) == "is damaged: its header is not the one that was written"


def test_what_is_missing_of_tensors_is_reported(content, file):
    file.write_bytes(content[:-5])
    assert reason(file) == "is cut short: 64 bytes of tensors were written, 59 are there"
    file.write_bytes(content + b"more")
    assert reason(file) == "is damaged: 64 bytes of tensors were written, 68 are there"


def test_what_is_missing_of_the_header_is_reported(content, file):
    file.write_bytes(content[:100])
    assert reason(file).startswith("is cut short: ")
    assert reason(file).endswith(" bytes of header were written, 92 are there")


def test_a_file_that_another_tool_wrote_anew_is_as_good(module, content, file):
    header, data = header_of(content)
    metadata = header.pop("__metadata__")
    reordered = {name: header[name] for name in reversed(header)}
    file.write_bytes(
        with_header({**reordered, "__metadata__": {**metadata, "by": "another tool"}}, data)
    )
    assert load_module(file, strict=True).config == module.config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"abc", "it starts with b'abc'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), r"it starts with b'\x89PNG\r\n\x1a\n'"),
        (b"type: transolver\nhidden_dim: 8\n", "it starts with b'type: tr'"),
        (pickle.dumps({"weight": [1.0]}, protocol=4), r"it starts with b'\x80\x04\x95"),
        (struct.pack("<Q", 2**63) + b"{}", r"it starts with b'\x00\x00\x00\x00\x00\x00\x00\x80'"),
        (struct.pack("<Q", 2**24 + 1) + bytes(2**24 + 1), "it starts with b'"),
        (with_header(b"\xff{}"), "its header is not UTF-8 from byte 8 on"),
        (with_header(b"{"), "its header is not valid JSON: Expecting property name"),
        (with_header(b"[]"), "its header holds no names but []"),
        (with_header(b"3"), "its header holds no names but 3"),
        (with_header(b"NaN"), "its header holds no names but nan"),
        (with_header(b"[" * 100_000), "its header is not valid JSON: maximum recursion depth"),
        (with_header(b'{"a": ' + b"9" * 5000 + b"}"), "its header is not valid JSON: Exceeds"),
        (with_header({"__metadata__": []}), "its __metadata__ is no mapping from text to text: []"),
        (
            with_header({"__metadata__": {"a": 3}}),
            "its __metadata__ is no mapping from text to text: {'a': 3}",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_such_file_is_reported_with_what_it_starts_with(content, message, file):
    file.write_bytes(content)
    assert reason(file).startswith(FOREIGN + message)


def test_what_torch_saves_is_refused_and_never_unpickled(file, module):
    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(file.parent / "harmed"),)

    buffer = io.BytesIO()
    torch.save({"weight": Runs()}, buffer)
    assert zipfile.is_zipfile(buffer)
    for content in (buffer.getvalue(), pickle.dumps(Runs())):
        file.write_bytes(content)
        assert reason(file).startswith(FOREIGN + "it starts with b'")
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (3, FOREIGN + "its entry of the tensor 'weight' is unsound: 3"),
        ({}, FOREIGN + "its entry of the tensor 'weight' is unsound: {}"),
        ({"dtype": "F32", "shape": [1]}, FOREIGN + "its entry of the tensor 'weight' is unsound"),
        ({"shape": 1, "data_offsets": [0, 4]}, FOREIGN + "its entry of the tensor 'weight'"),
        ({"shape": [1], "data_offsets": [0, 4, 4]}, FOREIGN + "its entry of the tensor 'weight'"),
        ({"dtype": 3, "shape": [1], "data_offsets": [0, 4]}, FOREIGN + "its entry of the tensor"),
        ({"dtype": "F5", "shape": [8], "data_offsets": [0, 4]}, FOREIGN + "Error while deseriali"),
        ({"shape": [2], "data_offsets": [0, 4]}, FOREIGN + "Error while deserializing header: "),
        ({"shape": [True], "data_offsets": [0, 4]}, FOREIGN + "Error while deserializing header: "),
        ({"shape": [1.0], "data_offsets": [0, 4]}, FOREIGN + "Error while deserializing header: "),
        ({"shape": ["1"], "data_offsets": [0, 4]}, FOREIGN + "Error while deserializing header: "),
        ({"shape": [-1], "data_offsets": [0, -4]}, "is damaged: 0 bytes of tensors were written, "),
        ({"shape": [1], "data_offsets": [4, 0]}, "is damaged: 0 bytes of tensors were written, 4 "),
        ({"shape": [1], "data_offsets": [0, 8]}, "is cut short: 8 bytes of tensors were written, "),
        ({"shape": [2**64], "data_offsets": [0, 2**66]}, f"is cut short: {2**66} bytes of tensors"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_is_refused(entry, said, file):
    if isinstance(entry, dict) and "data_offsets" in entry:
        entry = {"dtype": "F32", **entry}
    file.write_bytes(with_header({"weight": entry}, bytes(4)))
    assert reason(file).startswith(said)


@pytest.mark.parametrize(
    ("first", "second"), [([0, 4], [0, 12]), ([0, 4], [8, 12]), ([4, 8], [8, 12])]
)
def test_tensors_that_overlap_or_leave_gaps_are_refused(first, second, file):
    entries = {
        name: {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end]}
        for name, (start, end) in (("a", first), ("b", second))
    }
    file.write_bytes(with_header(entries, bytes(12)))
    assert reason(file).startswith(FOREIGN + "Error while deserializing header: invalid offset")


def test_a_file_of_safetensors_that_save_did_not_write_is_reported_as_such(file):
    save_file({"weight": torch.ones(2)}, file, metadata={"format": "pt"})
    assert (
        reason(file)
        == "holds no saved module: its metadata has no 'noether.format'; write it with save"
    )


def rewritten(content: bytes, **texts: str) -> bytes:
    """Return a file with other text about its module, and the digest that this text has."""
    header, data = header_of(content)
    metadata = header.pop("__metadata__")
    del metadata["noether.digest"]
    metadata |= {f"noether.{key}": text for key, text in texts.items()}
    table = {name: [entry["dtype"], entry["shape"]] for name, entry in header.items()}
    text = json.dumps([metadata, table], sort_keys=True, separators=(",", ":"))
    metadata["noether.digest"] = hashlib.sha256(text.encode()).hexdigest()
    return with_header({"__metadata__": metadata, **header}, data)


def test_the_digest_is_what_its_description_says(content, file, module):
    file.write_bytes(rewritten(content))
    assert load_module(file).config == module.config


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"format": "2"},
            "is of format '2', and this noether-attention reads '1'; install a newer one",
        ),
        ({"config": "[]"}, "config: expected a mapping"),
        ({"config": "{"}, "noether.config:1:2: not valid JSON"),
        ({"config": '{"a":1,"a":2}'}, "a: given twice"),
        ({"provenance": "{}"}, "provenance.type: missing"),
        ({"provenance": "7"}, "provenance: expected a mapping"),
        ({"parts": "[7]"}, "parts[0]: expected a mapping"),
        ({"sha256": '{"q.weight":7}'}, "sha256.q.weight: expected text"),
        ({"sha256": "{}"}, "has not one digest for each tensor"),
        ({"more": "1"}, "more: unknown option of Contents"),
    ],
    ids=str,
)
def test_text_that_was_written_by_something_else_is_reported(texts, message, content, file):
    file.write_bytes(rewritten(content, **texts))
    assert message in reason(file)


def test_names_of_dtypes_lead_nowhere_else(content, file, module):
    assert dtype_named("bfloat16") is torch.bfloat16
    assert [dtype_named(name) for name in ("load", "nowhere", "nn.Linear", "")] == [None] * 4
    file.write_bytes(rewritten(content, buffers='{"made":"load"}'))
    assert load_module(file).config == module.config


def test_hostile_files_cost_little(content, file):
    values = b'{"a":[' + b"[]," * 300_000 + b"[]]}"
    names = b"{" + b",".join(b'"%d":{}' % number for number in range(100_000)) + b"}"
    axes = with_header(
        {"weight": {"dtype": "F32", "shape": [2**62] * 60, "data_offsets": [0, 4]}}, bytes(4)
    )
    for hostile in (
        with_header(values[: 2**20]),
        with_header(names[: 2**20]),
        with_header(b" " * 2**24),
        axes,
    ):
        file.write_bytes(hostile)
        tracemalloc.start()
        started = time.process_time()
        try:
            reason(file)
            assert time.process_time() - started < 10
            assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
        finally:
            tracemalloc.stop()


def test_a_length_that_lies_costs_no_memory(file):
    file.write_bytes(
        with_header(
            {"weight": {"dtype": "F64", "shape": [2**50], "data_offsets": [0, 2**53]}}, bytes(8)
        )
    )
    assert reason(file) == f"is cut short: {2**53} bytes of tensors were written, 8 are there"


@pytest.mark.parametrize("name", ["missing.safetensors", "folder.safetensors", "pipe.safetensors"])
def test_what_is_no_file_is_reported(name, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    message = (
        "cannot be read: No such file or directory" if name.startswith("missing") else "is no file"
    )
    assert reason(tmp_path / name) == message


def test_a_name_of_bytes_is_the_name_that_it_encodes(tmp_path):
    path = os.fsencode(tmp_path / "module.safetensors")
    with pytest.raises(
        SavedModuleError, match=r"module\.safetensors: cannot be read: No such file"
    ):
        load_module(path)
    save(build("dot_product", hidden_dim=2, num_heads=1), path)
    assert load_module(path).config.hidden_dim == 2


def test_a_file_that_is_cut_while_it_is_read_is_reported(file, monkeypatch):
    save(build("dot_product", hidden_dim=64, num_heads=1), file)

    def cut(*header):
        os.truncate(file, 40_000)
        return contents_of(*header)

    monkeypatch.setattr("noether_core.saving.loading.contents_of", cut)
    assert reason(file).startswith("is cut short: 66560 bytes of tensors were written, ")


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(file, monkeypatch):
    before = build("dot_product", hidden_dim=64, num_heads=1)
    save(before, file)

    def replace(*header):
        save(build("dot_product", hidden_dim=64, num_heads=2), file)
        return contents_of(*header)

    monkeypatch.setattr("noether_core.saving.loading.contents_of", replace)
    loaded = load_module(file)
    assert loaded.config == before.config
    assert all(
        value.equal(before.state_dict()[name]) for name, value in loaded.state_dict().items()
    )
