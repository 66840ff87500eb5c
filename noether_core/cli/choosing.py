"""Which plugins commands look at: of which kind, and with some blocked and preferred."""

from __future__ import annotations

import argparse
import os

from noether_core.cli.output import print_error
from noether_core.plugins.catalogue import Catalogue
from noether_core.plugins.metadata import Fault


def add_choosing_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--block`` and ``--prefer``, which go before what the environment variables name."""
    for name, effect in (("block", "leave out"), ("prefer", "prefer")):
        parser.add_argument(
            f"--{name}",
            metavar="NAME",
            action="append",
            default=[],
            help=f"{effect} a distribution or distribution:type, as Registry({name}=...) would; "
            "may be repeated",
        )


def chosen_catalogue(options: argparse.Namespace) -> tuple[Catalogue, tuple[Fault, ...]]:
    """Return the plugins there are, and what keeps others from being found.

    Only where ``NOETHER_REGISTER`` names modules is anything imported: those, for what they
    register.
    """
    known = Catalogue(block=options.block, prefer=options.prefer)
    if not os.environ.get("NOETHER_REGISTER", "").strip():
        return known, known.faults

    from noether_core.plugins.registry import IN_PROCESS, registry

    # To look up providers imports the modules; only what they add is taken over, since the registry
    # knows nothing of this command's options.
    for here in registry().kinds():
        for entry in (*here.providers(), *here.blocked()):
            if entry.distribution == IN_PROCESS:
                known.add(entry)
    return known, registry().faults


def add_kind_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--task``, which says what a type is that variants and tasks have both."""
    parser.add_argument(
        "--task",
        action="store_true",
        help="TYPE is that of a task, which goes without saying where no variant is called so",
    )


def kind_of(type: str, known: Catalogue, *, is_task: bool) -> Catalogue:
    """Return the plugins of the kind that *type*, bare or qualified, is of: variants, or tasks.

    Of a type that both have, variants are returned, and how to have the task is printed; and of one
    that none has.

    Args:
        type: The type.
        known: The plugins of any kind.
        is_task: Whether the type is said to be that of a task.
    """
    variants, tasks = known.kinds()
    if is_task or (tasks.has(type) and not variants.has(type)):
        return tasks
    if tasks.has(type):
        print_error(f"noether: there is a task {type!r} as well; say --task for that one")
    return variants
