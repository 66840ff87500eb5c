"""How long hostile documents of the tests' corpus take, each from its bytes to a config."""

from __future__ import annotations

import functools
import heapq
import statistics
import time
from typing import NamedTuple

from tests.benchmarks.pairs import Bound, bound
from tests.core.structuring.corpus import Made, document, read_through

_BYTES = 10_000
_SLOWEST = 10
"""Documents that are read again: what took long once may have waited for the machine."""


class _Found(NamedTuple):
    """What came of reading many documents."""

    count: int
    read: int
    costs: dict[int, float]
    """The milliseconds of each that is read or refused, by its number."""

    raised: dict[str, list[int]]
    """The numbers of documents that end in anything else, by the error."""


def claims(*, quick: bool) -> list[Bound]:
    """Measure the slowest document, and count those that end otherwise than they may.

    A document may end in a config or in a ConfigError.
    """
    found = functools.cache(functools.partial(_read_all, 200 if quick else 20_000))
    return [
        bound("slowest document, milliseconds for 10 kB", 50, lambda: _slowest(found())),
        bound("documents that raise another error", 0, lambda: _raising(found())),
    ]


def _read_all(count: int) -> _Found:
    found = _Found(count, 0, {}, {})
    read = 0
    for number in range(count):
        try:
            found.costs[number], is_read = _read(document(number))
            read += is_read
        except Exception as error:  # noqa: BLE001  counted, so that none hides the others
            found.raised.setdefault(repr(error), []).append(number)
    return found._replace(read=read)


def _slowest(found: _Found) -> tuple[float, str]:
    often = heapq.nlargest(_SLOWEST, found.costs, key=found.costs.__getitem__)
    settled = {number: _settled_cost(number) for number in often}
    slowest = max(settled, key=settled.__getitem__)
    counts = f"{found.read:,} of {found.count:,} read, {len(found.costs) - found.read:,} refused"
    return settled[slowest], f"{_name(slowest)}; {counts}"


def _raising(found: _Found) -> tuple[float, str]:
    raised = [
        f"{error} by {len(numbers):,} such as document {numbers[0]:,}"
        for error, numbers in found.raised.items()
    ]
    return found.count - len(found.costs), "; ".join(raised)


def _settled_cost(number: int) -> float:
    made = document(number)
    return statistics.median(_read(made)[0] for _ in range(7))


def _read(made: Made) -> tuple[float, bool]:
    """Return the milliseconds that a document takes, for each 10 kB, and whether it is read."""
    start = time.process_time()
    read, _ = read_through(made)
    return 1e3 * (time.process_time() - start) / max(
        1, len(made.content) / _BYTES
    ), read is not None


def _name(number: int) -> str:
    made = document(number)
    return f"document {number:,}, {made.format} of {len(made.content):,} bytes"
