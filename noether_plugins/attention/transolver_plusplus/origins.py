"""Physics attention with sharper slices as others have it."""

from __future__ import annotations

from noether_core.schemas.origin import Origin

_OF_THE_MODEL = "it is of the model around the attention"
_NEVER_READ = "its module never reads it"

THUML = Origin(
    options={
        "n_hidden": "hidden_dim",
        "dim": "hidden_dim",
        "n_head": "num_heads",
        "heads": "num_heads",
        "dim_head": "head_dim",
        "slice_num": "num_slices",
    },
    defaults={"hidden_dim": 256, "num_heads": 8, "num_slices": 32},
    left_out=dict.fromkeys(
        (
            "space_dim",
            "fun_dim",
            "out_dim",
            "n_layers",
            "act",
            "mlp_ratio",
            "ref",
            "unified_pos",
        ),
        _OF_THE_MODEL,
    ),
    layers={
        "proj_temperature.0": "proj_temperature.0.project",
        "proj_temperature.2": "proj_temperature.2.project",
        "in_project_slice": "in_project_slice.project",
        "to_q": "q.project",
        "to_k": "k.project",
        "to_v": "v.project",
        "to_out.0": "to_out.0.project",
    },
    zeros=("q.project.bias", "k.project.bias", "v.project.bias"),
)
"""thuml/Transolver_plus: ``Physics_Attention_1D_Eidetic``, in a model ``Attn`` of each block."""

REFERENCE = Origin(
    left_out=dict.fromkeys(
        (
            "use_overparameterization",
            "use_adaptive_temperature",
            "temperature_activation",
            "use_gumbel_softmax",
        ),
        _NEVER_READ,
    ),
    zeros=("*.bias",),  # with bias: false some of its layers have one nevertheless
)
"""The reference framework, whose module has one way to make temperatures and weights."""
