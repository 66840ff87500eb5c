"""The contract with plugins: the hooks they implement, and the record of a variant."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

import attrs
import pluggy
from annotated_types import Ge

from noether_core.errors import ConfigError, Problem
from noether_core.schemas.faults import faults_of
from noether_core.schemas.frozen_mapping import EMPTY, freeze
from noether_core.schemas.modules.attention import AttentionConfig, Name
from noether_core.schemas.open_config import OpenConfig
from noether_core.schemas.rules import Check, Rule, refuse, rule_for
from noether_core.schemas.schema import Schema, invariant, plan_of, problems_of

if TYPE_CHECKING:
    from torch import nn

    from noether_core.task_record import TaskRecord

hookspec_version = 1
"""Version of this contract. Plugins that were written for a newer one are refused."""

oldest_version = 1
"""Version of this contract from which on plugins work as they are."""

CHANGES: Mapping[int, str] = {}
"""What an author has to change to come to a version, for each above 1 that needs a change."""

hookspec = pluggy.HookspecMarker("noether")
hookimpl = pluggy.HookimplMarker("noether")

Interface = Literal["self", "cross", "tokens"]
"""How a module is called; the three signatures stand in the architecture page."""

Capability = Literal[
    "attn_mask",
    "key_padding_mask",
    "rope",
    "positions",
    "token_specs",
    "context",
    "attention_patterns",
    "kv_cache",
    "deterministic",
    "permutation",
    "summary",
]
"""What a variant honours: arguments of its interface; ``deterministic`` for equal numbers in
evaluation, ``permutation`` for a result that follows its tokens in whatever order they come, and
``summary`` for the methods ``gather`` and ``read``. A config that honours ``context`` has the
option ``context_dim``, the width of its tokens, or None for a module that takes none."""


# not written out in records, where "type" is the property
ConfigClass = type[OpenConfig]
AttentionConfigClass = type[AttentionConfig]


# without fields, which would come before those of each kind of record
class PluginRecord(Schema):
    """What the records of all kinds of plugins have in common.

    A subclass has the fields ``config``, ``module``, ``summary``, ``example`` and ``api_version``.
    """

    __slots__ = ()

    open_config: ClassVar[ConfigClass]
    """The open config of the family that the record's config is of."""

    module_path: ClassVar[str]
    """What ``module`` is, with an example, as errors say it."""

    if TYPE_CHECKING:
        config: ConfigClass
        module: str
        summary: str
        example: Mapping[str, Any]
        api_version: int

    def __attrs_post_init__(self) -> None:
        """Check every field, and make what was left out from the config."""
        Schema.__attrs_post_init__(self)
        if self.summary == "":
            # docstrings are gone under `python -OO`, and a plugin must work there too
            lines = inspect.cleandoc(self.config.__doc__ or "").splitlines()
            object.__setattr__(self, "summary", lines[0] if lines else self.config.__name__)
        if not self.example:
            object.__setattr__(self, "example", _small_example(self.config))

    @property
    def type(self) -> str:
        """The name that configs use, from the literal of the config's ``type``."""
        return str(_type_names(self.config)[0])

    def example_config(self) -> Any:
        """Return the smallest config that the record shows."""
        return self.config(**self.example)

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:
        """Return the rule of a field of the record."""
        if option == "config":
            return Rule(f"a subclass of {cls.open_config.__name__}", _sound_config(cls.open_config))
        if option == "module":
            expected = cls.module_path
            return Rule(expected, _sound_module_path(expected))
        return rule_for(annotation)

    @invariant
    @staticmethod
    def example_is_sound(config: ConfigClass, example: Mapping[str, Any]) -> Problem | None:
        """Return a problem unless the example makes a config."""
        plan = plan_of(config)
        if not example:
            return _example_wanted(config, sorted(plan.required))
        unknown = sorted(example.keys() - plan.options)
        problems = [f"{name}: unknown option" for name in unknown]
        if not problems:
            problems = [str(problem) for problem in problems_of(config, example)]
        if not problems:
            return None
        return Problem(
            keys=("example",),
            message=f"makes no {config.__name__}: {'; '.join(problems)}",
            value=example,
        )


@attrs.frozen(kw_only=True)
class AttentionVariant(PluginRecord):
    """What a plugin offers: the config of one attention variant, and where its module is.

    Raises:
        ConfigError: If a field is wrong, or the config class cannot serve: not frozen, not slotted,
            not keyword-only, not decorated, or without a literal ``type``.
    """

    open_config: ClassVar[ConfigClass] = AttentionConfig
    module_path: ClassVar[str] = "an import path such as 'acme_window.module:WindowAttention'"

    config: AttentionConfigClass
    """The concrete config class. Its file imports no torch."""

    module: str
    """Import path of the ``nn.Module`` class: ``acme_window.module:WindowAttention``."""

    interface: Interface
    """How the module is called."""

    capabilities: tuple[Capability, ...] = ()
    """What the module honours beyond what its interface requires."""

    time_exponent: Annotated[float, Ge(0)] | None = None
    """Exponent of the number of tokens in the time of a forward pass: 2 for every pair of tokens.

    None promises nothing; the kit measures and prints it.
    """

    memory_exponent: Annotated[float, Ge(0)] | None = None
    """Exponent of the number of tokens in the memory of a forward pass, likewise."""

    summary_exponent: Annotated[float, Ge(0)] = 0
    """Exponent of the number of tokens in the bytes of what ``gather`` returns: 0 for a fixed size.
    """

    summary: str = ""
    """The idea in one line; the first line of the config's docstring where it is left out."""

    reference: str = ""
    """Where the variant was published."""

    example: Mapping[str, Any] = EMPTY
    """Options of a small config, without ``type``.

    Where it is left out, it is made of small values that the annotations of the required options
    accept. A config whose options must agree in ways that no annotation says needs it.
    """

    example_groups: Mapping[str, Annotated[int, Ge(0)] | None] = EMPTY
    """Groups of tokens of a smallest call: the size of one that stays as tokens grow in number,
    None for others.
    """

    frozen_parameters: tuple[Name, ...] = ()
    """Parameters that are never trained, by name or pattern: ``scale``, ``layers.*.scale``."""

    silent_options: tuple[Name, ...] = ()
    """Options that change neither weights nor numbers nor the work done, such as one that logs."""

    origins: Mapping[str, Name] = EMPTY
    """Other implementations whose configs and weights are read, each with the import path of its
    `Origin`.
    """

    api_version: Annotated[int, Ge(1)] = 1
    """The `hookspec_version` that the plugin was written for."""

    @invariant
    @staticmethod
    def silent_options_are_options(
        config: AttentionConfigClass, silent_options: tuple[str, ...]
    ) -> Problem | None:
        """Return a problem unless every silent option is one of the config."""
        unknown = [name for name in silent_options if name not in plan_of(config).options]
        if not unknown:
            return None
        message = f"{', '.join(unknown)}: unknown option of {config.__name__}"
        return Problem(keys=("silent_options",), message=message, value=silent_options)


class AttentionHooks:
    """Hooks of the group ``noether.attention``: one entry point per variant, named as its type."""

    @hookspec(firstresult=True)
    def noether_attention_variant(self) -> AttentionVariant:  # type: ignore[empty-body]
        """Return the record of the variant. Called once, on first use of its type."""


class TaskHooks:
    """Hooks of the group ``noether.task``: one entry point per task, named as its type."""

    @hookspec(firstresult=True)
    def noether_task(self) -> TaskRecord:  # type: ignore[empty-body]
        """Return the record of the task. Called once, on first use of its type."""


class CommandHooks:
    """Hooks of the group ``noether.command``: one entry point per command, named as the command."""

    @hookspec
    def noether_command(self, parser: argparse.ArgumentParser) -> None:
        """Describe the command to *parser*.

        Add its arguments, and set what runs it: ``parser.set_defaults(run=function)``. The function
        takes the parsed arguments and returns the exit status: 0 for good, 1 for problems found, 2
        for wrong usage.
        """


class ExtensionHooks:
    """Hooks of the group ``noether.extension``: packages that take part in building.

    Extensions are called in the order of their names, ``distribution:name``; those marked with
    ``@hookimpl(tryfirst=True)`` before, with ``trylast=True`` after all others. Each is called by
    itself, so that its failures can be named: an implementation that is a wrapper is refused.
    """

    @hookspec
    def noether_validate_config(
        self, config: AttentionConfig
    ) -> Problem | Iterable[Problem] | None:
        """Return what is wrong with a config that is sound by itself.

        Called by ``build`` and ``noether validate``.
        """

    @hookspec
    def noether_before_build(self, config: AttentionConfig) -> None:
        """Do what must be done before a module is made."""

    @hookspec(firstresult=True)
    def noether_after_build(self, module: nn.Module, config: AttentionConfig) -> nn.Module | None:
        """Return what is to be used in place of a module just made; None for the module itself."""


def _sound_config(family: ConfigClass) -> Check:
    """Return the check of a record's config, which is a concrete one of a family."""

    def check(value: Any) -> Any:
        faults = _faults_of_config(value, family)
        if faults:
            raise ConfigError([Problem(message=fault, value=value) for fault in faults])
        return value

    return check


def _faults_of_config(value: Any, family: ConfigClass) -> list[str]:
    """Return every reason for which *value* cannot be the config of a record."""
    faults = list(faults_of(value))
    if faults:
        return faults
    if not issubclass(value, family):
        return [f"{value.__qualname__} is no subclass of {family.__name__}"]
    if len(_type_names(value)) != 1:
        literal = "type: Literal['name'] = 'name'"
        return [f"{value.__qualname__} must annotate its type with one literal: {literal}"]
    return []


def _small_example(config: ConfigClass) -> Mapping[str, Any]:
    """Return small values of the required options, if their annotations tell which."""
    from noether_core.schemas.small_values import small_options

    example: Mapping[str, Any] = freeze(small_options(config))
    return example


def _example_wanted(config: ConfigClass, required: Sequence[str]) -> Problem | None:
    """Return the problem that no example can be made, and what stands in its way."""
    problems = problems_of(config, _small_example(config))
    if not problems:
        return None
    reasons = "; ".join(str(problem) for problem in problems)
    wanted = ", ".join(f"{name!r}: ..." for name in required)
    return Problem(
        keys=("example",),
        message=f"small values of {', '.join(required)} make no {config.__name__}: {reasons}",
        suggestion=f"give the record one: example={{{wanted}}}",
    )


def _sound_module_path(expected: str) -> Check:
    def check(value: Any) -> Any:
        if type(value) is str and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", value):
            return value
        raise refuse(expected, value)

    return check


def _type_names(config: ConfigClass) -> tuple[Any, ...]:
    """Return the literals that the field ``type`` accepts, if its default is one of them."""
    (field,) = (field for field in plan_of(config).fields if field.option == "type")
    names = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return names if field.default in names else ()
