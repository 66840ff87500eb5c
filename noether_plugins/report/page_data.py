"""What the scripts of a report get, as plain data: curves, fields, configs, points of charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from noether_core import unstructure
from noether_core.tasks import Quantity
from noether_plugins.comparison.record import Comparison, Row
from noether_plugins.report.arrays import Arrays
from noether_plugins.report.curves import Curve, Line
from noether_plugins.report.fields import NoFields, ShownFields, ShownGroup, ShownSample
from noether_plugins.report.runs import RunFacts


def run_data(run: RunFacts, fields: ShownFields | NoFields, arrays: Arrays) -> dict[str, Any]:
    """Return what is drawn of a run; its arrays are added to *arrays*."""
    return {
        "name": run.name,
        "task": run.task,
        "options": run.options(),
        "curve": None if run.curve is None else _curve(run.curve),
        "fields": _fields(fields, arrays),
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "steps": curve.steps_in_all,
        "loss": _line(curve.loss),
        "validation": _line(curve.validation),
    }


def _line(line: Line) -> dict[str, Any]:
    return line._asdict()


def _fields(fields: ShownFields | NoFields, arrays: Arrays) -> dict[str, Any]:
    if isinstance(fields, NoFields):
        return {"reason": fields.reason}
    groups = {
        group: {name: _quantity(quantity) for name, quantity in layout.fields.items()}
        for group, layout in fields.layout.groups.items()
        if layout.fields
    }
    return {
        "note": fields.note,
        "coordinates": fields.layout.coordinates,
        "groups": groups,
        "samples_in_all": fields.samples_in_all,
        "samples": [_sample(sample, arrays) for sample in fields.samples],
    }


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {"width": quantity.width, "unit": quantity.unit, "label": quantity.label}


def _sample(sample: ShownSample, arrays: Arrays) -> dict[str, Any]:
    groups = {name: _group(group, arrays) for name, group in sample.groups.items()}
    return {"name": sample.name, "inputs": dict(sample.inputs), "groups": groups}


def _group(group: ShownGroup, arrays: Arrays) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, field in group.fields.items():
        fields[name] = {
            "true": arrays.add(field.true),
            # what is small beside the fields themselves keeps digits of its own
            "difference": arrays.add(field.predicted - field.true),
            "error": field.error,
        }
    positions = arrays.add(group.positions)
    return {"positions": positions, "points_in_all": group.points_in_all, "fields": fields}


def comparison_data(comparison: Comparison, runs: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return what is drawn of a comparison.

    Args:
        comparison: What it found.
        runs: Numbers in the report of the runs of each row.
    """
    rows = [_row(row, numbers) for row, numbers in zip(comparison.rows, runs, strict=True)]
    return {"rows": rows}


def _row(row: Row, runs: Sequence[int]) -> dict[str, Any]:
    drawn: Mapping[str, Any] = {
        "name": row.name,
        "runs": list(runs),
        "score": row.score,
        "interval": row.interval,
        "errors": row.errors,
        "seconds_per_step": row.seconds_per_step,
        "step_memory_bytes": row.step_memory_bytes,
        "parameters": row.parameters,
        "scaling": row.scaling,
    }
    return {name: unstructure(value) for name, value in drawn.items()}
