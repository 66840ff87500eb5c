"""Tables in text: `.csv` with commas, semicolons or tabs, read in parts, written by lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from noether_core.errors import shown
from noether_plugins.tasks.points.formats.source import (
    CHUNK_ROWS,
    Addition,
    Arrays,
    File,
    FileFault,
    Place,
    Shape,
    Table,
    constant_of,
)

EXTENSIONS: Final = (".csv", ".tsv")

_MISSING = frozenset({"", "na", "n/a", "null", "none"})
"""Words for a value that is not there: read as NaN, which is a word of its own for it."""

_MOST_FAULTS = 20
"""Faults told of one file: where every line is wrong, the first ones say why."""

_UNIT = re.compile(r"(?P<name>.*\S)\s*\[\s*(?P<unit>[^\[\]]*?)\s*\]\s*")


class _Record(NamedTuple):
    line: int
    """The line that it begins in, from 1."""

    text: str
    """As it stands there, the end of its line included."""


class CsvFile(File, Table):
    """A table in text, whose first line names its columns.

    Units may stand in brackets behind the names, ``p [Pa]``. Where semicolons are between values,
    a comma in a number is its point.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lines: list[list[int]] = []
        header = next(self._records(), _Record(1, "")).text
        if not header.strip():
            raise FileFault("its first line is empty, and should name the columns")
        self._separator = max(",;\t", key=header.count)
        self._columns = [name.strip() for name in self._values(header.removeprefix("#"))]
        if all(map(_is_number, self._columns)):
            raise FileFault("its first line has numbers, and should name the columns")

    def table(self, place: Place) -> Table:  # noqa: ARG002, D102  inherited
        return self

    @property
    def names(self) -> Sequence[str]:  # noqa: D102  inherited
        return self._columns

    def has(self, name: str) -> bool:  # noqa: D102  inherited
        return bool(self._columns_named(name))

    def shape(self, name: str) -> Shape:  # noqa: D102  inherited
        columns = self._columns_named(name)
        if len(columns) > 1:
            raise FileFault(f"{len(columns)} columns are named {name!r}")
        match = _UNIT.fullmatch(self._columns[columns[0]])
        return Shape(None, 1, match["unit"] if match else "")

    def _columns_named(self, name: str) -> list[int]:
        """Return the columns of a name, or else those that have a unit behind it."""
        exact = [number for number, column in enumerate(self._columns) if column == name]
        if exact:
            return exact
        matches = enumerate(map(_UNIT.fullmatch, self._columns))
        return [number for number, match in matches if match and match["name"] == name]

    def chunks(self, names: Sequence[str]) -> Iterator[Arrays]:  # noqa: D102  inherited
        self._lines = []
        faults: list[str] = []
        for records in self._blocks():
            self._lines.append([record.line for record in records])
            yield self._numbers(records, names, faults)
            if len(faults) > _MOST_FAULTS:
                break
        _raise(faults)

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> Arrays:  # noqa: D102  inherited
        faults: list[str] = []
        parts: list[Arrays] = []
        first = 0
        for records in self._blocks():
            start, stop = np.searchsorted(rows, [first, first + len(records)])
            chosen = [records[row - first] for row in rows[start:stop]]
            if chosen:
                parts.append(self._numbers(chosen, names, faults))
            first += len(records)
        _raise(faults)
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def where(self, row: int) -> str:  # noqa: D102  inherited
        first = 0
        for lines in self._lines:
            if row < first + len(lines):
                return f"line {lines[row - first]}"
            first += len(lines)
        return super().where(row)

    def whole(self, name: str) -> NDArray[Any]:  # noqa: D102  inherited
        return constant_of(self, name)

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield the rows of a small table as text by column.

        Raises:
            FileFault: If one has too few values, or too many.
        """
        for records in self._blocks():
            for record in records:
                values = self._values(record.text)
                if len(values) != len(self._columns):
                    raise FileFault(self._fault_of_length(record, values))
                yield dict(zip(self._columns, map(self._with_point, values), strict=True))

    def write(self, path: str, additions: Sequence[Addition]) -> None:  # noqa: D102  inherited
        for addition in additions:
            if addition.name in self._columns:
                raise FileFault(f"has a column {addition.name!r} already; predict for the original")
        with self._path.open("rb") as file:
            has_mark = file.read(3) == b"\xef\xbb\xbf"
        encoding = "utf-8-sig" if has_mark else "utf-8"
        lines = iter(zip(*[addition.values.tolist() for addition in additions], strict=True))
        with Path(path).open("w", encoding=encoding, newline="") as file:
            records = self._records()
            names = [_quoted(addition.name, self._separator) for addition in additions]
            file.write(self._extended(next(records).text, names))
            for record in records:
                values = next(lines) if record.text.strip() else ()
                file.write(self._extended(record.text, [self._written(value) for value in values]))

    def _written(self, value: float) -> str:
        text = f"{value:.9g}"  # all that float32 knows
        return text.replace(".", ",") if self._has_decimal_comma else text

    @property
    def _has_decimal_comma(self) -> bool:
        return self._separator == ";" and "," in self._first_text

    def _extended(self, text: str, values: Sequence[str]) -> str:
        """Return a record with more values, its line ended as it was."""
        record = text.rstrip("\r\n")
        return self._separator.join([record, *values]) + text[len(record) :]

    @property
    def _first_text(self) -> str:
        records = self._records()
        next(records)
        return next((record.text for record in records if record.text.strip()), "")

    def _records(self) -> Iterator[_Record]:
        """Yield all records, the names of the columns and lines without anything included."""
        # a byte order mark is no part of the first name; ends of lines stay as they are
        with self._path.open(encoding="utf-8-sig", newline="") as file, _readable():
            yield from _whole_records(file)

    def _blocks(self) -> Iterator[list[_Record]]:
        """Yield records with values, many at a time."""
        records = self._records()
        next(records)
        block: list[_Record] = []
        for record in records:
            if not record.text.isspace():
                block.append(record)
            if len(block) == CHUNK_ROWS:
                yield block
                block = []
        if block:
            yield block

    def _numbers(
        self, records: Sequence[_Record], names: Sequence[str], faults: list[str]
    ) -> Arrays:
        columns = [self._columns_named(name)[0] for name in names]
        numbers = self._parsed_fast(records, columns)
        if numbers is None:
            numbers = self._parsed(records, columns, faults)
        return {name: numbers[:, [number]] for number, name in enumerate(names)}

    def _parsed_fast(
        self, records: Sequence[_Record], columns: Sequence[int]
    ) -> NDArray[np.float64] | None:
        """Return numbers as numpy reads them, or None where it takes a closer look."""
        texts = [record.text for record in records]
        separators = len(self._columns) - 1
        # numpy looks at the wanted columns alone, and would miss that others are too many
        if any(text.count(self._separator) != separators or '"' in text for text in texts):
            return None
        if self._separator == ";":
            texts = [text.replace(",", ".") for text in texts]
        try:
            return np.loadtxt(
                texts, delimiter=self._separator, usecols=columns, comments=None, ndmin=2
            )
        except ValueError:
            return None

    def _parsed(
        self, records: Sequence[_Record], columns: Sequence[int], faults: list[str]
    ) -> NDArray[np.float64]:
        """Return numbers, zeros in place of what is none; that is added to *faults*."""
        numbers = np.zeros((len(records), len(columns)))
        for row, record in enumerate(records):
            if len(faults) > _MOST_FAULTS:
                break
            values = self._values(record.text)
            if len(values) != len(self._columns):
                faults.append(self._fault_of_length(record, values))
                continue
            for position, column in enumerate(columns):
                number = self._number(values[column])
                if number is None:
                    name = self._columns[column]
                    value = shown(values[column])
                    faults.append(f"line {record.line}: {name!r} is {value}, no number")
                else:
                    numbers[row, position] = number
        return numbers

    def _with_point(self, text: str) -> str:
        """Return a number as Python writes it, and any other text as it is."""
        return text if self._number(text) is None else text.replace(",", ".")

    def _fault_of_length(self, record: _Record, values: Sequence[str]) -> str:
        return f"line {record.line} has {len(values)} values, expected {len(self._columns)}"

    def _number(self, text: str) -> float | None:
        text = text.strip()
        if text.lower() in _MISSING:
            return float("nan")
        if self._separator == ";":
            text = text.replace(",", ".")
        return float(text) if _is_number(text) else None

    def _values(self, text: str) -> list[str]:
        lines = text.splitlines(keepends=True)
        try:
            return next(csv.reader(lines, delimiter=self._separator, skipinitialspace=True))
        except (csv.Error, StopIteration):
            return [text]


def _whole_records(file: TextIO) -> Iterator[_Record]:
    """Yield the lines of a table, those together that a quoted value stretches over."""
    number = 0
    lines: list[str] = []
    quotes = 0
    for number, line in enumerate(file, start=1):
        lines.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0:
            yield _Record(number - len(lines) + 1, "".join(lines))
            lines = []
    if lines:
        raise FileFault(f"line {number - len(lines) + 1}: a quotation mark is never closed")


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        value = error.object[error.start]
        raise FileFault(f"is no text in UTF-8, which has no byte 0x{value:02x} there") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quoted(name: str, separator: str) -> str:
    if not set(name) & {separator, '"', "\n", "\r"}:
        return name
    return '"{}"'.format(name.replace('"', '""'))


def _raise(faults: Sequence[str]) -> None:
    if len(faults) > _MOST_FAULTS:
        faults = [*faults[:_MOST_FAULTS], "there is more like that, which is left out"]
    if faults:
        raise FileFault(*faults)
