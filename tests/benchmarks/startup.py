"""What it costs to start: imports, and commands as whole processes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.pairs import Claim, compare_commands, python

_CONFIG = "type: transolver\nhidden_dim: 256\nnum_heads: 8\nnum_slices: 64\ndropout: 0.1\n"


def claims(*, quick: bool) -> list[Claim]:
    """Measure imports and commands."""
    noether = shutil.which(
        "noether", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if noether is None:
        raise FileNotFoundError("the command noether is not on PATH; install the project first")
    rounds = 2 if quick else 31
    bare = python("pass")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "attention.yaml"
        config.write_text(_CONFIG)
        return [
            compare_commands(
                "import noether_core / import torch",
                1 / 15,
                python("import noether_core"),
                python("import torch"),
                rounds=2 if quick else 7,
            ),
            compare_commands(
                "import noether_core / python -c pass",
                1.6,
                python("import noether_core"),
                bare,
                rounds=rounds,
            ),
            compare_commands(
                "import noether_core.schemas / python -c pass",
                6,  # attrs and annotated_types alone are 5.4
                python("import noether_core.schemas"),
                bare,
                rounds=rounds,
            ),
            compare_commands(
                "noether --help / python -c pass", 3, [noether, "--help"], bare, rounds=rounds
            ),
            compare_commands(
                "noether list / python -c pass", 8, [noether, "list"], bare, rounds=rounds
            ),
            compare_commands(
                "noether validate / python -c pass",
                8,
                [noether, "validate", str(config)],
                bare,
                rounds=rounds,
            ),
        ]
