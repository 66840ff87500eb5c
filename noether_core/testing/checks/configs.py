"""Configs: strict, bounded, explained, exact to read back, and made without torch."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from noether_core.errors import ConfigError, OutdatedOptionWarning, PluginError, shown
from noether_core.schemas import help_of
from noether_core.schemas.schema import plan_of
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.origins import origin_of
from noether_core.structuring.structure import structure
from noether_core.testing import calls
from noether_core.testing.contract import NotApplicable, check
from noether_core.testing.option_values import (
    example_value,
    fields_of,
    foreign_values,
    number_ranges,
    other_values,
    takes_anything,
)
from noether_core.testing.subject import Subject

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig
    from noether_core.schemas.schema import Field

_LARGEST = 64
"""Numbers beyond which a bound is only a safeguard, and a module at it may be too large to make."""

_LONGEST = 120
"""Seconds that importing a config may take."""


@check(needs="config")
def check_config_round_trip(subject: Subject) -> None:
    """A config written out as plain data and read again is the same, fingerprint included.

    Old names of its options are read as the new ones, with a warning; and where the record names
    other implementations, what it says of them can be used.
    """
    for config in _some_configs(subject):
        copies = [pickle.loads(pickle.dumps(config))]  # noqa: S301  our own bytes
        for defaults in (True, False):
            text = json.dumps(unstructure(config, defaults=defaults))
            copies.append(structure(json.loads(text), registry=subject.registry))

        wanted = (config, hash(config), config.fingerprint())
        for copied in copies:
            if (copied, hash(copied), copied.fingerprint()) != wanted:
                raise subject.failure(f"{shown(config)} comes back as {shown(copied)}")
    _check_outdated_options(subject)
    for name in subject.variant.origins:
        try:
            origin_of(subject.config().type, name, subject.registry)
        except PluginError as error:
            raise subject.failure(f"its origin {name!r} cannot be used: {error.reason}") from error


def _check_outdated_options(subject: Subject) -> None:
    """Check that options of older versions are read, with a warning."""
    config = subject.config()
    plan, options = plan_of(type(config)), unstructure(config)
    for old, new in plan.renamed.items():
        renamed = {name: value for name, value in options.items() if name != new}
        made = _warned_of(subject, {**renamed, old: options.get(new)})
        if made != config:
            raise subject.failure(
                f"{shown(config)} with {old!r}, an old name of {new!r}, comes back as {shown(made)}"
            )
    for old in plan.dropped:
        if _warned_of(subject, {**options, old: None}) != config:
            raise subject.failure(f"{old!r}, which was dropped, changes {shown(config)}")


def _warned_of(subject: Subject, options: Mapping[str, Any]) -> AttentionConfig:
    """Return the config of options of an older version, which must bring a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = structure(options, registry=subject.registry)
    if not any(issubclass(found.category, OutdatedOptionWarning) for found in caught):
        raise subject.failure(f"{shown(options)} has options of an older version, and no warning")
    return config


def _some_configs(subject: Subject) -> Iterator[AttentionConfig]:
    """Yield the example, and configs that differ from it in one option."""
    yield subject.config()
    for field in fields_of(subject):
        for value in other_values(subject, field):
            yield subject.config(**{field.option: value})
            break


@check(needs="config")
def check_config_is_strict(subject: Subject) -> None:
    """An option takes no value of another kind, no text for a number, and nothing unknown.

    A value that is refused is refused under the name of its option.
    """
    for field in fields_of(subject):
        if takes_anything(field.annotation):
            raise subject.failure(
                f"{field.option} takes anything; annotate what it is meant to take"
            )
        for value in foreign_values(field.annotation, example_value(subject, field)):
            if not _is_refused(subject, field.option, value):
                raise subject.failure(
                    f"{field.option} takes {shown(value)}, wanted {field.expected}"
                )
    if not _is_refused(subject, "no_such_option", 1):
        raise subject.failure("the unknown option 'no_such_option' is not refused by its name")


def _is_refused(subject: Subject, option: str, value: Any) -> bool:
    """Return whether a value is refused under the name of its option."""
    options = {"type": subject.type, **subject.given(**{option: value})}
    try:
        structure(options, registry=subject.registry)
    except ConfigError as error:
        return any(problem.keys[:1] == (option,) for problem in error.problems)
    return False


@check()
def check_bounds(subject: Subject) -> None:
    """A number beyond a bound is refused, and one at it makes a module that can be called.

    What an option without a bound takes must work as well.
    """
    for field in fields_of(subject):
        for numbers in number_ranges(field.annotation):
            for value in numbers.outside():
                if not _is_refused(subject, field.option, value):
                    raise subject.failure(f"{field.option} takes {value}, wanted {field.expected}")
            for value in numbers.outermost():
                if abs(value) <= _LARGEST:
                    _check_works(subject, field, value)


def _check_works(subject: Subject, field: Field, value: Any) -> None:
    """Check that a module can be made with a value and called, in training as in evaluation."""
    changes = {field.option: value}
    if not subject.is_sound(**changes) and field.option != "num_heads":
        changes["num_heads"] = 1  # one head divides any width
    if not subject.is_sound(**changes):  # other options, or a rule across them, leave it no room
        return
    if not calls.have_domains(subject.config(**changes), subject.variant.example_groups):
        return  # it is for calls with other groups

    problem = f"{field.option} takes {value}, and then"
    try:
        module = subject.module(**changes)
        arguments = subject.arguments(module)
        results = [subject.call(module.train(training), arguments) for training in (False, True)]
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        raise subject.failure(
            f"{problem} a module cannot be made or called: {raised}; bound the option"
        ) from error
    if not all(y.isfinite().all() for y in results):
        raise subject.failure(f"{problem} results are not finite; bound the option")


@check(needs="nothing")
def check_help(subject: Subject) -> None:
    """Every option has help: a string under its field."""
    texts, options = help_of(subject.variant.config), plan_of(subject.variant.config).options
    bare = sorted(option for option in options if not texts.get(option, "").strip())
    if bare:
        raise subject.failure(f"no help under {', '.join(bare)}; write a string below each field")


@check(needs="nothing")
def check_config_without_torch(subject: Subject) -> None:
    """Record and config are imported where there is no torch."""
    paths = (subject.variant.config.__module__, subject.plugin.partition(":")[0])
    modules = list(dict.fromkeys(filter(None, paths)))
    if "__main__" in modules:
        raise NotApplicable("its config was written in __main__, which no other process can import")

    command = [sys.executable, "-c", _WITHOUT_TORCH, json.dumps(sys.path), *modules]
    done = subprocess.run(  # noqa: S603  our own code, in the same Python
        command, check=False, capture_output=True, text=True, timeout=_LONGEST
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise subject.failure(
            f"{' or '.join(modules)} cannot be imported without torch: {lines[-1]}; "
            "import it in the module's file alone"
        )


_WITHOUT_TORCH = """
import importlib, json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is imported")

sys.meta_path.insert(0, Refuse())
sys.path[:] = json.loads(sys.argv[1])
for name in sys.argv[2:]:
    hook = getattr(importlib.import_module(name), "noether_attention_variant", None)
    if callable(hook):
        hook()
"""
