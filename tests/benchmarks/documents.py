"""How long hostile documents take: 100,000 of the tests' corpus, each the whole way from bytes to a config."""

from __future__ import annotations

import heapq
import statistics
import time

from tests.benchmarks.pairs import Bound
from tests.core.structuring.corpus import Made, document, read_through

_BYTES = 10_000
_SLOWEST = 10
"""Documents that are read again: what took long once may have waited for the machine."""


def claims(*, quick: bool) -> list[Bound]:
    """Measure the slowest document, and count those that end in anything but a config or a ConfigError."""
    count = 2_000 if quick else 100_000
    costs: dict[int, float] = {}
    raised: dict[str, list[int]] = {}
    read = 0
    for number in range(count):
        try:
            costs[number], is_read = _read(document(number))
            read += is_read
        except Exception as error:  # noqa: BLE001  counted, so that all documents that raise one are told
            raised.setdefault(repr(error), []).append(number)
    settled = {number: _settled_cost(number) for number in heapq.nlargest(_SLOWEST, costs, key=costs.__getitem__)}
    slowest = max(settled, key=settled.__getitem__)
    counts = f"{read:,} of {count:,} read, {len(costs) - read:,} refused"
    told = [f"{error} by {len(numbers):,} such as document {numbers[0]:,}" for error, numbers in raised.items()]
    return [
        Bound("slowest document, milliseconds for 10 kB", 50, settled[slowest], f"{_name(slowest)}; {counts}"),
        Bound("documents that raise another error", 0, count - len(costs), "; ".join(told)),
    ]


def _settled_cost(number: int) -> float:
    made = document(number)
    return statistics.median(_read(made)[0] for _ in range(7))


def _read(made: Made) -> tuple[float, bool]:
    """Return the milliseconds that a document takes, of a larger one those for 10 kB of it, and whether it is read."""
    start = time.process_time()
    read, _ = read_through(made)
    return 1e3 * (time.process_time() - start) / max(1, len(made.content) / _BYTES), read is not None


def _name(number: int) -> str:
    made = document(number)
    return f"document {number:,}, {made.format} of {len(made.content):,} bytes"
