"""What ``noether report`` takes on the command line."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from noether_core import hookimpl
from noether_core.errors import MissingExtraError


@hookimpl
def noether_command(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Write one HTML file of runs and comparisons: a table to sort and filter, the losses, the "
        "fields of held-out samples as they are and as they are predicted, the config of each run "
        "and what differs between two, error against cost. Whoever opens it needs no network."
    )
    parser.epilog = (
        "A run whose package is missing, whose files are damaged or which is not over is shown "
        "with what is known of it."
    )
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="+",
        help="folder of a run or of a comparison, or one that holds such folders",
    )
    parser.add_argument(
        "--output", metavar="FILE", default="report.html", help="the file; report.html if left out"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the file if it is there already"
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=_count,
        default=4,
        help="held-out samples of each run whose fields are shown, 4 if left out; 0 for none, "
        "which needs no torch",
    )
    parser.add_argument(
        "--points",
        metavar="N",
        type=_count,
        help="points of each group that are shown; of more, random ones. If left out 1,000, or "
        "fewer where the file would become large",
    )
    parser.set_defaults(run=_run)


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return count


def _run(options: argparse.Namespace) -> int:
    _check_installed(with_fields=options.samples > 0)
    from noether_plugins.report.making import Wish, make_report

    wish = Wish(
        folders=tuple(Path(folder) for folder in options.folders),
        output=Path(options.output),
        overwrite=options.overwrite,
        samples=options.samples,
        points=options.points,
    )
    return make_report(wish)


def _check_installed(*, with_fields: bool) -> None:
    for package in ("plotly", "torch") if with_fields else ("plotly",):
        if find_spec(package) is None:
            raise MissingExtraError("noether report", package, "report")
