"""What a file says of the module in it: config, provenance, and digests by which damage is found.
No torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs

from noether_core.errors import ConfigError, SavedModuleError, shown
from noether_core.provenance import Provenance
from noether_core.saving.header import Header, TensorInfo, read_header
from noether_core.schemas.accepted import canonical_json
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.schema import Schema
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.documents import parse
from noether_core.structuring.structure import structure

if TYPE_CHECKING:
    from io import BufferedReader

_FORMAT: Final = "1"
_PREFIX: Final = "noether."
_FORMAT_KEY, _DIGEST_KEY = f"{_PREFIX}format", f"{_PREFIX}digest"


@attrs.frozen(kw_only=True)
class Contents(Schema):
    """What a file says of the module in it; each field is the JSON under its name behind
    ``noether.``.
    """

    config: Mapping[str, Any]
    """The options of its config, defaults written out."""

    provenance: Provenance
    """Which plugin made it."""

    parts: tuple[Provenance, ...] = ()
    """Which plugins made the modules within it that ``build`` made as well, each told once."""

    schema: Mapping[str, Any]
    """What its config class accepted."""

    buffers: Mapping[str, str] = EMPTY
    """Dtypes of the buffers that it makes itself, and that are not saved."""

    sha256: Mapping[str, str]
    """Digests of the bytes of its tensors, in hexadecimal digits."""


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Yield the file at *path*; what goes wrong with reading it is told as a SavedModuleError."""
    name = os.fspath(path)
    try:
        if os.path.exists(name) and not os.path.isfile(name):
            raise SavedModuleError(name, "is no file")
        with open(name, "rb") as file:
            yield file
    except OSError as error:
        raise SavedModuleError(name, f"cannot be read: {error.strerror}") from error


def read_contents(file: BufferedReader, name: str) -> tuple[Contents, Header]:
    """Return what an open file says, and leave the file at the first byte of its tensors.

    Args:
        file: The file, at its start.
        name: What errors call it.

    Raises:
        SavedModuleError: If it is not one that `save` wrote, or its header is damaged.
        OSError: If it cannot be read.
    """
    header = read_header(file, name)
    return contents_of(header, name), header


def contents_of(header: Header, name: str) -> Contents:
    """Return what the header of a file says of the module in it.

    Raises:
        SavedModuleError: If it is not one that `save` wrote, or is damaged.
    """
    texts = {key: text for key, text in header.metadata.items() if key.startswith(_PREFIX)}
    _check_format(texts, name)
    if texts.pop(_DIGEST_KEY, None) != _digest(texts, header.tensors):
        raise SavedModuleError(name, "is damaged: its header is not the one that was written")
    del texts[_FORMAT_KEY]
    try:
        told = {
            key.removeprefix(_PREFIX): parse(text, "json", file=key).data
            for key, text in texts.items()
        }
        contents = structure(told, Contents)
    except ConfigError as error:
        raise SavedModuleError(
            name, f"its header says what cannot be: {error.problems[0].headline}"
        ) from error
    if contents.sha256.keys() != header.tensors.keys():
        raise SavedModuleError(name, "its header has not one digest for each tensor")
    return contents


def metadata_of(contents: Contents, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Return the text by which a file with *tensors* says *contents*."""
    told = unstructure(contents).items()
    texts = {
        _FORMAT_KEY: _FORMAT,
        **{f"{_PREFIX}{key}": canonical_json(value) for key, value in told},
    }
    return texts | {_DIGEST_KEY: _digest(texts, tensors)}


def _check_format(texts: Mapping[str, str], name: str) -> None:
    found = texts.get(_FORMAT_KEY)
    if found is None:
        raise SavedModuleError(
            name, f"holds no saved module: its metadata has no '{_FORMAT_KEY}'; write it with save"
        )
    if found != _FORMAT:
        raise SavedModuleError(
            name,
            f"is of format {shown(found)}, and this noether-attention reads '{_FORMAT}'; install a newer one",
        )


def _digest(texts: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> str:
    """Return the digest of all that a header says; those of the bytes of tensors are part of it."""
    table = {name: [info.dtype, list(info.shape)] for name, info in tensors.items()}
    return hashlib.sha256(canonical_json([texts, table]).encode()).hexdigest()
