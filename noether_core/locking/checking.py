"""Configs under a lock: whatever it does not name is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

import attrs

from noether_core.errors import ConfigError, Difference, Problem
from noether_core.locking import LOCK_FILE
from noether_core.locking.lock import attention_configs, provenance_here, read_lock
from noether_core.plugins.metadata import CORE, core_version
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.provenance import Provenance, differences_between, missing
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import Schema
from noether_core.structuring.documents import Format, read
from noether_core.structuring.load import structure_document
from noether_core.structuring.structure import Unknown

_S = TypeVar("_S", bound=Schema)
_Path = str | os.PathLike[str]


class Locked:
    """A lock file, and the registry in which a type means what it is locked to.

    Args:
        path: The file.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If it cannot be read, is no lock, or is one of another version of
            noether-attention; every problem carries its line and column.
    """

    def __init__(self, path: _Path = LOCK_FILE, *, registry: Registry | None = None) -> None:
        self.file = os.fspath(path)
        lock, document = read_lock(path)
        if lock.noether != core_version():
            raise ConfigError([document.locate(self._other_core(lock.noether))])
        self._types = lock.types
        known = default_registry() if registry is None else registry
        self.registry = known.with_preference(
            [f"{locked.distribution}:{locked.type}" for locked in lock.types]
        )

    def problems_of(self, config: Schema) -> Iterator[Problem]:
        """Yield in what the providers of the types that *config* needs are others than they are
        locked to.

        Raises:
            PluginError: If a package that provides a type cannot be used.
        """
        for keys, attention in attention_configs(config):
            here = provenance_here(attention, self.registry)
            locked = self._locked(here)
            if locked is None:
                message = f"'{attention.type}' of {here.provider} is not in {self.file}"
                yield Problem(
                    keys=(*keys, "type"),
                    message=message,
                    suggestion="write it anew with 'noether lock'",
                )
            else:
                yield from (
                    self._problem(difference, keys)
                    for difference in differences_between(locked, here)
                )

    def explained(self, problem: Problem) -> Problem:
        """Return the problem that a type is not installed with what it is locked to; any other as
        it is.
        """
        if problem.keys[-1:] != ("type",) or not isinstance(problem.value, str):
            return problem
        locked = [
            locked
            for locked in self._types
            if problem.value in {locked.type, f"{locked.distribution}:{locked.type}"}
        ]
        if len(locked) != 1 or self.registry.providers(problem.value):
            return problem
        told = self._problem(missing(locked[0]), problem.keys[:-1])
        return attrs.evolve(problem, message=told.message, suggestion=told.suggestion)

    def _locked(self, here: Provenance) -> Provenance | None:
        """Return what the type is locked to: to this distribution, or else to the one other that is
        named for it.
        """
        of_type = [locked for locked in self._types if locked.type == here.type]
        same = [locked for locked in of_type if locked.distribution == here.distribution]
        return next(iter(same or (of_type if len(of_type) == 1 else ())), None)

    def _problem(self, difference: Difference, keys: tuple[str | int, ...]) -> Problem:
        way_out = f"{difference.remedy}, or write {self.file} anew with 'noether lock'"
        return Problem(
            keys=(*keys, "type"), message=difference.message("locked to"), suggestion=way_out
        )

    def _other_core(self, version: str) -> Problem:
        return Problem(
            keys=("noether",),
            message=f"{CORE} is locked to {version}, here {core_version()}",
            value=version,
            suggestion=f"pip install '{CORE}=={version}', or write {self.file} anew with 'noether lock'",
        )


@overload
def load_locked(
    path: _Path,
    *,
    lock: _Path = LOCK_FILE,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> AttentionConfig: ...
@overload
def load_locked(
    path: _Path,
    cls: type[_S],
    *,
    lock: _Path = LOCK_FILE,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> _S: ...
def load_locked(
    path: _Path,
    cls: type[Schema] = AttentionConfig,
    *,
    lock: _Path = LOCK_FILE,
    format: Format | None = None,
    unknown: Unknown = "error",
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> Schema:
    """Return the config that a file describes, as `load` does, if every type that it needs is what
    a lock file says.

    A bare type that several packages provide means the one that it is locked to.

    Args:
        path: The file.
        cls: What to make; by default the concrete config of the variant that ``type`` names.
        lock: The lock file, which ``noether lock`` writes.
        format: How the file is written; by its suffix where it is None.
        unknown: What becomes of options that the config does not know, as in `structure`.
        overrides: Values that go before those of the file, each as ``path=value``.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        ConfigError: If anything is wrong with the lock file or the config, or a provider is another
            than it is locked to; every problem carries its file, line and column.
        PluginError: If the package that provides the type cannot be used.
    """
    from noether_core.structuring.paths import override

    locked = Locked(lock, registry=registry)
    document = override(read(path, format), overrides)
    try:
        config = structure_document(document, cls, unknown=unknown, registry=locked.registry)
    except ConfigError as error:
        raise error.with_problems(map(locked.explained, error.problems)) from None
    if problems := list(locked.problems_of(config)):
        raise ConfigError(map(document.locate, problems))
    return config
