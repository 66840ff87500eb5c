"""A parsed document: its data, and the place of every problem that others find in it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import attrs

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents.source import LARGEST_TEXT, Source, unprintable
from noether_core.structuring.documents.spots import Spot, placed

Format = Literal["yaml", "toml", "json"]

_Reader = Callable[[Source], tuple[Any, Callable[[], Spot]]]
"""Returns the data, and what finds its spots when they are asked for."""


@attrs.frozen(eq=False)
class Document:
    """What a text says, and where."""

    data: Any
    """Dicts, lists, text, numbers, booleans and None, none of it shared; the reader may change it.
    """

    _source: Source = attrs.field(repr=False)
    _find_spot: Callable[[], Spot] = attrs.field(repr=False)

    def locate(self, problem: Problem) -> Problem:
        """Return *problem* with file, line, column and the line itself; one that has a line stays
        as it is.

        The place is that of the value under the problem's keys, or of its key where that is at
        fault. What is missing is placed at the key of the nearest mapping or list that should hold
        it.
        """
        return placed(problem, self._source, self._find_spot())


def parse(text: str, format: Format, *, file: str = "<text>") -> Document:
    """Return what *text* says.

    Args:
        text: The whole document; a byte order mark at its start is passed over.
        format: How it is written.
        file: What problems call it.

    Raises:
        ConfigError: If it is not valid, too large, or holds what plain data does not.
        ValueError: If there is no such *format*.
    """
    if format not in get_args(Format):
        raise ValueError(f"no format {format!r}; expected one of {', '.join(get_args(Format))}")
    source = Source(text.removeprefix("\ufeff"), file)
    _refuse_large(source)
    _refuse_unprintable(source)
    try:
        data, find_spot = _reader(format)(source)
    except RecursionError as error:
        message = "nested too deep for what is left of Python's stack"
        raise ConfigError([Problem(message=message, file=file)]) from error
    return Document(data, source, functools.cache(find_spot))


def _reader(format: Format) -> _Reader:
    """Return the reader of one format; the others are not imported."""
    match format:
        case "yaml":
            from noether_core.structuring.documents.yaml_reader import read_yaml

            return read_yaml
        case "toml":
            from noether_core.structuring.documents.toml_reader import read_toml

            return read_toml
        case "json":
            from noether_core.structuring.documents.json_reader import read_json

            return read_json


def _refuse_large(source: Source) -> None:
    if len(source.text) > LARGEST_TEXT:
        raise ConfigError(
            [Problem(message=f"more than {LARGEST_TEXT} characters", file=source.file)]
        )


def _refuse_unprintable(source: Source) -> None:
    if found := unprintable(source.text):
        message = f"the character U+{ord(found.group()):04X} cannot stand in a document"
        suggestion = "save the file as UTF-8" if found.group() == "\0" else None
        raise ConfigError([source.problem(message, found.start(), suggestion=suggestion)])
