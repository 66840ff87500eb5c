"""``noether completion``: what makes a shell complete commands, options and types.

The shell calls ``noether`` itself for what fits, by the protocol of argcomplete.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from noether_core.cli import GOOD
from noether_core.cli.output import print_text

_SHELLS = ("bash", "zsh", "fish")

_HELP = """\
Print what makes a shell complete commands, options, files and types.

  Let it be read when a shell starts:
    bash: echo 'eval "$(noether completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(noether completion zsh)"' >> ~/.zshrc
    fish: noether completion fish > ~/.config/fish/completions/noether.fish"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _HELP
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the code; return 0."""
    from argcomplete.shell_integration import shellcode

    print_text(shellcode(["noether"], shell=options.shell))
    return GOOD


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what fits, and leave; it says in the environment that it does."""
    import argcomplete

    for action in _actions_of(parser):
        if str(action.metavar).startswith("TYPE"):
            vars(action)["completer"] = _types  # where argcomplete looks for it
    argcomplete.autocomplete(parser, always_complete_options=False)


def chosen_command() -> str | None:
    """Return the command on the line that a shell wants completed."""
    line = os.environ.get("COMP_LINE", "")
    words = line[: int(os.environ.get("COMP_POINT", len(line)))].split(" ")
    # The last word is not finished; the first is the name of the program.
    return next((word for word in words[1:-1] if word and not word.startswith("-")), None)


def _actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a parser and of its commands."""
    # Argparse has no public way to its arguments; argcomplete goes the same way.
    found = list(parser._actions)  # noqa: SLF001
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                found += _actions_of(command)
    return found


def _types(prefix: str, **_: Any) -> list[str]:
    """Return the types that are installed, and once a colon stands there the qualified ones."""
    from noether_core.plugins.catalogue import Catalogue

    entries = [entry for known in Catalogue().kinds() for entry in known.providers()]
    qualified = [entry.qualified_name for entry in entries]
    return qualified if ":" in prefix else [*sorted({entry.name for entry in entries}), *qualified]
