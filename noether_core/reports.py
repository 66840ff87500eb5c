"""What the kit found out about a variant: its report, and files of reports, also in packages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import attrs
from annotated_types import Ge

from noether_core.atomic_writes import write_whole
from noether_core.errors import ConfigError, Problem
from noether_core.plugins.metadata import EntryPoint
from noether_core.quoting import visible_lines
from noether_core.schemas.modules.attention import Name
from noether_core.schemas.schema import Schema
from noether_core.schemas.unstructure import unstructure
from noether_core.structuring.documents import Document, parse, read
from noether_core.structuring.structure import structure_document

REPORT_FILE = "noether-report.json"
"""File of reports that a package ships, beside the module that its entry point names."""

Status = Literal["passed", "failed", "error", "not applicable"]
"""How a check ended; ``error`` where the variant raised what the check did not look for."""


@attrs.frozen(kw_only=True)
class Outcome(Schema):
    """How one check ended."""

    check: Name
    """Name of the check."""

    contract: str
    """What the variant must do, in one sentence."""

    status: Status
    """How it ended."""

    message: str = ""
    """What was wrong, why the check does not apply, or what it measured."""

    seconds: Annotated[float, Ge(0)] = 0.0
    """How long it took."""

    @property
    def is_bad(self) -> bool:
        """Whether the variant breaks the contract."""
        return self.status in {"failed", "error"}

    def __str__(self) -> str:
        line = f"{_MARKS[self.status]} {self.check}"
        if self.is_bad:
            return "\n      ".join([f"{line}: {self.contract}", *self.message.splitlines()])
        return f"{line}: {self.message}" if self.message else line


@attrs.frozen(kw_only=True)
class Report(Schema):
    """How every check ended for one variant, and on what it ran."""

    ignored_options: ClassVar[frozenset[str]] = frozenset({"passed", "counts", "missing"})

    type: Name
    """The variant."""

    distribution: str
    """What provides it."""

    version: str
    """Version of that distribution; empty for a variant that was registered in process."""

    noether: str
    """Version of noether-attention."""

    torch: str
    """Version of torch."""

    python: str
    """Version of Python."""

    device: str
    """Where it ran."""

    implied: tuple[Name, ...]
    """Checks that the record's interface and capabilities imply."""

    outcomes: tuple[Outcome, ...]
    """How each check ended, in the order in which they ran."""

    @property
    def counts(self) -> dict[str, int]:
        """How many checks ended in which way."""
        counted = Counter(str(outcome.status) for outcome in self.outcomes)
        return {status: counted[status] for status in _MARKS}

    @property
    def missing(self) -> tuple[str, ...]:
        """Checks that the record implies and that did not run."""
        ran = {outcome.check for outcome in self.outcomes}
        return tuple(check for check in self.implied if check not in ran)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """What the variant got wrong."""
        return tuple(outcome for outcome in self.outcomes if outcome.is_bad)

    @property
    def is_passed(self) -> bool:
        """Whether everything that the record implies ran, and nothing failed."""
        return not self.failures and not self.missing

    @property
    def seconds(self) -> float:
        """How long all checks took."""
        return sum(outcome.seconds for outcome in self.outcomes)

    @property
    def provider(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def headline(self) -> str:
        """How it ended, in one line."""
        if self.failures:
            end = "failed"
        elif self.missing:
            end = "incomplete"
        else:
            end = "passed"
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        line = f"{end}: {counts or 'no check ran'}"
        if self.missing:
            line += f"; {len(self.missing)} of {len(self.implied)} did not run"
        return line

    @property
    def made_with(self) -> str:
        """What the checks ran on."""
        versions = f"noether-attention {self.noether}, torch {self.torch}, Python {self.python}"
        return f"{versions}, {self.device}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, with what follows from it."""
        following = {"passed": self.is_passed, "counts": self.counts, "missing": list(self.missing)}
        return unstructure(self) | following

    def to_json(self) -> str:
        """Return the text of a file that holds this report alone."""
        return reports_to_json([self])

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return the report that the text of a file holds.

        Raises:
            ConfigError: If it is no such text, or holds more than one.
        """
        reports = _reports_in(parse(text, "json"))
        if len(reports) != 1:
            message = f"expected one report, got {len(reports)}"
            raise ConfigError([Problem(keys=("reports",), message=message)])
        return reports[0]

    def __str__(self) -> str:
        lines = [f"  {outcome}" for outcome in self.outcomes]
        if self.missing:
            lines.append(f"  did not run: {', '.join(self.missing)}")
        lines.append(f"{self.type} of {self.provider}: {self.headline}")
        lines.append(f"({self.made_with}; {self.seconds:.1f} s)")
        return visible_lines("\n".join(lines))


@attrs.frozen(kw_only=True)
class ReportFile(Schema):
    """What a file of reports holds."""

    reports: tuple[Report, ...]
    """One for each variant."""


@attrs.frozen
class Shipped:
    """What a package says that the kit found out about a variant of its."""

    entry: EntryPoint
    report: Report | None
    fault: str = ""
    """What is wrong with the file; empty where there is none, or a sound one."""

    def __str__(self) -> str:
        if self.report is None:
            return self.fault or "none"
        facts = self.report.made_with
        if self.report.version != self.entry.version:
            facts = f"of {self.report.provider}, {facts}"
        return f"{self.report.headline} ({facts})"

    def as_dict(self) -> dict[str, Any] | None:
        """Return the report as plain data, or what is wrong with it; None where there is none."""
        if self.report is None:
            return {"fault": self.fault} if self.fault else None
        return self.report.as_dict()


def shipped_report(entry: EntryPoint) -> Shipped:
    """Return the report that a package ships of one of its variants.

    Whatever is wrong with it is part of what is returned, and not raised.
    """
    file = _shipped_file(entry)
    if file is None:
        return Shipped(entry, None)
    try:
        found = [report for report in load_reports(file) if report.type == entry.name]
    except ConfigError as error:
        return Shipped(entry, None, f"cannot be used: {error.problems[0].headline}")
    if not found:
        return Shipped(entry, None, f"{file} holds none of this type")
    return Shipped(entry, found[0])


def load_reports(path: str | os.PathLike[str]) -> tuple[Report, ...]:
    """Return the reports that a file holds.

    Raises:
        ConfigError: If it cannot be read or holds anything else.
    """
    return _reports_in(read(path, "json"))


def save_reports(path: str | os.PathLike[str], reports: Iterable[Report]) -> None:
    """Write *reports* to a file, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    write_whole(path, reports_to_json(reports))


def reports_to_json(reports: Iterable[Report]) -> str:
    """Return the text of a file that holds *reports*."""
    import json

    return json.dumps({"reports": [report.as_dict() for report in reports]}, indent=2) + "\n"


def _reports_in(document: Document) -> tuple[Report, ...]:
    return structure_document(document, ReportFile).reports


def _shipped_file(entry: EntryPoint) -> str | None:
    """Return the file of reports beside the module of an installed plugin, if there is one."""
    if not entry.origin:  # registered in process: no package ships it
        return None
    module = entry.value.partition(":")[0]
    files = (os.path.join(folder, REPORT_FILE) for folder in _folders(module))
    return next((file for file in files if os.path.isfile(file)), None)


def _folders(module: str) -> Iterator[str]:
    """Yield the folders in which a module lies; the module itself is not imported."""
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return  # a parent that cannot be imported, or a module that was put into sys.modules
    if spec is not None and spec.has_location and spec.origin:
        yield os.path.dirname(spec.origin)
    elif spec is not None:
        yield from spec.submodule_search_locations or ()


_MARKS: Mapping[str, str] = {
    "passed": "ok  ",
    "failed": "FAIL",
    "error": "FAIL",
    "not applicable": "n/a ",
}
