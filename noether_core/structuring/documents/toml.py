"""TOML: its data, and what its library reports in words that help."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import ConfigError, path_text
from noether_core.schemas.frozen_mapping import MOST_DIGITS
from noether_core.structuring.documents.document import MOST_VALUES, SourceMap, located
from noether_core.structuring.documents.limits import DEEPEST, TOO_LONG, problems_in
from noether_core.structuring.documents.toml_scan import scan_toml

if TYPE_CHECKING:
    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

_ERROR: Final = re.compile(
    r"(?P<words>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)",
    re.DOTALL,
)
_IMMUTABLE: Final = re.compile(r"Cannot mutate immutable namespace \((?P<keys>.*)\)", re.DOTALL)
_QUOTED: Final = re.compile(r"'([^']*)'")
_DIGITS: Final = re.compile(rf"[0-9_]{{{MOST_DIGITS},}}+")

_WAYS_OUT: Final = {
    "Invalid value": "text stands in quotes; true and false are written in lower case"
}

_OF_REPEATING: Final = ("Cannot", "Duplicate")
"""How tomllib's words begin where a key or table is given twice."""


def read_toml(source: Source) -> tuple[dict[str, Any], Callable[[], SourceMap]]:
    """Return the data of a TOML document, and what finds its source map.

    Raises:
        ConfigError: If it is not TOML, or holds what plain data does not.
    """
    find_source_map = cache(lambda: scan_toml(source)[0])
    nested = sum(map(source.text.count, "[{."))
    if nested > DEEPEST or sum(map(source.text.count, "=,")) > MOST_VALUES - nested:
        find_source_map()  # refuses what is too deep or too much, for which tomllib takes long
    data = _loads(source)
    problems = problems_in(data)
    if problems:
        source_map = find_source_map()
        raise ConfigError(located(problem, source, source_map) for problem in problems)
    return data, find_source_map


def _loads(source: Source) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_problems(source, str(error))) from error
    except ValueError as error:  # Python turns no more digits into a number
        digits = _DIGITS.search(source.text)
        raise ConfigError([source.problem(TOO_LONG, digits.start() if digits else 0)]) from error


def _syntax_problems(source: Source, sentence: str) -> list[Problem]:
    """Return the problems of which tomllib reports the first, its location behind its words."""
    words, index = sentence, len(source.text)
    if found := _ERROR.fullmatch(sentence):
        words = found["words"]
        if found["line"]:
            index = source.index(int(found["line"]), int(found["column"]))

    if words.startswith(_OF_REPEATING):
        _, repeats = scan_toml(source, end=index)
        if repeats:
            return repeats
    message = f"not valid TOML: {_wording(words)}"
    return [source.problem(message, index, suggestion=_WAYS_OUT.get(words))]


def _wording(words: str) -> str:
    """Return our words for those of tomllib."""
    if immutable := _IMMUTABLE.match(words):
        path = path_text(re.findall(_QUOTED, immutable["keys"]))
        return f"{path} is whole already and takes no more keys"
    if words == "Cannot overwrite a value":
        return "the name before this has a value already"
    return f"{words[:1].lower()}{words[1:]}"
