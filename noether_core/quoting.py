"""How text from outside is printed: nothing in it moves the cursor, and nothing in it hides.

Files, metadata, plugins and exceptions bring text that nobody has checked. An escape sequence in it
could erase what stands on a terminal, and a line break could add a line that looks like ours.
"""

from __future__ import annotations

UNSEEN = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters, U+0085 of them a line break
    r"\u2028\u2029"  # line breaks that some readers know and others do not
    r"\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # joints and directions
    r"\u115f\u1160\u2800\u3164\uffa0\U0001d159"  # letters and symbols without a mark
    r"\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f"  # what selects the form of letters
    r"\ufeff\ufff0-\ufffb\U00013430-\U0001343f"  # layout
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # more of it
    r"\U000e0000-\U000e0fff"  # tags, which can spell whole sentences
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # no characters at all
)
"""Characters that leave no mark, tabs and line breaks aside, as a set of a regular expression."""


def is_visible(text: str) -> bool:
    """Return whether every character of *text* is a space or leaves a mark where it stands."""
    if not text.isprintable():
        return False
    return text.isascii() or not _holds_unseen(text)


def _holds_unseen(text: str) -> bool:
    import re  # most text is ASCII, and commands that print no other do without

    return re.search(f"[{UNSEEN}]", text) is not None


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
