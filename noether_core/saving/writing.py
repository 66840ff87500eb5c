"""From a module to its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noether_core.building import made_by_class
from noether_core.errors import UnsavableModuleError
from noether_core.provenance import Provenance, is_extended, provenance_of
from noether_core.saving.contents import Contents, contents_of, metadata_of
from noether_core.schemas.accepted import accepted_by
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.unstructure import unstructure
from noether_core.tensor_files.header import TensorInfo
from noether_core.tensor_files.tensors import bits_of, dtype_name
from noether_core.tensor_files.writing import write_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

_MOST_CHANGES = 10
"""Changes that one message names."""


def save(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a module that `build` made to one safetensors file, with its config and its provider.

    The file is written whole or not at all: a process that is killed leaves the older file or the
    new one. What a state dict holds is saved, each tensor in its own dtype; what it leaves out is
    not: training mode, ``requires_grad``, hooks, and the values of buffers that are not persistent.
    Names that share one tensor are saved each by itself.

    Args:
        module: The module, or what ``torch.compile`` made of it: then the original is saved.
        path: The file; an older one is replaced.

    Raises:
        UnsavableModuleError: If `build` did not make the module, it was changed since so that what
            `build` makes could not take its tensors, or its state dict holds what a file cannot.
        SavedModuleError: If its config and its names of tensors are more than a file can say.
        OSError: If the file cannot be written.
    """
    name = os.fsdecode(path)
    # torch.compile wraps a module, and the provenance may be noted on either of the two.
    original = getattr(module, "_orig_mod", module)
    provenance = provenance_of(module) or _provenance(original)
    config = _config(original)

    state = original.state_dict()
    _refuse_changed(original, state, config)
    made: dict[str, Any] = {
        "config": unstructure(config),
        "provenance": provenance,
        "parts": _parts(original, provenance),
        "schema": accepted_by(type(config)),
        "buffers": _unsaved_buffers(original, state),
    }

    def texts_of(tensors: Mapping[str, TensorInfo], digests: Mapping[str, str]) -> dict[str, str]:
        return metadata_of(Contents(**made, sha256=digests), tensors)

    def check(texts: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> None:
        contents_of(texts, tensors, name)

    write_tensors(name, state, texts_of, check)


def _provenance(module: Any) -> Provenance:
    found = provenance_of(module)
    if found is None:
        made_by = f"this {type(module).__name__} was not made by noether_core.build"
        raise UnsavableModuleError(
            f"{made_by}, which notes who provides a module; save the module that build returned"
        )
    return found


def _config(module: nn.Module) -> AttentionConfig:
    config = getattr(module, "config", None)
    if not isinstance(config, AttentionConfig):
        raise UnsavableModuleError(
            f"this {type(module).__name__} has lost the 'config' that build made it from"
        )
    return config


def _refuse_changed(
    module: nn.Module, state: Mapping[str, Tensor], config: AttentionConfig
) -> None:
    """Refuse a module with other layers or tensors than its class makes of its config.

    One that extensions had a hand in is let pass: what they add, they add to what is loaded, too.

    Raises:
        UnsavableModuleError: If it has; the message names them.
    """
    if is_extended(module):
        return
    # On the device meta it takes no memory; a class that needs values gets them.
    made = made_by_class(type(module), config, device="meta")
    made = made_by_class(type(module), config, device="cpu") if made is None else made
    if made is None:
        return
    expected = made.state_dict(keep_vars=True)
    changes = [
        *_changed_layers(module, made),
        *_changed_tensors(state, expected),
        *_torn_ties(state, expected),
    ]
    if changes:
        more = f" and {len(changes) - _MOST_CHANGES} more" if len(changes) > _MOST_CHANGES else ""
        raise UnsavableModuleError(
            "the module was changed after build, and what build makes could not take its tensors: "
            f"{'; '.join(changes[:_MOST_CHANGES])}{more}. Undo that, such as by merging an adapter "
            "or removing a parametrization, or save its state_dict with torch"
        )


def _changed_layers(module: nn.Module, made: nn.Module) -> Iterator[str]:
    """Yield the layers that are of another class than in *made*."""
    from torch.nn.modules.lazy import LazyModuleMixin

    layers, expected = dict(module.named_modules()), dict(made.named_modules())
    for name in sorted(layers.keys() & expected.keys()):
        here, there = type(layers[name]), type(expected[name])
        # A lazy layer is of another class once it was called.
        if here is not there and not issubclass(there, LazyModuleMixin):
            yield f"'{name}' is of class {_class_name(here, there)}, build makes {there.__name__}"


def _class_name(cls: type, other: type) -> str:
    """Return the name of a class; with its module where *other* is called the same."""
    return cls.__name__ if cls.__name__ != other.__name__ else f"{cls.__module__}.{cls.__name__}"


def _changed_tensors(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the tensors of a state dict that are not those which `build` makes."""
    from torch import Tensor
    from torch.nn.parameter import is_lazy

    for name in sorted(state.keys() | expected.keys()):
        if name not in expected:
            yield f"'{name}' is new"
        elif name not in state:
            yield f"'{name}' is gone"
        elif isinstance(state[name], Tensor) and not is_lazy(expected[name]):
            here, there = tuple(state[name].shape), tuple(expected[name].shape)
            if here != there:
                yield f"'{name}' has the shape {here}, build makes {there}"


def _torn_ties(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the tensors that are one where `build` makes them, and differ in a state dict."""
    first: dict[int, str] = {}
    for name in sorted(state.keys() & expected.keys()):
        other = first.setdefault(id(expected[name]), name)
        if other != name and not _is_equal(state[other], state[name]):
            yield f"'{other}' and '{name}' differ, build makes them one tensor"


def _is_equal(one: Tensor, other: Tensor) -> bool:
    try:
        return bits_of(one).equal(bits_of(other))
    except (AttributeError, RuntimeError):  # none that a file holds, which is reported as that
        return True


def _parts(module: nn.Module, own: Provenance) -> tuple[Provenance, ...]:
    """Return which plugins made the built modules within a module, each once."""
    found: set[Provenance] = set()
    for part in module.modules():
        provenance = provenance_of(part)
        if provenance is not None and provenance != own:
            found.add(provenance)
    return tuple(sorted(found, key=lambda one: (one.type, one.distribution)))


def _unsaved_buffers(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the dtypes of the buffers of a module that its state dict leaves out."""
    return {
        name: dtype_name(buffer.dtype)
        for name, buffer in module.named_buffers()
        if name not in state
    }
