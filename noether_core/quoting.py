"""How text from outside is printed: nothing in it moves the cursor, and nothing in it hides.

Files, metadata, plugins and exceptions bring text that nobody has checked. An escape sequence in it
could erase what stands on a terminal, and a line break could add a line that looks like ours.
"""

from __future__ import annotations

_UNSEEN = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F),  # joins marks
        (0x115F, 0x1160),  # fillers of Korean syllables
        (0x17B4, 0x17B5),  # vowels of Khmer that are not written
        (0x180B, 0x180F),  # what selects forms of Mongolian letters
        (0x2800, 0x2800),  # Braille without a dot
        (0x3164, 0x3164),  # another filler
        (0xFE00, 0xFE0F),  # what selects forms of letters
        (0xFFA0, 0xFFA0),  # a filler of half the width
        (0xE0100, 0xE01EF),  # more of what selects forms
    )
    for code in range(first, last + 1)
)
"""Characters that leave no mark and that Python takes for printable all the same."""


def is_visible(text: str) -> bool:
    """Return whether every character of *text* is a space or leaves a mark where it stands."""
    return text.isprintable() and (text.isascii() or _UNSEEN.isdisjoint(text))


def visible(text: str, *, keep: str = "") -> str:
    r"""Return *text* with everything that cannot be seen as an escape, such as ``\x1b``.

    Args:
        text: What came from outside.
        keep: Characters that stay as they are: ``"\n"`` where lines are meant to be lines.
    """
    if is_visible(text):
        return text
    return "".join(char if char in keep or is_visible(char) else _escape(char) for char in text)


def visible_lines(text: str) -> str:
    """Return *text* as `visible` does, its line breaks and tabs kept: those are layout of ours."""
    return visible(text, keep="\n\t")


def masked(text: str) -> str:
    """Return *text* with a mark for each character that cannot be seen, so that columns stay."""
    if is_visible(text):
        return text
    return "".join(char if char == "\t" or is_visible(char) else "\ufffd" for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
