"""GALE with latents as NVIDIA publishes it."""

from __future__ import annotations

from noether_core.schemas.origin import Origin

_OF_THE_MODEL = "it is of the model around the attention"

PHYSICSNEMO = Origin(
    options={
        "n_hidden": "hidden_dim",
        "dim": "hidden_dim",
        "n_head": "num_heads",
        "heads": "num_heads",
        "dim_head": "head_dim",
        "slice_num": "num_latents",
        "n_global_queries": "num_latents",
        "state_mixing_mode": "mixing",
    },
    defaults={"hidden_dim": 256, "num_heads": 8, "num_latents": 32},
    left_out={
        **dict.fromkeys(
            (
                "_target_",
                "_convert_",
                "functional_dim",
                "out_dim",
                "geometry_dim",
                "global_dim",
                "n_layers",
                "act",
                "mlp_ratio",
                "time_input",
                "include_local_features",
                "radii",
                "neighbors_in_radius",
                "n_hidden_local",
                "structured_shape",
            ),
            _OF_THE_MODEL,
        ),
        "attention_type": "the type says it",
        "use_te": "layers and kernels are torch's",
        "plus": "its module never reads it",
        "concrete_dropout": "dropout is not learned here",
    },
)
"""NVIDIA/physicsnemo: ``GALE_FA``, in a model ``Attn`` of each block, with the same names."""
