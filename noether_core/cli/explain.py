"""``noether explain``: where each option of a config comes from, and what it costs."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Literal

from noether_core.cli.configs import (
    EXPERIMENTS,
    add_content_options,
    add_locked_option,
    class_of_files,
    document_in,
    name_of,
    problems_under_lock,
    said_by_command,
    schema_of_files,
)
from noether_core.cli.output import (
    add_table_options,
    print_errors,
    print_facts,
    print_json,
    print_line,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from noether_core.costs import Costs, Count
    from noether_core.errors import Problem
    from noether_core.plugins.registry import Registry
    from noether_core.schemas.schema import Schema
    from noether_core.structuring.documents import Document
    from noether_core.structuring.explaining import Explained, Explanation, Option
    from noether_core.structuring.lock import Locked
    from noether_core.structuring.paths import OverriddenDocument

_TOKENS = (1_000, 100_000, 10_000_000)
"""Numbers of tokens for which costs are counted."""

_COLUMNS = 80
"""Width of sentences on a terminal."""

_KINDS = {
    "variant": "the config of an attention variant",
    "task": "the config of a task",
    "experiment": "a whole experiment",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a config, or a whole experiment: YAML, TOML or JSON, by its suffix; or - for "
        "standard input",
    )
    parser.add_argument(
        "overrides",
        metavar="PATH=VALUE",
        nargs="*",
        help="values before those of FILE, paths from its top: num_slices=64 model.depth=6",
    )
    add_content_options(parser)
    add_locked_option(parser)
    parser.add_argument(
        "--tokens",
        metavar="N,N,...",
        type=_numbers,
        default=_TOKENS,
        help="numbers of tokens for which operations and memory are counted; "
        f"{', '.join(f'{tokens:,}' for tokens in _TOKENS)} if left out",
    )
    add_table_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain every config of a file; return 0 if all are good and 1 otherwise."""
    file, options.overrides = _file_and_overrides([options.file, *options.overrides])
    options.files = [file]
    explanation, problems, warnings = _explained(file, options)
    if options.json:
        from noether_core.schemas.unstructure import unstructure

        print_json(unstructure(explanation))
        return 0 if explanation.valid else 1
    for warning in warnings:
        print_errors(f"warning: {warning.headline if options.plain else warning}")
    for number, explained in enumerate(explanation.configs):
        if number:
            print_line()
        _print(explanation.file, explained, plain=options.plain)
    for problem in problems:
        print_errors(problem.headline if options.plain else str(problem))
    return 0 if explanation.valid else 1


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of tokens that ``--tokens`` gives, for argparse."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers of tokens, such as 1000,100000"
        )
    return tuple(sorted(set(numbers)))


def _file_and_overrides(words: list[str]) -> tuple[str, list[str]]:
    """Return which of *words* is FILE, wherever it stands: a file, or the first without a ``=``."""
    for is_file in (os.path.isfile, lambda word: "=" not in word):
        for position, word in enumerate(words):
            if is_file(word):
                return word, words[:position] + words[position + 1 :]
    return words[0], words[1:]


def _explained(
    file: str, options: argparse.Namespace
) -> tuple[Explanation, Sequence[Problem], Sequence[Problem]]:
    """Return what there is to say of a file, what is wrong with it, and old options in it."""
    from noether_core.errors import ConfigError, by_location
    from noether_core.plugins.registry import registry
    from noether_core.structuring.checking import check_configs
    from noether_core.structuring.explaining import Explanation

    configs: list[Explained] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    try:
        locked = _locked(options.locked)
        document = _document(file, options)
        cls = class_of_files(options) or _class_of(document.data, options)
        known = registry() if locked is None else locked.registry
        costs = _Costs(options.tokens, known)
        for checked in check_configs(document, options.at, cls=cls, registry=known):
            found = list(problems_under_lock(checked, locked, document))
            problems += found
            if checked.config is not None and not found:
                warnings += checked.notices
                configs.append(_explain(checked.config, document, checked.keys, costs))
    except ConfigError as error:
        problems += error.problems
    explanation = Explanation(
        file=name_of(file),
        valid=not problems,
        configs=tuple(configs),
        problems=tuple(problem.as_dict() for problem in by_location(problems)),
        warnings=tuple(warning.as_dict() for warning in by_location(warnings)),
    )
    return explanation, by_location(problems), by_location(warnings)


def _locked(lock: str | None) -> Locked | None:
    if lock is None:
        return None
    from noether_core.structuring.lock import Locked

    return Locked(lock)


def _document(file: str, options: argparse.Namespace) -> Document | OverriddenDocument:
    document: Document = document_in(file, options)
    if not options.overrides:
        return document
    from noether_core.structuring.paths import override

    return override(document, options.overrides)


def _class_of(data: Any, options: argparse.Namespace) -> type[Schema] | None:
    """Return the class of experiments if *data* has the sections of one; None elsewhere."""
    if options.at is not None or not isinstance(data, dict) or "type" in data:
        return None
    cls: type[Schema] | None = schema_of_files(EXPERIMENTS)
    if cls is None:
        return None
    from noether_core.schemas.schema import plan_of

    plan = plan_of(cls)
    has_some = bool(plan.required & data.keys())
    is_one = has_some and (plan.required <= data.keys() or data.keys() <= plan.options)
    return cls if is_one else None


class _Costs:
    """Counts what configs take, equal ones once."""

    def __init__(self, tokens: Sequence[int], registry: Registry) -> None:
        self._tokens = tokens
        self.registry = registry
        self._counted: dict[Schema, Costs] = {}

    def of(self, config: Schema) -> Costs | None:
        """Return what the module or model of a config takes; None for a task.

        Whatever keeps it from being counted is said there.
        """
        from noether_core.costs import Costs
        from noether_core.errors import NoetherError
        from noether_core.schemas.task import TaskConfig

        if isinstance(config, TaskConfig):
            return None
        if config not in self._counted:
            try:
                self._counted[config] = self._count(config)
            except NoetherError as error:  # a missing extra among them
                reason = " ".join(str(error).split())
                self._counted[config] = Costs(error=f"cannot be counted: {reason}")
        return self._counted[config]

    def _count(self, config: Schema) -> Costs:
        from importlib.util import find_spec

        from noether_core.costs import Costs
        from noether_core.errors import MissingExtraError
        from noether_core.schemas.modules.attention import AttentionConfig

        if find_spec("torch") is None:
            raise MissingExtraError("counting", "torch", "torch")
        if isinstance(config, AttentionConfig):
            from noether_core.counting import costs_of_attention

            return costs_of_attention(config, self._tokens, registry=self.registry)
        count = said_by_command(EXPERIMENTS, "costs")
        if count is None:
            return Costs(error=f"cannot be counted: the command {EXPERIMENTS!r} does not say how")
        costs: Costs = count(config, self._tokens)
        return costs


def _explain(
    config: Schema,
    document: Document | OverriddenDocument,
    keys: tuple[str | int, ...],
    costs: _Costs,
) -> Explained:
    from noether_core.errors import path_text
    from noether_core.schemas.modules.attention import AttentionConfig
    from noether_core.schemas.task import TaskConfig
    from noether_core.structuring.explaining import Explained, options_of, parts_of

    taken_as: Literal["variant", "task", "experiment"] = "experiment"
    if isinstance(config, (AttentionConfig, TaskConfig)):
        taken_as = "task" if isinstance(config, TaskConfig) else "variant"
    return Explained(
        path=path_text(keys),
        taken_as=taken_as,
        parts=parts_of(config, keys, costs.registry),
        options=options_of(config, document, keys),
        costs=costs.of(config),
    )


def _print(file: str, explained: Explained, *, plain: bool) -> None:
    place = f"{file}: {explained.path}" if explained.path else file
    print_line(f"{place}: taken as {_KINDS[explained.taken_as]}")
    for part in explained.parts:
        print_line()
        facts: dict[str, Any] = {
            part.kind: part.type,
            "provider": f"{part.provider} {part.version}".strip(),
            "summary": part.summary,
        }
        if part.interface:
            facts |= {"interface": part.interface, "capabilities": part.capabilities}
        print_facts(facts, plain=plain)

    print_line()
    rows = [
        {"option": option.path, "value": _value_text(option), "from": _source_text(option)}
        for option in explained.options
    ]
    print_table(rows, ("option", "value", "from"), plain=plain)
    if explained.costs is not None:
        print_line()
        _print_costs(explained.costs, plain=plain)


def _value_text(option: Option) -> str:
    """Return a value as a document says it."""
    import json

    value = option.value
    if isinstance(value, str) and value:
        return value
    from noether_core.schemas.unstructure import unstructure

    text = json.dumps(unstructure(value), ensure_ascii=False)
    return f"{text} ({option.none_means})" if option.none_means else text


def _source_text(option: Option) -> str:
    """Return in words where a value comes from."""
    words = str(option.source)
    if option.source == "override":
        words = "the command line"
    if option.source == "file":
        words = f"{option.file}:{option.line}:{option.column}"
    if option.source == "derived":
        words = "follows"
    if option.written_as:
        words += f", written as {option.written_as}"
    if option.derived_from:
        joint = " from " if option.source == "derived" else "; follows from "
        words += joint + ", ".join(option.derived_from)
    return words


def _print_costs(costs: Costs, *, plain: bool) -> None:
    if costs.parameters is not None:
        size = _bytes(costs.parameter_bytes)
        print_line(f"parameters: {costs.parameters:,} ({size})")
    if costs.basis:
        _print_sentence(f"counted: {costs.basis}", plain=plain)
    if costs.error:
        _print_sentence(costs.error, plain=plain)
    if not costs.counts:
        return
    columns = ("tokens", "forward", "memory", "training step", "its memory")
    print_line()
    print_table(list(_cost_rows(costs.counts)), columns, plain=plain)
    for note in _notes(costs.counts):
        _print_sentence(note, plain=plain)


def _cost_rows(counts: Iterable[Count]) -> Iterator[dict[str, str]]:
    """Yield a row for each number of tokens."""
    rows: dict[int, dict[str, str]] = {}
    for count in counts:
        row = rows.setdefault(count.tokens, {"tokens": f"{count.tokens:,}"})
        is_forward = count.part == "forward"
        names = ("forward", "memory") if is_forward else ("training step", "its memory")
        mark = "" if count.how == "counted" else "*"
        for name, text in zip(names, (_flop(count.operations), _bytes(count.bytes)), strict=True):
            row[name] = text + mark
    yield from rows.values()


def _notes(counts: Iterable[Count]) -> Iterator[str]:
    """Yield what there is to say of counts that are marked, each reason once."""
    places: dict[tuple[str, str], list[str]] = {}
    for count in counts:
        if count.detail:
            part = "forward" if count.part == "forward" else "training step"
            said = {"measured": "measured ", "fitted": "computed "}.get(count.how, "")
            places.setdefault((part, said + count.detail), []).append(f"{count.tokens:,}")
    for (part, detail), tokens in places.items():
        yield f"* {part} at {' and '.join(tokens)}: {detail}"


def _print_sentence(text: str, *, plain: bool) -> None:
    if plain or not sys.stdout.isatty():
        print_line(text)
        return
    for line in textwrap.wrap(text, _COLUMNS):
        print_line(line)


def _flop(number: float | None) -> str:
    """Return multiplications and additions in a unit that a reader takes in."""
    return _in_units(number, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def _bytes(number: float | None) -> str:
    return _in_units(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def _in_units(number: float | None, step: int, units: Sequence[str]) -> str:
    if number is None:
        return "-"
    value, power = float(number), 0
    while value >= step and power < len(units) - 1:
        value, power = value / step, power + 1
    return f"{value:,.0f} {units[0]}" if not power else f"{value:,.3g} {units[power]}"
