"""FLARE++ as its authors publish it."""

from __future__ import annotations

from noether_core.schemas.origin import Origin

_OF_THE_MODEL = "it is of the model around the attention"

VPURI3 = Origin(
    options={"channel_dim": "hidden_dim"},
    values={"rmsnorm": {}},  # where it is None, it is False
    defaults={"hidden_dim": 128, "num_heads": 8},
    left_out={
        **dict.fromkeys(
            (
                "model",
                "num_blocks",
                "act",
                "out_proj_norm",
                "num_layers_in_out_proj",
                "num_layers_ffn",
                "mlp_ratio_ffn",
                "diagnostics",
            ),
            _OF_THE_MODEL,
        ),
        "kind": "it is the type, flare_plusplus for 'flarepp'",
    },
)
"""vpuri3/FLARE.py: ``FLAREPPMixer``, in a model ``mixer`` of each block; weights have the same
names.
"""
