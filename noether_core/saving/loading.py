"""From a file to its module."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import attrs

from noether_core.building import TooManyTensorsError, build, skeleton
from noether_core.errors import (
    ConfigError,
    Difference,
    DifferenceName,
    Problem,
    ProvenanceError,
    ProvenanceWarning,
    SavedModuleError,
    describe_differences,
)
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.saving.contents import Contents, compare, contents_of
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.structuring.structure import structured, warn_of
from noether_core.tensor_files.header import TensorInfo
from noether_core.tensor_files.reading import check_installed, read_tensors
from noether_core.tensor_files.tensors import bits_of, dtype_name, dtype_named

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
        ProvenanceError: If there is a difference that is refused; it holds each.
        ConfigError: If the config is no longer one of its type.
        PluginError: If the package that provides the type cannot be used.
        MissingExtraError: If torch or safetensors is not installed.
    """
    refused = _refused(strict)
    check_installed("loading a module")
    # Whole, before anything is imported or built for it: nothing is made of a damaged file.
    saved = _read(os.fsdecode(path))
    known = default_registry() if registry is None else registry

    entry, differences = compare(saved.contents, known)
    not_taken = [difference for difference in differences if difference.name in refused]
    if not_taken or entry is None:
        raise ProvenanceError(saved.file, not_taken)

    config = _config(saved, known, entry.qualified_name, differences)
    # First without memory: a small file may name sizes that no machine holds.
    misfits = _misfits_of_skeleton(config, known, saved)
    if misfits:
        raise _misfits_error(saved, misfits, differences)
    module = _built(config, known, device)
    misfits = _fill(getattr(module, "_orig_mod", module), saved.state, saved.contents.buffers)
    if misfits:
        raise _misfits_error(saved, misfits, differences)
    if differences:
        warnings.warn(
            describe_differences(saved.file, differences), ProvenanceWarning, stacklevel=2
        )
    return module


def _refused(strict: bool | Collection[str]) -> frozenset[str]:
    if isinstance(strict, bool):
        return _NAMES if strict else _ALWAYS
    names = frozenset({strict} if isinstance(strict, str) else strict)
    if unknown := sorted(names - _NAMES):
        raise ValueError(f"strict: expected True, False or some of {sorted(_NAMES)}, got {unknown}")
    return names | _ALWAYS


class _Saved(NamedTuple):
    """A file as it was read, whole and undamaged."""

    file: str
    contents: Contents
    state: Mapping[str, Tensor]


def _read(name: str) -> _Saved:
    """Return all that a file says and holds."""
    found: list[Contents] = []

    def digests_of(
        metadata: Mapping[str, str], infos: Mapping[str, TensorInfo]
    ) -> Mapping[str, str]:
        found.append(contents_of(metadata, infos, name))
        return found[0].sha256

    state = read_tensors(name, digests_of)
    return _Saved(name, found[0], state)


def _config(
    saved: _Saved, known: Registry, plugin: str, differences: Iterable[Difference]
) -> AttentionConfig:
    """Return the config, of the class that *plugin* has for it.

    Configs within are of the recorded distributions.
    """
    contents = saved.contents
    recorded = (contents.provenance, *contents.parts)
    seen = known.with_preference([f"{part.distribution}:{part.type}" for part in recorded])

    # What the config class did not know when the module was saved was kept unread: it still is.
    declared = {name: value for name, value in contents.config.items() if name in contents.schema}
    extra = {name: value for name, value in contents.config.items() if name not in contents.schema}
    try:
        config, notices = structured(declared, known.get(plugin).config, registry=seen)
        config = attrs.evolve(config, extra=extra) if extra else config
    except ConfigError as error:
        causes = [Problem(message=difference.headline("saved with")) for difference in differences]
        placed = [attrs.evolve(problem, file=saved.file) for problem in (*error.problems, *causes)]
        raise error.with_problems(placed) from None
    if notices:
        warn_of(attrs.evolve(notice, file=saved.file) for notice in notices)
    return config


def _built(config: AttentionConfig, known: Registry, device: Any) -> nn.Module:
    """Return a module whose values do not matter.

    Torch's random numbers go on as if none had been drawn for it.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        module = build(config, registry=known)
    return module if device is None else module.to(device)


def _misfits_of_skeleton(config: AttentionConfig, known: Registry, saved: _Saved) -> list[str]:
    """Return what does not fit a module of *config*, as far as it is known without building it."""
    # A constructor may make some more on the way, and tie or drop them.
    most = 1000 + 10 * len(saved.state)
    try:
        module = skeleton(config, known, most_tensors=most)
    except TooManyTensorsError:
        return [f"the module has more than {most:,} tensors, the file {len(saved.state):,}"]
    if module is None:
        return []
    try:
        module.load_state_dict({name: value.to("meta") for name, value in saved.state.items()})
    except RuntimeError:
        return list(_misfits(module.state_dict(), saved.state, _shape))
    except Exception:  # noqa: BLE001  one that reads its values when they are loaded
        return []
    return []


def _fill(module: nn.Module, state: Mapping[str, Tensor], buffers: Mapping[str, str]) -> list[str]:
    """Give the tensors of a module saved values and dtypes.

    Args:
        module: The module; it is not to be used if anything does not fit.
        state: Its state dict.
        buffers: Dtypes, by torch's names, of buffers that a state dict leaves out.

    Returns:
        What does not fit, each with the name of its tensor.
    """
    own = module.state_dict(keep_vars=True)
    saved_dtypes = {name: value.dtype for name, value in state.items()}
    buffer_dtypes = {name: dtype_named(dtype) for name, dtype in buffers.items()}
    try:
        # Before the values: load_state_dict would convert them to the dtypes of the module.
        _take_dtypes(own, saved_dtypes)
        _take_dtypes(dict(module.named_buffers()), buffer_dtypes)
        module.load_state_dict(state)
    except RuntimeError as error:
        return list(_misfits(own, state, _kind)) or [str(error)]
    return list(_torn_ties(own, state))


def _take_dtypes(tensors: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype | None]) -> None:
    """Change tensors in place, so that one that a module uses twice stays one."""
    for name, dtype in dtypes.items():
        if name in tensors and dtype is not None:
            tensors[name].data = tensors[name].data.to(dtype)


def _misfits(
    own: Mapping[str, Tensor], saved: Mapping[str, Tensor], kind: Callable[[Tensor], str]
) -> Iterator[str]:
    """Yield the tensors that only one side has, and those that are of another kind there."""
    for name in sorted(own.keys() | saved.keys()):
        if name not in saved:
            yield f"'{name}' is not in the file"
        elif name not in own:
            yield f"'{name}' is not in the module"
        elif (there := kind(saved[name])) != (here := kind(own[name])):
            yield f"'{name}' has {there} in the file, {here} in the module"


def _shape(tensor: Tensor) -> str:
    return f"the shape {tuple(tensor.shape)}"


def _kind(tensor: Tensor) -> str:
    """Return in words what two tensors must share for one to take the values of the other."""
    number = "" if tensor.is_floating_point() else f" and the dtype {dtype_name(tensor.dtype)}"
    return _shape(tensor) + number


def _torn_ties(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield names that are one tensor in the module and have different values in the file."""
    first: dict[int, str] = {}
    for name in sorted(own.keys() & saved.keys()):
        other = first.setdefault(id(own[name]), name)
        if not bits_of(saved[name]).equal(bits_of(saved[other])):
            yield f"'{other}' and '{name}' differ in the file, and are one tensor in the module"


def _misfits_error(
    saved: _Saved, misfits: Iterable[str], differences: Iterable[Difference]
) -> SavedModuleError:
    causes = [difference.headline("saved with") for difference in differences]
    lines = ["its tensors do not fit the module:", *misfits, *causes]
    return SavedModuleError(saved.file, "\n  ".join(lines))
