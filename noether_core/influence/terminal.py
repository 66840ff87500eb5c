"""Influence as text for a terminal: half blocks in colour, shades without, and ASCII if need be."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from noether_core.influence.picture import COLUMN, ROW, ZERO, caption, scale_of
from noether_core.quoting import visible

if TYPE_CHECKING:
    from noether_core.influence.measuring import Influence
    from noether_core.influence.picture import Scale

_SHADES: Final = "░▒▓█"
_ASCII: Final = ".:+#"
_LINES: Final = {True: ("│", "─", "┼"), False: ("|", "-", "+")}
_LONGEST_LABEL = 16
_SHORTEST_LABEL = 3

# viridis from its light end, as in pictures, at even steps; without matplotlib.
_COLOURS: Final = (
    (253, 231, 37),
    (181, 222, 43),
    (110, 206, 88),
    (53, 183, 121),
    (31, 158, 137),
    (38, 130, 142),
    (49, 104, 142),
    (62, 73, 137),
    (72, 40, 120),
    (68, 1, 84),
)
_RESET = "\x1b[0m"


class Style(NamedTuple):
    """What a terminal can show."""

    width: int = 80
    """Columns."""

    has_colour: bool = False
    """Whether it knows escape codes for 16.8 million colours; half blocks are drawn if so."""

    has_blocks: bool = True
    """Whether its encoding has blocks and lines; ASCII is drawn if not."""


def tokens_that_fit(style: Style) -> int:
    """Return how many tokens can attend in a matrix that fits, with a quarter of context."""
    room = style.width - _LONGEST_LABEL - 5
    cells = room if style.has_colour else room // 2
    return max(8, min(48, cells * 4 // 5))


def text(found: Influence, style: Style | None = None) -> str:
    """Return a matrix of influence as lines that fit the terminal, with groups marked.

    A cell is darker, or denser, the larger the share of its row, on the scale of `draw`; exact
    zeros are blank.

    Args:
        found: What `influence` returned.
        style: What the terminal can show; shades in 80 columns where it is None.
    """
    style = Style() if style is None else style
    scale = scale_of(found)
    levels = _levels(found, scale, len(_COLOURS) if style.has_colour else len(_SHADES))
    room = style.width - _columns_of(found, style)
    label = max(_SHORTEST_LABEL, min(_LONGEST_LABEL, room - 1))
    lines = [
        *_wrapped(f"{found.type}: which tokens attend to which", style.width),
        *caption(found, style.width).splitlines(),
        *_wrapped(f"down: {ROW}; across: {COLUMN}", style.width),
        "",
        *_heads(found, style, label),
        *_body(found, levels, style, label),
        "",
        *_legend(scale, style),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(visible(line), width)


def _columns_of(found: Influence, style: Style) -> int:
    cell = 1 if style.has_colour else 2
    return cell * found.norms.shape[1] + len(found.keys) + 1


def _levels(found: Influence, scale: Scale, number: int) -> list[list[int]]:
    """Return which shade each cell has, from 1 on; 0 for one that is exactly zero."""
    import math

    span = math.log(scale.most / scale.least)
    return [
        [_level(share, is_zero, scale, span, number) for share, is_zero in zip(*row, strict=True)]
        for row in zip(found.shares.tolist(), found.is_zero.tolist(), strict=True)
    ]


def _level(share: float, is_zero: bool, scale: Scale, span: float, number: int) -> int:
    import math

    if is_zero:
        return 0
    place = math.log(max(share, scale.least) / scale.least) / span
    return 1 + min(number - 1, int(place * number))


def _heads(found: Influence, style: Style, label: int) -> list[str]:
    """Return numbers over the columns' groups, and what they stand for."""
    cell = 1 if style.has_colour else 2
    if len(found.keys) == 1:
        return []
    cells = [
        _cut(str(number), cell * size).ljust(cell * size)
        for number, size in enumerate(found.keys.values(), start=1)
    ]
    names = "; ".join(
        f"{number} {visible(name)}" for number, name in enumerate(found.keys, start=1)
    )
    return [*_wrapped(f"across: {names}", style.width), " " * (label + 2) + " ".join(cells)]


def _body(
    found: Influence, levels: Sequence[Sequence[int]], style: Style, label: int
) -> Iterable[str]:
    """Yield the lines of the matrix, its groups between lines."""
    wall, floor, crossing = _LINES[style.has_blocks]
    cell = 1 if style.has_colour else 2
    edge = crossing.join(["", *(floor * (cell * size) for size in found.keys.values()), ""])
    yield " " * (label + 1) + edge
    start = 0
    for name, size in found.queries.items():
        rows = levels[start : start + size]
        start += size
        shown = _cut(visible(name), label).ljust(label)
        for line in _drawn(rows, found.keys, style, wall):
            yield f"{shown} {line}"
            shown = " " * label
        yield " " * (label + 1) + edge


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: max(width - 1, 0)] + "~"


def _drawn(
    rows: Sequence[Sequence[int]], groups: Mapping[str, int], style: Style, wall: str
) -> Iterable[str]:
    """Yield the lines of a group's rows: one for two of them where there is colour."""
    if not style.has_colour:
        marks = " " + (_SHADES if style.has_blocks else _ASCII)
        for row in rows:
            yield _walled([2 * marks[level] for level in row], groups, wall)
        return
    for upper, lower in zip(rows[::2], [*rows[1::2], [0] * len(rows[0])], strict=False):
        cells = [_half_blocks(*pair) for pair in zip(upper, lower, strict=True)]
        yield _walled(cells, groups, wall)


def _walled(cells: Sequence[str], groups: Mapping[str, int], wall: str) -> str:
    parts: list[str] = []
    start = 0
    for size in groups.values():
        parts.append("".join(cells[start : start + size]))
        start += size
    return wall + wall.join(parts) + wall


def _half_blocks(upper: int, lower: int) -> str:
    """Return two cells, one above the other, as one character."""
    if not upper and not lower:
        return " "
    if not lower:
        return f"\x1b[38;2;{_code(upper)}m▀{_RESET}"
    if not upper:
        return f"\x1b[38;2;{_code(lower)}m▄{_RESET}"
    return f"\x1b[38;2;{_code(upper)};48;2;{_code(lower)}m▀{_RESET}"


def _code(level: int) -> str:
    return ";".join(map(str, _COLOURS[level - 1]))


def _legend(scale: Scale, style: Style) -> list[str]:
    """Return what the shades stand for."""
    if style.has_colour:
        bar = "".join(f"\x1b[38;2;{_code(level + 1)}m█{_RESET}" for level in range(len(_COLOURS)))
        shades = f"{_percent(scale.least)} {bar} {_percent(scale.most)}"
        return [shades, *_wrapped(f"{_SHARE}; blank: {ZERO}", style.width)]
    marks = _SHADES if style.has_blocks else _ASCII
    step = (scale.most / scale.least) ** (1 / len(marks))
    edges = [_percent(scale.least * step**number) for number in range(len(marks) + 1)]
    parts = [
        f"{2 * mark} {low} to {high}"
        for mark, low, high in zip(marks, edges[:-1], edges[1:], strict=True)
    ]
    parts[0] = f"{2 * marks[0]} up to {edges[1]}"
    return _wrapped(f"{_SHARE}: {'; '.join(parts)}; blank: {ZERO}", style.width)


_SHARE = "share of the influence on a result"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
