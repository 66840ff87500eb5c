"""From the config of a transformer block of the reference framework to that of its attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload

import attrs

from noether_core.errors import ConfigError, Problem, path_text, shown
from noether_core.plugins.registry import Registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.rules import refuse
from noether_core.schemas.schema import plan_of
from noether_core.structuring.omegaconf import resolved
from noether_core.structuring.origins import REFERENCE
from noether_core.structuring.structure import structured, warn_of

CONSTRUCTOR: Final = "attention_constructor"
ARGUMENTS: Final = "attention_arguments"
SHARED: Final = ("hidden_dim", "num_heads", "use_rope", "bias", "init_weights")
"""Fields of a block that its attention takes over."""

_Keys = tuple[str | int, ...]
_C = TypeVar("_C", bound=AttentionConfig)


# a tuple, since callers unpack it: config, ignored = structure_block(...)
class BlockAttention(NamedTuple, Generic[_C]):
    """The attention of a block, and what else the block says."""

    config: _C
    """The concrete config."""

    ignored: tuple[Problem, ...]
    """Fields of the block that have no meaning for its attention, and were left out."""


@overload
def structure_block(
    source: Any, *, origin: str | None = REFERENCE, registry: Registry | None = None
) -> BlockAttention[AttentionConfig]: ...
@overload
def structure_block(
    source: Any,
    cls: type[_C],
    *,
    origin: str | None = REFERENCE,
    registry: Registry | None = None,
) -> BlockAttention[_C]: ...
def structure_block(
    source: Any,
    cls: type[AttentionConfig] = AttentionConfig,
    *,
    origin: str | None = REFERENCE,
    registry: Registry | None = None,
) -> BlockAttention[Any]:
    """Return the attention config in the config of a transformer block.

    ``attention_constructor`` names the variant, and ``attention_arguments`` holds its own options;
    ``hidden_dim``, ``num_heads``, ``use_rope``, ``bias`` and ``init_weights`` of the block are
    options of its attention too. All other fields are of the block alone, and are listed in
    `BlockAttention.ignored`.

    Args:
        source: A mapping, or one of OmegaConf.
        cls: What to make; by default the concrete config of the variant that the block names.
        origin: The implementation whose options the block names. The framework that has such
            blocks writes some that its modules never read; with its origin they are left out, with
            a warning. None reads every option as it is here.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If anything is wrong with the attention, or an option is given twice with
            different values; every problem is reported, under the path that *source* has for it.
        UnknownTypeError: If no installed package provides the variant.
        AmbiguousTypeError: If several do.
        PluginError: If the package that does cannot be used.
        ValueError: If the variant knows no such *origin*.
    """
    block = resolved(source)
    if not isinstance(block, Mapping):
        raise refuse("a mapping of a block's fields", block)

    options = _Options()
    for field in SHARED:
        if field in block:
            options.add(field, block[field], (field,))
    if CONSTRUCTOR in block:
        options.add("type", block[CONSTRUCTOR], (CONSTRUCTOR,))
    options.add_arguments(block.get(ARGUMENTS))
    config = options.structure(cls, origin, registry)

    own = plan_of(type(config)).options
    ignored = [
        _ignored(field, value, is_option=field in own)
        for field, value in block.items()
        if field not in (CONSTRUCTOR, ARGUMENTS, *SHARED)
    ]
    return BlockAttention(config, tuple(ignored))


class _Options:
    """Options of attention as they are gathered, with the path under which the block has each."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}
        self._keys: dict[Any, _Keys] = {}
        self._problems: list[Problem] = []

    def add(self, option: Any, value: Any, keys: _Keys) -> None:
        """Add an option; one that is there already must have the same value."""
        if option in self._values and not _is_same(value, self._values[option]):
            first = f"{shown(self._values[option])} as {path_text(self._keys[option])}"
            self._problems.append(
                Problem(
                    keys=keys,
                    message=f"given twice: {shown(value)} here, {first}",
                    value=value,
                    suggestion="keep one of them",
                )
            )
        self._values[option] = value
        self._keys[option] = keys

    def add_arguments(self, arguments: Any) -> None:
        """Add the variant's own options."""
        if arguments is None:
            return
        if isinstance(arguments, Mapping):
            for option, value in arguments.items():
                self.add(option, value, (ARGUMENTS, option))
        else:
            error = refuse("a mapping of options", arguments)
            self._problems += [problem.within(ARGUMENTS) for problem in error.problems]

    def structure(self, cls: type[_C], origin: str | None, registry: Registry | None) -> _C:
        """Return the config, or raise everything that is wrong, under the paths of the block."""
        try:
            config, notices = structured(self._values, cls, origin=origin, registry=registry)
        except ConfigError as error:
            found = self._in_block(error.problems)
            raise error.with_problems([*self._problems, *found]) from None
        if self._problems:
            raise ConfigError(self._problems)
        if notices:
            warn_of(self._in_block(notices))
        return config

    def _in_block(self, problems: Iterable[Problem]) -> list[Problem]:
        return [
            attrs.evolve(problem, keys=self._keys_in_block(problem.keys)) for problem in problems
        ]

    def _keys_in_block(self, keys: _Keys) -> _Keys:
        """Return the path in the block of what has, or should have, *keys* in the config."""
        if not keys:
            return ()
        option, *rest = keys
        if option in self._keys:
            found = self._keys[option]
        elif option == "type":
            found = (CONSTRUCTOR,)
        elif option in SHARED:
            found = (option,)
        else:
            found = (ARGUMENTS, option)
        return (*found, *rest)


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)  # 1 and True are equal and not the same


def _ignored(field: Any, value: Any, *, is_option: bool) -> Problem:
    way_out = f"if it is meant for the attention, move it into {ARGUMENTS}"
    return Problem(
        keys=(str(field),),
        message="is of the block and has no meaning for its attention",
        value=value,
        suggestion=way_out if is_option else None,
        at_key=True,
    )
