"""What a config costs: from a mapping against pydantic, from a file against PyYAML alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from noether_core import TokenSpec, load, structure
from noether_core.schemas import InitWeightsMode
from tests.benchmarks.pairs import Claim, compare

_OPTIONS = {
    "type": "transolver",
    "hidden_dim": 256,
    "num_heads": 8,
    "use_rope": False,
    "dropout": 0.1,
    "init_weights": "truncnormal002",
    "bias": True,
    "head_dim": 32,
    "qk_norm": False,
    "num_slices": 64,
}


class _Pydantic(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["transolver"]
    hidden_dim: Annotated[int, Field(ge=1)]
    num_heads: Annotated[int, Field(ge=1)]
    use_rope: Literal[False] = False
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    init_weights: InitWeightsMode = "truncnormal002"
    bias: bool = True
    head_dim: Annotated[int, Field(ge=1)] | None = None
    qk_norm: Literal[False] = False
    num_slices: Annotated[int, Field(ge=1)] = 512

    @model_validator(mode="after")
    def _heads_divide_width(self) -> _Pydantic:
        if self.hidden_dim % self.num_heads or self.head_dim not in (
            None,
            self.hidden_dim // self.num_heads,
        ):
            raise ValueError("num_heads does not divide hidden_dim")
        return self


class _PydanticTokenSpec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(ge=0)] | None


_GROUPS = [{"name": f"group_{number}", "size": number} for number in range(1000)]

_FILE = """\
# Anchor attention between the surface and the volume around it
type: joint_anchor

# what every variant has
hidden_dim: 192
num_heads: 3
use_rope: true
dropout: 0.0
init_weights: truncnormal002
bias: true
head_dim: 64
qk_norm: false

# the branches, each with the tokens that all others read
anchor_suffix: _anchors
branches:
  - surface
  - volume
  - wake
  - inlet
  - outlet
  - wall
  - far_field
  - symmetry
"""


def claims(*, quick: bool) -> list[Claim]:
    """Measure structuring and loading."""
    effort: dict[str, int] = {"rounds": 5, "calls": 200} if quick else {"rounds": 51, "calls": 2000}
    rounds = effort["rounds"]
    return [
        compare(
            "structure 10 options / pydantic",
            4,
            lambda: structure(_OPTIONS),
            lambda: _Pydantic.model_validate(_OPTIONS),
            **effort,
        ),
        compare(
            "structure 1,000 TokenSpecs / pydantic",
            2,
            lambda: [structure(group, TokenSpec) for group in _GROUPS],
            lambda: [_PydanticTokenSpec.model_validate(group) for group in _GROUPS],
            rounds=rounds,
            calls=5,
        ),
        _loading(effort),
    ]


def _loading(effort: dict[str, int]) -> Claim:
    """Compare file to config with file to dict, which PyYAML's C loader alone makes."""
    lines = len(_FILE.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attention.yaml"
        path.write_text(_FILE)
        return compare(
            f"load a config of {lines} lines / yaml.CSafeLoader",
            1.5,
            lambda: load(path),
            lambda: _read(path),
            **effort,
        )


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        return yaml.load(file, Loader=yaml.CSafeLoader)
