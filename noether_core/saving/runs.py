"""What the files of a run say: what was learnt from what, and with which plugins. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from noether_core.errors import ConfigError, Difference, SavedModuleError
from noether_core.provenance import Provenance, provenance_in
from noether_core.saving.contents import compare_made, differences_of_parts
from noether_core.saving.sealed import Kind, impossible, kind_of, sealed, unsealed
from noether_core.schemas.accepted import accepted_by
from noether_core.schemas.schema import Schema
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.structure import structure
from noether_core.tasks import Layout
from noether_core.tensor_files.header import Header, TensorInfo, opened, read_header

if TYPE_CHECKING:
    from noether_core.plugins.registry import RecordRegistry, Registry

WEIGHTS: Final = "weights.safetensors"
"""The model of a run, and what is needed to use it."""

RESULT: Final = "result.json"
"""By this one a run is known to be whole: it comes last and goes first."""

UNFINISHED: Final = "unfinished"
"""The folder within that of a run for what is needed to go on with it."""

CHECKPOINT: Final = "checkpoint.safetensors"
"""The state of a training, in that folder."""


@attrs.frozen(kw_only=True)
class Made(Schema):
    """One plugin that took part in a run."""

    provenance: Provenance
    """Which package provides it."""

    schema: Mapping[str, Any]
    """What its config class accepted."""

    fingerprint: str
    """The fingerprint of its config."""


@attrs.frozen(kw_only=True)
class RunContents(Schema):
    """What a file says of its run; each field is the JSON under its name behind ``noether.``."""

    experiment: Mapping[str, Any]
    """The experiment, defaults written out."""

    attention: Made
    """Which plugin made the attention."""

    parts: tuple[Provenance, ...] = ()
    """Which other plugins made modules within the model, each once."""

    task: Made
    """Which plugin gave the samples."""

    layout: Layout
    """What the samples had in common."""

    result: Mapping[str, Any]
    """What came of it, as in `RESULT`, but for the losses."""

    sha256: Mapping[str, str]
    """Digests of the bytes of its tensors, in hexadecimal digits."""


class ReadRun(NamedTuple):
    """The header of a file of a run."""

    kind: Kind
    contents: RunContents
    header: Header


def made_of(config: Any, registry: RecordRegistry[Any]) -> Made:
    """Return which plugin of this process a concrete config is of.

    Args:
        config: The config of a variant or of a task.
        registry: Where types of its kind are looked up.
    """
    entry = registry.provider_of(config)
    return Made(
        provenance=provenance_in(registry.get(entry.qualified_name), entry),
        schema=accepted_by(type(config)),
        fingerprint=config.fingerprint(),
    )


def run_texts(
    contents: RunContents, tensors: Mapping[str, TensorInfo], kind: Kind
) -> dict[str, str]:
    """Return the text by which a file with *tensors* says *contents*."""
    # In the order of the data, unlike that of files of modules: a layout has its groups in the
    # order in which the model has them.
    sections = {
        name: json.dumps(value, separators=(",", ":"))
        for name, value in unstructure(contents).items()
    }
    return sealed(sections, tensors, kind)


def run_contents(
    metadata: Mapping[str, str], tensors: Mapping[str, TensorInfo], name: str, kind: Kind
) -> RunContents:
    """Return what a file says of its run.

    Args:
        metadata: The text in its header.
        tensors: The tensors in its header.
        name: What errors call the file.
        kind: What it should hold: a run or a checkpoint.

    Raises:
        SavedModuleError: If it does not, or is damaged.
    """
    data = unsealed(metadata, tensors, name, kind)
    try:
        contents = structure(data, RunContents)
    except ConfigError as error:
        raise impossible(error, name) from error
    if contents.sha256.keys() != tensors.keys():
        raise SavedModuleError(name, "its header has not one digest for each tensor")
    return contents


def read_run(path: str | os.PathLike[str]) -> ReadRun:
    """Return what the header of a run's file or of a checkpoint says; no tensor is read.

    Raises:
        SavedModuleError: If it is neither, or its header is damaged.
    """
    name = os.fspath(path)
    with opened(path) as file:
        header = read_header(file, name)
    kind: Kind = "checkpoint" if kind_of(header.metadata) == "checkpoint" else "run"
    return ReadRun(kind, run_contents(header.metadata, header.tensors, name, kind), header)


def run_at(folder: str | os.PathLike[str]) -> str:
    """Return the file in a run's folder that says most of it.

    That is its weights; where it is not over, its last checkpoint.

    Raises:
        SavedModuleError: If the folder holds no run.
    """
    name = os.fspath(folder)
    weights = os.path.join(name, WEIGHTS)
    checkpoint = os.path.join(name, UNFINISHED, CHECKPOINT)
    if os.path.exists(os.path.join(name, RESULT)) and os.path.exists(weights):
        return weights
    if os.path.exists(checkpoint):
        return checkpoint
    if not os.path.isdir(name):
        raise SavedModuleError(name, "is no folder of a run: there is no such folder")
    raise SavedModuleError(
        name, f"holds no run: neither {RESULT} and {WEIGHTS} nor {UNFINISHED}/{CHECKPOINT} is there"
    )


def differences_of_run(contents: RunContents, registry: Registry) -> Iterator[Difference]:
    """Yield in what the plugins of a run differ from what is installed.

    Raises:
        PluginError: If a plugin that takes a place cannot be used.
    """
    kinds: tuple[tuple[Made, str, RecordRegistry[Any]], ...] = (
        (contents.attention, "attention", registry),
        (contents.task, "task", registry.tasks),
    )
    for made, section, known in kinds:
        written = str(contents.experiment[section]["type"])
        yield from compare_made(made.provenance, written, made.schema, known).differences
    yield from differences_of_parts(contents.parts, registry)
