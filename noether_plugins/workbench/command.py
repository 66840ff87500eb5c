"""The command ``noether run``."""

from __future__ import annotations

import argparse

from noether_core import hookimpl


@hookimpl
def noether_command(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Train a small transformer, whose attention the file names, on flow around aerofoils."
    parser.add_argument("file", metavar="FILE", help="experiment: YAML, TOML or JSON, told by the suffix")
    parser.add_argument(
        "overrides",
        metavar="PATH=VALUE",
        nargs="*",
        help="what goes before the values of FILE, right behind it: attention.num_slices=64 model.depth=6",
    )
    parser.add_argument("--output", metavar="DIR", help="folder of the run; runs/ and the name of FILE if left out")
    parser.add_argument("--overwrite", action="store_true", help="replace a run that the folder holds")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from noether_core import load
    from noether_plugins.workbench.experiment import Experiment

    experiment = load(options.file, Experiment, overrides=options.overrides)
    from noether_plugins.workbench.run import run

    return run(experiment, file=options.file, output=options.output, overwrite=options.overwrite)
