"""What the source of a plugin says of its variant or task, read without importing it.

A list of what is installed must not run what is installed, nor wait for it. A record that is
written out in its hook says its interface and names its config, whose docstring begins with the
summary. One that is written in any other way says nothing here, and all to whoever imports it.
"""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterator

from noether_core.plugins.metadata import KINDS, EntryPoint, Kind, searched_path
from noether_core.regular_files import read_regular

# By plain search for the usual ways of writing: to parse the plugins of this distribution
# would take a quarter of the time of the whole list.

_BRANCHES = ("return", "if", "else", "try", "except", "for", "while", "with", "match", "yield")

_LARGEST = 1 << 18
"""Bytes of a source file that are read; a plugin's hook and config stand in small ones."""

_MOST_HOPS = 4
"""Modules through which the name of a config is followed to its class."""


# a namedtuple, as entry points are: attrs and typing would take longer than the reading
class Outline(namedtuple("Outline", "interface summary", defaults=("", ""))):  # noqa: PYI024
    """Interface and summary; empty where a source does not say them outright, or has none."""

    __slots__ = ()

    interface: str
    summary: str


class _Source(namedtuple("_Source", "module is_package text folder")):  # noqa: PYI024
    __slots__ = ()

    module: str
    is_package: bool
    text: str
    folder: str
    """What it was found in, and the modules that it imports most likely are."""


def outline_of(entry: EntryPoint) -> Outline:
    """Return what the source of a plugin says, and nothing where it cannot be read."""
    try:
        source = _read(entry.value.partition(":")[0], os.path.dirname(entry.origin))
        arguments = _arguments_of_record(source.text, KINDS[entry.group])
        interface = _literal(arguments, "interface")
        summary = _literal(arguments, "summary")
        if "summary=" not in arguments:
            summary = _first_line_of(_value(arguments, "config"), source)
    except (OSError, ValueError):  # ValueError: no text, or no name of a file
        return Outline()
    return Outline(interface, summary)


def _read(module: str, folder: str) -> _Source:
    """Return the source of a module, from *folder* if it is there.

    Raises:
        OSError: If there is none that can be read.
        ValueError: If it is no UTF-8.
    """
    for place, file in _files_of(module, folder):
        try:
            content = read_regular(file, _LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            continue
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        return _Source(module, file.endswith("__init__.py"), text, place)
    raise FileNotFoundError(module)


def _files_of(module: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yield folders and where in each a module may be; at last where importers see it."""
    relative = module.replace(".", os.sep)
    for place in (folder, *searched_path()):
        path = os.path.join(place, relative)
        yield place, os.path.join(path, "__init__.py")
        yield place, f"{path}.py"

    from noether_core.plugins.imports import file_of

    try:
        yield folder, file_of(module)
    except ImportError:
        return


def _arguments_of_record(text: str, kind: Kind) -> str:
    """Return the text behind the opening of the record that a hook returns without any condition.

    Each argument has a comma, a space or the start of a line before it.
    """
    hook = text.partition(f"\ndef {kind.hook}(")[2]
    lines = hook.splitlines(keepends=True)[1:]
    inside: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith(" "):
            break
        inside.append(line)
    branches = [line for line in inside if line.strip().startswith(_BRANCHES)]
    if len(branches) != 1:
        return ""
    arguments = ("\n" + "".join(inside)).partition(f"\n    return {kind.record_name}(")[2]
    return "" if "**" in arguments else f" {arguments}"


def _value(arguments: str, name: str) -> str:
    """Return the text from the value of an argument on; nothing where it is not one for sure."""
    pieces = arguments.split(f"{name}=")
    if len(pieces) != 2 or pieces[0][-1] not in " ,\n":  # noqa: PLR2004  before and behind it
        return ""
    return pieces[1]


def _literal(arguments: str, name: str) -> str:
    """Return the text that an argument is; nothing for one that is computed, or has escapes."""
    value = _value(arguments, name)
    quote = value[:1]
    if quote not in {'"', "'"}:
        return ""
    text, _, rest = value[1:].partition(quote)
    is_whole = rest.lstrip()[:1] in {",", ")"}
    return text if is_whole and "\\" not in text else ""


def _first_line_of(value: str, source: _Source, hops: int = 0) -> str:
    """Return the first line of the docstring of the class that *value* begins with the name of."""
    name = _leading_name(value)
    if not name:
        return ""
    _, found, rest = source.text.partition(f"\nclass {name}")
    if found and rest[:1] in {"(", ":"}:
        return _first_line_in(rest)
    for module, original, alias in _imports_in(source):
        if alias == name and hops < _MOST_HOPS:
            return _first_line_of(original, _read(module, source.folder), hops + 1)
    return ""


def _leading_name(value: str) -> str:
    for position, char in enumerate(value):
        if char in ",)\n ":
            return value[:position] if value[:position].isidentifier() else ""
    return value if value.isidentifier() else ""


def _first_line_in(definition: str) -> str:
    """Return the first line of a docstring that stands right below the head of a class."""
    head, _, body = definition.partition('"""')
    if not head.rstrip(" r").endswith(":\n"):
        return ""
    lines = filter(None, map(str.strip, body.partition('"""')[0].splitlines()))
    first = next(lines, "")
    return "" if "\\" in first else first


def _imports_in(source: _Source) -> Iterator[tuple[str, str, str]]:
    """Yield module, name and name here of all that a source imports by name, in its hook too."""
    for statement in source.text.replace("\n    from ", "\nfrom ").split("\nfrom ")[1:]:
        module, _, names = statement.partition(" import ")
        in_brackets = names.startswith("(")
        names = names[1:].partition(")")[0] if in_brackets else names.partition("\n")[0]
        plain = " ".join(line.partition("#")[0] for line in names.splitlines())
        for name in plain.split(","):
            original, _, alias = name.strip().partition(" as ")
            yield _absolute(module.strip(), source), original, alias.strip() or original


def _absolute(module: str, source: _Source) -> str:
    """Return the full name of a module that *source* imports from."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    if not level:
        return name
    packages = source.module.split(".")
    if not source.is_package:
        packages.pop()
    packages = packages[: len(packages) + 1 - level]
    return ".".join([*packages, name] if name else packages)
