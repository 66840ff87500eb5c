"""What is known of a case as a whole: a row of a table, or values in the file of the case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noether_core.spelling import did_you_mean
from noether_plugins.tasks.points.cases import Case
from noether_plugins.tasks.points.config import STEM, PointsConfig, named
from noether_plugins.tasks.points.formats import csv_table, open_file, parquet
from noether_plugins.tasks.points.formats.source import File, FileFault

Row = Mapping[str, Any]


class Parameters:
    """Inputs of whole cases, for as many cases as are asked for.

    Args:
        config: Which inputs there are, and where.
    """

    def __init__(self, config: PointsConfig) -> None:
        self._inputs = named(config.inputs)
        self._file = config.parameters
        self._key = config.parameters_key
        self._table: dict[str, Row] | None = None

    def of(self, case: Case, file: File | None) -> dict[str, NDArray[Any]]:
        """Return ``(width,)`` numbers by name.

        Args:
            case: The case.
            file: Its file; None where that cannot be read.

        Raises:
            FileFault: If one is missing, no number, or not finite; it names the file.
        """
        if not self._inputs:
            return {}
        if self._file is None:
            return self._of_file(case, file)
        path = self._file
        if STEM in path:
            path = str(case.file.parent / path.replace(STEM, case.file.stem))
            rows = _read(path)
            if len(rows) != 1:
                raise FileFault(f"{path}: has {len(rows)} rows, expected one")
            return self._of_row(path, rows[0])
        return self._of_row(f"{path}: {case.name}", self._row(path, case))

    def _of_file(self, case: Case, file: File | None) -> dict[str, NDArray[Any]]:
        if file is None:
            return {}
        values: dict[str, NDArray[Any]] = {}
        faults: list[str] = []
        for name, sources in self._inputs.items():
            try:
                values[name] = np.concatenate([file.whole(source) for source in sources])
            except FileFault as fault:
                faults += [f"{case.file}: {text}" for text in fault.faults]
                continue
            if not np.isfinite(values[name]).all():
                faults.append(f"{case.file}: {name!r} is {values[name].tolist()}, not finite")
        if faults:
            raise FileFault(*faults)
        return values

    def _row(self, path: str, case: Case) -> Row:
        if self._table is None:
            self._table = self._by_key(path, _read(path))
        for key in case.keys:
            if key in self._table:
                return self._table[key]
        raise FileFault(f"{path}: has no row for {case.name!r}")

    def _by_key(self, path: str, rows: Sequence[Row]) -> dict[str, Row]:
        if not rows:
            raise FileFault(f"{path}: has no rows")
        key = self._key or next(iter(rows[0]))
        if key not in rows[0]:
            raise FileFault(f"{path}: {_missing(key, rows[0])}")
        table: dict[str, Row] = {}
        for row in rows:
            name = str(row[key]).strip()
            if table.setdefault(name, row) is not row:
                raise FileFault(f"{path}: has two rows for {name!r}")
        return table

    def _of_row(self, place: str, row: Row) -> dict[str, NDArray[Any]]:
        faults: list[str] = []
        values: dict[str, NDArray[Any]] = {}
        for name, sources in self._inputs.items():
            numbers: list[float] = []
            for source in sources:
                if source not in row:
                    faults.append(f"{place}: {_missing(source, row)}")
                    continue
                number = _number(row[source])
                if number is None or not np.isfinite(number):
                    faults.append(f"{place}: {source!r} is {row[source]!r}, no finite number")
                else:
                    numbers.append(number)
            values[name] = np.array(numbers)
        if faults:
            raise FileFault(*faults)
        return values


def _read(path: str) -> Sequence[Row]:
    """Return the rows of a small table.

    Raises:
        FileFault: If it cannot be read; it names the file.
    """
    try:
        file = open_file(path)
        if isinstance(file, (csv_table.CsvFile, parquet.ParquetFile)):
            return list(file.rows())
    except FileFault as fault:
        raise FileFault(*(f"{path}: {text}" for text in fault.faults)) from fault
    raise FileFault(f"{path}: is no table of parameters, which are .csv or .parquet")


def _missing(name: str, row: Row) -> str:
    close = did_you_mean(name, row)
    there = close or "there is " + ", ".join(map(repr, row))
    return f"has no column {name!r}; {there}"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
