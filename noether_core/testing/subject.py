"""What is under test: a variant at its example, modules of it, and calls of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import attrs
import torch
from torch import Tensor, nn

from noether_core.building import build
from noether_core.errors import ConfigError
from noether_core.hookspecs import AttentionVariant, Capability
from noether_core.plugins.imports import import_object
from noether_core.plugins.metadata import Index
from noether_core.plugins.registry import IN_PROCESS, Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.testing import calls
from noether_core.testing.failures import CheckFailed
from noether_core.testing.sizes import Sizes, sizes_unlike

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig

_LIVELY = 0.05
"""Deviation of what is added to every parameter, so that those that start at zero or one say
something.
"""


@attrs.frozen(kw_only=True, eq=False)
class Subject:
    """A variant under test.

    It is built in a registry of its own, in which no extension takes part.
    """

    variant: AttentionVariant

    distribution: str = IN_PROCESS
    """What provides it."""

    version: str = ""

    plugin: str = ""
    """Import path of the plugin; empty for a variant that was registered in process."""

    device: str = "cpu"
    """Where modules run."""

    options: Mapping[str, Any] = EMPTY
    """Options that go before those of the record's example."""

    registry: Registry = attrs.field(init=False, repr=False)

    @registry.default
    def _own_registry(self) -> Registry:
        registry = Registry(index=Index((), (), ()))
        registry.register(self.variant)
        return registry

    @classmethod
    def of(
        cls,
        source: str | AttentionVariant,
        *,
        registry: Registry | None = None,
        device: str = "cpu",
        options: Mapping[str, Any] = EMPTY,
    ) -> Self:
        """Return the subject that a type, or a record, names.

        Args:
            source: A type, bare or as ``distribution:type``, or the record of a variant.
            registry: Where types are looked up; the process-wide one where it is None.
            device: Where modules run.
            options: Options that go before those of the record's example.

        Raises:
            UnknownTypeError: If no installed package provides the type.
            AmbiguousTypeError: If several do and it does not say which.
            PluginError: If the package that does cannot be used.
        """
        if isinstance(source, AttentionVariant):
            return cls(variant=source, device=device, options=options)
        known = default_registry() if registry is None else registry
        variant, entry = known.get(source), known.provider(source)
        plugin = entry.value if entry.origin else ""
        return cls(
            variant=variant,
            distribution=entry.distribution,
            version=entry.version,
            plugin=plugin,
            device=device,
            options=options,
        )

    @property
    def type(self) -> str:
        """The type of the variant."""
        return self.variant.type

    @property
    def sizes(self) -> Sizes:
        """How large small calls are."""
        config = self.config()
        return sizes_unlike(
            [*self.given().values(), config.head_dim, getattr(config, "kv_dim", None)]
        )

    def honours(self, capability: Capability) -> bool:
        """Return whether the record promises *capability*, or its interface does."""
        is_required = capability in calls.REQUIRED[self.variant.interface]
        return is_required or capability in self.variant.capabilities

    def given(self, **changes: Any) -> dict[str, Any]:
        """Return the options of the example, without its type, after *changes*."""
        return {**self.variant.example, **self.options, **changes}

    def config(self, **changes: Any) -> AttentionConfig:
        """Return the config of the example after *changes*."""
        return self.variant.config(**self.given(**changes))

    def is_sound(self, **changes: Any) -> bool:
        """Return whether *changes* leave the example a config."""
        try:
            self.config(**changes)
        except (ConfigError, TypeError):
            return False
        return True

    def raw_module(self, config: AttentionConfig, *, seed: int = 0) -> nn.Module:
        """Return a module as users build it, with the weights that *seed* draws, in training mode."""
        with self.seeded(seed):
            return build(config, registry=self.registry).to(self.device)

    @property
    def module_class(self) -> Callable[[AttentionConfig], nn.Module]:
        """The class of the variant's modules.

        Raises:
            PluginError: If it cannot be imported.
        """
        found: Callable[[AttentionConfig], nn.Module] = import_object(
            self.variant.module, f"'{self.type}'"
        )
        return found

    def made_directly(self, config: AttentionConfig) -> nn.Module:
        """Return what the variant's class makes of a config, without any check of ours, in training
        mode.
        """
        with self.seeded(0):
            return self.module_class(config)

    def module(
        self, *, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any
    ) -> nn.Module:
        """Return a module in evaluation mode whose weights are large enough for each to matter.

        Args:
            seed: Draws the weights.
            dtype: Of parameters and buffers.
            **changes: Options that go before those of the example.
        """
        if "init_weights" not in changes and self.is_sound(init_weights="xavier", **changes):
            changes["init_weights"] = "xavier"
        module = self.raw_module(self.config(**changes), seed=seed)
        return self.enlivened(module, seed=seed).to(dtype).eval()

    def enlivened(self, module: nn.Module, *, seed: int = 0) -> nn.Module:
        """Return *module* after a little noise was added to each parameter that is trained."""
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(_LIVELY * noise.to(parameter.device, parameter.dtype))
        return module

    def arguments(
        self,
        module: nn.Module | None = None,
        *,
        tokens: int | None = None,
        queries: int | None = None,
        batch: int | None = None,
        groups: Mapping[str, int | None] | None = None,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Return what *module* cannot be called without, by the names of the arguments.

        Args:
            module: The module; one of the example where it is None.
            tokens: Number of tokens that are read; that of `sizes` where it is None.
            queries: Number of tokens that ask, where they are others; likewise.
            batch: Number of samples; likewise.
            groups: Groups of the tokens, where they are grouped; those of the record where it is
                None.
            dtype: Of floating tensors; frequencies are complex64 in any case.
            seed: Draws the numbers.
        """
        sizes = self.sizes
        call = calls.Call(
            interface=self.variant.interface,
            config=self.config() if module is None else config_of(module),
            batch=sizes.batch if batch is None else batch,
            tokens=sizes.tokens if tokens is None else tokens,
            queries=sizes.queries if queries is None else queries,
            groups=self.variant.example_groups if groups is None else groups,
            has_positions=self.honours("positions"),
            generator=torch.Generator().manual_seed(seed),
        )
        return calls.moved(call.arguments(), self.device, dtype)

    def larger_call(self, steps: int, *, batch: int | None = None) -> dict[str, Any]:
        """Return what the example cannot be called without, every number of tokens larger by so
        many steps.
        """
        groups, sizes = calls.larger_groups(self.variant.example_groups, steps), self.sizes
        is_grouped = self.variant.interface == "tokens"
        tokens = sum(groups.values()) if is_grouped else sizes.tokens + 7 * steps
        return self.arguments(
            tokens=tokens, queries=sizes.queries + 5 * steps, batch=batch, groups=groups
        )

    def optional(self, argument: str, arguments: Mapping[str, Any]) -> Any:
        """Return a value for an argument that *arguments* lack: one that changes the result where
        it is honoured.
        """
        return calls.optional_value(
            self.variant.interface, argument, arguments, self.variant.example_groups
        )

    def each_call(self, module: nn.Module, **settings: Any) -> Iterator[dict[str, Any]]:
        """Yield arguments for *module*: what it needs, and beside that each thing that the record
        declares.
        """
        plain, declared = self.arguments(module, **settings), declared_by(module)
        yield plain
        for argument, capability in calls.OPTIONAL[self.variant.interface].items():
            is_possible = argument in declared and argument not in plain
            if is_possible and self.honours(capability) and capability != "rope":
                yield {**plain, argument: self.optional(argument, plain)}

    def call(self, module: nn.Module, arguments: Mapping[str, Any], *, seed: int = 0) -> Tensor:
        """Return what *module* makes of copies of *arguments*; noise is drawn from *seed*.

        Raises:
            CheckFailed: If it returns anything but one tensor.
        """
        with self.seeded(seed):
            return self.one_tensor(module(**calls.cloned(arguments)))

    def one_tensor(self, result: object) -> Tensor:
        """Return *result* if it is a tensor.

        Raises:
            CheckFailed: If it is none.
        """
        if not isinstance(result, Tensor):
            raise CheckFailed(
                f"{self.type}: expected one tensor from forward, got a {type(result).__name__}"
            )
        return result

    @staticmethod
    def twin(module: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a copy of *module* in another dtype."""
        return copy.deepcopy(module).to(dtype)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Let torch draw from *seed*, and leave its generators as they were."""
        is_elsewhere = torch.device(self.device).type == "cuda"
        with torch.random.fork_rng(devices=[torch.device(self.device)] if is_elsewhere else []):
            torch.manual_seed(seed)
            yield


def config_of(module: nn.Module) -> AttentionConfig:
    """Return the config that a module keeps."""
    config: Any = module.config
    return config  # type: ignore[no-any-return]  # a registry sees to it


def declared_by(module: nn.Module) -> dict[str, inspect.Parameter]:
    """Return what the `forward` of a module declares beside ``self``, by name."""
    _, *parameters = inspect.signature(type(module).forward).parameters.items()
    return dict(parameters)
