"""YAML: the document that its parser's events make, and the parser's errors in words that help."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from noether_core.errors import ConfigError
from noether_core.structuring.documents.document import SourceMap, located
from noether_core.structuring.documents.limits import TOO_DEEP, problems_in
from noether_core.structuring.documents.yaml_compose import NAMING, Composer

if TYPE_CHECKING:
    from yaml.error import Mark, MarkedYAMLError

    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source

MOST_DIRECTIVES: Final = 100
"""``%TAG`` directives that a document may have; libyaml's time grows with their square."""


def read_yaml(source: Source) -> tuple[Any, Callable[[], SourceMap]]:
    """Return the data of a YAML document, None for an empty one, and its source map.

    Raises:
        ConfigError: If it is not YAML 1.2, or holds what plain data does not.
    """
    from yaml import YAMLError
    from yaml.error import MarkedYAMLError

    _refuse_many_directives(source)
    problems: list[Problem] = []
    try:
        data, source_map = _document(source, problems)
    except ConfigError:
        raise
    except MarkedYAMLError as error:
        raise ConfigError([*problems, _problem_of(source, error)]) from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise ConfigError([*problems, source.problem(f"not valid YAML: {error}", 0)]) from error
    if problems:
        raise ConfigError(problems)
    return data, lambda: source_map


def _document(source: Source, problems: list[Problem]) -> tuple[Any, SourceMap]:
    """Return the data and the source map of the one document; add what is wrong to *problems*."""
    from yaml.events import StreamEndEvent

    next_event = _events_of(source.text)
    next_event()  # the stream starts
    if isinstance(next_event(), StreamEndEvent):
        return None, SourceMap(0)
    data, source_map = Composer(source, next_event, problems).node()
    next_event()  # the document ends

    after = next_event()
    if not isinstance(after, StreamEndEvent):
        start = after.start_mark.index
        way_out = "keep one document in a file"
        problems.append(source.problem("a second document starts here", start, suggestion=way_out))

    if "\\" in source.text:  # only an escape can write what the text itself may not hold
        problems.extend(located(problem, source, source_map) for problem in problems_in(data))
    return data, source_map


def _events_of(text: str) -> Callable[[], Any]:
    """Return what gives the events of *text* one by one: libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:  # PyYAML was built without it
        return _slow_events_of(text)
    next_event: Callable[[], Any] = CParser(text).get_event
    return next_event


def _slow_events_of(text: str) -> Callable[[], Any]:
    """Return what gives the same events: the Python double of libyaml."""
    from yaml.loader import BaseLoader

    next_event: Callable[[], Any] = BaseLoader(text).get_event
    return next_event


def _refuse_many_directives(source: Source) -> None:
    if source.text.count("%TAG") > MOST_DIRECTIVES:
        message = f"more than {MOST_DIRECTIVES} %TAG directives"
        raise ConfigError([source.problem(message, source.text.index("%TAG"))])


def _problem_of(source: Source, error: MarkedYAMLError) -> Problem:
    """Return the problem that a parser reports, in our words.

    It stands where it was noticed, or where that began which the end of the text left open.
    """
    noticed, opened = _index(error.problem_mark), _index(error.context_mark)
    found = source.text[noticed : noticed + 1]
    before = source.text[source.text.rfind("\n", 0, noticed) + 1 : noticed]
    name = _UNFINISHED_NAME.search(before)
    if name and found and found not in " \t\r\n,]}":
        message = f"{found!r} cannot follow {name.group()}"
        return source.problem(message, noticed, suggestion=NAMING)
    wording = wording_for(error.problem or str(error), found, before)

    is_at_end = not source.text[noticed:].strip()
    return source.problem(
        wording.message.format(found=found, opened=source.line(opened)),
        opened if is_at_end or wording.is_at_start else noticed,
        suggestion=wording.suggestion,
    )


_UNFINISHED_NAME: Final = re.compile(r"(?:^|(?<=[\s\[{,]))(?:[&*][A-Za-z0-9_-]+|&)\Z")
"""An anchor or alias at the end of a text, as far as parsers read its name."""


def _index(mark: Mark | None) -> int:
    return mark.index if mark else 0


class Wording(NamedTuple):
    """Our words for an error of a parser."""

    part: str
    """What the parser's words contain: libyaml and its Python double differ in the rest."""

    message: str
    """What we say.

    ``{found}`` is the character at which it was noticed, ``{opened}`` the line of what is not
    whole.
    """

    suggestion: str | None = None
    """A way out, where one is known."""

    is_at_start: bool = False
    """Whether to look where that starts which is not whole, not where it was noticed."""


_INDENT: Final = "check the indentation"
_QUOTE: Final = "if it belongs to text, quote the text"

_DIRECTIVE: Final = "this line starts with '%', and is no directive that is known"
_NO_DIRECTIVE: Final = "remove it; YAML 1.2 is read without"

_BACKSLASH: Final = "write '\\\\' for a backslash, or put a path of Windows into single quotes"

_AT_END: Final = Wording("", "the text ends where a value should stand")
_AFTER_VALUE: Final = Wording("", "this cannot follow what stands before it on its line", _QUOTE)
_TAB: Final = Wording("", "a tab cannot indent YAML", "use spaces")
_WORDINGS: Final = (
    Wording("mapping values are not allowed", "a ':' cannot stand here", _QUOTE),
    Wording(
        "sequence entries are not allowed",
        "a '- ' cannot stand here",
        "start the list on a line of its own",
    ),
    Wording("cannot start any token", "no value starts with {found!r}", _QUOTE),
    Wording("maximum nesting depth", TOO_DEEP),
    Wording("alphabetic or numeric", "a '*' or '&' needs a name behind it", _QUOTE),
    Wording("comment or line break", "nothing but a comment can stand behind this on its line"),
    Wording("tag URI", "the tag is not whole", "remove it; a config holds plain data only"),
    Wording(
        "unexpected document indicator",
        "the quoted text that starts here does not end",
        is_at_start=True,
    ),
    Wording("node content", "expected a value, found {found!r}"),
    Wording("',' or ']'", "expected ',' or ']' in the list that starts on line {opened}"),
    Wording("',' or '}'", "expected ',' or '}}' in the mapping that starts on line {opened}"),
    Wording(
        "unexpected end of stream",
        "the quoted text that starts here does not end",
        is_at_start=True,
    ),
    Wording("expected ':'", "expected a ':' after this key", is_at_start=True),
    Wording(
        "unknown escape character",
        "no such escape in double quotes",
        _BACKSLASH,
    ),
    Wording("hexdecimal number", "an escape in double quotes that lacks digits", _BACKSLASH),
    Wording("hexadecimal number", "an escape in double quotes that lacks digits", _BACKSLASH),
    Wording(
        "expected key", "this does not continue the mapping that starts on line {opened}", _INDENT
    ),
    Wording(
        "'-' indicator", "this does not continue the list that starts on line {opened}", _INDENT
    ),
    Wording("expected <block end>", "this does not continue what starts on line {opened}", _INDENT),
    Wording(
        "undefined tag handle",
        "the tag is not allowed",
        "remove it; a config holds plain data only",
    ),
    Wording(
        "Unicode character escape",
        "an escape in double quotes that is no character",
        "write the character itself, or '\\U' and eight digits for one beyond U+FFFF",
    ),
    Wording("directive", _DIRECTIVE, _NO_DIRECTIVE),
    Wording("version number", _DIRECTIVE, _NO_DIRECTIVE),
    Wording("incompatible YAML document", _DIRECTIVE, _NO_DIRECTIVE),
    Wording("expected '!'", _DIRECTIVE, _NO_DIRECTIVE),
    Wording("non-alphabetical character", _DIRECTIVE, _NO_DIRECTIVE),
    Wording("expected '>'", "the tag is not whole", "remove it; a config holds plain data only"),
    Wording(
        "URI escaped octet", "the tag is not whole", "remove it; a config holds plain data only"
    ),
    Wording(
        "indentation indicator", "the indentation of a text has one digit from 1 to 9", "drop it"
    ),
    Wording("mapping keys are not allowed", "a '? ' cannot stand here", _QUOTE),
    Wording("<document start>", "the document has ended before this"),
)


_CONTINUING: Final = ("expected key", "'-' indicator", "expected <block end>")
"""What parsers say that wait for the next line of a mapping or a list."""


def wording_for(problem: str, found: str, before: str) -> Wording:
    """Return our words for a parser's *problem*.

    Args:
        problem: The parser's own words.
        found: The character at which it was noticed; empty at the end of the text.
        before: What stands before it on its line.
    """
    if found == "\t":
        return _TAB
    if not found and "node content" in problem:
        return _AT_END
    if before.strip(" -?") and any(part in problem for part in _CONTINUING):
        return _AFTER_VALUE
    for known in _WORDINGS:
        if known.part in problem:
            return known
    return Wording("", f"not valid YAML: {problem}".replace("{", "{{").replace("}", "}}"))
