"""``python -m noether_core.testing TYPE...``: the checks without pytest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from noether_core.errors import NoetherError
from noether_core.quoting import visible_lines
from noether_core.reports import save_reports

PASSED, FAILED, USAGE = 0, 1, 2
"""Exit statuses."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks on variants, print their reports and return the exit status.

    It is 0 where all passed, 1 where not.
    """
    options = _parser().parse_args(arguments)
    from noether_core.testing.running import check_variant  # help needs no torch

    try:
        reports = [
            check_variant(name, device=options.device, only=options.only) for name in options.types
        ]
    except (NoetherError, ValueError) as error:
        print(visible_lines(f"noether_core.testing: {error}"), file=sys.stderr)
        return USAGE
    for report in reports:
        print(report)
    try:
        if options.json is not None:
            save_reports(options.json, reports)
    except OSError as error:
        print(visible_lines(f"noether_core.testing: {error}"), file=sys.stderr)
        return USAGE
    return PASSED if all(report.is_passed for report in reports) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m noether_core.testing", description="Check attention variants."
    )
    parser.add_argument(
        "types", nargs="+", metavar="TYPE", help="a type, bare or as distribution:type"
    )
    parser.add_argument("--json", metavar="FILE", help="where to save the reports")
    parser.add_argument("--device", default="cpu", help="where modules run; cpu by default")
    parser.add_argument(
        "--only", action="append", metavar="CHECK", help="a check to run; all without it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
