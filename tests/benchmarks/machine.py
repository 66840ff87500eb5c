"""The machine that numbers are of, and the device on which subjects put their tensors."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import torch

Facts = Mapping[str, str | int]


@functools.cache
def device() -> torch.device:
    """Return where everything is measured.

    A GPU if one is at hand, unless ``CUDA_VISIBLE_DEVICES`` hides it.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronise() -> None:
    """Wait for what was launched on the device."""
    if device().type == "cuda":
        torch.cuda.synchronize()


def facts() -> Facts:
    """Return what a number needs beside it to mean something."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": f"CUDA, {torch.cuda.get_device_name()}" if device().type == "cuda" else "CPU",
        "noether-attention": _version("noether-attention"),
        "x-transformers": _version("x-transformers"),
    }


def _processor() -> str:
    try:
        found = re.search(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE
        )
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
