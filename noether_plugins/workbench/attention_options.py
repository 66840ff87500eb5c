"""Options for attention of other types than a file's own: what ``attention_options`` may say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from noether_core import ConfigError, PluginError, Problem, registry, structure
from noether_core.schemas.rules import Rule, rule_for
from noether_core.schemas.schema import plan_of


def rule_of_options(annotation: Any) -> Rule:
    """Return the rule of a mapping from types to some of their options.

    Whether the options agree with one another is known once all are there, those that a comparison
    fills in among them.
    """
    rule = rule_for(annotation)
    return Rule(rule.expected, _with_known_options(rule.check))


def _with_known_options(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check_options(value: Any) -> Any:
        checked: Mapping[str, Mapping[str, Any]] = check(value)
        problems: list[Problem] = []
        for name, options in checked.items():
            problems += [problem.within(name) for problem in _problems_of(name, options)]
        if problems:
            raise ConfigError(problems)
        return checked

    return check_options


def _problems_of(type: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with some options of a type, each by itself."""
    try:
        config = registry().get(type).config
    except ConfigError as error:  # it is the key that names the type
        for problem in error.problems:
            yield Problem(
                message=problem.message, value=type, suggestion=problem.suggestion, at_key=True
            )
        return
    except PluginError as error:
        yield Problem(message=str(error), value=type, at_key=True)
        return

    if "type" in options:
        yield Problem(keys=("type",), message="is said by the key above", at_key=True)
    plan = plan_of(config)
    known = {name: value for name, value in options.items() if name in plan.options - {"type"}}
    for name in options.keys() - known.keys() - {"type"}:
        yield from _problems_of_name({"type": type, name: options[name]})
    for name, value in known.items():
        if name in plan.nested:
            continue  # a config within is made, and checked, with all others
        try:
            plan.check(name, value)
        except ConfigError as error:
            yield from (problem.within(name) for problem in error.problems)


def _problems_of_name(options: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield that an option is unknown, or that its name is an old one."""
    try:
        structure(options)
    except ConfigError as error:
        yield from (problem for problem in error.problems if problem.at_key)
