"""What YAML parsers complain about, in plain words."""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Complaint:
    """Plain words for a sentence of a parser."""

    part: str
    """What the sentence contains: libyaml and its Python double word some differently."""

    message: str
    """What we say; ``{found}`` is the character at which it was noticed, ``{opened}`` the line of what is not whole."""

    suggestion: str | None = None
    """A way out, where one is known."""

    is_at_start: bool = False
    """The place to look at is where that which is not whole starts, not where it was noticed."""


_INDENT: Final = "check the indentation"
_QUOTE: Final = "if it belongs to text, quote the text"

_TAB: Final = Complaint("", "a tab cannot indent YAML", "use spaces")
_COMPLAINTS: Final = (
    Complaint("mapping values are not allowed", "a ':' cannot stand here", _QUOTE),
    Complaint("sequence entries are not allowed", "a '- ' cannot stand here", "start the list on a line of its own"),
    Complaint("cannot start any token", "no value starts with {found!r}", _QUOTE),
    Complaint("node content", "expected a value, found {found!r}"),
    Complaint("',' or ']'", "expected ',' or ']' in the list that starts on line {opened}"),
    Complaint("',' or '}'", "expected ',' or '}}' in the mapping that starts on line {opened}"),
    Complaint("unexpected end of stream", "the quoted text that starts here does not end", is_at_start=True),
    Complaint("expected ':'", "expected a ':' after this key", is_at_start=True),
    Complaint("unknown escape character", "no such escape in double quotes", "write '\\\\' for a backslash"),
    Complaint("expected key", "this does not continue the mapping that starts on line {opened}", _INDENT),
    Complaint("'-' indicator", "this does not continue the list that starts on line {opened}", _INDENT),
    Complaint("expected <block end>", "this does not continue what starts on line {opened}", _INDENT),
    Complaint("undefined tag handle", "the tag is not allowed", "remove it; a config holds plain data only"),
    Complaint("<document start>", "the document has ended before this"),
)


def complaint(problem: str, found: str) -> Complaint:
    """Return plain words for a parser's *problem*, which it noticed at the character *found*."""
    if found == "\t":
        return _TAB
    for known in _COMPLAINTS:
        if known.part in problem:
            return known
    return Complaint("", f"not valid YAML: {problem}".replace("{", "{{").replace("}", "}}"))
