"""Which config files a command takes: named, in folders, on standard input, and under a lock."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noether_core.structuring.checking import CheckedConfig
    from noether_core.structuring.lock import Locked

STDIN = "-"
"""The FILE that stands for standard input."""

EXPERIMENTS = "run"
"""The command of a plugin whose files are experiments, where no other is named."""

LOCK_FILE = "noether.lock"
"""Name of a lock file where none is given."""

_LOCK_SUFFIX = ".lock"
"""How the names of lock files end, which distinguishes them from configs."""


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Add FILE, and options that say what files hold, where, and how they are written."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="YAML, TOML or JSON, by its suffix; a folder, for all such files in it; "
        "or - for standard input",
    )
    add_content_options(parser)


def add_content_options(parser: argparse.ArgumentParser) -> None:
    """Add options that say what files hold, where, and how they are written."""
    parser.add_argument(
        "--at",
        metavar="PATH",
        type=_path,
        help="where the configs stand in a file, such as model.attention or "
        "model.blocks[*].attention",
    )
    parser.add_argument(
        "--experiment",
        action="store_true",
        help=f"a file is a whole experiment, as 'noether {EXPERIMENTS}' takes them",
    )
    parser.add_argument(
        "--format",
        choices=("yaml", "toml", "json"),
        help="how files are written, whatever their suffix",
    )


def class_of_files(options: argparse.Namespace) -> Any:
    """Return the class of what each file holds; None for a config of a variant or a task.

    Raises:
        ConfigError: If the files are said to be experiments, and also where configs stand in them,
            or nothing that is installed knows experiments.
    """
    if not options.experiment:
        return None
    from noether_core.errors import ConfigError, Problem

    if options.at is not None:
        raise ConfigError([Problem(message="--experiment is of whole files; leave out --at")])
    cls = schema_of_files(EXPERIMENTS)
    if cls is None:
        reason = f"no command {EXPERIMENTS!r} is installed that says what experiments hold"
        raise ConfigError([Problem(message=reason)])
    return cls


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
    """Return the name of a lock file, for argparse.

    Raises:
        ArgumentTypeError: If it is that of something else, such as a config behind ``--locked``.
    """
    if not name.endswith(_LOCK_SUFFIX):
        raise argparse.ArgumentTypeError(
            f"{name!r} is no name of a lock file, which ends in {_LOCK_SUFFIX}; "
            "write files before --locked"
        )
    return name


def files_of(options: argparse.Namespace) -> Iterator[str]:
    """Yield the files that FILE stands for, one by one; folders are searched."""
    for name in options.files:
        is_folder = name != STDIN and os.path.isdir(name)
        found = False  # a folder without any is yielded itself, for its problem
        for file in _files_in(name) if is_folder else ():
            found = True
            yield file
        if not found:
            yield name


def name_of(file: str) -> str:
    """Return what problems call a file."""
    return "<stdin>" if file == STDIN else file


def document_in(file: str, options: argparse.Namespace) -> Any:
    """Return what a file, or standard input, says.

    A pipe is read where it is named, such as one of a shell; one that lies in a folder is not,
    since nobody may ever write into it.

    Raises:
        ConfigError: If it cannot be read or is not valid.
    """
    from noether_core.errors import ConfigError, Problem
    from noether_core.regular_files import is_irregular
    from noether_core.structuring.documents import FORMATS, read, read_from

    if file == STDIN:
        # JSON is YAML too.
        return read_from(sys.stdin.buffer, options.format or "yaml", file=name_of(file))
    if os.path.isdir(file):
        message = f"is a folder without a file of {', '.join(FORMATS)}"
        raise ConfigError([Problem(message=message, file=file)])
    if file not in options.files and is_irregular(file):
        raise ConfigError([Problem(message="is no regular file and was not read", file=file)])
    return read(file, options.format)


def schema_of_files(command: str) -> Any:
    """Return the class of what the files of a plugin's command hold, where it says so.

    Core knows no experiment: whoever adds a command knows what its files hold.
    """
    return said_by_command(command, "schema")


def said_by_command(command: str, name: str) -> Any:
    """Return what a plugin's command gives as the default *name* of its parser.

    None is returned where no plugin adds the command, or it says nothing.
    """
    from noether_core.plugins.registry import registry

    entries = [
        entry for entry in registry().commands() if command in (entry.name, entry.qualified_name)
    ]
    if len(entries) != 1:
        return None
    parser = argparse.ArgumentParser()
    registry().add_command(entries[0], parser)
    return parser.get_default(name)


def problems_under_lock(checked: CheckedConfig, locked: Locked | None, document: Any) -> Any:
    """Return what is wrong with a config, and with its providers where they are locked."""
    if locked is None:
        return checked.problems
    if checked.config is None:
        return [locked.explained(problem) for problem in checked.problems]
    # Those of a lock are placed in the config, which may stand anywhere in the document.
    found = locked.problems_of(checked.config)
    return [document.locate(problem.within(*checked.keys)) for problem in found]


def _files_in(root: str) -> Iterator[str]:
    """Yield the files in a folder and below whose suffix names a format, in order."""
    from noether_core.structuring.documents import FORMATS

    for folder, folders, files in os.walk(root):
        folders.sort()  # where os.walk goes next
        for file in sorted(files):
            if os.path.splitext(file)[1].lower() in FORMATS:
                yield os.path.join(folder, file)


def _path(text: str) -> Any:
    """Return the path that ``--at`` gives, for argparse."""
    from noether_core.structuring.paths import DocumentPath

    try:
        return DocumentPath(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
