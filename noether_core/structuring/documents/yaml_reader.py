"""The YAML reader: PyYAML's parser, our composer, and every failure of either as a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import ConfigError
from noether_core.structuring.documents.spots import Spot, placed
from noether_core.structuring.documents.yaml_composer import Composer

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml.error import Mark, MarkedYAMLError

    from noether_core.errors import Problem
    from noether_core.structuring.documents.source import Source

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
        from noether_core.structuring.documents.plain import problems_in

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
    from noether_core.structuring.documents.yaml_complaints import complaint

    noticed, opened = _index(error.problem_mark), _index(error.context_mark)
    found = source.text[noticed : noticed + 1]
    before = source.text[source.text.rfind("\n", 0, noticed) + 1 : noticed]
    told = complaint(error.problem or str(error), found, before)
    at = noticed if source.text[noticed:].strip() and not told.is_at_start else opened
    message = told.message.format(found=found, opened=source.line(opened))
    return source.problem(message, at, suggestion=told.suggestion)


def _index(mark: Mark | None) -> int:
    return mark.index if mark else 0
