"""The model of the page on large meshes over 20,000,000 tokens, from one file into another."""

from __future__ import annotations

import resource
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch

from tests.benchmarks.memory import own_bytes
from tests.benchmarks.pairs import Bound, bound, in_child
from tests.docs.pages import blocks

_GIGABYTES = 2
"""Of memory of its own, without pages of files, which the system takes back when it needs them."""

_PAGE = Path(__file__).parents[2] / "docs" / "large-meshes.md"
_WIDTH, _LAYERS, _PART = 64, 4, 65_536
_OPTIONS = {"type": "transolver", "num_heads": 4, "num_slices": 32}
_SECONDS = 0.01
"""Between two looks at the memory."""


def claims(*, quick: bool) -> list[Bound]:
    """Measure memory, and note the time."""
    tokens = 200_000 if quick else 20_000_000

    def measure() -> tuple[float, str]:
        found = in_child(_evaluate, tokens, longest=7200)
        return found["bytes"] / 1e9, f"{found['seconds']:.0f} s"

    sizes = f"{tokens:,} tokens, hidden_dim {_WIDTH}, {_LAYERS} layers"
    name = f"{_OPTIONS['type']}, GB of its own between two files, {sizes}"
    return [bound(name, _GIGABYTES, measure)]


def _evaluate(tokens: int) -> dict[str, float]:
    """Return the most bytes of its own that this process held meanwhile, and the seconds."""
    page: dict[str, Any] = {}
    (code,) = (
        block.text
        for block in blocks(_PAGE.read_text(encoding="utf-8"))
        if block.file == "large_mesh.py"
    )
    exec(code, page)  # noqa: S102  ours
    layers = torch.nn.ModuleList(page["Layer"](_WIDTH, **_OPTIONS) for _ in range(_LAYERS)).eval()

    with TemporaryDirectory() as folder:
        source, target = (page["mapped"](Path(folder) / each, tokens, _WIDTH) for each in "ab")
        for part in source.split(_PART, dim=1):
            part.normal_()
        with _Watch() as watch:
            start = time.perf_counter()
            page["evaluate"](layers, source, target, _PART)
            seconds = time.perf_counter() - start
    return {"bytes": watch.most, "seconds": seconds}


class _Watch:
    """Looks again and again at how much memory of its own this process holds."""

    def __init__(self) -> None:
        self.most = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        if sys.platform != "linux":  # with pages of files, which other systems do not tell apart
            self.most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def _look(self) -> None:
        while not self._is_over.wait(_SECONDS):
            self.most = max(self.most, own_bytes())
