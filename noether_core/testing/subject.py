"""What is under test: a variant at its example, modules of it, and calls of them."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
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
from noether_core.testing.contract import CheckFailed
from noether_core.testing.obstacles import Need, Obstacle, first_obstacle

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig

_NOISE = 0.05
"""Deviation of what is added to parameters, so that those that start at zero or one matter."""


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
        return cls(
            variant=variant,
            distribution=entry.distribution,
            version=entry.version,
            plugin=entry.value if entry.origin else "",
            device=device,
            options=options,
        )

    @property
    def type(self) -> str:
        """The type of the variant."""
        return self.variant.type

    @property
    def signature(self) -> calls.Signature:
        """How modules of the interface are called."""
        return calls.SIGNATURES[self.variant.interface]

    @property
    def is_linear(self) -> bool:
        """Whether the record promises that time grows no faster than the tokens."""
        exponent = self.variant.time_exponent
        return exponent is not None and exponent <= 1

    @property
    def sizes(self) -> calls.Sizes:
        """How large small calls are."""
        config = self.config()
        widths: list[object] = [config.head_dim]
        widths += [getattr(config, name, None) for name in ("kv_dim", "context_dim")]
        return calls.Sizes.unlike([*self.given().values(), *widths])

    def honours(self, capability: Capability) -> bool:
        """Return whether the record promises *capability*, or its interface asks for it."""
        return capability in (*self.variant.capabilities, *self.signature.required)

    def failure(self, problem: str) -> CheckFailed:
        """Return the error of a check that found a problem."""
        return CheckFailed(f"{self.type}: {problem}")

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

    @cached_property
    def obstacle(self) -> Obstacle | None:
        """What keeps most checks from saying anything, if anything does."""
        return first_obstacle(self)

    def check_has(self, *needs: Need) -> None:
        """Check that none of *needs* is what the variant lacks.

        Raises:
            CheckFailed: If one is.
        """
        if self.obstacle is not None and self.obstacle.lacking in needs:
            raise self.failure(self.obstacle.problem)

    def raw_module(self, config: AttentionConfig, *, seed: int = 0) -> nn.Module:
        """Return a module in training mode as users build it; *seed* draws its weights."""
        with self.seeded(seed), warnings.catch_warnings():
            # What a constructor changes of torch fails one check of its own, and no other.
            warnings.filterwarnings("ignore", message=".*; it was put back")
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
        """Return what the variant's class makes of a config, without any check of ours."""
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
        return self.with_noise(module, seed=seed).to(dtype).eval()

    def with_noise(self, module: nn.Module, *, seed: int = 0) -> nn.Module:
        """Return *module* after a little noise was added to each parameter that is trained."""
        generator = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(_NOISE * noise.to(parameter.device, parameter.dtype))
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
            tokens: Number of tokens attended to; that of `sizes` where it is None.
            queries: Number of tokens that attend, where they are others; likewise.
            batch: Number of samples; likewise.
            groups: Groups of the tokens, where they are grouped; likewise those of the record.
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
            groups=self.groups(module) if groups is None else groups,
            has_positions=self.honours("positions"),
            generator=torch.Generator().manual_seed(seed),
        )
        return calls.moved(call.arguments(), self.device, dtype)

    def groups(self, module: nn.Module | None = None) -> Mapping[str, int | None]:
        """Return the groups of a smallest call of *module*, or of one of the example."""
        config = self.config() if module is None else config_of(module)
        return calls.groups_for(config, self.variant.example_groups)

    def larger_call(self, steps: int, *, batch: int | None = None) -> dict[str, Any]:
        """Return a call of the example, every number of tokens larger by so many steps."""
        groups, sizes = calls.larger_groups(self.groups(), steps), self.sizes
        is_grouped = self.variant.interface == "tokens"
        # Compilers take a size of one for a constant.
        more = 2 * (calls.domains_of(self.config()) or 0)
        return self.arguments(
            tokens=sum(groups.values()) if is_grouped else sizes.tokens + 7 * steps,
            queries=sizes.queries + more + 5 * steps,
            batch=batch,
            groups=groups if is_grouped else None,
        )

    def optional(
        self, argument: str, arguments: Mapping[str, Any], module: nn.Module | None = None
    ) -> Any:
        """Return a value for an argument that *arguments* lack, one that changes the result.

        None where *module*, or one of the example, takes no such argument by its config.
        """
        queries, keys = arguments[self.signature.queries], arguments[self.signature.keys]
        if argument == "context":
            return calls.context_for(self.config() if module is None else config_of(module), keys)
        return calls.optional_value(argument, queries, keys, self.groups())

    def each_call(self, module: nn.Module, **settings: Any) -> Iterator[dict[str, Any]]:
        """Yield arguments for *module*: what it needs, then also each thing that it honours."""
        plain, declared = self.arguments(module, **settings), declared_by(module)
        yield plain
        for argument, capability in self.signature.optional.items():
            # Rotations are needed or refused; what is promised in vain fails a check of its own.
            if capability == "rope" or argument in plain or argument not in declared:
                continue
            if not self.honours(capability):
                continue
            value = self.optional(argument, plain, module)
            if value is not None:
                yield {**plain, argument: value}

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
            raise self.failure(f"forward returns a {type(result).__name__}, wanted one tensor")
        return result

    @staticmethod
    def twin(module: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a copy of *module* in another dtype."""
        return copy.deepcopy(module).to(dtype)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Let torch draw from *seed*, and leave its generators as they were."""
        device = torch.device(self.device)
        if device.type != "cpu":
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                yield
            return

        # A tenth of all time would go into seeding generators of devices that are not there.
        state = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.set_rng_state(state)


def config_of(module: nn.Module) -> AttentionConfig:
    """Return the config that a module keeps."""
    config: Any = module.config
    return config  # type: ignore[no-any-return]  # a registry sees to it


def declared_by(module: nn.Module) -> dict[str, inspect.Parameter]:
    """Return what the `forward` of a module declares beside ``self``, by name."""
    _, *parameters = inspect.signature(type(module).forward).parameters.items()
    return dict(parameters)
