"""Which rows of a comparison are one computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from noether_core import unstructure
from noether_plugins.comparison.plan import Entry
from noether_plugins.comparison.workers import COMMAND, Worker, WorkerError

_LONGEST = 300.0


def _say_nothing(_: str) -> None:
    pass


def find_same(
    entries: Sequence[Entry],
    *,
    report: Callable[[str], None] = _say_nothing,
    longest: float = _LONGEST,
    command: Sequence[str] = COMMAND,
) -> dict[str, tuple[str, ...]]:
    """Return for each row, by name, the others that are the same computation.

    Equal weights give equal outputs, in double precision, on random points in sizes of the task's
    samples, with padding where both take it; `same_models` has the whole of it. Who is found the
    same is the same for points in any place, as many as these; who is not found may be the same
    nonetheless.

    Args:
        entries: The rows, of one task.
        report: Called with a line where nothing could be found out.
        longest: Seconds that it may take.
        command: The process that computes.
    """
    found: dict[str, tuple[str, ...]] = {entry.name: () for entry in entries}
    if len(entries) < 2:  # noqa: PLR2004  nothing to be the same as
        return found
    with Worker(longest=longest, command=command) as worker:
        try:
            result = worker.ask(
                "same", experiments=[unstructure(entry.experiment) for entry in entries]
            )
        except WorkerError as error:
            report(f"which rows are one computation was not found out: {error}")
            return found
    for group in result["same"]:
        names = [entries[number].name for number in group]
        for name in names:
            found[name] = tuple(other for other in names if other != name)
    return found
