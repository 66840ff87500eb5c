"""Which plugins installed packages announce, and in which versions; from metadata alone."""

from __future__ import annotations

import os
import sys
from collections import namedtuple
from collections.abc import Iterable, Iterator

from noether_core.regular_files import read_regular

# What type checkers take for typing's, whose import would cost more than the whole index.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ATTENTION = "noether.attention"
TASK = "noether.task"
COMMAND = "noether.command"
EXTENSION = "noether.extension"


class Kind:
    """What the plugins of one group offer, each under the ``type`` that configs name.

    Classes are named as text and imported when they are needed: a list needs none of them.

    Args:
        group: The group of entry points.
        noun: What messages call one of them: ``attention variant``.
        article: What stands before the noun: ``an``.
        hook: The hook that returns the record.
        record: Import path of the class of records.
        config: Import path of the open config of the family.
    """

    __slots__ = ("article", "config", "group", "hook", "noun", "record")

    def __init__(
        self, *, group: str, noun: str, article: str, hook: str, record: str, config: str
    ) -> None:
        self.group = group
        self.noun = noun
        self.article = article
        self.hook = hook
        self.record = record
        self.config = config

    def __repr__(self) -> str:
        return f"<Kind {self.noun}>"

    @property
    def one(self) -> str:
        """The noun with its article: ``an attention variant``."""
        return f"{self.article} {self.noun}"

    @property
    def record_name(self) -> str:
        """The name of the class of records."""
        return self.record.partition(":")[2]

    @property
    def record_class(self) -> Any:
        """The class of records."""
        return _imported(self.record)

    @property
    def config_class(self) -> Any:
        """The open config of the family."""
        return _imported(self.config)


def _imported(path: str) -> Any:
    from importlib import import_module

    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


VARIANTS = Kind(
    group=ATTENTION,
    noun="attention variant",
    article="an",
    hook="noether_attention_variant",
    record="noether_core.hookspecs:AttentionVariant",
    config="noether_core.schemas.modules.attention:AttentionConfig",
)
TASKS = Kind(
    group=TASK,
    noun="task",
    article="a",
    hook="noether_task",
    record="noether_core.task_record:TaskRecord",
    config="noether_core.schemas.task:TaskConfig",
)
KINDS = {VARIANTS.group: VARIANTS, TASKS.group: TASKS}
"""The kinds of plugins that types name, by their groups."""

GROUPS = (*KINDS, COMMAND, EXTENSION)
"""The groups of entry points that are Noether's."""


class EntryPoint(namedtuple("EntryPoint", "group name value distribution version origin")):  # noqa: PYI024
    """One plugin that a distribution announces."""

    __slots__ = ()

    group: str
    """One of `GROUPS`: ``noether.attention``."""

    name: str
    """The type, the command, or what the extension is called."""

    value: str
    """Import path of the plugin: ``acme_window``."""

    distribution: str
    """Name of the distribution, in its canonical spelling."""

    version: str
    """Version of the distribution."""

    origin: str
    """Folder of the metadata."""

    @property
    def qualified_name(self) -> str:
        """The name that no other plugin shares: ``acme-window:acme_window``."""
        return f"{self.distribution}:{self.name}"

    @property
    def provider(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()


class Fault(namedtuple("Fault", "origin reason line", defaults=("",))):  # noqa: PYI024
    """Something in the metadata of a distribution that keeps plugins from being found."""

    __slots__ = ()

    origin: str
    """Folder of the metadata; the name of the distribution where they are missing altogether."""

    reason: str
    """What is wrong with it."""

    line: str
    """The line that should announce a plugin; empty where all of the metadata could not be read."""


class Index(namedtuple("Index", "entry_points shadowed faults")):  # noqa: PYI024
    """Everything that the installed distributions announce."""

    __slots__ = ()

    entry_points: tuple[EntryPoint, ...]
    """Plugins, in the order in which their distributions are found."""

    shadowed: tuple[EntryPoint, ...]
    """Plugins of copies that are found later: stale ones, or those beside an editable install."""

    faults: tuple[Fault, ...]
    """What could not be read."""

    def of(self, group: str) -> tuple[EntryPoint, ...]:
        """Return the plugins of one group."""
        return tuple(entry for entry in self.entry_points if entry.group == group)


class _Distribution(namedtuple("_Distribution", "name version origin text")):  # noqa: PYI024
    __slots__ = ()

    name: str
    version: str
    origin: str
    text: str


def canonical(distribution: str) -> str:
    """Return the one spelling of a distribution's name: ``Acme_Window`` is ``acme-window``."""
    words = distribution.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(word for word in words if word)


def scan(path: Iterable[str] | None = None) -> Index:
    """Return what the distributions on *path* announce.

    Each distribution is read by itself: one that is corrupt becomes a fault and hides no other.

    Args:
        path: Folders to look in; ``sys.path``, and whatever importers of other kinds know, where it
            is None.
    """
    faults: list[Fault] = []
    searched = searched_path() if path is None else path
    found = list(_distributions(searched, faults))
    if path is None:
        found += _foreign_distributions(searched, faults)
        if all(distribution.name != CORE for distribution in found):
            faults.append(Fault(CORE, _NO_METADATA_OF_CORE))
    found.sort(key=_is_egg)  # an installed copy before a stale one
    entry_points: dict[tuple[str, str, str], EntryPoint] = {}
    shadowed: list[EntryPoint] = []
    for distribution in found:
        for entry in _entry_points(distribution, faults):
            key = (entry.group, entry.distribution, entry.name)
            if entry_points.setdefault(key, entry) is not entry:
                shadowed.append(entry)
    return Index(tuple(entry_points.values()), tuple(shadowed), tuple(faults))


def searched_path() -> list[str]:
    """Return the entries of ``sys.path`` that may be folders: anything may have been put there."""
    return [entry for entry in sys.path if isinstance(entry, str)]


def _is_egg(distribution: _Distribution) -> bool:
    return distribution.origin.endswith(".egg-info")


def metadata_folders(path: Iterable[str]) -> Iterator[str]:
    """Yield the metadata of every distribution in the folders on *path*, each folder once."""
    for folder in dict.fromkeys(os.path.realpath(entry) for entry in path):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield os.path.join(folder, name)


def name_of(origin: str) -> str:
    """Return the name of a distribution as far as the folder of its metadata says it."""
    stem = os.path.basename(origin).rpartition(".")[0]
    return canonical(stem.lstrip("~").partition("-")[0])


def is_leftover(origin: str) -> bool:
    """Return whether metadata is what an interrupted uninstallation left.

    pip renames what it removes to ``~cme``.
    """
    return os.path.basename(origin).startswith("~")


def _distributions(path: Iterable[str], faults: list[Fault]) -> Iterator[_Distribution]:
    for origin in metadata_folders(path):
        if not is_leftover(origin):
            distribution = _guarded(origin, faults)
            if distribution is not None:
                yield distribution


def _guarded(origin: str, faults: list[Fault]) -> _Distribution | None:
    """Return the distribution of the metadata in *origin*, if it announces anything of ours."""
    try:
        content = read_regular(os.path.join(origin, "entry_points.txt"))
        # without zeros, so that UTF-16 is seen too, which is reported below
        if b"noether." not in content.replace(b"\0", b""):
            return None
        return _Distribution(*_identity(origin), origin, content.decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        reason = f"entry_points.txt is not UTF-8: {error.reason} at byte {error.start}"
        faults.append(Fault(origin, reason))
    except OSError as error:
        faults.append(Fault(origin, error.strerror or str(error)))
    except ValueError as error:
        faults.append(Fault(origin, str(error)))
    return None


def _identity(origin: str) -> tuple[str, str]:
    """Return the name and the version of a distribution: of its folder, else of its metadata.

    Raises:
        ValueError: If neither has them.
    """
    stem, _, kind = os.path.basename(origin).rpartition(".")
    name, _, version = stem.partition("-")
    metadata = os.path.join(origin, "METADATA" if kind == "dist-info" else "PKG-INFO")
    if not os.path.isfile(metadata):
        raise ValueError(f"{os.path.basename(metadata)} is missing")
    # the folder saves reading a file, but an egg's also has the version of Python
    is_plain = kind == "dist-info" and stem.count("-") == 1
    if not is_plain or not name or not version:
        name, version = _headers(metadata)
    if not name or not version:
        raise ValueError(f"{os.path.basename(metadata)} names no distribution and version")
    return canonical(name), version


def _headers(metadata: str) -> tuple[str, str]:
    fields = dict(
        line.split(": ", 1)
        for line in _header_lines(metadata)
        if ": " in line and not line.startswith(" ")
    )
    return fields.get("Name", "").strip(), fields.get("Version", "").strip()


def _header_lines(metadata: str) -> list[str]:
    """Return the lines of a file of metadata before its description."""
    text = read_regular(metadata).decode(errors="replace").replace("\r\n", "\n")
    return text.partition("\n\n")[0].splitlines()


def _foreign_distributions(path: Iterable[str], faults: list[Fault]) -> Iterator[_Distribution]:
    """Yield distributions in archives on *path*, and those of importers other than Python's."""
    # an archive is one by what it holds, whatever it is called; others announce nothing
    archives = [entry for entry in path if os.path.isfile(entry)]
    finders = [
        finder
        for finder in sys.meta_path
        if hasattr(finder, "find_distributions")
        and getattr(finder, "__module__", "") != "_frozen_importlib_external"
    ]
    if not archives and not finders:
        return
    from importlib import metadata

    in_archives = metadata.DistributionFinder.Context(path=archives)
    found = list(metadata.MetadataPathFinder.find_distributions(in_archives))
    for finder in finders:
        try:
            found += finder.find_distributions(metadata.DistributionFinder.Context())
        except Exception as error:  # noqa: BLE001  an importer may fail in any way, and must hide nothing
            faults.append(Fault(repr(finder), f"{type(error).__name__}: {error}"))
    for distribution in found:
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if "noether." in text:
                name = canonical(distribution.metadata["Name"])
                origin = str(distribution.locate_file(""))
                yield _Distribution(name, distribution.version, origin, text)
        except Exception as error:  # noqa: BLE001  likewise
            faults.append(Fault(repr(distribution), f"{type(error).__name__}: {error}"))


def _entry_points(distribution: _Distribution, faults: list[Fault]) -> Iterator[EntryPoint]:
    group = ""
    for line in map(str.strip, distribution.text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group in GROUPS and line and not line.startswith(("#", ";")):
            name, _, reference = (part.strip() for part in line.partition("="))
            value = _import_path_in(reference)
            if name and ":" not in name and value is not None:
                yield EntryPoint(
                    group, name, value, distribution.name, distribution.version, distribution.origin
                )
            else:
                reason = f"{line!r} under [{group}] is no entry point: 'name = package.module'"
                faults.append(Fault(distribution.origin, reason, line))


def _import_path_in(reference: str) -> str | None:
    """Return the ``package.module`` or ``package.module:attribute`` that an entry point refers to.

    Extras behind it, which installers take no notice of any more, are left out. None is returned
    for what refers to no object.
    """
    path, bracket, extras = reference.partition("[")
    if bracket and not extras.endswith("]"):
        return None
    module, colon, attribute = path.partition(":")
    names = [module.strip(), attribute.strip()] if colon else [module.strip()]
    for name in ".".join(names).split("."):
        if not name.isidentifier() or not name.isascii():
            return None
    return ":".join(names)


CORE = "noether-attention"
"""Noether's own distribution."""

_NO_METADATA_OF_CORE = (
    "its metadata are not on Python's path, so that none of its own variants is found; "
    "install it with pip, or have whatever packs your program take them along "
    f"(PyInstaller: --copy-metadata {CORE})"
)


def core_version() -> str:
    """Return the version of Noether that runs; its metadata may be missing, or older."""
    from noether_core import __version__

    return __version__


def required_core(entry: EntryPoint) -> str:
    """Return which versions of Noether the distribution of a plugin requires: ``>=2.0``, say.

    Nothing where it requires none.
    """
    try:
        headers = _header_lines(os.path.join(entry.origin, "METADATA"))
    except OSError:  # registered in this process, or installed in an archive
        return ""
    for line in headers:
        if line.startswith("Requires-Dist:"):
            name, versions = _name_and_versions(line.removeprefix("Requires-Dist:"))
            if name == CORE:
                return versions
    return ""


def _name_and_versions(requirement: str) -> tuple[str, str]:
    """Return the distribution and the versions that a requirement names, without its marker."""
    wanted = requirement.partition(";")[0].strip()
    name = wanted
    for position, char in enumerate(wanted):
        if not char.isalnum() and char not in "-_.":
            name = wanted[:position]
            break

    versions = wanted.removeprefix(name).lstrip()
    if versions.startswith("["):  # extras
        versions = versions.partition("]")[2]
    return canonical(name), versions.strip(" ()")
