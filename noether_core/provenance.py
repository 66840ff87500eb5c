"""Which installed package made a module, and what of it is otherwise elsewhere."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from annotated_types import Ge, Predicate

from noether_core.errors import Difference, DifferenceName
from noether_core.hookspecs import PluginRecord
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.registry import IN_PROCESS
from noether_core.plugins.running import Release, release_of
from noether_core.schemas.accepted import accepted_by, schema_hash
from noether_core.schemas.modules.attention import Name
from noether_core.schemas.schema import Schema

if TYPE_CHECKING:
    from torch import nn

_ATTRIBUTE = "_noether_provenance"
_EXTENDED = "_noether_extended"

_made: weakref.WeakKeyDictionary[PluginRecord, dict[tuple[EntryPoint, Release], Provenance]] = (
    weakref.WeakKeyDictionary()
)


def is_sha256(text: str) -> bool:
    """Return whether *text* is a digest in hexadecimal digits."""
    return len(text) == 64 and not text.strip("0123456789abcdef")  # noqa: PLR2004  the digits of 256 bits


@attrs.frozen(kw_only=True)
class Provenance(Schema):
    """Which installed package made a module; what `build` recorded, or a file says."""

    type: Name
    """The type, without its distribution."""

    distribution: Name
    """The distribution that provides it; ``in-process`` for a variant that was registered."""

    version: str = ""
    """Version of the distribution; empty for ``in-process``."""

    commit: str | None = None
    """Commit that was installed; None for a release, or where the installer recorded none."""

    url: str | None = None
    """Where it was installed from, as pip takes it, without credentials.

    None for an index and for local folders.
    """

    editable: bool = False
    """Whether it was installed as editable, so that its code may be other than its version says."""

    entry_point: Name
    """Import path of the plugin."""

    contract: Annotated[int, Ge(1)]
    """Version of the plugin contract that it was written for."""

    schema: Annotated[str, Predicate(is_sha256)]
    """Hash of what its config accepts: 64 hexadecimal digits."""

    @property
    def provider(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def remedy(self) -> str:
        """How to have the same provider again."""
        if self.distribution == IN_PROCESS:
            return "register the variant with registry().register() before"
        if self.commit and self.url:
            return f"pip install '{self.distribution} @ {self.url}@{self.commit}'"
        if self.commit:
            return f"install its commit {self.commit}"
        if self.editable:
            return f"install {self.provider} as editable, from its source"
        return f"pip install '{self.distribution}=={self.version}'"


def record(module: nn.Module, variant: PluginRecord, entry: EntryPoint) -> None:
    """Note on a new module which plugin made it.

    Args:
        module: The module.
        variant: The variant whose module it is.
        entry: The plugin that provides the variant.
    """
    vars(module)[_ATTRIBUTE] = provenance_in(variant, entry)


def record_extended(module: nn.Module) -> None:
    """Note on a module that extensions had a hand in it once it was made."""
    vars(module)[_EXTENDED] = True


def is_extended(module: nn.Module) -> bool:
    """Return whether extensions had a hand in a module, so that it is more than its class makes."""
    return _EXTENDED in vars(module)


def provenance_of(module: object) -> Provenance | None:
    """Return which plugin made a module, as `build` recorded it; None for any other module."""
    found = getattr(module, _ATTRIBUTE, None)
    return found if isinstance(found, Provenance) else None


def provenance_in(offered: PluginRecord, entry: EntryPoint) -> Provenance:
    """Return the provenance of what a plugin offers, in this process: of the code that runs in it.

    It is worked out once for each plugin and release, since building must be cheap.
    """
    release = release_of(entry, (offered.module, entry.value))
    made = _made.setdefault(offered, {})
    found = made.get((entry, release))
    if found is None:
        found = made[entry, release] = _provenance(offered, entry, release)
    return found


def _provenance(offered: PluginRecord, entry: EntryPoint, release: Release) -> Provenance:
    return Provenance(
        type=entry.name,
        distribution=entry.distribution,
        version=release.version,
        entry_point=entry.value,
        contract=offered.api_version,
        schema=schema_hash(accepted_by(offered.config)),
        **_installed_from(release.direct_url),
    )


def _installed_from(direct_url: bytes) -> dict[str, Any]:
    """Return what an installer recorded, by PEP 610, of where a distribution came from."""
    record = _read(direct_url)
    source = record.get("vcs_info")
    folder = record.get("dir_info")
    if isinstance(source, Mapping) and isinstance(source.get("commit_id"), str):
        url = _public(record.get("url"), f"{source.get('vcs')}+")
        return {"commit": source["commit_id"], "url": url}
    if isinstance(folder, Mapping):
        return {"editable": folder.get("editable") is True}
    return {"url": _public(record.get("url"), "")}


def _read(direct_url: bytes) -> Mapping[str, Any]:
    """Return the record; an empty one where there is none, or none that can be read."""
    try:
        record = json.loads(direct_url)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, Mapping) else {}


def _public(url: object, kind: str) -> str | None:
    """Return *url* without user, password and query; None for a folder on this machine."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    if not host or parts.scheme == "file":
        return None
    return f"{kind}{parts.scheme}://{host}{parts.path}"


def missing(before: Provenance, here: str = "nothing provides it") -> Difference:
    """Return the difference that nothing is installed which provides the type."""
    return _difference("missing", before, before.provider, here)


def differences_between(before: Provenance, here: Provenance) -> Iterator[Difference]:
    """Yield in what the provider *here* is another than the one *before*.

    Versions and commits are compared within one distribution; those of different ones say nothing
    about each other.
    """
    yield from _differences_of_distributions(before, here)
    if before.contract != here.contract:
        yield _difference(
            "contract", before, f"version {before.contract}", f"version {here.contract}"
        )
    if before.schema != here.schema:
        yield _difference("schema", before, f"{before.schema[:12]}...", f"{here.schema[:12]}...")


def _differences_of_distributions(before: Provenance, here: Provenance) -> Iterator[Difference]:
    if before.distribution != here.distribution:
        yield _difference("provider", before, before.provider, here.provider)
        return
    if before.version != here.version:
        yield _difference("version", before, before.provider, here.provider)
    if before.commit != here.commit:
        commits = [provenance.commit or "no commit" for provenance in (before, here)]
        yield _difference("commit", before, *commits)
    if before.editable != here.editable:
        installs = [_INSTALLS[provenance.editable] for provenance in (before, here)]
        yield _difference("editable", before, *installs)


def _difference(name: DifferenceName, before: Provenance, was: str, here: str) -> Difference:
    return Difference(name=name, type=before.type, before=was, here=here, remedy=before.remedy)


_INSTALLS = {True: "an editable install", False: "one that is not editable"}
