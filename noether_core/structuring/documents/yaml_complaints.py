"""What YAML parsers complain about, in plain words."""

from __future__ import annotations

from typing import Final

import attrs

from noether_core.structuring.documents.plain import TOO_DEEP


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
