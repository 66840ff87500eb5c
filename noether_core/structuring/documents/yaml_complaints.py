"""What YAML parsers complain about, in plain words."""

from __future__ import annotations

from typing import Final

_INDENT: Final = "check the indentation"
_COMPLAINTS: Final[tuple[tuple[str, str, str | None], ...]] = (
    ("mapping values are not allowed", "a ':' cannot stand here", "if it belongs to text, quote the text"),
    ("sequence entries are not allowed", "a '- ' cannot stand here", "start the list on a line of its own"),
    ("cannot start any token", "no value starts with {found!r}", "if it belongs to text, quote the text"),
    ("',' or ']'", "expected ',' or ']' in the list that starts on line {opened}", None),
    ("',' or '}'", "expected ',' or '}}' in the mapping that starts on line {opened}", None),
    ("unexpected end of stream", "the quoted text that starts here does not end", None),
    ("unknown escape character", "no such escape in double quotes", "write '\\\\' for a backslash"),
    ("expected key", "this does not continue the mapping that starts on line {opened}", _INDENT),
    ("'-' indicator", "this does not continue the list that starts on line {opened}", _INDENT),
    ("expected <block end>", "this does not continue what starts on line {opened}", _INDENT),
    ("could not find expected ':'", "expected a ':' after the key that starts on line {opened}", None),
    ("undefined tag handle", "the tag is not allowed", "remove it; a config holds plain data only"),
    ("<document start>", "the document has ended before this", None),
)
"""What a parser's sentence contains, what we say for it, and a way out."""


def complaint(problem: str, found: str, opened: int) -> tuple[str, str | None]:
    """Return a parser's *problem* in plain words, and a way out where one is known.

    Args:
        problem: The sentence of libyaml, or of its Python double, which words some differently.
        found: The character at which it was noticed.
        opened: The line on which the surrounding mapping, list or text starts.
    """
    if found == "\t":
        return "a tab cannot indent YAML", "use spaces"
    for part, message, suggestion in _COMPLAINTS:
        if part in problem:
            return message.format(found=found, opened=opened), suggestion
    return f"not valid YAML: {problem}", None
