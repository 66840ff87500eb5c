"""The text beside the tensors of a file of ours: JSON by name, sealed by a digest. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from noether_core.errors import ConfigError, SavedModuleError, shown
from noether_core.structuring.documents import parse
from noether_core.tensor_files.header import TensorInfo, header_digest, opened, read_header

Kind = Literal["module", "run", "checkpoint"]
"""What a file of ours holds."""

_PREFIX: Final = "noether."
_FORMAT: Final = "1"
_FORMAT_KEY, _KIND_KEY, _DIGEST_KEY = f"{_PREFIX}format", f"{_PREFIX}kind", f"{_PREFIX}digest"

# What accelerate and transformers ask of a file before they read it.
_FRAMEWORK_KEY, _FRAMEWORK = "format", "pt"

_NAMES: Final[Mapping[str, str]] = {
    "module": "saved module",
    "run": "run",
    "checkpoint": "checkpoint",
}
_WRITERS: Final[Mapping[str, str]] = {
    "module": "write it with save",
    "run": "'noether run' writes them",
    "checkpoint": "'noether run' writes them",
}
_READERS: Final[Mapping[str, str]] = {
    "module": "load_module reads it",
    "run": "load_run reads its folder, and 'noether show' says what it is",
    "checkpoint": "'noether run FILE --resume' goes on with it",
}


def sealed(
    sections: Mapping[str, str], tensors: Mapping[str, TensorInfo], kind: Kind
) -> dict[str, str]:
    """Return the text that stands in the header of a file.

    Args:
        sections: JSON by name.
        tensors: The tensors of the file.
        kind: What it holds.
    """
    texts = {_FRAMEWORK_KEY: _FRAMEWORK, _FORMAT_KEY: _FORMAT}
    if kind != "module":
        texts[_KIND_KEY] = kind
    texts |= {f"{_PREFIX}{name}": text for name, text in sections.items()}
    return texts | {_DIGEST_KEY: header_digest(texts, tensors)}


def kind_of(metadata: Mapping[str, str]) -> Kind:
    """Return what a file holds, going by the text in its header; ``module`` if it does not say."""
    for kind in get_args(Kind):
        if metadata.get(_KIND_KEY) == kind:
            return kind  # type: ignore[no-any-return]
    return "module"


def kind_in(path: str | os.PathLike[str]) -> Kind:
    """Return what the file at *path* holds; ``module`` if it does not say.

    Raises:
        SavedModuleError: If it cannot be read, or is no safetensors file.
    """
    with opened(path) as file:
        return kind_of(read_header(file, os.fspath(path)).metadata)


def unsealed(
    metadata: Mapping[str, str], tensors: Mapping[str, TensorInfo], name: str, kind: Kind
) -> dict[str, Any]:
    """Return the data of each section of a header, if it is as it was written.

    Args:
        metadata: The text in the header; that of other tools is passed over.
        tensors: The tensors in it.
        name: What errors call the file.
        kind: What the file should hold.

    Raises:
        SavedModuleError: If no file of that kind was written there, or it is damaged.
    """
    texts = {
        key: text
        for key, text in metadata.items()
        if key.startswith(_PREFIX) or key == _FRAMEWORK_KEY
    }
    # The format first: another one may have its digest elsewhere.
    _check_format(texts, name, kind)
    if texts.pop(_DIGEST_KEY, None) != header_digest(texts, tensors):
        raise SavedModuleError(name, "is damaged: its header is not the one that was written")
    found = texts.pop(_KIND_KEY, "module")
    if found != kind:
        what = f"a {_NAMES.get(found, 'file of another kind')}"
        reader = f"; {_READERS[found]}" if found in _READERS else ""
        raise SavedModuleError(name, f"holds {what} and no {_NAMES[kind]}{reader}")

    sections: dict[str, Any] = {}
    try:
        for key, text in texts.items():
            if key not in {_FORMAT_KEY, _FRAMEWORK_KEY}:
                sections[key.removeprefix(_PREFIX)] = parse(text, "json", file=key).data
    except ConfigError as error:
        raise impossible(error, name) from error
    return sections


def impossible(error: ConfigError, name: str) -> SavedModuleError:
    """Return the error of a header that is whole, and says what no file of ours does."""
    reason = f"its header says what cannot be: {error.problems[0].headline}"
    return SavedModuleError(name, reason)


def _check_format(texts: Mapping[str, str], name: str, kind: Kind) -> None:
    found = texts.get(_FORMAT_KEY)
    if found is None:
        reason = f"holds no {_NAMES[kind]}: its metadata has no '{_FORMAT_KEY}'"
        raise SavedModuleError(name, f"{reason}; {_WRITERS[kind]}")
    if found != _FORMAT:
        reason = f"is of format {shown(found)}, and this noether-attention reads '{_FORMAT}'"
        raise SavedModuleError(name, f"{reason}; install a newer one")
