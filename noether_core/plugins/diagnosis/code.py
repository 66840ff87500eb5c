"""Whether the code of plugins lies where their metadata say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import url2pathname

from noether_core.plugins.diagnosis.environment import Environment
from noether_core.plugins.diagnosis.finding import Finding, error, warning, without
from noether_core.plugins.imports import file_of
from noether_core.plugins.metadata import EntryPoint


def missing_torch(environment: Environment) -> Iterator[Finding]:
    """Yield once that torch is absent: configs are checked without it, and no module is built."""
    if environment.plugins and find_spec("torch") is None:
        yield Finding(
            severity="warning",
            check="missing-torch",
            message="torch is not installed: configs can be checked, and no module can be built",
            remedy="pip install 'noether-attention[torch]'",
        )


def missing_code(environment: Environment) -> Iterator[Finding]:
    """Yield the plugins whose module is not there."""
    for entry in environment.plugins:
        try:
            file_of(entry.value)
        except ImportError as problem:
            yield error(
                "missing-code",
                entry,
                f"{entry.value} cannot be imported: {problem}",
                without(entry),
            )


def code_of_others(environment: Environment) -> Iterator[Finding]:
    """Yield the plugins whose module is found in another place than the one in which it was
    installed.
    """
    for entry in environment.plugins:
        wanted = _source_tree(entry.origin) or _recorded_file(entry)
        found = _file(entry)
        if wanted and found and not _is_within(found, wanted):
            message = f"{entry.value} is found in {found}, not in {wanted}; that is another copy than {entry.version}"
            remedy = "uninstall the copy that is not meant, or take its folder off Python's path"
            yield warning("other-code", entry, message, remedy)


def shared_code(environment: Environment) -> Iterator[Finding]:
    """Yield the plugins whose file another distribution with plugins has installed as well."""
    owners: dict[str, dict[str, EntryPoint]] = {}
    for entry in environment.plugins:
        file = _recorded_file(entry)
        if file:
            owners.setdefault(file, {}).setdefault(entry.distribution, entry)
    for file, entries in owners.items():
        if len(entries) > 1:
            first = next(iter(entries.values()))
            message = f"{' and '.join(entries)} have each installed {file}; the last has overwritten the others"
            yield warning(
                "shared-code",
                first,
                message,
                f"uninstall all but one of {', '.join(entries)}, and reinstall it",
            )


def _file(entry: EntryPoint) -> str:
    """Return where a plugin's module is found, or nothing."""
    try:
        return os.path.realpath(file_of(entry.value))
    except ImportError:
        return ""


def _is_within(file: str, place: str) -> bool:
    return file == place or file.startswith(os.path.join(place, ""))


def _source_tree(origin: str) -> str:
    """Return the folder of the project that is installed in editable form, or nothing."""
    try:
        with open(os.path.join(origin, "direct_url.json"), encoding="utf-8") as stream:
            source = json.load(stream)
        is_editable = source.get("dir_info", {}).get("editable", False)
        return os.path.realpath(url2pathname(urlsplit(source["url"]).path)) if is_editable else ""
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return ""


def _recorded_file(entry: EntryPoint) -> str:
    """Return the file of a plugin's module as its installer recorded it, or nothing."""
    module = entry.value.partition(":")[0].replace(".", "/")
    wanted = {f"{module}.py", f"{module}/__init__.py"}
    try:
        with open(
            os.path.join(entry.origin, "RECORD"), encoding="utf-8", errors="replace"
        ) as stream:
            recorded = [
                path for line in stream if (path := line.partition(",")[0].strip('"')) in wanted
            ]
    except OSError:
        return ""
    return (
        os.path.realpath(os.path.join(os.path.dirname(entry.origin), recorded[0]))
        if recorded
        else ""
    )
