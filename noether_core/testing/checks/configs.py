"""Configs: strict, bounded, explained, exact to read back, and made without torch."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from noether_core.errors import ConfigError, shown
from noether_core.schemas import help_of
from noether_core.schemas.schema import plan_of
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.structure import structure
from noether_core.testing.alternatives import (
    alternatives,
    bounds_in,
    fields_of,
    foreign_values,
    takes_anything,
    value_of,
)
from noether_core.testing.failures import CheckFailed, NotApplicable
from noether_core.testing.subject import Subject

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig
    from noether_core.schemas.schema import Field

_STEP = 1e-3
"""How far beyond an open bound a number is tried."""

_LARGEST = 64
"""Numbers beyond which a bound is only a safeguard, and a module at it may be too large to make."""

_UNBOUNDED = (-1, 0)
"""Numbers that an option without a lower bound takes."""

_LONGEST = 120
"""Seconds that importing a config may take."""


def check_config_round_trip(subject: Subject) -> None:
    """A config that is written out as plain data and read again is the same, with the same
    fingerprint.
    """
    for config in _some_configs(subject):
        written = [json.dumps(unstructure(config, defaults=defaults)) for defaults in (True, False)]
        again = [structure(json.loads(text), registry=subject.registry) for text in written]
        for copied in (*again, pickle.loads(pickle.dumps(config))):  # noqa: S301  our own bytes
            if (
                copied != config
                or hash(copied) != hash(config)
                or copied.fingerprint() != config.fingerprint()
            ):
                raise CheckFailed(f"{subject.type}: {shown(config)} comes back as {shown(copied)}")


def _some_configs(subject: Subject) -> Iterator[AttentionConfig]:
    """Yield the example, and configs that differ from it in one option."""
    yield subject.config()
    for field in fields_of(subject):
        for value in alternatives(subject, field):
            yield subject.config(**{field.option: value})
            break


def check_config_is_strict(subject: Subject) -> None:
    """An option takes no value of another kind: no text for a number, no boolean for an integer;
    nor anything unknown.

    A value that is refused is refused under the name of its option.
    """
    for field in fields_of(subject):
        if takes_anything(field.annotation):
            raise CheckFailed(
                f"{subject.type}: {field.option} takes anything; annotate what it means to take"
            )
        for value in foreign_values(field.annotation, value_of(subject, field)):
            if not _is_refused(subject, field.option, value):
                raise CheckFailed(
                    f"{subject.type}: {field.option} takes {shown(value)}, wanted {field.expected}"
                )
    if not _is_refused(subject, "no_such_option", 1):
        raise CheckFailed(
            f"{subject.type}: the unknown option 'no_such_option' is not refused by its name"
        )


def _is_refused(subject: Subject, option: str, value: Any) -> bool:
    """Return whether a value is refused under the name of its option."""
    try:
        structure(
            {"type": subject.type, **subject.given(**{option: value})}, registry=subject.registry
        )
    except ConfigError as error:
        return any(problem.keys[:1] == (option,) for problem in error.problems)
    return False


def check_bounds(subject: Subject) -> None:
    """A number beyond a bound of its option is refused, and one at it makes a module that can be
    called.

    What an option without a bound takes must work as well.
    """
    for field in fields_of(subject):
        for kind, terms in bounds_in(field.annotation):
            for value in _beyond(kind, dict(terms)):
                if not _is_refused(subject, field.option, value):
                    raise CheckFailed(
                        f"{subject.type}: {field.option} takes {value}, wanted {field.expected}"
                    )
            for value in _at(kind, dict(terms)):
                if abs(value) <= _LARGEST:
                    _check_works(subject, field, value)


def _beyond(kind: Any, limits: dict[str, Any]) -> Iterator[Any]:
    """Yield numbers just outside of bounds."""
    step = 1 if kind is int else _STEP
    yield from (kind(limits[name]) - step for name in ("ge",) if name in limits)
    yield from (kind(limits[name]) + step for name in ("le",) if name in limits)
    yield from (kind(limits[name]) for name in ("gt", "lt") if name in limits)


def _at(kind: Any, limits: dict[str, Any]) -> Iterator[Any]:
    """Yield the outermost numbers inside of bounds, and some where there is no lower one."""
    step = 1 if kind is int else _STEP
    yield from (kind(limits[name]) for name in ("ge", "le") if name in limits)
    yield from (kind(limits[name]) + step for name in ("gt",) if name in limits)
    yield from (kind(limits[name]) - step for name in ("lt",) if name in limits)
    if not limits.keys() & {"ge", "gt"}:
        yield from map(kind, _UNBOUNDED)


def _check_works(subject: Subject, field: Field, value: Any) -> None:
    """Check that a module can be made with a value and called, in training as in evaluation."""
    fitting: tuple[dict[str, Any], ...] = ({}, {"num_heads": 1})  # one head divides any width
    changes = next(
        ({**more, field.option: value} for more in fitting if _fits(subject, field, value, more)),
        None,
    )
    if changes is None:  # other options, or a rule across them, leave it no place
        return
    told = f"{subject.type}: {field.option} takes {value}, and then"
    try:
        module = subject.module(**changes)
        arguments = subject.arguments(module)
        results = [subject.call(module.train(training), arguments) for training in (False, True)]
    except Exception as error:
        raise CheckFailed(
            f"{told} a module cannot be made or called: {type(error).__name__}: {error}; bound the option"
        ) from error
    if not all(y.isfinite().all() for y in results):
        raise CheckFailed(f"{told} results are not finite; bound the option")


def _fits(subject: Subject, field: Field, value: Any, more: dict[str, Any]) -> bool:
    return field.option not in more and subject.is_sound(**{**more, field.option: value})


def check_help(subject: Subject) -> None:
    """Every option has help: a string under its field."""
    texts = help_of(subject.variant.config)
    bare = sorted(
        option
        for option in plan_of(subject.variant.config).options
        if not texts.get(option, "").strip()
    )
    if bare:
        raise CheckFailed(
            f"{subject.type}: no help under {', '.join(bare)}; write a string below each field"
        )


def check_config_without_torch(subject: Subject) -> None:
    """Record and config are imported where there is no torch."""
    modules = list(
        dict.fromkeys([subject.variant.config.__module__, subject.plugin.partition(":")[0]])
    )
    if "__main__" in modules:
        raise NotApplicable("its config was written in __main__, which no other process can import")
    command = [sys.executable, "-c", _WITHOUT_TORCH, json.dumps(sys.path), *filter(None, modules)]
    done = subprocess.run(  # noqa: S603  our own code, in the same Python
        command, check=False, capture_output=True, text=True, timeout=_LONGEST
    )
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise CheckFailed(
            f"{subject.type}: {' or '.join(filter(None, modules))} cannot be imported without torch: {told[0]}; "
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
