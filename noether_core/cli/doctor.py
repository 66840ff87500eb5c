"""``noether doctor``: what is wrong, or will be, with the plugins that are installed."""

from __future__ import annotations

import argparse
import platform
from typing import TYPE_CHECKING, Any

from noether_core.cli import _COMMANDS
from noether_core.cli.table import add_table_options, print_json, print_table

if TYPE_CHECKING:
    from noether_core.plugins.diagnosis import Diagnosis, Finding, Outcome

_FINDING = ("severity", "check", "distribution", "version", "plugin", "message", "remedy", "origin")
_OUTCOME = ("plugin", "ms", "torch")
_MOST_TIMES = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    from noether_core.plugins.diagnosis import SLOW, TIMEOUT

    add_table_options(parser)
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--no-import", action="store_true", help="look at metadata alone")
    depth.add_argument(
        "--deep",
        action="store_true",
        help="import torch and the module of each variant too; takes seconds for each",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive,
        default=TIMEOUT,
        help="how long the import of one plugin may take (default: %(default)g)",
    )
    parser.add_argument(
        "--slow",
        metavar="MS",
        type=_positive,
        default=SLOW,
        help="how many milliseconds make an import slow (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what is wrong; return 1 if a plugin cannot be used, and 0 if all can, whatever
    surprises are waiting.
    """
    from noether_core.plugins.diagnosis import diagnose

    diagnosis = diagnose(
        core_commands=_COMMANDS,
        with_imports=not options.no_import,
        is_deep=options.deep,
        timeout=options.timeout,
        slow=options.slow,
    )
    if options.json:
        print_json(_as_data(diagnosis))
    elif options.plain:
        print_table([finding.as_dict() for finding in diagnosis.findings], _FINDING, plain=True)
        print()
        print_table([_row(outcome) for outcome in diagnosis.outcomes], _OUTCOME, plain=True)
    else:
        _print(diagnosis)
    return int(diagnosis.has_errors)


def _positive(text: str) -> float:
    """Return the number that *text* is."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def _print(diagnosis: Diagnosis) -> None:
    """Print what is wrong and what to do, how long imports took, and how much was looked at."""
    for finding in diagnosis.findings:
        _print_finding(finding)
    if diagnosis.outcomes:
        shown = diagnosis.outcomes[:_MOST_TIMES]
        print_table([_row(outcome) for outcome in shown], _OUTCOME, plain=False)
        if len(diagnosis.outcomes) > len(shown):
            print(
                f"... and {len(diagnosis.outcomes) - len(shown)} that take less; --plain and --json tell them all"
            )
        print()
    severities = [finding.severity for finding in diagnosis.findings]
    counts = [_counted(severities.count(severity), severity) for severity in ("error", "warning")]
    print(f"{counts[0]} and {counts[1]}; {_extent(diagnosis)}")


def _print_finding(finding: Finding) -> None:
    provider = f"{finding.distribution} {finding.version}".strip()
    told = ": ".join(filter(None, (finding.severity, provider, finding.message)))
    for head, text in (("", told), ("    ", finding.origin), ("    ", finding.remedy)):
        if text:
            print(head + " ".join(text.split()))
    print()


def _row(outcome: Outcome) -> dict[str, Any]:
    told = "failed" if outcome.milliseconds is None else f"{outcome.milliseconds:.1f}"
    return {"plugin": outcome.name, "ms": told, "torch": "yes" if outcome.imports_torch else ""}


def _counted(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def _extent(diagnosis: Diagnosis) -> str:
    """Return how much was looked at."""
    environment = diagnosis.environment
    if environment is None:
        return "nothing could be looked at"
    plugins, providers = environment.plugins, {entry.distribution for entry in environment.plugins}
    return (
        f"{_counted(len(plugins), 'plugin')} of {_counted(len(providers), 'distribution')} "
        f"among {len(environment.installed)}, noether-attention {_version()}, Python {platform.python_version()}"
    )


def _as_data(diagnosis: Diagnosis) -> dict[str, Any]:
    environment = diagnosis.environment
    return {
        "noether": _version(),
        "python": platform.python_version(),
        "distributions": len(environment.installed) if environment else None,
        "plugins": len(environment.plugins) if environment else None,
        "findings": [finding.as_dict() for finding in diagnosis.findings],
        "imports": [
            {
                "plugin": one.name,
                "milliseconds": one.milliseconds,
                "imports_torch": one.imports_torch,
            }
            for one in diagnosis.outcomes
        ],
    }


def _version() -> str:
    from noether_core.plugins.metadata import core_version

    try:
        return core_version()
    except Exception:  # noqa: BLE001  Noether's own metadata may be what is wrong
        return "unknown"
