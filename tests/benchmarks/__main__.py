"""Every promise measured in one run: ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks import machine, page, pictures
from tests.benchmarks.results import Result
from tests.benchmarks.subjects import LONG, SUBJECTS, is_there, measure
from tests.benchmarks.tables import lines


def main() -> int:
    """Measure and report; return the exit status.

    It is 1 where a subject fails, or where a budget is exceeded and ``--check`` was given.
    """
    options = _options()
    found: dict[str, list[Result]] = {}
    seconds: dict[str, float] = {}
    failed: list[str] = []
    for subject in options.subjects:
        if not is_there(subject):
            _say(f"{subject}: there is no such file yet")
            continue
        start = time.perf_counter()
        try:
            found[subject] = measure(subject, quick=options.quick, report=_say)
        except Exception:  # noqa: BLE001  one subject that fails must not take the numbers of others with it
            traceback.print_exc()
            failed.append(subject)
        seconds[subject] = time.perf_counter() - start
    parts = [f"{name} {value:.0f}" for name, value in seconds.items()]
    _say(f"{sum(seconds.values()):.0f} s: {', '.join(parts)}")
    if failed:
        _say(f"failed: {', '.join(failed)}")
    _report(found, seconds, options)
    is_kept = all(result.is_kept for results in found.values() for result in results)
    return int(bool(failed) or (options.check and not is_kept))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help=f"of {', '.join(SUBJECTS)}, all of them if left out; or {', '.join(LONG)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few rounds of small sizes, to see that it runs; the numbers say little",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a budget is exceeded"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write results.json, tables and pictures there",
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write tables and pictures into this page"
    )
    options = parser.parse_args()
    if unknown := set(options.subjects) - {*SUBJECTS, *LONG}:
        known = ", ".join((*SUBJECTS, *LONG))
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; choose of {known}")
    options.subjects = options.subjects or SUBJECTS
    return options


def _report(
    found: Mapping[str, Sequence[Result]], seconds: Mapping[str, float], options: argparse.Namespace
) -> None:
    facts = machine.facts()
    record = {
        "machine": facts,
        "quick": options.quick,
        "seconds": seconds,
        "subjects": {
            subject: [result.as_dict() for result in results] for subject, results in found.items()
        },
    }
    if options.json:
        print(json.dumps(record, indent=2, allow_nan=False))
    else:
        print("\n".join(_text(found, facts)))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "results.json").write_text(
            json.dumps(record, indent=2) + "\n", encoding="utf-8"
        )
        (options.output / "results.txt").write_text(
            "\n".join(_text(found, facts)) + "\n", encoding="utf-8"
        )
        pictures.draw(
            [result for results in found.values() for result in results],
            options.output,
            page.caption(facts),
        )
    if options.page:
        page.fill(options.page, found, facts)


def _text(found: Mapping[str, Sequence[Result]], facts: machine.Facts) -> list[str]:
    header = [f"{name}: {value}" for name, value in facts.items()]
    tables = [
        line
        for subject, results in found.items()
        for line in (f"== {subject}", "", *lines(results))
    ]
    return [*header, "", *tables]


if __name__ == "__main__":
    sys.exit(main())
