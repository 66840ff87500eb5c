"""From a config to its module, or its task: structure, find, construct, record."""

from __future__ import annotations

import contextlib
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from noether_core.errors import MissingExtraError, NoetherError, PluginError, shown
from noether_core.plugins.imports import describe, label
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.plugins.running import import_code
from noether_core.provenance import record, record_extended
from noether_core.quoting import visible
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.omegaconf import resolved
from noether_core.structuring.structure import structure

if TYPE_CHECKING:
    import torch
    from torch import nn

    from noether_core.hookspecs import AttentionVariant
    from noether_core.plugins.hooks import Extensions
    from noether_core.plugins.metadata import EntryPoint
    from noether_core.schemas.task import TaskConfig
    from noether_core.task_record import TaskRecord
    from noether_core.tasks import Task


def build(
    source: AttentionConfig | Mapping[str, Any] | str,
    /,
    *,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> nn.Module:
    """Return the module that a config describes.

    ``build(config)``, ``build({"type": "transolver", ...})`` and ``build("transolver",
    hidden_dim=256, ...)`` are one.

    Args:
        source: A config, a mapping of options, or a type.
        device: Where the module is made, and its weights are drawn; torch's default device where it
            is None. On ``"meta"`` nothing is drawn, and no memory taken.
        dtype: Floating-point dtype of its parameters and buffers. Weights are drawn in torch's
            default dtype and rounded, as if the module were converted afterwards. None for the
            default dtype.
        registry: Where types are looked up; the process-wide one where it is None.
        **options: Options that go before those of *source*.

    Returns:
        A new ``torch.nn.Module`` in training mode, whose ``config`` is the frozen config it was
        built from.

    Raises:
        ConfigError: If anything is wrong with the config.
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do and the config does not say which.
        PluginError: If the package that does cannot be used, its module cannot be made, or an
            extension fails.
        MissingExtraError: If torch is not installed.
        TypeError: If *dtype* is no dtype of floating-point numbers.

    Warns:
        UserWarning: If making the module changed the default dtype or device, the grad mode, the
            seed or the number of threads of torch, which are put back.
    """
    known = default_registry() if registry is None else registry
    config = _structured(source, options, known)

    entry = known.provider_of(config)
    variant = known.record(entry)
    extensions = known.loaded_extensions()
    extensions.validate(config)
    module_class = _module_class(variant, entry)

    for extension in extensions.implementing("noether_before_build"):
        extension.call("noether_before_build", config=config)
    with _placement(device, dtype) as place:
        module = place(_construct(module_class, config, variant, entry))
    record(module, variant, entry)
    return _after_build(module, config, extensions, variant, entry)


def make_task(
    source: TaskConfig | Mapping[str, Any], /, *, seed: int, registry: Registry | None = None
) -> Task:
    """Return the task that a config describes; its class is imported, and no sample is made yet.

    Args:
        source: A config, or a mapping of options.
        seed: Seed of everything random in the task: the same seed gives the same samples.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If anything is wrong with the config.
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do and the config does not say which.
        PluginError: If the package that does cannot be used, or its task cannot be made.
        MissingExtraError: If the task needs a package that an extra of Noether brings.
        TaskError: If the samples of the task cannot be had, and it says so when it is made.
    """
    from noether_core.schemas.task import TaskConfig

    known = default_registry() if registry is None else registry
    cls = type(source) if isinstance(source, TaskConfig) else TaskConfig
    config = structure(source, cls, registry=known)
    entry = known.tasks.provider_of(config)
    record = known.tasks.record(entry)
    task_class = _task_class(record, entry)
    try:
        return task_class(config, seed=seed)
    except (KeyboardInterrupt, NoetherError):
        raise
    except BaseException as error:  # a plugin that calls sys.exit() must not end its host
        reason = f"{record.module} cannot be made: {describe(error)}"
        raise PluginError(label(entry), reason) from error


def _task_class(record: TaskRecord, entry: EntryPoint) -> type[Task]:
    """Import the class of a task; numpy, and whatever else it needs, comes with it."""
    from noether_core.tasks import Task

    try:
        found = import_code(record.module, entry)
    except PluginError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name in _OF_EXTRA_TORCH:
            needs = f"the task {entry.name!r}"
            raise MissingExtraError(needs, missing.name, "torch") from error
        raise
    if not isinstance(found, type) or not issubclass(found, Task):
        raise PluginError(label(entry), f"{record.module} is no subclass of Task")
    return found


_OF_EXTRA_TORCH = frozenset({"numpy", "scipy", "torch"})
"""Packages of the extra ``torch`` that tasks import at their top."""


def _structured(source: object, options: Mapping[str, Any], known: Registry) -> AttentionConfig:
    """Return the config of *source* with *options*.

    A concrete one keeps its class, whoever else provides its type.
    """
    cls = AttentionConfig
    if isinstance(source, AttentionConfig) and "type" not in options:
        cls = type(source)

    if isinstance(source, str):
        source = {"type": source}
    if isinstance(source, AttentionConfig) and options:
        source = unstructure(source)
    if isinstance(source, Mapping) and options:
        # OmegaConf's mappings raise for a value that is missing, which options may give
        given = source if type(source) is dict else resolved(source)
        source = {**given, **options}
    return structure(source, cls, registry=known)


def _module_class(variant: AttentionVariant, entry: EntryPoint) -> type[nn.Module]:
    """Import the class of a variant's module; torch comes with it."""
    try:
        from torch import nn
    except ModuleNotFoundError as error:
        raise MissingExtraError("building a module", error.name or "torch", "torch") from error

    found = import_code(variant.module, entry)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise PluginError(label(entry), f"{variant.module} is no subclass of torch.nn.Module")
    return found


def _construct(
    module_class: type[nn.Module],
    config: AttentionConfig,
    variant: AttentionVariant,
    entry: EntryPoint,
) -> nn.Module:
    """Return what a variant's class makes of a config.

    Raises:
        PluginError: If it raises anything, SystemExit included. Errors of Noether are raised on
            purpose, about the config or a plugin within, and pass.
    """
    settings = _TorchSettings()
    try:
        module = module_class(config)
    except (KeyboardInterrupt, NoetherError):
        raise
    except BaseException as error:  # a plugin that calls sys.exit() must not end its host
        reason = f"{variant.module} cannot be made: {describe(error)}"
        raise PluginError(label(entry), reason) from error
    finally:
        changes = settings.put_back()
    if changes:
        message = f"{variant.module} changes {' and '.join(changes)} when it is made"
        warning = visible(f"{label(entry)}: {message}; it was put back")
        warnings.warn(warning, UserWarning, stacklevel=3)
    return _checked(module, config, label(entry), variant.module)


@contextlib.contextmanager
def _placement(
    device: torch.device | str | int | None, dtype: torch.dtype | None
) -> Iterator[Callable[[nn.Module], nn.Module]]:
    """Let modules be made on *device*; yield what brings the rest of one there, and to *dtype*.

    The dtype is no default dtype meanwhile: that is everybody's, in all threads, and weights drawn
    in sixteen bits are others than those that are rounded.
    """
    import torch

    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype: expected a torch.dtype of floating-point numbers, got {dtype!r}")
    if device is None:
        yield lambda module: module if dtype is None else module.to(dtype=dtype)
        return
    place = torch.device(device)
    torch.empty(0, device=place)  # a device that is not there is no fault of the plugin
    with place:
        yield lambda module: module.to(device=place, dtype=dtype)


def _after_build(
    module: nn.Module,
    config: AttentionConfig,
    extensions: Extensions,
    variant: AttentionVariant,
    entry: EntryPoint,
) -> nn.Module:
    """Return what the extensions put in place of a module, each in that of the one before."""
    hook = "noether_after_build"
    for extension in extensions.implementing(hook):
        replacement = extension.call(hook, module=module, config=config)
        if replacement is not None:
            plugin = label(extension.entry)
            module = _checked(replacement, config, plugin, f"what {hook} returns")
            record(module, variant, entry)
        record_extended(module)
    return module


class TooManyTensorsError(Exception):
    """The constructor of a module goes on and on."""


def skeleton(config: AttentionConfig, registry: Registry, *, most_tensors: int) -> nn.Module | None:
    """Return what `build` would make of a config, without values and without their memory.

    Returns:
        None where that cannot be known: an extension takes part, or the class needs values.

    Raises:
        TooManyTensorsError: If it makes more parameters than *most_tensors*.
    """
    if registry.loaded_extensions().implementing("noether_after_build"):
        return None
    entry = registry.provider_of(config)
    module_class = _module_class(registry.record(entry), entry)
    with _at_most(most_tensors):
        return made_by_class(module_class, config, device="meta")


@contextlib.contextmanager
def _at_most(tensors: int) -> Iterator[None]:
    """Let modules that are made in this thread meanwhile have no more parameters."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    here = threading.get_ident()
    numbers = itertools.count(1)

    def count(*_: object) -> None:
        if threading.get_ident() == here and next(numbers) > tensors:
            raise TooManyTensorsError

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def made_by_class(
    module_class: type[nn.Module], config: AttentionConfig, *, device: str
) -> nn.Module | None:
    """Return what a class makes of a config on a device, without extensions; None if it cannot.

    Torch's random numbers go on as if none had been drawn for it.
    """
    import torch

    settings = _TorchSettings()
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return module_class(config)
    except (KeyboardInterrupt, TooManyTensorsError):
        raise
    except BaseException:  # noqa: BLE001  a plugin that calls sys.exit() must not end its host
        return None
    finally:
        settings.put_back()


def _checked(module: Any, config: AttentionConfig, plugin: str, name: str) -> nn.Module:
    """Return *module*, which *plugin* made and *name* names, if it is one and keeps its config."""
    from torch import nn

    if not isinstance(module, nn.Module):
        raise PluginError(plugin, f"{name} is no torch.nn.Module: {shown(module)}")
    if getattr(module, "config", None) != config:
        raise PluginError(
            plugin, f"{name} does not keep the config that it is made from as 'config'"
        )
    return module


class _TorchSettings:
    """Settings of torch that are everybody's, as they were before somebody's module was made.

    Drawing weights from a global generator is no change of it, and a new seed is one. The seed
    that it had already looks like none, and is let pass.
    """

    def __init__(self) -> None:
        import torch

        self._dtype = torch.get_default_dtype()
        self._device = _default_device()
        self._has_gradients = torch.is_grad_enabled()
        self._threads = torch.get_num_threads()
        self._generators = [torch.default_generator]
        # a generator of a GPU may not be read while a graph is captured there
        has_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        if has_cuda and not torch.cuda.is_current_stream_capturing():
            self._generators += torch.cuda.default_generators
        self._seeds = [generator.initial_seed() for generator in self._generators]
        self._states = [generator.get_state() for generator in self._generators]

    def put_back(self) -> list[str]:
        """Put back what is other than it was; return what that is."""
        import torch

        changes: list[str] = []
        if torch.get_default_dtype() != self._dtype:
            changes.append(f"the default dtype to {torch.get_default_dtype()}")
            torch.set_default_dtype(self._dtype)
        if (device := _default_device()) != self._device:
            changes.append(f"the default device to {device}")
            torch.set_default_device(self._device)
        if torch.is_grad_enabled() != self._has_gradients:
            changes.append(f"whether gradients are computed to {torch.is_grad_enabled()}")
            torch.set_grad_enabled(self._has_gradients)
        if (threads := torch.get_num_threads()) != self._threads:
            changes.append(f"the number of threads to {threads}")
            torch.set_num_threads(self._threads)

        new_seeds: list[str] = []
        before = zip(self._generators, self._seeds, self._states, strict=True)
        for generator, seed, state in before:
            if generator.initial_seed() != seed:
                new_seeds.append(str(generator.initial_seed()))
                generator.set_state(state)
        if new_seeds:
            changes.append(f"the seed to {new_seeds[0]}")
        return changes


def _default_device() -> torch.device | None:
    """Return what `torch.set_default_device` was last given in this thread.

    `torch.get_default_device` also sees ``with torch.device(...)``, which is not to be put back.
    """
    import torch

    context = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return getattr(context, "device", None)
