"""The command ``noether``: one file per command; installed packages add more."""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence

from noether_core.quoting import visible, visible_lines

# What type checkers take for typing's, which takes longer to import than this whole file.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, NoReturn

COMMANDS = {
    "list": "attention variants that are installed, and who provides them; --tasks for tasks",
    "show": "one variant or task: its options, capabilities and reference; or one saved module",
    "why": "what a type means, and what speaks for and against each plugin that it may mean",
    "validate": "check config files; every problem is reported with its place",
    "explain": "where each option of a config comes from; its parameters, operations and memory",
    "lock": "write down which package provides each type that configs need",
    "schema": "JSON Schema of one type, or of all that are installed",
    "doctor": "what is wrong, or will be, with the plugins that are installed",
    "new": "write a package with a variant or task of your own, ready to be installed and tested",
    "completion": "print what makes a shell complete commands, options and types",
}
"""Noether's own commands, each in the file of its name."""

GOOD, PROBLEMS, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""

_TAKING_THE_REST = (argparse.PARSER, argparse.REMAINDER)
"""What an argument takes that leaves no place for options behind it."""

_NARROWEST = 40
"""Columns below which help is no longer readable."""


def script() -> NoReturn:
    """Run ``noether`` as a process of its own.

    Looking for garbage is a tenth of the time of the core's commands, which end before any matters;
    those of plugins, which may not, get it back.
    """
    gc.disable()
    if sys.stdout is None or sys.stderr is None:  # whoever started us closed them
        nowhere = open(os.devnull, "w")  # noqa: SIM115  for as long as the process lives
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    warnings.showwarning = _show_warning
    sys.excepthook = _show_fault
    status = main()
    gc.freeze()
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``noether`` and return its exit status.

    That is 0 for good, 1 for problems found, 2 for wrong usage, and 130 after Ctrl-C. What was
    raised on purpose is one message, a missing extra among it; only a fault of ours, or of a
    plugin's command, is a traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a file need not be text in any encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  what is not ours is raised again
        return _report(error)
    return status


def _run(arguments: Sequence[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        from noether_core.cli.completion import chosen_command, complete

        complete(_parser(chosen_command()))
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = _parser(chosen, is_first=bool(arguments) and arguments[0] == chosen)
    if not arguments:
        parser.print_help()
        return GOOD
    try:
        if chosen is not None and chosen not in COMMANDS:
            parser.check_command(chosen)
        options = parser.parse_args(arguments)
    except SystemExit as leaving:  # after help, the version or wrong usage
        return int(leaving.code or GOOD)
    status: int = options.run(options)
    return status


def _report(error: Exception) -> int:
    """Print what was raised on purpose; let anything else show where it came from."""
    from noether_core.cli.output import print_errors
    from noether_core.errors import ConfigError, NoetherError

    if isinstance(error, ConfigError):  # its problems say where they are
        print_errors(str(error))
    elif isinstance(error, (NoetherError, OSError)):  # a full disk behind the output, say
        # The text may be a plugin's: none of its lines may look like one of ours.
        first, *others = str(error).splitlines() or [""]
        print_errors("\n  ".join([f"noether: {first}", *(line.lstrip() for line in others)]))
    elif isinstance(error, ModuleNotFoundError) and str(error.name).startswith("noether_core."):
        print_errors(
            f"noether: {error.name} is missing from this installation; have whatever packs your "
            "program take all of it along (PyInstaller: --collect-submodules noether_core)"
        )
    else:
        raise error
    return PROBLEMS


def _show_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback as Python does, and nothing in it raw."""
    from traceback import format_exception

    from noether_core.cli.output import print_errors

    # Indented, no line of an error's text looks like one of ours; those of frames are already.
    parts = (part.rstrip("\n") for part in format_exception(kind, error, trace))
    print_errors("\n".join("\n  ".join(part.split("\n")) for part in parts))


def _show_warning(  # noqa: PLR0917  the signature is that of the module warnings
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Print a warning in one line."""
    from noether_core.cli.output import print_error

    print_error(f"{filename}:{lineno}: {category.__name__}: {message}")


def _parser(chosen: str | None, *, is_first: bool = False) -> _Parser:
    """Return the parser; of all commands, only the *chosen* one is imported and described.

    The others are not even named where it *is_first*, since no help can list them then: to name
    them takes a hundredth of the time of ``noether validate``.
    """
    parser = _Parser(
        prog="noether", description="Attention variants as plugins.", formatter_class=_HelpFormatter
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for name, summary in COMMANDS.items():
        if is_first and chosen in COMMANDS and name != chosen:
            continue
        described = commands.add_parser(
            name, help=summary, description=summary, formatter_class=_HelpFormatter
        )
        if name == chosen:
            importlib.import_module(f"{__name__}.{name}").configure(described)
    if chosen not in COMMANDS:
        _add_plugin_commands(commands, chosen)
    return parser


def _add_plugin_commands(commands: argparse._SubParsersAction[_Parser], chosen: str | None) -> None:
    """Add the commands of installed packages, by metadata alone but for the chosen one.

    A name that the core or another package has as well is used in its qualified form.
    """
    from noether_core.plugins.catalogue import Catalogue

    entries = Catalogue().commands()
    names = [entry.name for entry in entries]
    for entry in entries:
        is_plain = names.count(entry.name) == 1 and entry.name not in COMMANDS
        name = entry.name if is_plain else entry.qualified_name
        # argparse fills in what follows a percent sign.
        provider = visible(entry.provider).replace("%", "%%")
        described = commands.add_parser(
            name, help=f"from {provider}", formatter_class=_HelpFormatter
        )
        if name == chosen:
            from noether_core.plugins.registry import registry

            gc.enable()
            registry().add_command(entry, described)


class _Parser(argparse.ArgumentParser):
    """A parser, of plugins' commands too, whose usage, help and errors hold nothing unseen."""

    _is_mixing = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments in one line, and leave."""
        super().error(visible(message))

    def check_command(self, name: str) -> None:
        """Leave with the nearest command, and all there are, where there is none of that name."""
        commands = next(filter(None, (action.choices for action in self._actions)))
        if name in commands:
            return
        from noether_core.spelling import did_you_mean

        names = list(commands)
        hints = filter(
            None, (did_you_mean(name, names), f"Commands: {', '.join(map(repr, names))}.")
        )
        self.error(f"there is no command {name!r}; {' '.join(hints)}")

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse what a command is given, options and other arguments in any order."""
        if self._is_mixing or not self._can_mix(args):
            return super().parse_known_args(args, namespace)
        self._is_mixing = True  # parsing them mixed comes back to this method, twice
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False

    def _can_mix(self, arguments: Sequence[str]) -> bool:
        """Return whether argparse can, which it cannot for all that a plugin's command may have."""
        if "--" in arguments:  # whoever writes it says the order
            return False
        if any(action.nargs in _TAKING_THE_REST for action in self._actions):
            return False
        grouped = [group._group_actions for group in self._mutually_exclusive_groups]  # noqa: SLF001
        return all(action.option_strings for actions in grouped for action in actions)

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(visible_lines(message), file)


class _HelpFormatter(argparse.HelpFormatter):
    """Help as wide as the terminal; to find that out, argparse itself would import shutil."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (OSError, ValueError):
            columns = 80
        super().__init__(prog, width=max(columns, _NARROWEST) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Return a description, filled; one that has lines keeps them.

        Lines after the first are indented: a plugin's help must not look like what we print.
        """
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        first, *others = text.splitlines()
        kept = (line if line.startswith(" ") else f"  {line}" for line in others)
        return "\n".join(indent + line.rstrip() for line in (first, *kept))


class _Version(argparse.Action):
    """Prints the version; reading it is left until somebody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from noether_core import __version__
        from noether_core.cli.output import print_line

        print_line(f"noether-attention {__version__}")
        parser.exit()
