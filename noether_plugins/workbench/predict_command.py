"""What ``noether predict`` takes on the command line."""

from __future__ import annotations

import argparse

from noether_core import hookimpl
from noether_core.errors import MissingExtraError


@hookimpl
def noether_command(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Predict fields with what a run has learnt. Each FILE is read as the task of the run reads "
        "its files; the predicted fields are written to a folder, beside what the file holds "
        "and in its format."
    )
    parser.epilog = (
        "A file that cannot be read or predicted does not keep the others from being: all that is "
        "wrong is said in the end, and the exit status is 1 then."
    )
    parser.add_argument("folder", metavar="RUN", help="folder of a finished run")
    parser.add_argument("files", metavar="FILE", nargs="+", help="files of samples")
    parser.add_argument(
        "--output", metavar="FOLDER", required=True, help="where the predictions are written"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that the folder holds"
    )
    parser.add_argument(
        "--metrics",
        action="store_true",
        help="print the relative errors of each field where a file has the truth, and write them "
        "to metrics.json in the folder",
    )
    parser.add_argument(
        "--at-once",
        metavar="N",
        type=_count,
        help="points of a group that the model sees together; of files with more, random parts are "
        "predicted in turn. If left out as many as a step of the training saw, or all where that "
        "saw whole samples",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute"
    )
    parser.set_defaults(run=_run)


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return count


def _run(options: argparse.Namespace) -> int:
    try:
        from noether_plugins.workbench.predicting import order_of, predict_files
    except ModuleNotFoundError as error:
        raise MissingExtraError("noether predict", error.name or "torch", "run") from error

    order = order_of(
        options.files,
        options.output,
        overwrite=options.overwrite,
        with_metrics=options.metrics,
        at_once=options.at_once,
    )
    return predict_files(options.folder, order, device=options.device)
