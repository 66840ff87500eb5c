"""Physics attention as its authors publish it."""

from __future__ import annotations

from noether_core.schemas.origin import Origin

_OF_THE_MODEL = "it is of the model around the attention"

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
            "Time_Input",
        ),
        _OF_THE_MODEL,
    ),
    layers={
        "in_project_x": "in_project_x.project",
        "in_project_fx": "in_project_fx.project",
        "in_project_slice": "in_project_slice.project",
        "to_q": "q.project",
        "to_k": "k.project",
        "to_v": "v.project",
        "to_out.0": "proj.project",
    },
)
"""thuml/Transolver: ``Physics_Attention_Irregular_Mesh``, in a model ``Attn`` of each block."""
