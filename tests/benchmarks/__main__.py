"""Every promised ratio, exponent and bound, measured in one run: ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys

import torch

from tests.benchmarks.pairs import Bound, Claim, Growth, lines

_SUBJECTS = ("startup", "configs", "documents", "dot_product", "irregular_nat")


def main() -> int:
    """Measure, print, and return 1 if a budget is exceeded and that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(_SUBJECTS)}; all if left out")
    parser.add_argument(
        "--quick", action="store_true", help="a few rounds, to see that it runs; the numbers say little"
    )
    parser.add_argument("--json", action="store_true", help="JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a budget is exceeded")
    options = parser.parse_args()
    if unknown := set(options.subjects) - set(_SUBJECTS):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; choose of {', '.join(_SUBJECTS)}")

    claims: list[Claim | Growth | Bound] = []
    for subject in options.subjects or _SUBJECTS:
        print(f"measuring {subject}", file=sys.stderr, flush=True)
        claims += importlib.import_module(f"tests.benchmarks.{subject}").claims(quick=options.quick)
    _print(claims, as_json=options.json)
    return int(options.check and not all(claim.is_kept for claim in claims))


def _print(claims: list[Claim | Growth | Bound], *, as_json: bool) -> None:
    machine = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if as_json:
        print(json.dumps({**machine, "claims": [claim.as_dict() for claim in claims]}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print("\n".join(lines(claims)))


if __name__ == "__main__":
    sys.exit(main())
