"""``noether new``: a package with a variant or a task, ready to be changed and published."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from noether_core.cli import GOOD, PROBLEMS, USAGE
from noether_core.cli.output import print_error, print_text
from noether_core.scaffold import INTERFACES, Names

if TYPE_CHECKING:
    from noether_core.plugins.metadata import Kind


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "name", metavar="NAME", help="name of the package, and of the folder that is made: acme-foo"
    )
    parser.add_argument(
        "--type",
        metavar="TYPE",
        help="name of the variant, or the task, in configs; that of the package if left out",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--task", action="store_true", help="a task to learn, in place of an attention variant"
    )
    kinds.add_argument(
        "--interface",
        choices=INTERFACES,
        default="self",
        help="what its tokens attend to: each other (self, the default), another set (cross), "
        "named groups (tokens)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the package, whole or not at all; return 0."""
    from noether_core.plugins.metadata import TASKS, VARIANTS
    from noether_core.scaffold import names_of

    kind = TASKS if options.task else VARIANTS
    try:
        names = names_of(options.name, options.type)
        _refuse_taken_type(names.type, kind)
        _refuse_taken_package(names)
    except ValueError as error:
        print_error(f"noether new: {error}")
        return USAGE
    if os.path.lexists(names.distribution):
        print_error(f"noether new: {names.distribution} is there already; nothing was written")
        return PROBLEMS

    _write(names, _files(names, options))
    what = "task" if options.task else "variant"
    print_text(
        f"{names.distribution}: a package with the {what} '{names.type}'\n\n"
        f"  cd {names.distribution}\n"
        "  python -m pip install -e '.[test]'\n"
        "  python -m pytest\n"
        "  noether run example.yaml"
    )
    return GOOD


def _refuse_taken_type(type: str, kind: Kind) -> None:
    """Refuse a type that is provided already: users of both would have to qualify it for ever."""
    from noether_core.plugins.catalogue import Catalogue

    if providers := Catalogue().of_kind(kind).providers(type):
        taken = " and ".join(entry.provider for entry in providers)
        raise ValueError(
            f"the type '{type}' is provided by {taken} already; choose another with --type"
        )


def _refuse_taken_package(names: Names) -> None:
    """Refuse a package that would hide, or replace, one that is here."""
    from noether_core.plugins.metadata import canonical, metadata_folders, name_of, searched_path

    where = _importable(names.package)
    if where is not None:
        raise ValueError(
            f"{names.distribution!r} would hide the package {names.package!r}, which is imported "
            f"from {where}; choose another name"
        )
    wanted = canonical(names.distribution)
    for origin in metadata_folders(searched_path()):
        if name_of(origin) == wanted:
            raise ValueError(
                f"a package {names.distribution!r} is installed in {os.path.dirname(origin)}, and "
                "this one would replace it; choose another name"
            )


def _importable(package: str) -> str | None:
    """Return where Python finds a package; None where it does not."""
    from importlib.util import find_spec

    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # something of that name, which is broken
        return "somewhere"
    if spec is None:
        return None
    folders = [os.path.realpath(folder) for folder in spec.submodule_search_locations or ()]
    here = os.path.realpath(package)
    if spec.origin is None and folders == [here]:
        return None  # any folder that lies where we are
    return spec.origin or ", ".join(folders)


def _files(names: Names, options: argparse.Namespace) -> Mapping[str, str]:
    """Return the files to write, by their paths within the package."""
    from noether_core.hookspecs import hookspec_version
    from noether_core.plugins.metadata import core_version
    from noether_core.scaffold import files_of, files_of_task

    version = core_version()
    if options.task:
        return files_of_task(names, version=version, api_version=hookspec_version)
    return files_of(names, options.interface, version=version, api_version=hookspec_version)


def _write(names: Names, files: Mapping[str, str]) -> None:
    """Write all files into a new folder, which appears with the last of them."""
    staging = f".{os.urandom(8).hex()}.part"
    os.mkdir(staging)
    try:
        for path, text in files.items():
            target = os.path.join(staging, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                file.write(text)
        os.rename(staging, names.distribution)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
