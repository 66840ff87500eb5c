"""``noether lock``: which package provides each type that configs need, written down."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from noether_core.cli.configs import (
    LOCK_FILE,
    add_input_options,
    class_of_files,
    document_in,
    files_of,
    lock_file,
)
from noether_core.cli.output import print_line

if TYPE_CHECKING:
    from noether_core.schemas.schema import Schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add_input_options(parser)
    parser.add_argument(
        "--output",
        metavar="LOCKFILE",
        type=lock_file,
        default=LOCK_FILE,
        help=f"the file to write, whose name ends in .lock; {LOCK_FILE} if left out",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the lock file and return 0.

    Raises:
        ConfigError: If anything is wrong with the configs; then nothing is written.
    """
    from noether_core.plugins.registry import registry
    from noether_core.structuring.lock import lock_of, write_lock

    configs = _configs(options)  # all of them, before anything is written
    lock = lock_of(configs, registry())
    write_lock(lock, options.output)
    for locked in (*lock.types, *lock.tasks):
        print_line(f"{options.output}: {locked.type}: {locked.provider}")
    return 0


def _configs(options: argparse.Namespace) -> list[Schema]:
    """Return the configs in all files.

    Raises:
        ConfigError: If anything is wrong with any of them; it holds every problem.
    """
    from noether_core.errors import ConfigError, Problem
    from noether_core.structuring.checking import check_configs

    configs: list[Schema] = []
    problems: list[Problem] = []
    cls = class_of_files(options)
    for file in files_of(options):
        try:
            for checked in check_configs(document_in(file, options), options.at, cls=cls):
                problems += checked.problems
                if checked.config is not None:
                    configs.append(checked.config)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return configs
