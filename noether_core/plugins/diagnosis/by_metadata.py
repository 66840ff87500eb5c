"""What metadata alone say is wrong: unread plugins, copies, names that clash, code elsewhere."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import url2pathname

from noether_core.plugins.catalogue import AMBIGUOUS, candidates, setting_names
from noether_core.plugins.diagnosis.environment import (
    Check,
    Environment,
    Finding,
    Installed,
    name_from,
    without,
)
from noether_core.plugins.imports import file_of
from noether_core.plugins.metadata import CORE, GROUPS, VARIANTS, EntryPoint
from noether_core.plugins.registry import IN_PROCESS
from noether_core.regular_files import read_regular
from noether_core.spelling import did_you_mean, nearest


def unread_plugins(environment: Environment) -> Iterator[Finding]:
    """Yield what keeps plugins from being found."""
    for fault in environment.known.faults:
        name, version = name_from(fault.origin) if os.path.exists(fault.origin) else ("", "")
        check: Check = "metadata"
        message = f"{fault.reason}; none of its plugins is found"
        remedy = _reinstall(name)
        if fault.origin == CORE:  # what is missing has no folder
            name = CORE
            message = f"{CORE}: {fault.reason}"
            remedy = f"pip install {CORE}"
        if fault.line:
            check = "entry-point"
            message = fault.reason
            remedy = "its authors must write it so; the other plugins are found nevertheless"
        yield Finding(
            severity="error",
            check=check,
            message=message,
            remedy=remedy,
            distribution=name,
            version=version,
            origin=fault.origin,
        )


def unsound_metadata(environment: Environment) -> Iterator[Finding]:
    """Yield the distributions at whose metadata pip and other tools may stop.

    Those with plugins, as far as can be seen, are among `unread_plugins`.
    """
    reported = {fault.origin for fault in environment.known.faults}
    for one in environment.installed:
        if one.complaints and one.origin not in reported:
            yield _of_distribution("metadata", one, "; ".join(one.complaints), _reinstall(one.name))


def leftovers(environment: Environment) -> Iterator[Finding]:
    """Yield what interrupted uninstallations left."""
    for origin in environment.leftovers:
        name, version = name_from(origin)
        yield Finding(
            severity="warning",
            check="leftover",
            message=f"an interrupted uninstallation left {os.path.basename(origin)}",
            remedy="delete the folder, and those beside it that start with ~",
            distribution=name,
            version=version,
            origin=origin,
        )


def duplicates(environment: Environment) -> Iterator[Finding]:
    """Yield the distributions that are installed more than once.

    Of those without plugins, copies in one folder are reported, which no installer makes on
    purpose; a virtual environment that goes before another is none of our business.
    """
    copies: dict[str, list[Installed]] = {}
    for one in environment.installed:
        copies.setdefault(one.name, []).append(one)
    ours = environment.distributions_with_plugins | {CORE}
    for name, found in copies.items():
        if name in ours:
            yield from _hidden_copies(found, environment)
        else:
            yield from _copies_in_one_folder(found)


def _hidden_copies(found: Sequence[Installed], environment: Environment) -> Iterator[Finding]:
    """Yield the copies of a distribution with plugins that another hides, as the index does."""
    first, *hidden = sorted(found, key=_is_egg)
    for one in hidden:
        if one.version == first.version and _is_egg(one):
            continue  # what a build leaves in the source tree of an editable install

        entry_points = environment.known.index.entry_points
        only_here = sorted(entry.name for entry in entry_points if entry.origin == one.origin)
        hidden_copy = f"{one.version or 'a copy'} in {one.folder}"
        message = f"{first.version} in {first.folder} hides {hidden_copy}"
        if only_here:
            message += f", which still provides {' and '.join(map(repr, only_here))}"
        yield _of_distribution("duplicate", one, message, "uninstall the one that is not meant")


def _is_egg(one: Installed) -> bool:
    return one.origin.endswith(".egg-info")


def _copies_in_one_folder(found: Iterable[Installed]) -> Iterator[Finding]:
    by_folder: dict[str, list[Installed]] = {}
    for one in found:
        by_folder.setdefault(one.folder, []).append(one)
    for folder, here in by_folder.items():
        if len(here) > 1:
            versions = " and ".join(one.version or "one without a version" for one in here)
            message = f"{versions} are installed in one folder, {folder}"
            last = here[-1]
            yield _of_distribution("duplicate", last, message, _reinstall(last.name))


def misspelt_groups(environment: Environment) -> Iterator[Finding]:
    """Yield groups of entry points that nobody looks for, and that look like Noether's."""
    for one in environment.installed:
        for group in one.groups:
            if group in GROUPS or "noether" not in group.casefold():
                continue
            meant = nearest(group, GROUPS)
            if meant is not None:
                message = (
                    f"[{group}] is no group of Noether, and what it announces is never found; "
                    f"[{meant}] is one"
                )
                yield _of_distribution("group", one, message, "its authors must write it so")


def _of_distribution(check: Check, one: Installed, message: str, remedy: str) -> Finding:
    return Finding(
        severity="warning",
        check=check,
        message=message,
        remedy=remedy,
        distribution=one.name,
        version=one.version,
        origin=one.origin,
    )


def _reinstall(name: str) -> str:
    if not name:
        return "repair or remove it"
    return f"reinstall it (pip install --force-reinstall --no-deps {name}) or delete its metadata"


def ambiguous_types(environment: Environment) -> Iterator[Finding]:
    """Yield the types that several packages provide and none is preferred for."""
    for known in environment.known.kinds():
        ambiguous = [one.entry for one in candidates(known) if one.state == AMBIGUOUS]
        what = "type" if known.kind is VARIANTS else known.kind.noun
        for entries in _by_name(ambiguous):
            spellings = " or ".join(repr(entry.qualified_name) for entry in entries)
            setting = f"NOETHER_PREFER={entries[0].qualified_name}"
            yield _clash(what, entries, f"write {spellings} in configs, or set {setting}, say")


def clashing_commands(environment: Environment) -> Iterator[Finding]:
    """Yield the commands whose bare name is taken, by the core or by another package."""
    for entries in _by_name(environment.known.commands()):
        if entries[0].name in environment.core_commands:
            for entry in entries:
                message = (
                    f"the command '{entry.name}' is Noether's own, "
                    f"which goes before that of {entry.distribution}"
                )
                remedy = f"write noether {entry.qualified_name}"
                yield Finding.of_plugin("warning", "clash", entry, message, remedy)
        elif len(entries) > 1:
            spellings = " or ".join(f"noether {entry.qualified_name}" for entry in entries)
            yield _clash("command", entries, f"write {spellings}")


def _by_name(entries: Iterable[EntryPoint]) -> list[list[EntryPoint]]:
    named: dict[str, list[EntryPoint]] = {}
    for entry in entries:
        named.setdefault(entry.name, []).append(entry)
    return list(named.values())


def _clash(kind: str, entries: Sequence[EntryPoint], remedy: str) -> Finding:
    first = entries[0]
    providers = " and ".join(entry.provider for entry in entries)
    return Finding(
        severity="warning",
        check="clash",
        message=f"the {kind} '{first.name}' is provided by {providers}; its bare name is refused",
        remedy=remedy,
        plugin=first.qualified_name,
        origin=first.origin,
    )


def look_alikes(environment: Environment) -> Iterator[Finding]:
    """Yield names of plugins that read like others of their group, or are not ASCII."""
    alike: dict[tuple[str, str], set[str]] = {}
    for entry in environment.plugins:
        alike.setdefault(_folded(entry), set()).add(entry.name)

    for entry in environment.plugins:
        if not entry.name.isascii():
            escaped = entry.name.encode("unicode_escape").decode()
            message = (
                f"'{entry.name}' is not ASCII: it is '{escaped}', which may pass for another name"
            )
            remedy = "make sure that it is what you meant to install"
            yield Finding.of_plugin("warning", "look-alike", entry, message, remedy)

        others = sorted(alike[_folded(entry)] - {entry.name})
        if others:
            similar = " and ".join(map(repr, others))
            message = f"'{entry.name}' reads like {similar}, which is another name"
            remedy = "make sure that configs name the one that is meant"
            yield Finding.of_plugin("warning", "look-alike", entry, message, remedy)


def _folded(entry: EntryPoint) -> tuple[str, str]:
    """Return the group of a plugin, and its name without what readers overlook."""
    name = unicodedata.normalize("NFKC", entry.name).casefold()
    return entry.group, name.replace("-", "_").replace(".", "_")


def unmatched_settings(environment: Environment) -> Iterator[Finding]:
    """Yield the names in ``NOETHER_BLOCK`` and ``NOETHER_PREFER`` that match no plugin."""
    index = environment.known.index
    names: set[str] = set()
    for entry in (*index.entry_points, *index.shadowed):
        names.update(setting_names(entry))

    for setting in (environment.known.blocking, environment.known.preferring):
        for name, variable in setting.items():
            if name not in names and name.partition(":")[0] != IN_PROCESS:
                message = f"'{name}' names no plugin that is installed"
                yield _of_setting(variable, message, _meant_instead(name, names))


def blocked_preferences(environment: Environment) -> Iterator[Finding]:
    """Yield the names that are preferred, and blocked as well."""
    blocking = environment.known.blocking
    for name, variable in environment.known.preferring.items():
        distribution = name.partition(":")[0]
        for blocked in (name, distribution):
            if blocked in blocking:
                message = f"'{name}' is blocked by {blocking[blocked]}={blocked}"
                yield _of_setting(variable, message, "take one of them back")
                break


def _meant_instead(name: str, names: set[str]) -> str:
    """Return what may have been meant: a bare type for its distribution, or a name much alike."""
    qualified = sorted(other for other in names if other.partition(":")[2] == name)
    if qualified:
        return f"write {' or '.join(qualified)}"
    return did_you_mean(name, sorted(names)) or "take it out, or install what it names"


def _of_setting(variable: str, message: str, remedy: str) -> Finding:
    return Finding(
        severity="warning", check="setting", message=message, remedy=remedy, origin=variable
    )


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
        except ImportError as error:
            message = f"{entry.value} cannot be imported: {error}"
            yield Finding.of_plugin("error", "missing-code", entry, message, without(entry))


def code_of_others(environment: Environment) -> Iterator[Finding]:
    """Yield the plugins whose module is found elsewhere than it was installed."""
    for entry in environment.plugins:
        wanted = _source_tree(entry.origin) or _recorded_file(entry)
        found = _file(entry)
        if wanted and found and not _is_within(found, wanted):
            message = (
                f"{entry.value} is found in {found}, not in {wanted}; "
                f"that is another copy than {entry.version}"
            )
            remedy = "uninstall the copy that is not meant, or take its folder off Python's path"
            yield Finding.of_plugin("warning", "other-code", entry, message, remedy)


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
            message = (
                f"{' and '.join(entries)} have each installed {file}; "
                "the last has overwritten the others"
            )
            remedy = f"uninstall all but one of {', '.join(entries)}, and reinstall it"
            yield Finding.of_plugin("warning", "shared-code", first, message, remedy)


def _file(entry: EntryPoint) -> str:
    """Return where a plugin's module is found, or nothing."""
    try:
        return os.path.realpath(file_of(entry.value))
    except ImportError:
        return ""


def _is_within(file: str, path: str) -> bool:
    return file == path or file.startswith(os.path.join(path, ""))


def _source_tree(origin: str) -> str:
    """Return the folder of the project that is installed in editable form, or nothing."""
    try:
        source = json.loads(read_regular(os.path.join(origin, "direct_url.json")))
        if not source.get("dir_info", {}).get("editable", False):
            return ""
        return os.path.realpath(url2pathname(urlsplit(source["url"]).path))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return ""


def _recorded_file(entry: EntryPoint) -> str:
    """Return the file of a plugin's module as its installer recorded it, or nothing."""
    module = entry.value.partition(":")[0].replace(".", "/")
    wanted = {f"{module}.py", f"{module}/__init__.py"}
    record = os.path.join(entry.origin, "RECORD")
    try:
        lines = read_regular(record).decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        path = line.partition(",")[0].strip('"')
        if path in wanted:
            return os.path.realpath(os.path.join(os.path.dirname(entry.origin), path))
    return ""
