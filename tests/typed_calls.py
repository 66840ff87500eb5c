"""What type checkers make of the front door; mypy reads it with the packages, and nothing runs it.

A wrong attribute must be an error: an ignored error that is none is one.
"""

from pathlib import Path
from typing import Any, assert_type

import torch
from torch import nn

from noether_core import AttentionConfig, build, load, structure, structure_block
from noether_plugins.attention.transolver.config import TransolverAttentionConfig as Transolver
from noether_plugins.workbench.experiment import Experiment


def config_of_its_class(options: dict[str, Any], file: Path) -> None:
    """Whatever reads a config takes its class, and returns one of it."""
    assert_type(structure(options, Transolver).num_slices, int)
    assert_type(structure(options, Transolver, origin="reference").num_slices, int)
    assert_type(load(file, Transolver, at="attention").num_slices, int)
    assert_type(load(file, Experiment).attention, AttentionConfig)
    assert_type(structure_block(options, Transolver).config.num_slices, int)
    config, _ = structure_block(options, Transolver)
    assert_type(config, Transolver)

    _ = structure(options, Transolver).num_slice  # type: ignore[attr-defined]
    _ = load(file, Transolver).num_slice  # type: ignore[attr-defined]
    _ = structure_block(options, Transolver).config.num_slice  # type: ignore[attr-defined]
    structure_block(options, Experiment)  # type: ignore[type-var]


def config_of_any_class(options: dict[str, Any], file: Path) -> None:
    """Without a class it is what all configs have in common."""
    assert_type(structure(options), AttentionConfig)
    assert_type(load(file, at="attention"), AttentionConfig)
    assert_type(structure_block(options).config, AttentionConfig)
    assert_type(build(options, device="meta", dtype=torch.float64), nn.Module)
