"""Summaries in safetensors files, with what a module has to agree with that reads them again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import SavedModuleError, SummaryError
from noether_core.schemas.accepted import canonical_json
from noether_core.tensor_files.header import TensorInfo, header_digest
from noether_core.tensor_files.reading import check_installed, read_tensors
from noether_core.tensor_files.tensors import bytes_of, digest_of, dtype_name, dtype_named
from noether_core.tensor_files.writing import write_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from noether_core.nn.summaries import Summary

_FORMAT: Final = 1
_SUMMARY_KEY, _DIGEST_KEY = "noether.summary", "noether.digest"

# What accelerate and transformers ask of a file before they read it.
_FRAMEWORK: Final = {"format": "pt"}


def save_summary(summary: Summary, path: str | os.PathLike[str]) -> None:
    """Write a summary; see `Summary.save`."""
    origin = summary.origin
    module = None if origin.module is None else origin.module()
    if module is None:
        raise SummaryError(
            "summary: the module that gathered it is gone or unknown, so that nobody could tell "
            "which one may read the file; save it where the module is"
        )

    state: dict[str, Tensor] = {}
    for part, value in summary.parts.items():
        for field, tensor in zip(value._fields, value, strict=True):
            if tensor is not None:
                state[f"{part}.{field}"] = tensor
    if summary.seed is not None:
        state["seed"] = summary.seed

    facts = {
        "format": _FORMAT,
        "type": origin.config.type,
        "config": origin.config.fingerprint(),
        "weights": weights_digest(module),
        "round": origin.round,
        "batch": origin.batch,
        "dtype": dtype_name(origin.dtype),
        "domains": None if origin.domains is None else list(origin.domains),
    }

    def texts_of(infos: Mapping[str, TensorInfo], digests: Mapping[str, str]) -> dict[str, str]:
        texts = _FRAMEWORK | {_SUMMARY_KEY: canonical_json(facts | {"sha256": dict(digests)})}
        return texts | {_DIGEST_KEY: header_digest(texts, infos)}

    name = os.fspath(path)
    write_tensors(path, state, texts_of, lambda texts, infos: _facts_of(texts, infos, name))


def load_summary(path: str | os.PathLike[str], module: nn.Module) -> Summary:
    """Return the summary in a file, for the module that is to read it; see `Summary.load`."""
    import weakref

    from noether_core.nn.cache import KeyValues
    from noether_core.nn.summaries import (
        Attended,
        NumberedKeyValues,
        Origin,
        Part,
        Summary,
        Summed,
        part_of,
    )

    check_installed("loading a summary")
    name, config = os.fspath(path), _config_of(module)
    found: list[dict[str, Any]] = []

    def digests_of(
        metadata: Mapping[str, str], infos: Mapping[str, TensorInfo]
    ) -> Mapping[str, str]:
        found.append(_facts_of(metadata, infos, name))
        digests: Mapping[str, str] = found[0]["sha256"]
        return digests

    state = read_tensors(name, digests_of)
    facts = found[0]
    _check_origin(facts, module, name)

    device = next((each.device for each in module.parameters()), None)
    moved = {tensor: value.to(device) for tensor, value in state.items()}
    seed = moved.pop("seed", None)
    fields: dict[str, dict[str, Tensor]] = {}
    for tensor, value in moved.items():
        part, _, field = tensor.rpartition(".")
        fields.setdefault(part, {})[field] = value
    kinds: dict[str, type[Part]] = {
        "value": Summed,
        "mean": Attended,
        "numbers": NumberedKeyValues,
        "keys": KeyValues,
    }
    parts: dict[str, Part] = {}
    for part in sorted(fields):
        kind = next(kind for field, kind in kinds.items() if field in fields[part])
        parts[part] = part_of(kind, fields[part])
    dtype: Any = dtype_named(facts["dtype"])
    domains = None if facts["domains"] is None else tuple(facts["domains"])
    origin = Origin(weakref.ref(module), config, facts["round"], facts["batch"], dtype, domains)
    return Summary(parts, origin, seed)


def weights_digest(module: nn.Module) -> str:
    """Return the digest of all that the state dict of a module holds."""
    state = module.state_dict()
    digests = {name: digest_of(bytes_of(value)) for name, value in state.items()}
    return digest_of(memoryview(canonical_json(digests).encode()))


def _config_of(module: nn.Module) -> Any:
    return module.config


def _facts_of(
    metadata: Mapping[str, str], infos: Mapping[str, TensorInfo], name: str
) -> dict[str, Any]:
    """Return what the header of a file says, if it is one that `save_summary` wrote."""
    texts = {key: metadata[key] for key in (*_FRAMEWORK, _SUMMARY_KEY) if key in metadata}
    if _SUMMARY_KEY not in texts:
        reason = f"holds no saved summary: its metadata has no '{_SUMMARY_KEY}'"
        raise SavedModuleError(name, f"{reason}; write it with Summary.save")
    if metadata.get(_DIGEST_KEY) != header_digest(texts, infos):
        raise SavedModuleError(name, "is damaged: its header is not the one that was written")
    facts: dict[str, Any] = json.loads(texts[_SUMMARY_KEY])
    if facts["format"] != _FORMAT:
        reason = f"is of format {facts['format']}, and this noether-attention reads {_FORMAT}"
        raise SavedModuleError(name, f"{reason}; install a newer one")
    return facts


def _check_origin(facts: Mapping[str, Any], module: nn.Module, name: str) -> None:
    """Check that a module is the one that gathered what a file holds, or one just like it."""
    config = _config_of(module)
    if facts["type"] != config.type:
        raise SummaryError(
            f"summary: {name} was gathered by '{facts['type']}', and the module is '{config.type}'"
        )
    if facts["config"] != config.fingerprint():
        raise SummaryError(
            f"summary: {name} was gathered by a '{config.type}' of another config than the module's"
        )
    if facts["weights"] != weights_digest(module):
        raise SummaryError(
            f"summary: {name} was gathered with other weights than the module has; "
            "load those, or gather anew"
        )
