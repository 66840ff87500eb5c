"""What the base install can do, which has no torch.

``python tests/third_party/base_install.py`` checks the environment of its interpreter, which holds
the project and nothing else. The standard library is all that this file needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

CONFIG = "type: transolver\nhidden_dim: 64\nnum_heads: 4\n"

EXPERIMENT = "task: {type: darcy}\nattention: {type: transolver, hidden_dim: 64, num_heads: 4}\n"

NEEDS = "{} needs torch, which is not installed; pip install 'noether-attention[{}]'\n"
"""What is said where torch is absent, of what needs it, and which extra brings it."""

BUILD = "import noether_core as core; core.build('transolver', hidden_dim=64, num_heads=4)"
LOAD = "import noether_core as core; core.load_module('attention.safetensors')"


Run = Callable[[Sequence[str], Path], subprocess.CompletedProcess[str]]


class Case(NamedTuple):
    """A command, and what comes of it in a folder with a config and an experiment."""

    command: tuple[str, ...]
    says: str
    """Part of what it prints."""

    status: int = 0


CASES = (
    Case(("noether", "list", "--details"), "transolver\tnoether-attention\t"),
    Case(("noether", "list", "--tasks", "--details"), "airfoil\tnoether-attention\t"),
    Case(("noether", "show", "transolver"), "num_slices\t"),
    Case(("noether", "show", "darcy"), "n_train\t"),
    Case(("noether", "why", "transolver"), "noether-attention:transolver\t"),
    Case(("noether", "validate", "attention.yaml"), "attention.yaml: good: transolver\n"),
    Case(("noether", "validate", "run.yaml", "--at", "attention"), "attention: good: transolver\n"),
    Case(("noether", "validate", "run.yaml", "--experiment"), "task: good: darcy\n"),
    Case(("noether", "explain", "attention.yaml"), "head_dim\t16\tfollows from "),
    Case(("noether", "explain", "run.yaml"), NEEDS.format("counting", "torch")),
    Case(("noether", "schema"), '"transolver"'),
    Case(("noether", "schema", "--tasks"), '"potential"'),
    Case(("noether", "lock", "attention.yaml"), "noether.lock: transolver: noether-attention "),
    Case(("noether", "doctor"), "warning: torch is not installed: "),
    Case(("noether", "doctor", "--deep", "--slow", "5000"), "no errors and 1 warning"),
    Case(("noether", "new", "acme-flow"), "acme-flow: a package with the variant 'acme_flow'\n"),
    Case(("noether", "completion", "bash"), "argcomplete"),
    Case(("noether", "schema", "--experiment"), '"title": "Experiment"'),
    Case(("noether", "--help"), "run "),
    Case(
        ("noether", "run", "run.yaml"),
        "noether: " + NEEDS.format("noether run", "run"),
        1,
    ),
    Case(("python", "-c", BUILD), NEEDS.format("building a module", "torch"), 1),
    Case(("python", "-c", LOAD), NEEDS.format("loading a module", "torch"), 1),
)


def complaint_about(case: Case, run: Run, folder: Path) -> str:
    """Return what is wrong with a command that *run* runs in *folder*, or nothing."""
    (folder / "attention.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "run.yaml").write_text(EXPERIMENT, encoding="utf-8")
    done = run(case.command, folder)
    output = done.stdout + done.stderr
    is_traceback = "Traceback" in output and case.command[0] == "noether"
    if done.returncode == case.status and case.says in output and not is_traceback:
        return ""
    return f"{' '.join(case.command)}: status {done.returncode}, {output}"


def run_here(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment to which this interpreter belongs."""
    program, *arguments = command
    found = Path(sys.executable).with_name(program)
    return subprocess.run(
        [found, *arguments], cwd=folder, check=False, capture_output=True, text=True
    )


def main() -> int:
    """Print what is wrong with the environment of this interpreter; return 1 if anything is."""
    complaints = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            complaint = complaint_about(case, run_here, Path(folder))
        if complaint:
            complaints.append(complaint)
            print(complaint, file=sys.stderr)
    print(f"{len(CASES) - len(complaints)} of {len(CASES)} commands do what they should")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
