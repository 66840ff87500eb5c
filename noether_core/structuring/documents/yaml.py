"""YAML: what its parser yields, and what it complains of, in words that help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from noether_core.errors import ConfigError
from noether_core.structuring.documents.document import Spot, placed
from noether_core.structuring.documents.limits import TOO_DEEP
from noether_core.structuring.documents.yaml_compose import Composer

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml.error import Mark, MarkedYAMLError

    from noether_core.errors import Problem
    from noether_core.structuring.documents.document import Source


@attrs.frozen
class Complaint:
    """Plain words for a sentence of a parser."""

    part: str
    """What the sentence contains: libyaml and its Python double word some differently."""

    message: str
    """What we say; ``{found}`` is the character at which it was noticed, ``{opened}`` the line of
    what is not whole.
    """

    suggestion: str | None = None
    """A way out, where one is known."""

    is_at_start: bool = False
    """The place to look at is where that which is not whole starts, not where it was noticed."""


_INDENT: Final = "check the indentation"
_QUOTE: Final = "if it belongs to text, quote the text"

_AT_END: Final = Complaint("", "the text ends where a value should stand")
_AFTER_VALUE: Final = Complaint("", "this cannot follow what stands before it on its line", _QUOTE)
_TAB: Final = Complaint("", "a tab cannot indent YAML", "use spaces")
_COMPLAINTS: Final = (
    Complaint("mapping values are not allowed", "a ':' cannot stand here", _QUOTE),
    Complaint(
        "sequence entries are not allowed",
        "a '- ' cannot stand here",
        "start the list on a line of its own",
    ),
    Complaint("cannot start any token", "no value starts with {found!r}", _QUOTE),
    Complaint("maximum nesting depth", TOO_DEEP),
    Complaint("alphabetic or numeric", "a '*' or '&' needs a name behind it", _QUOTE),
    Complaint("comment or line break", "nothing but a comment can stand behind this on its line"),
    Complaint("tag URI", "the tag is not whole", "remove it; a config holds plain data only"),
    Complaint(
        "unexpected document indicator",
        "the quoted text that starts here does not end",
        is_at_start=True,
    ),
    Complaint("node content", "expected a value, found {found!r}"),
    Complaint("',' or ']'", "expected ',' or ']' in the list that starts on line {opened}"),
    Complaint("',' or '}'", "expected ',' or '}}' in the mapping that starts on line {opened}"),
    Complaint(
        "unexpected end of stream",
        "the quoted text that starts here does not end",
        is_at_start=True,
    ),
    Complaint("expected ':'", "expected a ':' after this key", is_at_start=True),
    Complaint(
        "unknown escape character",
        "no such escape in double quotes",
        "write '\\\\' for a backslash",
    ),
    Complaint(
        "expected key", "this does not continue the mapping that starts on line {opened}", _INDENT
    ),
    Complaint(
        "'-' indicator", "this does not continue the list that starts on line {opened}", _INDENT
    ),
    Complaint(
        "expected <block end>", "this does not continue what starts on line {opened}", _INDENT
    ),
    Complaint(
        "undefined tag handle",
        "the tag is not allowed",
        "remove it; a config holds plain data only",
    ),
    Complaint("<document start>", "the document has ended before this"),
)


_CONTINUING: Final = ("expected key", "'-' indicator", "expected <block end>")
"""What parsers say that wait for the next line of a mapping or a list."""


def complaint(problem: str, found: str, before: str) -> Complaint:
    """Return plain words for a parser's *problem*.

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
    for known in _COMPLAINTS:
        if known.part in problem:
            return known
    return Complaint("", f"not valid YAML: {problem}".replace("{", "{{").replace("}", "}}"))


MOST_DIRECTIVES: Final = 100
"""``%TAG`` directives that a document may have; libyaml's time grows with their square."""


def read_yaml(source: Source) -> tuple[Any, Callable[[], Spot]]:
    """Return the data of the one document that *source* holds, None where it holds none, and what
    finds its spots.

    Raises:
        ConfigError: If it is not YAML 1.2, or holds what plain data does not.
    """
    from yaml import YAMLError
    from yaml.error import MarkedYAMLError

    _refuse_many_directives(source)
    problems: list[Problem] = []
    try:
        data, spot = _document(source, problems)
    except ConfigError:
        raise
    except MarkedYAMLError as error:
        raise ConfigError([*problems, _complaint_of(source, error)]) from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise ConfigError([*problems, source.problem(f"not valid YAML: {error}", 0)]) from error
    if problems:
        raise ConfigError(problems)
    return data, lambda: spot


def _events_of(text: str) -> Callable[[], Any]:
    """Return what gives the events of *text* one by one: libyaml, or its Python double where it is
    missing.
    """
    try:
        from yaml._yaml import CParser
    except ImportError:
        return _slow_events_of(text)
    next_event: Callable[[], Any] = CParser(text).get_event
    return next_event


def _slow_events_of(text: str) -> Callable[[], Any]:
    from yaml.loader import BaseLoader

    next_event: Callable[[], Any] = BaseLoader(text).get_event
    return next_event


def _document(source: Source, problems: list[Problem]) -> tuple[Any, Spot]:
    """Return the data and the spot of the one document; what is wrong with them goes to *problems*."""
    from yaml.events import StreamEndEvent

    next_event = _events_of(source.text)
    next_event()  # the stream starts
    if isinstance(next_event(), StreamEndEvent):
        return None, Spot(0)
    data, spot = Composer(source, next_event, problems).node()
    next_event()  # the document ends
    after = next_event()
    if not isinstance(after, StreamEndEvent):
        at = after.start_mark.index
        problems.append(
            source.problem(
                "a second document starts here", at, suggestion="keep one document in a file"
            )
        )
    if "\\" in source.text:  # only an escape can write what the text itself may not hold
        from noether_core.structuring.documents.limits import problems_in

        problems.extend(placed(problem, source, spot) for problem in problems_in(data))
    return data, spot


def _refuse_many_directives(source: Source) -> None:
    if source.text.count("%TAG") > MOST_DIRECTIVES:
        message = f"more than {MOST_DIRECTIVES} %TAG directives"
        raise ConfigError([source.problem(message, source.text.index("%TAG"))])


def _complaint_of(source: Source, error: MarkedYAMLError) -> Problem:
    """Return *error* as a problem: where it was noticed, or where what the text's end left open
    began.
    """
    noticed, opened = _index(error.problem_mark), _index(error.context_mark)
    found = source.text[noticed : noticed + 1]
    before = source.text[source.text.rfind("\n", 0, noticed) + 1 : noticed]
    told = complaint(error.problem or str(error), found, before)
    at = noticed if source.text[noticed:].strip() and not told.is_at_start else opened
    message = told.message.format(found=found, opened=source.line(opened))
    return source.problem(message, at, suggestion=told.suggestion)


def _index(mark: Mark | None) -> int:
    return mark.index if mark else 0
