"""GALE as NVIDIA publishes it."""

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
        "slice_num": "num_slices",
        "state_mixing_mode": "mixing",
    },
    defaults={
        "hidden_dim": 256,
        "num_heads": 8,
        "num_slices": 32,
        "temperature_bounds": (0.5, 5.0),
        "slice_eps": 1e-2,
    },
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
            ),
            _OF_THE_MODEL,
        ),
        "attention_type": "the type says it",
        "use_te": "layers and kernels are torch's",
        "plus": "weights made with it do not fit here, which shows when they are converted",
        "structured_shape": "weights made with it are convolutions, which do not fit here",
        "concrete_dropout": "dropout is not learned here",
    },
)
"""NVIDIA/physicsnemo: ``GALE``, in a model ``Attn`` of each block; weights have the same names."""
