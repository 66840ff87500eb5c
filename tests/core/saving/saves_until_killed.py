"""Saves two modules to one file in turn, until it is killed; each line of input starts one."""

import os
import sys
from pathlib import Path

import torch

from noether_core import build, save


def main(folder: Path) -> None:
    """Save each module to a file of its own, then start one process after the other."""
    torch.set_num_threads(1)
    modules = [build("dot_product", hidden_dim=width, num_heads=2) for width in (256, 320)]
    for name, module in zip(("first", "second"), modules, strict=True):
        save(module, folder / name)
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            while True:
                for module in modules:
                    save(module, folder / "module")
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


main(Path(sys.argv[1]))
