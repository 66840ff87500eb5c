"""Compiles every attention module that Noether builds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from noether_core import Problem, hookimpl

if TYPE_CHECKING:
    from torch import nn

BACKENDS = ("aot_eager", "eager", "inductor")


def backend() -> str:
    """Return the compiler that the environment names."""
    return os.environ.get("ACME_COMPILE_BACKEND", "inductor")


@hookimpl
def noether_validate_config() -> Problem | None:
    """Return a problem if there is no such compiler."""
    if backend() in BACKENDS:
        return None
    expected = f"expected one of {', '.join(BACKENDS)}"
    return Problem(message=f"ACME_COMPILE_BACKEND: {expected}, got {backend()!r}", value=backend())


@hookimpl(trylast=True)
def noether_after_build(module: nn.Module) -> nn.Module:
    """Return the module, compiled at its first call."""
    import torch

    compiled: nn.Module = torch.compile(module, backend=backend())
    return compiled
