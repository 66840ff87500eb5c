"""All checks, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noether_core.testing.checks.arguments import (
    check_attention_patterns,
    check_attn_mask,
    check_key_padding_mask,
    check_kv_cache,
    check_nothing_to_read,
    check_positions,
    check_rope,
    check_token_specs,
)
from noether_core.testing.checks.compiling import check_compile, check_export
from noether_core.testing.checks.configs import (
    check_bounds,
    check_config_is_strict,
    check_config_round_trip,
    check_config_without_torch,
    check_help,
)
from noether_core.testing.checks.costs import check_memory_exponent, check_time_exponent
from noether_core.testing.checks.derivatives import check_forward_mode, check_second_derivatives
from noether_core.testing.checks.options import check_options_are_read
from noether_core.testing.checks.record import (
    check_capabilities,
    check_construction,
    check_signature,
)
from noether_core.testing.checks.refusals import (
    check_refuses_wrong_dtypes,
    check_refuses_wrong_shapes,
)
from noether_core.testing.checks.results import (
    check_autocast,
    check_bfloat16,
    check_few_tokens,
    check_float32,
    check_inputs_unchanged,
    check_memory_layout,
    check_new_tensors,
    check_result,
)
from noether_core.testing.checks.state import (
    check_copies,
    check_global_state,
    check_meta_device,
    check_state_dict,
)
from noether_core.testing.checks.tokens import (
    check_batch_independence,
    check_permutation,
    check_tokens_see_each_other,
)
from noether_core.testing.checks.training import (
    check_deterministic,
    check_gradients_are_right,
    check_gradients_reach_parameters,
    check_init_modes,
    check_no_dropout_in_evaluation,
    check_training_is_reproducible,
)
from noether_core.testing.promises import CheckFunction, capabilities_of

if TYPE_CHECKING:
    from noether_core.hookspecs import AttentionVariant

CHECKS: tuple[CheckFunction, ...] = (
    check_config_round_trip,
    check_config_is_strict,
    check_bounds,
    check_help,
    check_config_without_torch,
    check_options_are_read,
    check_construction,
    check_signature,
    check_capabilities,
    check_time_exponent,
    check_memory_exponent,
    check_result,
    check_new_tensors,
    check_few_tokens,
    check_memory_layout,
    check_inputs_unchanged,
    check_float32,
    check_bfloat16,
    check_autocast,
    check_batch_independence,
    check_tokens_see_each_other,
    check_permutation,
    check_attn_mask,
    check_key_padding_mask,
    check_nothing_to_read,
    check_rope,
    check_positions,
    check_token_specs,
    check_attention_patterns,
    check_kv_cache,
    check_refuses_wrong_shapes,
    check_refuses_wrong_dtypes,
    check_gradients_reach_parameters,
    check_gradients_are_right,
    check_second_derivatives,
    check_forward_mode,
    check_no_dropout_in_evaluation,
    check_deterministic,
    check_training_is_reproducible,
    check_init_modes,
    check_state_dict,
    check_copies,
    check_meta_device,
    check_global_state,
    check_compile,
    check_export,
)


def name_of(check: CheckFunction) -> str:
    """Return what a report calls a check."""
    return check.__name__.removeprefix("check_")


def sentence_of(check: CheckFunction) -> str:
    """Return the contract of a check: the first line of its docstring."""
    return (check.__doc__ or "").strip().partition("\n")[0]


def implied_by(variant: AttentionVariant) -> tuple[CheckFunction, ...]:
    """Return the checks that a record asks for: those of every variant, and those of what it
    declares.
    """
    return tuple(
        check
        for check in CHECKS
        if not capabilities_of(check) or set(capabilities_of(check)) & set(variant.capabilities)
    )
