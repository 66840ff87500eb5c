"""For every check a small broken variant that it alone catches."""

from __future__ import annotations

import attrs

from noether_core import registry
from tests.core.testing.sample_configs import (
    PLACED,
    SOUND,
    IgnoredConfig,
    LaxConfig,
    RoundedConfig,
    UnboundedConfig,
    UnexplainedConfig,
    with_module,
)
from tests.core.testing.torch_config import HeavyConfig

GROUPED = registry().get("mixed")
"""A sound variant of grouped tokens."""

PAIRED = registry().get("perceiver")
"""A sound variant of queries and keys, which gathers these."""

GATHERING = registry().get("transolver")
"""A sound variant that gathers and reads."""

BROKEN = {
    "config_round_trip": with_module("Rounded", config=RoundedConfig),
    "config_is_strict": with_module("Lax", config=LaxConfig),
    "bounds": with_module("Unbounded", config=UnboundedConfig),
    "help": with_module("Unexplained", config=UnexplainedConfig),
    "config_without_torch": with_module("Heavy", config=HeavyConfig),
    "options_are_read": with_module("Ignoring", config=IgnoredConfig),
    "construction": with_module("Unstructured"),
    "signature": with_module("Wider"),
    "capabilities": with_module("InNameOnly"),
    "time_exponent": attrs.evolve(SOUND, time_exponent=1),
    "memory_exponent": attrs.evolve(SOUND, memory_exponent=2),
    "result": with_module("Widening"),
    "new_tensors": with_module("AtHome"),
    "few_tokens": with_module("Squeezing"),
    "memory_layout": with_module("Viewing"),
    "inputs_unchanged": with_module("InPlace"),
    "float32": with_module("Halving"),
    "bfloat16": with_module("Cancelling"),
    "autocast": with_module("Mixing"),
    "batch_independence": with_module("Gossiping"),
    "tokens_see_each_other": with_module(
        "Deaf", capabilities=("rope", "deterministic"), time_exponent=1
    ),
    "permutation": with_module("Counting"),
    "attn_mask": with_module("BooleanMasksAlone"),
    "key_padding_mask": with_module("FaintPadding"),
    "all_keys_hidden": with_module("ByHand"),
    "rope": with_module("HalfTurned"),
    "positions": with_module("Placeless", PLACED),
    "token_specs": with_module("Groupless", PLACED),
    "context": with_module("Sequenced", PLACED),
    "attention_patterns": with_module("Patternless", GROUPED),
    "kv_cache": with_module("Forgetful", GROUPED),
    "refuses_wrong_shapes": with_module("Broadcasting"),
    "refuses_wrong_dtypes": with_module("Casting"),
    "summary": with_module("Louder", GATHERING),
    "summary_draws": with_module("Recounting", GATHERING),
    "gradients_are_right": with_module("Steeper"),
    "second_derivatives": with_module("Bending", memory_exponent=2),
    "forward_mode": with_module("Opposite", memory_exponent=2),
    "gradients_reach_parameters": with_module("Idle"),
    "no_dropout_in_evaluation": with_module("Shrinking"),
    "deterministic": with_module("Drifting"),
    "training_is_reproducible": with_module("Salted"),
    "init_modes": with_module("NeverIdentity"),
    "layers_are_called": with_module("Reading"),
    "state_dict": with_module("Rounding"),
    "copies": with_module("Unpicklable"),
    "meta_device": with_module("Looking"),
    "global_state": with_module("Seeding"),
    "compile": with_module("Logging"),
    "export": with_module("FewTokensOnly"),
}
"""By the name of the check that is to catch it."""
