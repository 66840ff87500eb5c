"""Lock files: which package provides each type that configs need, and is it the one installed?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import attrs

from noether_core.atomic_writes import write_whole
from noether_core.errors import ConfigError, Difference, Problem
from noether_core.plugins.metadata import CORE, KINDS, TASKS, VARIANTS, Kind, core_version
from noether_core.plugins.registry import RecordRegistry, Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.provenance import Provenance, differences_between, missing, provenance_in
from noether_core.schemas.bounds import Because
from noether_core.schemas.open_config import OpenConfig, open_configs_in
from noether_core.schemas.schema import Schema, invariant
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.documents import Document, read
from noether_core.structuring.structure import Unknown, structure_document

if TYPE_CHECKING:
    from noether_core.structuring.paths import AnyDocument

_HEADLINE: Final = (
    "# Written by 'noether lock', for 'noether validate --locked' and 'noether run --locked'.\n"
)

_Format = Annotated[Literal[1], Because("another version of noether-attention wrote this file")]
_S = TypeVar("_S", bound=Schema)


@attrs.frozen(kw_only=True)
class Lock(Schema):
    """What configs need; a file of TOML."""

    format: _Format
    """Version of this format."""

    noether: str
    """Version of noether-attention."""

    types: tuple[Provenance, ...]
    """Which plugin provides each attention variant, sorted by type and distribution."""

    tasks: tuple[Provenance, ...] = ()
    """Which plugin provides each task, likewise."""

    @invariant
    @staticmethod
    def plugins_are_named_once(
        types: tuple[Provenance, ...], tasks: tuple[Provenance, ...]
    ) -> Problem | None:
        """Return a problem if a type is locked twice to one distribution."""
        for option, table in (("types", types), ("tasks", tasks)):
            seen: set[str] = set()
            for position, locked in enumerate(table):
                name = _qualified_name(locked)
                if name in seen:
                    return Problem(keys=(option, position), message=f"{name} is locked twice")
                seen.add(name)
        return None

    def table_of(self, kind: Kind) -> tuple[Provenance, ...]:
        """Return the plugins of one kind."""
        return self.tasks if kind is TASKS else self.types


def lock_of(configs: Iterable[Schema], registry: Registry) -> Lock:
    """Return what *configs* need, as it is installed.

    Raises:
        PluginError: If a package that provides a type cannot be used.
    """
    found: dict[Kind, set[Provenance]] = {kind: set() for kind in KINDS.values()}
    for schema in configs:
        for _, config in open_configs_in(schema):
            known = registry.of(type(config))
            found[known.kind].add(_provenance_here(config, known))
    return Lock(
        format=1,
        noether=core_version(),
        types=_sorted(found[VARIANTS]),
        tasks=_sorted(found[TASKS]),
    )


def _sorted(found: Iterable[Provenance]) -> tuple[Provenance, ...]:
    return tuple(sorted(found, key=lambda locked: (locked.type, locked.distribution)))


def write_lock(lock: Lock, path: str | os.PathLike[str]) -> None:
    """Write a lock file, whole or not at all; equal locks are equal files.

    Raises:
        OSError: If it cannot be written.
    """
    from noether_core.structuring.documents.writing import write

    tables = unstructure(lock)
    if not lock.tasks:
        del tables["tasks"]
    write_whole(path, _HEADLINE + write(tables, "toml"))


def read_lock(path: str | os.PathLike[str]) -> tuple[Lock, Document]:
    """Return the lock in a file, and the file, in which problems can be placed.

    Raises:
        ConfigError: If it cannot be read or is none; every problem carries its line and column.
    """
    try:
        document = read(path, "toml")
    except ConfigError as error:
        if os.path.exists(path):  # it is there and wrong: to write another is no way out
            raise
        way_out = "write one with 'noether lock'"
        raise error.with_problems(
            attrs.evolve(problem, suggestion=way_out) for problem in error.problems
        ) from None
    return structure_document(document, Lock), document


class Locked:
    """A lock file, and the registry in which a type means what it is locked to.

    Args:
        path: The file.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If it cannot be read, is no lock, or is one of another version of
            noether-attention; every problem carries its line and column.
    """

    def __init__(self, path: str | os.PathLike[str], *, registry: Registry | None = None) -> None:
        self.file = os.fspath(path)
        lock, document = read_lock(path)
        # another core may check other things under the same names, whatever provides them
        if lock.noether != core_version():
            raise ConfigError([document.locate(self._other_core(lock.noether))])
        self._lock = lock
        known = default_registry() if registry is None else registry
        # a package that is installed later must not make a locked type ambiguous
        self.registry = known.with_preference(map(_qualified_name, (*lock.types, *lock.tasks)))

    def structure(
        self,
        document: AnyDocument,
        cls: type[_S],
        *,
        unknown: Unknown = "error",
        origin: str | None = None,
    ) -> _S:
        """Return the config that a document describes, if all that it needs is what is locked.

        Raises:
            ConfigError: If anything is wrong with the config, or a provider is another than it is
                locked to; every problem carries file, line and column.
            PluginError: If a package that provides a type cannot be used.
        """
        try:
            config = structure_document(
                document, cls, unknown=unknown, origin=origin, registry=self.registry
            )
        except ConfigError as error:
            raise error.with_problems(map(self.explained, error.problems)) from None

        problems = [document.locate(problem) for problem in self.problems_of(config)]
        if problems:
            raise ConfigError(problems)
        return config

    def problems_of(self, config: Schema) -> Iterator[Problem]:
        """Yield in what the providers that *config* needs are others than it is locked to.

        Raises:
            PluginError: If a package that provides a type cannot be used.
        """
        for keys, part in open_configs_in(config):
            known = self.registry.of(type(part))
            here = _provenance_here(part, known)
            locked = _nearest(here, self._lock.table_of(known.kind))
            if locked is None:
                yield Problem(
                    keys=(*keys, "type"),
                    message=f"'{part.type}' of {here.provider} is not in {self.file}",
                    suggestion="write it anew with 'noether lock'",
                )
                continue
            for difference in differences_between(locked, here):
                yield self._problem(difference, keys)

    def explained(self, problem: Problem) -> Problem:
        """Return the problem that a type is not installed with what it is locked to.

        Any other problem is returned as it is.
        """
        if problem.keys[-1:] != ("type",) or not isinstance(problem.value, str):
            return problem
        locked = [
            locked
            for kind in KINDS.values()
            for locked in self._lock.table_of(kind)
            if problem.value in {locked.type, _qualified_name(locked)}
            and not self.registry.of_kind(kind).providers(problem.value)
        ]
        # of a type that is locked to several packages, nobody knows which one is missing
        if len(locked) != 1:
            return problem
        lost = self._problem(missing(locked[0]), problem.keys[:-1])
        return attrs.evolve(problem, message=lost.message, suggestion=lost.suggestion)

    def _problem(self, difference: Difference, keys: tuple[str | int, ...]) -> Problem:
        return Problem(
            keys=(*keys, "type"),
            message=difference.message("locked to"),
            suggestion=f"{difference.remedy}, or write {self.file} anew with 'noether lock'",
        )

    def _other_core(self, version: str) -> Problem:
        way_out = f"pip install '{CORE}=={version}', or write {self.file} anew with 'noether lock'"
        return Problem(
            keys=("noether",),
            message=f"{CORE} is locked to {version}, here {core_version()}",
            value=version,
            suggestion=way_out,
        )


def _nearest(here: Provenance, table: Iterable[Provenance]) -> Provenance | None:
    """Return what a type is locked to: the same distribution, or else the only one named."""
    of_type = [locked for locked in table if locked.type == here.type]
    for locked in of_type:
        if locked.distribution == here.distribution:
            return locked
    return of_type[0] if len(of_type) == 1 else None


def _provenance_here(config: OpenConfig, registry: RecordRegistry[Any]) -> Provenance:
    """Return the provenance that what is made of *config* would have."""
    return provenance_in(registry.record_of(config), registry.provider_of(config))


def _qualified_name(provenance: Provenance) -> str:
    return f"{provenance.distribution}:{provenance.type}"
