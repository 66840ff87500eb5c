"""The TOML reader: the standard library's, and every failure of it as a problem."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from noether_core.errors import ConfigError, path_text
from noether_core.schemas.frozen_mapping import MOST_DIGITS
from noether_core.structuring.documents.plain import DEEPEST, TOO_LONG, problems_in
from noether_core.structuring.documents.spots import placed
from noether_core.structuring.documents.toml_spots import scan_toml

if TYPE_CHECKING:
    from collections.abc import Callable

    from noether_core.errors import Problem
    from noether_core.structuring.documents.source import Source
    from noether_core.structuring.documents.spots import Spot

_COMPLAINT: Final = re.compile(
    r"(?P<message>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)",
    re.DOTALL,
)
_IMMUTABLE: Final = re.compile(r"Cannot mutate immutable namespace \((?P<keys>.*)\)", re.DOTALL)
_QUOTED: Final = re.compile(r"'([^']*)'")
_WAYS_OUT: Final = {
    "Invalid value": "text stands in quotes; true and false are written in lower case"
}
_OF_REPEATING: Final = ("Cannot", "Duplicate")
_DIGITS: Final = re.compile(rf"[0-9_]{{{MOST_DIGITS},}}+")


def read_toml(source: Source) -> tuple[dict[str, Any], Callable[[], Spot]]:
    """Return the data of a TOML document, and what finds its spots.

    Raises:
        ConfigError: If it is not TOML, or holds what plain data does not.
    """
    if sum(map(source.text.count, "[{.")) > DEEPEST:
        scan_toml(
            source
        )  # refuses keys and values that stand too deep, for which tomllib takes long
    data = _loads(source)
    if problems := problems_in(data):
        spot, _ = scan_toml(source)
        raise ConfigError(placed(problem, source, spot) for problem in problems)
    return data, lambda: scan_toml(source)[0]


def _loads(source: Source) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_complaints(source, str(error))) from error
    except ValueError as error:  # Python turns no more digits into a number
        digits = _DIGITS.search(source.text)
        raise ConfigError([source.problem(TOO_LONG, digits.start() if digits else 0)]) from error


def _complaints(source: Source, complaint: str) -> list[Problem]:
    """Return the problems of which tomllib tells the first, with its place at the end of its
    sentence.
    """
    found = _COMPLAINT.fullmatch(complaint)
    message = found["message"] if found else complaint
    at = len(source.text)
    if found and found["line"]:
        at = source.index(int(found["line"]), int(found["column"]))
    if message.startswith(_OF_REPEATING):
        _, repeats = scan_toml(source, end=at)
        if repeats:
            return repeats
    return [
        source.problem(f"not valid TOML: {_words(message)}", at, suggestion=_WAYS_OUT.get(message))
    ]


def _words(complaint: str) -> str:
    """Return what tomllib complains about, in plain words."""
    immutable = _IMMUTABLE.match(complaint)
    if immutable:
        return f"{path_text(re.findall(_QUOTED, immutable['keys']))} is whole already and takes no more keys"
    if complaint == "Cannot overwrite a value":
        return "the name before this has a value already"
    return f"{complaint[:1].lower()}{complaint[1:]}"
