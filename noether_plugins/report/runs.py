"""What is known of a run, whatever state its folder is in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from noether_core import NoetherError, unstructure
from noether_core.quoting import visible
from noether_core.saving.runs import RESULT, UNFINISHED, read_run, run_at
from noether_plugins.report.curves import Curve, read_curve

_MOST_BYTES = 256 * 2**20
"""Of a ``result.json``; what is larger is none."""


@attrs.frozen(kw_only=True)
class RunFacts:
    """One run as a report shows it."""

    name: str
    folder: Path

    state: str
    """``complete``, ``interrupted``, ``unfinished`` or ``unreadable``."""

    problem: str = ""
    """Why not all is known of it."""

    task: str = ""
    attention: str = ""

    provider: str = ""
    """Package of the attention, with its version where that is known."""

    experiment: Mapping[str, Any] = attrs.field(factory=dict)
    """The experiment, defaults written out."""

    result: Mapping[str, Any] = attrs.field(factory=dict)
    """What came of it, as far as it came."""

    curve: Curve | None = None
    """Its losses; None where there is no log."""

    @property
    def steps_in_all(self) -> float | None:
        """Steps that the experiment asks for."""
        return number_in(mapping_in(self.experiment, "training"), "steps")

    @property
    def errors(self) -> dict[str, float]:
        """Relative error of each field that has one, ``group.field``."""
        return numbers_in(self.result, "relative_errors")

    @property
    def ratio(self) -> float | None:
        """Mean over fields of the error over that of predicting the mean.

        None where a field that has the latter has no error: it diverged, and the others alone would
        flatter the run.
        """
        means, errors = numbers_in(self.result, "relative_errors_of_mean"), self.errors
        wanted = [name for name, mean in means.items() if mean]
        if not wanted or any(name not in errors for name in wanted):
            return None
        return sum(errors[name] / means[name] for name in wanted) / len(wanted)

    def options(self) -> dict[str, str]:
        """Return the options of its experiment by path, as text."""
        return dict(_options("", self.experiment))


def read_facts(folder: Path, name: str) -> RunFacts:
    """Return what is known of a run; a fault of its files is a part of that.

    Args:
        folder: The folder of the run.
        name: What the report calls it.
    """
    try:
        read = read_run(run_at(folder))
    except (NoetherError, OSError) as error:
        return _facts_of_result(folder, name, problem=_reason(error))

    data = unstructure(read.contents)
    made = data["attention"]["provenance"]
    state = "unfinished" if read.kind == "checkpoint" else _state(data["result"])
    return RunFacts(
        name=name,
        folder=folder,
        state=state,
        task=str(data["task"]["provenance"]["type"]),
        attention=str(made["type"]),
        provider=f"{made['distribution']} {made.get('version') or ''}".strip(),
        experiment=data["experiment"],
        result=data["result"],
        curve=_curve(folder, state),
    )


def _facts_of_result(folder: Path, name: str, *, problem: str) -> RunFacts:
    """Return what ``result.json`` says where the file with the weights says nothing."""
    file = folder / RESULT
    result: Any = None
    try:
        if file.is_file() and file.stat().st_size <= _MOST_BYTES:
            result = json.loads(file.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        problem = f"{problem}; {file}: {error}"
    if not isinstance(result, dict):
        started = (folder / UNFINISHED).is_dir()
        state = "unfinished" if started else "unreadable"
        curve = _curve(folder, state)
        return RunFacts(name=name, folder=folder, state=state, problem=problem, curve=curve)

    state = _state(result)
    return RunFacts(
        name=name,
        folder=folder,
        state=state,
        problem=problem,
        task=str(result.get("task", "")),
        attention=str(result.get("type", "")),
        provider=str(result.get("provider", "")),
        experiment=mapping_in(result, "experiment"),
        result=result,
        curve=_curve(folder, state),
    )


def _reason(error: Exception) -> str:
    return visible(" ".join(str(error).split()))


def _state(result: Mapping[str, Any]) -> str:
    return "interrupted" if result.get("interrupted") else "complete"


def _curve(folder: Path, state: str) -> Curve | None:
    return read_curve(folder / UNFINISHED if state == "unfinished" else folder)


def mapping_in(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a mapping in plain data that nobody has checked, or an empty one."""
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def number_in(data: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number in plain data that nobody has checked, or None."""
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def numbers_in(data: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return the finite numbers of a mapping in such data."""
    values = mapping_in(data, name)
    found = {str(key): number_in(values, key) for key in values}
    return {key: value for key, value in found.items() if value is not None}


def _options(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _options(f"{path}.{name}".lstrip("."), item)
    elif path:
        yield path, value if isinstance(value, str) else json.dumps(value, default=str)
