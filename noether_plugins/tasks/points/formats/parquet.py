"""Tables in `.parquet` files, read by pyarrow, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from noether_core.errors import MissingExtraError
from noether_plugins.tasks.points.formats.source import (
    CHUNK_ROWS,
    Addition,
    Arrays,
    File,
    FileFault,
    Place,
    Shape,
    Table,
    as_table,
    constant_of,
)

EXTENSIONS: Final = (".parquet", ".pq")

_UNIT_KEYS = (b"unit", b"units")
"""Keys of a field's metadata that have its unit."""


class ParquetFile(File, Table):
    """A table whose columns are numbers, or lists of one length."""

    def __init__(self, path: str) -> None:
        try:
            import pyarrow.parquet  # noqa: PLC0415  an extra
        except ImportError as error:
            raise MissingExtraError("reading .parquet files", "pyarrow", "pyarrow") from error
        self._path = path
        self._arrow = pyarrow
        with _readable():
            self._file = pyarrow.parquet.ParquetFile(path)
            self._schema = self._file.schema_arrow

    def table(self, place: Place) -> Table:  # noqa: ARG002, D102  inherited
        return self

    @property
    def names(self) -> Sequence[str]:  # noqa: D102  inherited
        return list(self._schema.names)

    def shape(self, name: str) -> Shape:  # noqa: D102  inherited
        if self.names.count(name) > 1:
            raise FileFault(f"{self.names.count(name)} columns are named {name!r}")
        field = self._schema.field(name)
        kinds = self._arrow.types
        is_vector = kinds.is_fixed_size_list(field.type)
        kind = field.type.value_type if is_vector else field.type
        if not (
            kinds.is_floating(kind)
            or kinds.is_integer(kind)
            or kinds.is_boolean(kind)
            or kinds.is_decimal(kind)
        ):
            raise FileFault(f"{name!r} holds no numbers, but {field.type}")
        metadata = field.metadata or {}
        unit = next((metadata[key] for key in _UNIT_KEYS if key in metadata), b"")
        width = field.type.list_size if is_vector else 1
        return Shape(self._file.metadata.num_rows, width, unit.decode("utf-8", "replace"))

    def chunks(self, names: Sequence[str]) -> Iterator[Arrays]:  # noqa: D102  inherited
        with _readable():
            for batch in self._file.iter_batches(CHUNK_ROWS, columns=list(names)):
                yield {name: self._numbers(batch.column(name)) for name in names}

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> Arrays:  # noqa: D102  inherited
        parts: list[Arrays] = []
        first = 0
        with _readable():
            for group in range(self._file.num_row_groups):
                count = self._file.metadata.row_group(group).num_rows
                start, stop = np.searchsorted(rows, [first, first + count])
                if stop > start:
                    chosen = rows[start:stop] - first
                    table = self._file.read_row_group(group, columns=list(names)).take(chosen)
                    parts.append({name: self._numbers(table.column(name)) for name in names})
                first += count
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _numbers(self, column: Any) -> NDArray[Any]:
        """Return a column as ``(rows, width)``; values that are not there become NaN."""
        if isinstance(column, self._arrow.ChunkedArray):
            column = column.combine_chunks()
        rows = len(column)
        if self._arrow.types.is_fixed_size_list(column.type):
            if column.null_count:
                raise FileFault("a vector in it is null")
            column = column.flatten()
        kinds = self._arrow.types
        is_small = kinds.is_float32(column.type) or kinds.is_float16(column.type)
        kind = self._arrow.float32() if is_small else self._arrow.float64()
        if kinds.is_boolean(column.type):
            column = column.cast(self._arrow.int8())
        values = column.cast(kind, safe=False).to_numpy(zero_copy_only=False)
        return as_table(values.reshape(rows, -1))

    def whole(self, name: str) -> NDArray[Any]:  # noqa: D102  inherited
        return constant_of(self, name)

    def write(self, path: str, additions: Sequence[Addition]) -> None:  # noqa: D102  inherited
        from pyarrow import parquet  # noqa: PLC0415  an extra

        arrow = self._arrow
        schema = self._schema
        for addition in additions:
            if addition.name in schema.names:
                schema = schema.remove(schema.get_field_index(addition.name))
        kept = list(schema.names)
        for addition in additions:
            schema = schema.append(arrow.field(addition.name, self._type_of(addition)))

        metadata = self._file.metadata
        groups = range(self._file.num_row_groups)
        codec = metadata.row_group(0).column(0).compression if groups else "SNAPPY"
        with parquet.ParquetWriter(path, schema, compression=codec) as writer:
            first = 0
            for group in groups:
                table = self._file.read_row_group(group).select(kept)
                last = first + len(table)
                columns = list(table.columns)
                for addition in additions:
                    values = addition.values[first:last]
                    flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
                    if values.ndim > 1:
                        flat = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
                    columns.append(flat)
                writer.write_table(arrow.table(columns, schema=schema))
                first = last

    def _type_of(self, addition: Addition) -> Any:
        kind = self._arrow.from_numpy_dtype(addition.values.dtype)
        if addition.values.ndim == 1:
            return kind
        return self._arrow.list_(kind, addition.values.shape[1])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of a small table by column."""
        with _readable():
            yield from self._file.read().to_pylist()


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what pyarrow raises of damaged files into faults."""
    try:
        yield
    except FileFault:
        raise
    except Exception as error:  # of Arrow, of the system, and of its decoders
        raise FileFault(f"cannot be read: {error}") from error
