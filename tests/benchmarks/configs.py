"""What it costs to make a config: structuring ten options, against pydantic on the same ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from noether_core import structure
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
        if self.hidden_dim % self.num_heads or self.head_dim not in (None, self.hidden_dim // self.num_heads):
            raise ValueError("num_heads does not divide hidden_dim")
        return self


def claims(*, quick: bool) -> list[Claim]:
    """Measure structuring."""
    return [
        compare(
            "structure 10 options / pydantic",
            4,
            lambda: structure(_OPTIONS),
            lambda: _Pydantic.model_validate(_OPTIONS),
            rounds=5 if quick else 51,
            calls=200 if quick else 2000,
        )
    ]
