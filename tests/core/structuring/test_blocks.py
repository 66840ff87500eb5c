"""Configs of transformer blocks, as the reference framework writes them."""

import pytest
from omegaconf import OmegaConf

from noether_core import ConfigError, UnknownTypeError, structure, structure_block, unstructure
from tests.core.generated import EXAMPLES

BLOCK = {
    "hidden_dim": 64,
    "num_heads": 8,
    "attention_constructor": "transolver",
    "attention_arguments": {"num_slices": 32, "dropout": 0.5},
    "use_rope": False,
    "bias": False,
    "init_weights": "xavier",
    "mlp_hidden_dim": 128,
}


def told(source):
    with pytest.raises(ConfigError) as caught:
        structure_block(source)
    return [problem.headline for problem in caught.value.problems]


def test_a_block_gives_the_config_of_its_attention_and_what_means_nothing_for_it():
    config, ignored = structure_block(BLOCK)
    assert config == structure(
        {
            "type": "transolver",
            "hidden_dim": 64,
            "num_heads": 8,
            "bias": False,
            "init_weights": "xavier",
            "num_slices": 32,
            "dropout": 0.5,
        }
    )
    assert [(problem.path, problem.value) for problem in ignored] == [("mlp_hidden_dim", 128)]
    assert (
        ignored[0].headline
        == "mlp_hidden_dim: is of the block and has no meaning for its attention"
    )


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_every_installed_variant_can_stand_in_a_block(example):
    options = unstructure(example, defaults=False)
    fields = {name: options.pop(name) for name in ("hidden_dim", "num_heads")}
    block = {**fields, "attention_constructor": options.pop("type"), "attention_arguments": options}
    assert structure_block(block) == (example, ())


@pytest.mark.parametrize(
    "arguments", [{}, {"attention_arguments": None}, {"attention_arguments": {}}]
)
def test_arguments_may_be_left_out(arguments):
    block = {"hidden_dim": 8, "num_heads": 2, "attention_constructor": "dot_product", **arguments}
    assert structure_block(block).config == structure(
        {"type": "dot_product", "hidden_dim": 8, "num_heads": 2}
    )


def test_a_field_that_may_have_been_meant_for_the_attention_says_so():
    _, ignored = structure_block({**BLOCK, "qk_norm": False, "drop_path": 0.1})
    assert {problem.path: problem.suggestion for problem in ignored} == {
        "mlp_hidden_dim": None,
        "qk_norm": "if it is meant for the attention, move it into attention_arguments",
        "drop_path": None,
    }


def test_an_option_may_be_given_twice_with_one_value_and_not_with_two():
    twice = {**BLOCK["attention_arguments"], "hidden_dim": 64, "type": "transolver", "bias": False}
    assert structure_block({**BLOCK, "attention_arguments": twice}) == structure_block(BLOCK)
    differing = {"hidden_dim": 32, "type": "flare", "bias": 0, "num_latents": 4}
    assert told({**BLOCK, "attention_arguments": differing})[:3] == [
        "attention_arguments.hidden_dim: given twice: 32 here, 64 as hidden_dim; keep one of them",
        (
            "attention_arguments.type: given twice: 'flare' here, 'transolver' as "
            "attention_constructor; keep one of them"
        ),
        "attention_arguments.bias: given twice: 0 here, False as bias; keep one of them",
    ]


def test_every_problem_is_reported_where_the_block_has_it():
    block = {
        "num_heads": 0,
        "use_rope": True,
        "attention_constructor": "transolver",
        "attention_arguments": {"num_slices": "many", "latent_init_std": 3},
    }
    assert told(block) == [
        "hidden_dim: missing: an integer of at least 1 is required",
        "num_heads: expected an integer of at least 1, got 0",
        "use_rope: expected False, got True: slices have no position to rotate by",
        "attention_arguments.num_slices: expected an integer of at least 1, got 'many'",
        (
            "attention_arguments.latent_init_std: unknown option of 'transolver'; "
            "'latent_init_std' is an option of flare"
        ),
    ]


def test_an_option_that_only_the_variant_needs_is_missing_among_its_arguments():
    block = {"hidden_dim": 8, "num_heads": 2, "attention_constructor": "irregular_nat"}
    assert told(block) == [
        "attention_arguments.input_dim: missing: an integer of at least 1 is required"
    ]


def test_an_unknown_variant_keeps_its_kind_and_gets_its_location():
    with pytest.raises(
        UnknownTypeError, match=r"^attention_constructor: 'transolvr' .* did you mean 'transolver'"
    ):
        structure_block({**BLOCK, "attention_constructor": "transolvr"})
    (problem,) = told({"hidden_dim": 8, "num_heads": 2})
    assert problem.startswith(
        "attention_constructor: missing: the name of an attention variant is required;"
    )


def test_nothing_is_imported_because_a_block_says_so():
    with pytest.raises(UnknownTypeError):
        structure_block({**BLOCK, "attention_constructor": "torch.nn.MultiheadAttention"})


def test_what_is_no_mapping_is_refused():
    assert told([BLOCK]) == [f"expected a mapping of a block's fields, got {str([BLOCK])[:56]}...]"]
    assert told({**BLOCK, "attention_arguments": ["num_slices"]}) == [
        "attention_arguments: expected a mapping of options, got ['num_slices']"
    ]


def test_a_block_of_omegaconf_is_read_with_its_interpolations():
    block = OmegaConf.create(
        {**BLOCK, "attention_arguments": {"num_slices": "${num_heads}", "hidden_dim": "???"}}
    )
    assert told(block) == [
        "attention_arguments.hidden_dim: given twice: ??? here, 64 as hidden_dim; keep one of them",
        (
            "attention_arguments.hidden_dim: expected an integer of at least 1, got ???; "
            "??? stands for a value that must be given"
        ),
    ]
    del block.attention_arguments.hidden_dim
    assert structure_block(block).config.num_slices == 8
