"""What ``noether run`` takes on the command line."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from noether_core import hookimpl
from noether_core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noether_core.costs import Costs
    from noether_plugins.workbench.experiment import Experiment


@hookimpl
def noether_command(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    from noether_plugins.workbench.experiment import Experiment
    from noether_plugins.workbench.help import options_text

    parser.description = (
        "Train a transformer, with the attention that FILE names, on the task that FILE names: "
        "points in named groups go in, fields at these points come out. A folder gets the weights, "
        "the errors on held-out samples beside those of predicting the mean, the log of the "
        "training, a picture, and the experiment as it ran. Ctrl-C ends the training with what was "
        "learnt; SIGTERM and SIGHUP save what --resume goes on from."
    )
    parser.epilog = options_text(Experiment)
    parser.add_argument(
        "file", metavar="FILE", help="experiment: YAML, TOML or JSON, by its suffix"
    )
    parser.add_argument(
        "overrides",
        metavar="PATH=VALUE",
        nargs="*",
        help="values before those of FILE, anywhere on the line: attention.num_slices=64 "
        "model.depth=6",
    )
    parser.add_argument(
        "--locked",
        metavar="LOCKFILE",
        nargs="?",
        type=_lock_file,
        const="noether.lock",
        help="refuse types whose provider is another than LOCKFILE says, noether.lock if left out",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder of the run; if left out runs/ and the name of FILE, numbered where that is "
        "taken",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--overwrite", action="store_true", help="replace a run that the folder holds"
    )
    there.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run that is unfinished in the folder; without --output, with the last "
        "unfinished one of FILE. Where there is none, start",
    )
    parser.set_defaults(run=_run, schema=Experiment, costs=_costs)


def _lock_file(name: str) -> str:
    """Return the name of a lock file; an experiment behind ``--locked`` is none."""
    if not name.endswith(".lock"):
        raise argparse.ArgumentTypeError(
            f"{name!r} is no name of a lock file, which ends in .lock; write FILE before --locked"
        )
    return name


def _run(options: argparse.Namespace) -> int:
    _check_installed()
    options.file, options.overrides = file_and_overrides([options.file, *options.overrides])
    experiment = _experiment(options)
    from noether_plugins.workbench.run import Wish, run

    wish = Wish(options.file, options.output, options.overwrite, options.resume)
    return run(experiment, wish)


def _costs(experiment: Experiment, tokens: Sequence[int]) -> Costs:
    """Return what the model of an experiment takes, for ``noether explain``."""
    from noether_plugins.workbench.costs import costs_of

    return costs_of(experiment, tokens)


def _check_installed() -> None:
    """Refuse to start without what a run needs in the end: matplotlib draws after the training."""
    for package in ("torch", "matplotlib"):
        if find_spec(package) is None:
            raise MissingExtraError("noether run", package, "run")


def _experiment(options: argparse.Namespace) -> Experiment:
    from noether_core import load
    from noether_plugins.workbench.experiment import Experiment

    return load(options.file, Experiment, lock=options.locked, overrides=options.overrides)


def file_and_overrides(words: list[str]) -> tuple[str, list[str]]:
    """Return which of *words* is FILE, wherever it stands: a file, or the first without a ``=``."""
    for is_file in (os.path.isfile, lambda word: "=" not in word):
        for position, word in enumerate(words):
            if is_file(word):
                return word, words[:position] + words[position + 1 :]
    return words[0], words[1:]
