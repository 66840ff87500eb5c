"""Which plugins ``list`` and ``why`` look at, with some blocked and preferred by their options."""

from __future__ import annotations

import argparse
import os

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
    for entry in (*registry().providers(), *registry().blocked()):
        if entry.distribution == IN_PROCESS:
            known.add(entry)
    return known, registry().faults
