"""One comparison from its plan to its folder: what rows cost, their runs, what came of them."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from noether_core import __version__, unstructure
from noether_core.atomic_writes import write_whole
from noether_core.quoting import visible, visible_lines
from noether_plugins.comparison import table
from noether_plugins.comparison.budget import Budget, steps_in
from noether_plugins.comparison.curves import read_curves
from noether_plugins.comparison.folder import TABLE, ComparisonError, Folder, Wish, kept
from noether_plugins.comparison.live import displayed
from noether_plugins.comparison.pictures import draw
from noether_plugins.comparison.plan import RUNS, Entry, Plan, Request, make_plan, show_plan
from noether_plugins.comparison.processes import (
    Active,
    Run,
    carry_out,
    n_cores,
    threads_in,
    threads_of,
)
from noether_plugins.comparison.record import Comparison, Row
from noether_plugins.comparison.sameness import find_same
from noether_plugins.comparison.statistics import ranked
from noether_plugins.comparison.timing import Cost, measure_costs
from noether_plugins.workbench.devices import device_named
from noether_plugins.workbench.experiment import Experiment
from noether_plugins.workbench.memory import memory_of_machine
from noether_plugins.workbench.messages import lasting_output, say, say_result
from noether_plugins.workbench.outputs import unwritable
from noether_plugins.workbench.run import differing_options
from noether_plugins.workbench.signals import Signals, Terminated, caught_signals

_GOOD, _PROBLEMS, _INTERRUPTED = 0, 1, 130

_WIDTH_OF_FILES = 200
"""Characters of a line where there is no terminal."""


@attrs.frozen(kw_only=True)
class How:
    """How a comparison is carried out."""

    command: str
    """The command line, as it is kept."""

    jobs: int = 1
    """Runs at work at once."""

    rounds: int = 15
    """Rounds in which the time of a step is measured; 0 for none."""


def compare(request: Request, wish: Wish, how: How) -> int:
    """Compare variants; return the exit status, 0 if a row is complete.

    Ctrl-C, SIGTERM and SIGHUP end it with what is finished, and the status is 128 and the number of
    the signal; runs at work save what they have learnt.

    Args:
        request: What is compared.
        wish: Where to, and what becomes of what is there.
        how: How it is carried out.

    Raises:
        ConfigError: If the file, an override, a type or the grid is wrong.
        OutputError: If the folder holds another comparison or cannot be written to.
        ComparisonError: If another comparison is in the folder than the one to go on with.
    """
    with lasting_output(), caught_signals() as signals:
        try:
            plan = make_plan(request)
            show_plan(plan, say)
            with kept(wish) as folder:
                return _Work.begun(plan, request, wish, how, folder).carry_out(signals)
        except Terminated as end:
            return end.status


class _Work:
    """A comparison at work."""

    def __init__(self, plan: Plan, how: How, folder: Folder, comparison: Comparison) -> None:
        self._how = how
        self._folder = folder
        self._comparison = comparison
        self._rows = {row.name: row for row in comparison.rows}
        self._entries = {entry.name: entry for entry in plan.entries}
        self._old: frozenset[str] = frozenset()
        """Names of rows of which it is known which are one computation."""

    @classmethod
    def begun(cls, plan: Plan, request: Request, wish: Wish, how: How, folder: Folder) -> _Work:
        """Return a comparison that begins, or goes on.

        Raises:
            ComparisonError: If another one is in the folder than the one to go on with.
            OutputError: If the folder cannot be written to.
        """
        budget = None if request.budget is None else str(request.budget)
        comparison = Comparison(
            command=how.command,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            noether=__version__,
            torch=str(torch.__version__),
            machine=_machine(plan.experiment, how),
            experiment=unstructure(plan.experiment),
            seeds=plan.seeds,
            budget=budget,
            rows=plan.rows,
        )
        before = folder.read() if wish.resume else None
        # the first run begins once all that is known before runs is known
        has_runs = before is not None and (folder.path / RUNS).exists()
        old = [row.name for row in before.rows] if before is not None and has_runs else []
        if before is None:
            folder.begin(plan.experiment)
        else:
            _check_same(before, comparison, plan.experiment, folder.path)
            comparison = _going_on(before, comparison)
        work = cls(plan, how, folder, comparison)
        work._old = frozenset(old)
        work._write()
        return work

    def carry_out(self, signals: Signals) -> int:
        """Do what is left to do; return the exit status."""
        self._measure()
        self._give_steps()
        for name in self._rows:
            self._collect(name)
        self._write()
        runs = self._runs_left()
        if runs and not self._run(runs, signals):
            signum = signals.received
            signals.received = None
            done, total = self._n_complete(), len(self._all_runs())
            say(f"interrupted: {done} of {total} runs are complete; go on with --resume")
            say(f"written to {self._folder.path}/")
            return _INTERRUPTED if signum is None else 128 + signum
        self._finish()
        return _GOOD if self._has("complete") else _PROBLEMS

    def _measure(self) -> None:
        """Find out what rows cost, as far as it is not known, and which are one computation."""
        entries = [*self._entries.values()]
        unknown = [entry for entry in entries if not _is_timed(self._rows[entry.name])]
        if unknown and self._how.rounds:
            costs = measure_costs(
                unknown,
                report=say,
                rounds=self._how.rounds,
                environment=threads_in(self._how.jobs),
            )
            for name, cost in costs.items():
                self._rows[name] = with_cost(self._rows[name], cost)
            self._write()
        if not self._entries.keys() <= self._old:
            for alike in _alike(entries):
                for name, others in find_same(alike, report=say).items():
                    self._rows[name] = attrs.evolve(self._rows[name], same_as=others)
            self._write()

    def _give_steps(self) -> None:
        """Give each row the steps that a budget of seconds leaves it."""
        budget = None if self._comparison.budget is None else Budget.parse(self._comparison.budget)
        if budget is None or budget.kind != "seconds":
            return
        for name, entry in [*self._entries.items()]:
            row = self._rows[name]
            if row.seconds_per_step is None:
                error = (
                    "no steps can be given: the time of one could not be measured; "
                    "measure again with --resume when the machine is free"
                )
                self._rows[name] = attrs.evolve(row, status="failed", error=error)
                del self._entries[name]
                continue
            steps = row.steps
            if steps is None:
                steps = steps_in(budget.amount, row.seconds_per_step)
                self._rows[name] = attrs.evolve(row, steps=steps)
            self._entries[name] = _with_steps(entry, steps)

    def _run(self, runs: Sequence[Run], signals: Signals) -> bool:
        """Do runs; return whether all were done."""
        with (
            signals.waiting(),
            displayed(
                self._rows.values(),
                n_seeds=len(self._comparison.seeds),
                jobs=self._how.jobs,
            ) as display,
        ):

            def over(run: Run, error: str) -> None:
                if error:
                    error = f"seed {run.seed}: {error}"
                    row = self._rows[run.row]
                    self._rows[run.row] = attrs.evolve(row, status="failed", error=error)
                self._collect(run.row)
                display.over(run, self._rows[run.row], error)
                self._write()

            return carry_out(
                runs,
                jobs=self._how.jobs,
                signals=signals,
                over=over,
                look=display.look,
                stopping=_stopping,
            )

    def _collect(self, name: str) -> None:
        """Fill in a row what its runs have given so far."""
        if name not in self._entries:
            return
        row = self._rows[name]
        results = [run.result() for run in self._runs_of(name)]
        self._rows[name] = with_results(row, results)

    def _finish(self) -> None:
        """Rank the rows, draw, and print the table."""
        self._rows = {row.name: row for row in ranked([*self._rows.values()])}
        self._write()
        path = self._folder.path
        try:
            write_whole(path / TABLE, table.markdown(self._comparison))
            draw(self._comparison, read_curves(self._comparison, path), path)
        except OSError as error:
            raise unwritable(path, error) from error
        width = shutil.get_terminal_size((_WIDTH_OF_FILES, 0)).columns
        say_result(visible_lines(table.text(self._comparison, width=width)))
        say_result(f"written to {visible(str(path))}/")

    def _write(self) -> None:
        self._comparison = attrs.evolve(self._comparison, rows=tuple(self._rows.values()))
        self._folder.write(self._comparison)

    def _has(self, status: str) -> bool:
        return any(row.status == status for row in self._rows.values())

    def _n_complete(self) -> int:
        return sum(run.result() is not None for run in self._all_runs())

    def _all_runs(self) -> list[Run]:
        return [run for name in self._entries for run in self._runs_of(name)]

    def _runs_left(self) -> list[Run]:
        """Return the runs that are not complete, seed by seed: each row has its first ones soon."""
        by_row = [self._runs_of(name) for name in self._entries]
        runs = [run for seed in zip(*by_row, strict=True) for run in seed]
        return [run for run in runs if run.result() is None]

    def _runs_of(self, name: str) -> list[Run]:
        experiment, row = self._entries[name].experiment, self._rows[name]
        return [
            Run(
                row=name,
                seed=seed,
                experiment=attrs.evolve(experiment, seed=seed),
                folder=self._folder.path / folder,
            )
            for seed, folder in zip(self._comparison.seeds, row.runs, strict=True)
        ]


def _stopping(active: Sequence[Active]) -> None:
    runs = "the run at work" if len(active) == 1 else f"the {len(active)} runs at work"
    say(f"waiting for {runs} to save what was learnt; Ctrl-C again ends at once")


def _with_steps(entry: Entry, steps: int) -> Entry:
    training = attrs.evolve(entry.experiment.training, steps=steps)
    return attrs.evolve(entry, experiment=attrs.evolve(entry.experiment, training=training))


def _is_timed(row: Row) -> bool:
    """Return whether the time of a step is known: not all of its samples were dropped."""
    return row.step is not None and row.step.median is not None


def _alike(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return entries in groups that differ in their attention alone.

    One model that is trained in two ways is not one computation.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        options = unstructure(entry.experiment)
        del options["attention"]
        groups.setdefault(json.dumps(options, sort_keys=True), []).append(entry)
    return [*groups.values()]


def with_cost(row: Row, cost: Cost) -> Row:
    """Return a row with what was measured of it."""
    seconds = None if cost.step is None else cost.step.median
    notes = row.notes
    if cost.error:
        notes += (f"not all of its time and memory could be measured: {cost.error}",)
    return attrs.evolve(
        row,
        step=cost.step,
        scaling=cost.scaling,
        seconds_per_step=seconds,
        tokens_per_second=cost.tokens / seconds if cost.tokens and seconds else None,
        notes=notes,
    )


def with_results(row: Row, results: Sequence[Mapping[str, Any] | None]) -> Row:
    """Return a row with what came of its runs.

    Args:
        row: The row.
        results: For each seed the ``result.json`` of its run; None where it is not complete.
    """
    done = [result for result in results if result is not None]
    if not done:
        return row
    is_complete = len(done) == len(results)
    errors: dict[str, tuple[float | None, ...]] = {}
    ratios: dict[str, tuple[float | None, ...]] = {}
    of_mean: dict[str, float | None] = {}
    for field in done[0]["relative_errors"]:
        of_field = [_number(result, "relative_errors", field) for result in results]
        of_means = [_number(result, "relative_errors_of_mean", field) for result in results]
        errors[field] = tuple(of_field)
        ratios[field] = tuple(map(_ratio, of_field, of_means))
        of_mean[field] = _mean([value for value in of_means if value is not None])
    paces = [result["seconds_per_step"] for result in done]
    memory = [result["step_memory_bytes"] or 0 for result in done]
    return attrs.evolve(
        row,
        status="complete" if is_complete else row.status,
        error="" if is_complete else row.error,
        steps=done[0]["steps"],
        errors=errors,
        ratios=ratios,
        errors_of_mean=of_mean,
        seconds_per_step=_mean(paces) if row.step is None else row.step.median,
        step_memory_bytes=max(memory) or None,
        parameters=done[0]["parameters"],
    )


def _number(result: Mapping[str, Any] | None, name: str, field: str) -> float | None:
    """Return a number of a result; None where there is none, or it is not finite."""
    value = None if result is None else result[name].get(field)
    return value if value is not None and math.isfinite(value) else None


def _ratio(error: float | None, of_mean: float | None) -> float | None:
    return None if error is None or not of_mean else error / of_mean


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _machine(experiment: Experiment, how: How) -> dict[str, Any]:
    device = device_named(experiment.training.device, "training.device")
    found = {
        "processor": _processor(),
        "cores": n_cores(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "device": device.type,
        "threads": threads_of(how.jobs),
        "jobs": how.jobs,
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["gpu_memory"] = memory_of_machine(experiment)
    return found


def _processor() -> str:
    """Return the name of the processor, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _check_same(before: Comparison, now: Comparison, experiment: Experiment, folder: Path) -> None:
    """Refuse to go on with another comparison; rows and seeds may be added.

    Raises:
        ComparisonError: If it is another one; the message lists in what.
    """
    found = [
        f"{path}: {was} there, {here} here"
        for path, was, here in differing_options(before.experiment, experiment)
    ]
    if before.budget != now.budget:
        found.append(f"--budget: {before.budget} there, {now.budget} here")
    lost = sorted(set(before.seeds) - set(now.seeds))
    if lost:
        found.append(f"seeds: {', '.join(map(str, lost))} there, and not here")
    rows = {row.name: row for row in now.rows}
    for row in before.rows:
        if row.name not in rows:
            found.append(f"{row.name}: is a row there, and not here")
        elif _options(row) != _options(rows[row.name]):
            found.append(f"{row.name}: {_options(row)} there, {_options(rows[row.name])} here")
    if found:
        listed = "\n".join(found)
        raise ComparisonError(
            f"{folder}: is another comparison, so that it cannot be gone on with:\n{listed}\n"
            f"it was begun with: {before.command}\nwrite what it was, or start another one "
            "without --resume"
        )


def _options(row: Row) -> str:
    return json.dumps(unstructure({**row.attention, **row.varied}), sort_keys=True)


def _going_on(before: Comparison, now: Comparison) -> Comparison:
    """Return a comparison with what is known from before; rows that failed are tried again."""
    known = {row.name: row for row in before.rows}
    rows: list[Row] = []
    for row in now.rows:
        old = known.get(row.name)
        if old is not None and not row.error:
            row = attrs.evolve(  # noqa: PLW2901  the same row, with more of it known
                row,
                steps=old.steps,
                same_as=old.same_as,
                step=old.step,
                seconds_per_step=None if old.step is None else old.step.median,
                tokens_per_second=old.tokens_per_second,
                scaling=old.scaling,
            )
        rows.append(row)
    return attrs.evolve(now, rows=tuple(rows), created=before.created, command=before.command)
