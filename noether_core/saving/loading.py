"""From a file to its module."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import attrs

from noether_core.building import build
from noether_core.errors import (
    ConfigError,
    Difference,
    DifferenceName,
    MissingExtraError,
    Problem,
    ProvenanceError,
    ProvenanceWarning,
    SavedModuleError,
    told_differences,
)
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.saving.comparing import compare
from noether_core.saving.contents import Contents, opened, read_contents
from noether_core.saving.filling import fill
from noether_core.saving.tensors import read_tensor
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.structuring.structure import structure

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_NAMES = frozenset(get_args(DifferenceName))
_ALWAYS = frozenset({"missing"})


def load_module(
    path: str | os.PathLike[str],
    *,
    strict: bool | Collection[DifferenceName] = False,
    registry: Registry | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """Return the module that `save` wrote to a file.

    Its config is built by the installed package that the file names, and its tensors get the saved
    values and dtypes. What of that package is otherwise than when the module was saved is one
    warning, or refused.

    Args:
        path: The file.
        strict: Which differences are refused: all, none, or those named: ``provider`` (another
            distribution), ``version``, ``commit``, ``editable``, ``contract`` (version of the
            plugin contract), ``schema`` (what the config accepts). That nothing provides the type,
            ``missing``, is always refused.
        registry: Where types are looked up; the process-wide one where it is None.
        device: Where the module is put; where `build` puts it where it is None.

    Returns:
        A new module in training mode, as `build` makes it; torch's generator of random numbers is
        where it was.

    Raises:
        SavedModuleError: If the file cannot be read, is damaged, or its tensors do not fit the
            module.
        ProvenanceError: If there is a difference that is refused; each is told.
        ConfigError: If the config is no longer one of its type.
        PluginError: If the package that provides the type cannot be used.
        MissingExtraError: If torch is not installed.
    """
    refused = _refused(strict)
    _check_installed()
    saved = _read(os.fspath(path))
    known = default_registry() if registry is None else registry
    entry, differences = compare(saved.contents, known)
    if any(difference.name in refused for difference in differences) or entry is None:
        raise ProvenanceError(
            saved.file, [difference for difference in differences if difference.name in refused]
        )
    config = _config(saved, known, entry.qualified_name, differences)
    module = _built(config, known, device)
    misfits = fill(getattr(module, "_orig_mod", module), saved.state, saved.contents.buffers)
    if misfits:
        raise _misfits(saved, misfits, differences)
    if differences:
        warnings.warn(told_differences(saved.file, differences), ProvenanceWarning, stacklevel=2)
    return module


def _check_installed() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("loading a module", error.name or "torch", "torch") from error


class _Saved(NamedTuple):
    """A file as it was read, whole and undamaged."""

    file: str
    contents: Contents
    state: Mapping[str, Tensor]


def _refused(strict: bool | Collection[str]) -> frozenset[str]:
    if isinstance(strict, bool):
        return _NAMES if strict else _ALWAYS
    names = frozenset({strict} if isinstance(strict, str) else strict)
    if unknown := sorted(names - _NAMES):
        raise ValueError(f"strict: expected True, False or some of {sorted(_NAMES)}, got {unknown}")
    return names | _ALWAYS


def _read(file: str) -> _Saved:
    """Return all of a file, read from one opening of it: whoever replaces it meanwhile changes
    nothing.
    """
    with opened(file) as source:
        contents, header = read_contents(source, file)
        state: dict[str, Tensor] = {}
        for name, info in header.tensors.items():
            try:
                state[name], digest = read_tensor(source, info)
            except EOFError:
                raise SavedModuleError(file, "was cut short while it was read") from None
            if digest != contents.sha256[name]:
                raise SavedModuleError(
                    file, f"is damaged: the tensor '{name}' is not the one that was written"
                )
    return _Saved(file, contents, state)


def _config(
    saved: _Saved, known: Registry, plugin: str, differences: Iterable[Difference]
) -> AttentionConfig:
    """Return the config, of the class that *plugin* has for it; configs within are of the recorded
    distributions.
    """
    contents = saved.contents
    recorded = (contents.provenance, *contents.parts)
    seen = known.with_preference([f"{part.distribution}:{part.type}" for part in recorded])
    declared = {name: value for name, value in contents.config.items() if name in contents.schema}
    extra = {name: value for name, value in contents.config.items() if name not in contents.schema}
    try:
        config = structure(declared, known.get(plugin).config, registry=seen)
        return attrs.evolve(config, extra=extra) if extra else config
    except ConfigError as error:
        told = [Problem(message=difference.told("saved with")) for difference in differences]
        placed = [attrs.evolve(problem, file=saved.file) for problem in (*error.problems, *told)]
        raise error.with_problems(placed) from None


def _built(config: AttentionConfig, known: Registry, device: Any) -> nn.Module:
    """Return a module whose values do not matter; torch's random numbers go on as if none had been
    drawn for it.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        module = build(config, registry=known)
    return module if device is None else module.to(device)


def _misfits(
    saved: _Saved, misfits: Iterable[str], differences: Iterable[Difference]
) -> SavedModuleError:
    told = (*misfits, *(difference.told("saved with") for difference in differences))
    return SavedModuleError(saved.file, "\n  ".join(["its tensors do not fit the module:", *told]))
