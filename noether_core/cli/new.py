"""``noether new``: a package with an attention variant, ready to be changed and published."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile

from noether_core.cli import GOOD, PROBLEMS, USAGE
from noether_core.cli.output import print_error, print_text
from noether_core.scaffold import INTERFACES, Names


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "name", metavar="NAME", help="name of the package, and of the folder that is made: acme-foo"
    )
    parser.add_argument(
        "--type",
        metavar="TYPE",
        help="name of the variant in configs; that of the package if left out",
    )
    parser.add_argument(
        "--interface",
        choices=INTERFACES,
        default="self",
        help="what its tokens attend to: each other (self, the default), another set (cross), "
        "named groups (tokens)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the package, whole or not at all; return 0."""
    from noether_core.scaffold import names_of

    try:
        names = names_of(options.name, options.type)
        _refuse_taken(names.type)
    except ValueError as error:
        print_error(f"noether new: {error}")
        return USAGE
    if os.path.lexists(names.distribution):
        print_error(f"noether new: {names.distribution} is there already; nothing was written")
        return PROBLEMS

    _write(names, options.interface)
    print_text(
        f"{names.distribution}: a package with the variant '{names.type}'\n\n"
        f"  cd {names.distribution}\n"
        "  python -m pip install -e '.[test]'\n"
        "  python -m pytest\n"
        "  noether run example.yaml"
    )
    return GOOD


def _refuse_taken(type: str) -> None:
    """Refuse a type that is provided already: users of both would have to qualify it for ever."""
    from noether_core.plugins.resolution import Catalogue

    if providers := Catalogue().providers(type):
        taken = " and ".join(entry.provider for entry in providers)
        raise ValueError(
            f"the type '{type}' is provided by {taken} already; choose another with --type"
        )


def _write(names: Names, interface: str) -> None:
    """Write all files into a new folder, which appears with the last of them."""
    from noether_core.hookspecs import hookspec_version
    from noether_core.plugins.metadata import core_version
    from noether_core.scaffold import files_of

    files = files_of(names, interface, version=core_version(), api_version=hookspec_version)
    staging = tempfile.mkdtemp(dir=os.curdir, prefix=".", suffix=".part")
    try:
        for path, text in files.items():
            target = os.path.join(staging, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                file.write(text)
        # mkdtemp makes folders that only their owner may enter.
        os.chmod(staging, 0o777 & ~_umask())
        os.rename(staging, names.distribution)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
