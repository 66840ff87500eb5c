"""Blocking and preferring plugins from the command line, to see what it would do."""

from __future__ import annotations

import argparse
import os

from noether_core.plugins.metadata import Fault
from noether_core.plugins.resolution import Catalogue


def add_choosing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that block and prefer plugins for one call, before what the environment
    variables name.
    """
    for option, does in (("--block", "leave out"), ("--prefer", "prefer")):
        parser.add_argument(
            option,
            metavar="NAME",
            action="append",
            default=[],
            help=f"{does} a distribution or distribution:type, as Registry({option[2:]}=...) would; may be repeated",
        )


def chosen_catalogue(options: argparse.Namespace) -> tuple[Catalogue, tuple[Fault, ...]]:
    """Return the plugins there are, and what keeps others from being found.

    Only where ``NOETHER_REGISTER`` names modules is anything imported: those, for what they
    register.
    """
    known = Catalogue(block=options.block, prefer=options.prefer)
    faults = known.faults
    if os.environ.get("NOETHER_REGISTER", "").strip():
        from noether_core.plugins.registry import IN_PROCESS, registry

        for entry in (*registry().providers(), *registry().blocked()):
            if entry.distribution == IN_PROCESS:
                known.add(entry)
        faults = registry().faults
    return known, faults
