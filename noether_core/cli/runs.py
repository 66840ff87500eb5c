"""What ``noether show`` prints of a run: what was learnt, how well, and with which plugins."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from noether_core.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from noether_core.saving.runs import ReadRun
    from noether_core.tasks import Layout


def show_run(path: str, *, as_json: bool, plain: bool) -> None:
    """Print what there is to say of a run.

    Args:
        path: Its folder, or a file of it.
        as_json: Whether it is printed as JSON.
        plain: Whether tables are lines with tabs.

    Raises:
        SavedModuleError: If there is no run, or its file is damaged.
    """
    from noether_core.saving.runs import read_run, run_at

    file = run_at(path) if os.path.isdir(path) else path
    read = read_run(file)
    facts = _facts(file, read)
    if as_json:
        print_json(facts)
        return

    print_table(list(_rows(facts)), ("fact", "value"), plain=plain)
    print_line()
    print_table(list(_quantities(read.contents.layout)), _QUANTITY, plain=plain)
    if facts["relative_errors"]:
        print_line()
        print_table(list(_errors(facts)), ("field", "error", "of mean", "ratio"), plain=plain)
    print_line()
    options = list(_options("", facts["experiment"]))
    print_table(options, ("option", "value"), plain=plain)


_QUANTITY = ("quantity", "kind", "width", "unit", "label")


def _facts(file: str, read: ReadRun) -> dict[str, Any]:
    """Return what a run's file says, and what of it is otherwise here, as plain data."""
    from noether_core.schemas.unstructure import unstructure

    data = unstructure(read.contents)
    result, experiment = data["result"], data["experiment"]
    total = experiment.get("training", {}).get("steps")
    return {
        "file": file,
        "kind": read.kind,
        "state": _state(read.kind, result, total),
        "task": data["task"]["provenance"],
        "attention": data["attention"]["provenance"],
        "parts": data["parts"],
        "differences": _differences(read),
        "steps": result.get("steps"),
        "steps_in_all": total,
        "is_interrupted": bool(result.get("interrupted")),
        "relative_errors": result.get("relative_errors", {}),
        "relative_errors_of_mean": result.get("relative_errors_of_mean", {}),
        "result": result,
        "layout": data["layout"],
        "experiment": experiment,
        "tensors": {
            "count": len(read.header.tensors),
            "bytes": read.header.size,
            "dtypes": sorted({info.dtype for info in read.header.tensors.values()}),
        },
    }


def _state(kind: str, result: Mapping[str, Any], total: object) -> str:
    steps = f"{result.get('steps')} of {total} steps"
    if kind == "checkpoint":
        return f"not over: {steps} at the last checkpoint; go on with 'noether run FILE --resume'"
    if result.get("interrupted"):
        return f"interrupted after {steps}; go on with 'noether run FILE --resume'"
    return f"complete: {steps}"


def _differences(read: ReadRun) -> list[dict[str, str]]:
    """Return in what providers are others here, or why that cannot be found out."""
    from noether_core.errors import PluginError
    from noether_core.plugins.registry import registry
    from noether_core.saving.runs import differences_of_run

    try:
        found = list(differences_of_run(read.contents, registry()))
    except PluginError as error:  # the run can be shown all the same
        return [{"name": "broken", "message": str(error)}]
    return [each._asdict() | {"message": each.headline("made with")} for each in found]


def _rows(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lines of the first table."""
    yield {"fact": "file", "value": facts["file"]}
    yield {"fact": "state", "value": facts["state"]}
    for what in ("task", "attention"):
        made = facts[what]
        yield {"fact": what, "value": f"{made['type']} of {_provider(made)}"}
    for part in facts["parts"]:
        yield {"fact": "part", "value": f"{part['type']} of {_provider(part)}"}
    result, tensors = facts["result"], facts["tensors"]
    if "parameters" in result:
        yield {"fact": "parameters", "value": f"{result['parameters']:,}"}
    if result.get("best_step") is not None:
        yield {"fact": "weights of step", "value": result["best_step"]}
    if "seconds_per_step" in result:
        yield {"fact": "time per step", "value": f"{1e3 * result['seconds_per_step']:.1f} ms"}
    if result.get("step_memory_bytes") is not None:
        memory = result["step_memory_bytes"] / 2**20
        yield {"fact": "memory of a step", "value": f"{memory:,.1f} MiB"}
    if "device" in result:
        yield {"fact": "made on", "value": f"{result['device']}, torch {result['torch']}"}
    dtypes = ", ".join(tensors["dtypes"])
    value = f"{tensors['count']:,} of {tensors['bytes']:,} bytes: {dtypes}"
    yield {"fact": "tensors", "value": value}
    for difference in facts["differences"] or [{"message": "none"}]:
        yield {"fact": "difference", "value": difference["message"]}


def _provider(made: Mapping[str, Any]) -> str:
    return f"{made['distribution']} {made.get('version', '')}".strip()


def _quantities(layout: Layout) -> Iterator[dict[str, Any]]:
    """Yield the lines of a table of what goes into the model and what comes out."""
    yield {"quantity": "positions", "kind": "input", "width": layout.coordinates}
    for name, quantity in layout.inputs.items():
        yield _quantity(name, "input of a sample", quantity)
    for group, own in layout.groups.items():
        for name, quantity in own.inputs.items():
            yield _quantity(f"{group}.{name}", "input", quantity)
        for name, quantity in own.fields.items():
            yield _quantity(f"{group}.{name}", "field", quantity)


def _quantity(name: str, kind: str, quantity: Any) -> dict[str, Any]:
    return {
        "quantity": name,
        "kind": kind,
        "width": quantity.width,
        "unit": quantity.unit,
        "label": quantity.label,
    }


def _errors(facts: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the lines of a table of relative errors, beside those of predicting the mean."""
    for field, error in facts["relative_errors"].items():
        mean = facts["relative_errors_of_mean"].get(field)
        ratio = error / mean if error is not None and mean else None
        yield {
            "field": field,
            "error": _number(error),
            "of mean": _number(mean),
            "ratio": _number(ratio),
        }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _options(path: str, value: Any) -> Iterator[dict[str, str]]:
    """Yield the options of an experiment by path, a line each."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _options(f"{path}.{name}".lstrip("."), item)
    else:
        yield {"option": path, "value": value if isinstance(value, str) else json.dumps(value)}
