"""The kit for authors of variants: checks of everything that a variant promises.

``pytest --noether acme_foo`` runs them, so does a subclass of `VariantTests`, and so does a
script::

    from noether_core.testing import check_variant

    print(check_variant("acme_foo"))
"""

from __future__ import annotations

from noether_core.reports import Outcome, Report, load_reports, save_reports
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
from noether_core.testing.contract import CHECKS
from noether_core.testing.failures import CheckFailed, NotApplicable
from noether_core.testing.running import check_variant
from noether_core.testing.subject import Subject
from noether_core.testing.variant_tests import VariantTests

__all__ = [
    "CHECKS",
    "CheckFailed",
    "NotApplicable",
    "Outcome",
    "Report",
    "Subject",
    "VariantTests",
    "check_attention_patterns",
    "check_attn_mask",
    "check_autocast",
    "check_batch_independence",
    "check_bfloat16",
    "check_bounds",
    "check_capabilities",
    "check_compile",
    "check_config_is_strict",
    "check_config_round_trip",
    "check_config_without_torch",
    "check_construction",
    "check_copies",
    "check_deterministic",
    "check_export",
    "check_few_tokens",
    "check_float32",
    "check_forward_mode",
    "check_global_state",
    "check_gradients_are_right",
    "check_gradients_reach_parameters",
    "check_help",
    "check_init_modes",
    "check_inputs_unchanged",
    "check_key_padding_mask",
    "check_kv_cache",
    "check_memory_exponent",
    "check_memory_layout",
    "check_meta_device",
    "check_new_tensors",
    "check_no_dropout_in_evaluation",
    "check_nothing_to_read",
    "check_options_are_read",
    "check_permutation",
    "check_positions",
    "check_refuses_wrong_dtypes",
    "check_refuses_wrong_shapes",
    "check_result",
    "check_rope",
    "check_second_derivatives",
    "check_signature",
    "check_state_dict",
    "check_time_exponent",
    "check_token_specs",
    "check_tokens_see_each_other",
    "check_training_is_reproducible",
    "check_variant",
    "load_reports",
    "save_reports",
]
