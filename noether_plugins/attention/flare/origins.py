"""FLARE as its authors publish it."""

from __future__ import annotations

from noether_core.schemas.origin import Origin

_OF_THE_MODEL = "it is of the model around the attention"

VPURI3 = Origin(
    options={"channel_dim": "hidden_dim", "act": "activation"},
    values={"activation": {"gelu": "GELU_TANH", "silu": "SILU"}},
    defaults={"num_latents": 32, "activation": "GELU_TANH"},
    left_out=dict.fromkeys(
        (
            "in_dim",
            "out_dim",
            "num_blocks",
            "out_proj_norm",
            "num_layers_in_out_proj",
            "num_layers_ffn",
            "ffn_mlp_ratio",
        ),
        _OF_THE_MODEL,
    ),
)
"""vpuri3/FLARE.py: ``FLARE``, in a model ``att`` of each block; weights have the same names."""
