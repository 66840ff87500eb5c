"""What ``noether compare`` takes on the command line."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from noether_core import hookimpl
from noether_core.errors import MissingExtraError


@hookimpl
def noether_command(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    from noether_plugins.workbench.experiment import Experiment

    parser.description = (
        "Compare attention variants: the task and the model of FILE with each of them, from "
        "several seeds, each run in a process of its own. Ends with a table of errors, time and "
        "memory, with pictures and compare.json, in a folder. Options that a type needs beyond "
        "those of FILE are filled in, and shown before anything runs. Ctrl-C keeps what is "
        "finished, and --resume goes on."
    )
    parser.add_argument(
        "file", metavar="FILE", help="experiment: YAML, TOML or JSON, by its suffix"
    )
    parser.add_argument(
        "overrides",
        metavar="PATH=VALUE",
        nargs="*",
        help="values before those of FILE, anywhere on the line: model.depth=6",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--types",
        metavar="TYPE,TYPE",
        type=_names,
        help="types to compare; if left out that of FILE and those in its attention_options",
    )
    which.add_argument("--all", action="store_true", help="compare every type that is installed")
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=_count,
        default=3,
        help="seeds to run each row from: that of FILE and the next ones; 3 if left out",
    )
    parser.add_argument(
        "--budget",
        metavar="KIND=N",
        type=_budget,
        help="what each row gets: steps=N, seconds=N of training, or parameters=N, for which its "
        "hidden_dim is chosen; the steps and the hidden_dim of FILE if left out",
    )
    parser.add_argument(
        "--grid",
        metavar="PATH=VALUE,VALUE",
        action="append",
        default=[],
        help="values of an option to compare: attention.num_slices=16,64; several make all "
        "combinations",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=_count, default=1, help="runs at once; 1 if left out"
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=_rounds,
        default=15,
        help="rounds in which a step of each row is timed before the runs; 0 for the times of the "
        "runs themselves; 15 if left out",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder of the comparison; if left out comparisons/ and the name of FILE, numbered "
        "where that is taken",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--overwrite", action="store_true", help="replace a comparison that the folder holds"
    )
    there.add_argument(
        "--resume",
        action="store_true",
        help="go on with the comparison in the folder, or with the last one of FILE; rows and "
        "seeds may be added. Where there is none, start",
    )
    parser.set_defaults(run=_run, schema=Experiment)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("names no type")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:  # noqa: PLR2004  more is a mistake
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 1000, got {text!r}")
    return int(text)


def _rounds(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _budget(text: str) -> object:
    from noether_plugins.comparison.budget import Budget

    try:
        return Budget.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    for package in ("torch", "matplotlib", "scipy"):
        if find_spec(package) is None:
            raise MissingExtraError("noether compare", package, "run")
    from noether_plugins.comparison.comparing import How, compare
    from noether_plugins.comparison.folder import Wish
    from noether_plugins.comparison.plan import Request
    from noether_plugins.workbench.command import file_and_overrides

    file, overrides = file_and_overrides([options.file, *options.overrides])
    request = Request(
        file=file,
        overrides=tuple(overrides),
        types=None if options.types is None else tuple(options.types),
        is_all=options.all,
        seeds=options.seeds,
        budget=options.budget,
        grid=tuple(options.grid),
    )
    wish = Wish(
        file=file, output=options.output, overwrite=options.overwrite, resume=options.resume
    )
    how = How(command=request.command_line, jobs=options.jobs, rounds=options.rounds)
    return compare(request, wish, how)
