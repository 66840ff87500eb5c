"""``noether doctor``: what is wrong, or will be, with the plugins that are installed."""

from __future__ import annotations

import argparse
import platform
from typing import TYPE_CHECKING, Any

from noether_core import __version__
from noether_core.cli import COMMANDS
from noether_core.cli.output import add_table_options, print_json, print_line, print_table

if TYPE_CHECKING:
    from noether_core.plugins.diagnosis import Diagnosis, Finding, Outcome

_FINDING = ("severity", "check", "distribution", "version", "plugin", "message", "remedy", "origin")
_OUTCOME = ("plugin", "ms", "torch")

_MOST_TIMES = 10
"""Imports whose time is shown on a terminal, the slowest first."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    from noether_core.plugins.diagnosis import SLOW, TIMEOUT

    add_table_options(parser)
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--no-import", action="store_true", help="look at metadata alone")
    depth.add_argument(
        "--deep",
        action="store_true",
        help="import the module of each variant and task too, with torch; takes seconds for each",
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
    """Print what is wrong.

    Returns:
        1 if a plugin cannot be used, and 0 if all can, whatever surprises are waiting.
    """
    from noether_core.plugins.diagnosis import diagnose

    diagnosis = diagnose(
        core_commands=COMMANDS,
        with_imports=not options.no_import,
        is_deep=options.deep,
        timeout=options.timeout,
        slow=options.slow,
    )
    # The forms for programs have one table after the other; the one for readers begins with what
    # is wrong and says what to do.
    if options.json:
        print_json(_as_data(diagnosis))
    elif options.plain:
        print_table([finding.as_dict() for finding in diagnosis.findings], _FINDING, plain=True)
        print_line()
        print_table([_row(outcome) for outcome in diagnosis.outcomes], _OUTCOME, plain=True)
    else:
        _print(diagnosis)
    return 1 if diagnosis.has_errors else 0


def _positive(text: str) -> float:
    """Return the number that *text* is, for argparse."""
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
        _print_times(diagnosis)
    severities = [finding.severity for finding in diagnosis.findings]
    errors = _counted(severities.count("error"), "error")
    warnings = _counted(severities.count("warning"), "warning")
    print_line(f"{errors} and {warnings}; {_extent(diagnosis)}")


def _print_finding(finding: Finding) -> None:
    """Print a finding in a line, and below it where the fault lies and what to do."""
    provider = f"{finding.distribution} {finding.version}".strip()
    # Messages of plugins may hold line breaks, and a finding is to stay a few lines.
    headline = ": ".join(filter(None, (finding.severity, provider, finding.message)))
    print_line(" ".join(headline.split()))
    for text in (finding.origin, finding.remedy):
        if text:
            print_line("    " + " ".join(text.split()))
    print_line()


def _print_times(diagnosis: Diagnosis) -> None:
    # The slowest stand first.
    shown = diagnosis.outcomes[:_MOST_TIMES]
    others = len(diagnosis.outcomes) - len(shown)
    print_table([_row(outcome) for outcome in shown], _OUTCOME, plain=False)
    if others:
        print_line(f"... and {others} that take less; --plain and --json show all of them")
    print_line()


def _row(outcome: Outcome) -> dict[str, Any]:
    milliseconds = outcome.milliseconds
    return {
        "plugin": outcome.name,
        "ms": "failed" if milliseconds is None else f"{milliseconds:.1f}",
        "torch": "yes" if outcome.imports_torch else "",
    }


def _counted(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def _extent(diagnosis: Diagnosis) -> str:
    """Return how much was looked at."""
    environment = diagnosis.environment
    if environment is None:
        return "nothing could be looked at"

    plugins = _counted(len(environment.plugins), "plugin")
    providers = {entry.distribution for entry in environment.plugins}
    distributions = _counted(len(providers), "distribution")
    versions = f"noether-attention {__version__}, Python {platform.python_version()}"
    return f"{plugins} of {distributions} among {len(environment.installed)}, {versions}"


def _as_data(diagnosis: Diagnosis) -> dict[str, Any]:
    environment = diagnosis.environment
    imports = [
        {
            "plugin": outcome.name,
            "milliseconds": outcome.milliseconds,
            "imports_torch": outcome.imports_torch,
        }
        for outcome in diagnosis.outcomes
    ]
    return {
        "noether": __version__,
        "python": platform.python_version(),
        "distributions": len(environment.installed) if environment else None,
        "plugins": len(environment.plugins) if environment else None,
        "findings": [finding.as_dict() for finding in diagnosis.findings],
        "imports": imports,
    }
