"""The option ``--locked`` of commands that take configs."""

from __future__ import annotations

import argparse

LOCK_FILE = "noether.lock"
"""Name of a lock file where none is given."""

SUFFIX = ".lock"
"""How the names of lock files end, by which they are told from configs."""


def add_locked_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--locked``: the name of a lock file, None where the option is not given."""
    parser.add_argument(
        "--locked",
        metavar="LOCKFILE",
        nargs="?",
        type=lock_file,
        const=LOCK_FILE,
        help=f"refuse types whose provider is another than LOCKFILE says, {LOCK_FILE} if left out",
    )


def lock_file(name: str) -> str:
    """Return the name of a lock file; argparse tells what is none, such as a config behind
    ``--locked``.
    """
    if not name.endswith(SUFFIX):
        told = f"{name!r} is no name of a lock file, which ends in {SUFFIX}; write files before --locked"
        raise argparse.ArgumentTypeError(told)
    return name
