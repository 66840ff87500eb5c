"""Pages of variants say what their code says, and that of building blocks leaves none out."""

import json
import re

import pytest
import yaml

import noether_core.nn
from noether_core import AttentionConfig, ConfigError, build, json_schema, registry, structure
from noether_core.schemas.schema import plan_of
from tests.docs.attention_pictures import file_of
from tests.docs.pages import blocks
from tests.fresh_environment import ROOT

FOLDER = ROOT / "docs" / "variants"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
BUILDING_BLOCKS = (ROOT / "docs" / "nn.md").read_text(encoding="utf-8")
SECTIONS = ["Formula", "Options", "Use", "Weights", "Cost", "Good to know", "Reference"]
HELD_BY_ALL = ("deterministic", "permutation")
"""Capabilities that are no argument of a call, and that every variant has."""

ARGUMENTS = {
    "rope": "freqs=",
    "token_specs": "TokenSpec(",
    "attention_patterns": "AttentionPattern(",
    "summary": ".gather(",
}

NAMES = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]
VARIANTS = {name: registry().get(name) for name in NAMES}
SHARED = plan_of(AttentionConfig).options - {"type"}

every_variant = pytest.mark.parametrize("name", NAMES)


def page_of(name):
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def sections_of(page):
    """Return the text under every heading of a page."""
    _, *parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows_of(text):
    """Return the cells of every table in *text*, row by row, without heads."""
    tables = re.findall(r"^\|[-|]+\|\n((?:\|.*\|\n)*)", text, flags=re.MULTILINE)
    return [
        [cell.strip() for cell in row[1:-1].split("|")]
        for table in tables
        for row in table.splitlines()
    ]


def names_in(text):
    return re.findall(r"`([^`]+)`", text)


def code_of(name, language):
    (text,) = (block.text for block in blocks(page_of(name)) if block.language == language)
    return text


def options_told(text):
    """Return what a table of options says of each: the values it accepts, and its default."""
    return {
        names_in(option)[0]: (accepts, default) for option, accepts, default, _ in rows_of(text)
    }


def options_of(config, schema):
    """Return the same as the config and its schema say it, the default as documents write it."""
    expected = {field.option: field.expected for field in plan_of(config).fields}
    defaults = {
        option: "required" if option in schema["required"] else f"`{json.dumps(facts['default'])}`"
        for option, facts in schema["properties"].items()
        if option != "type"
    }
    return {option: (expected[option], default) for option, default in defaults.items()}


def refusal_of(name, option):
    """Return why a variant refuses an option that all share, or None where it takes it."""
    try:
        structure({**VARIANTS[name].example, "type": name, option: True})
    except ConfigError as error:
        return error.problems[0].message.rpartition(": ")[2]
    return None


def example_of(name, **options):
    """Return a module with every weight that its options can give it, and sizes that differ."""
    sizes = {"hidden_dim": 15, "num_heads": 3, "num_slices": 7, "num_latents": 11, "kv_dim": 13}
    sizes["context_dim"] = 17
    sizes = {
        option: size
        for option, size in sizes.items()
        if option in plan_of(VARIANTS[name].config).options
    }
    norms = {} if refusal_of(name, "qk_norm") else {"qk_norm": True}
    return build(name, **{**VARIANTS[name].example, **sizes, **norms, **options})


def weights_told(name):
    """Return the names and shapes in the table of weights, as text."""
    rows = rows_of(sections_of(page_of(name))["Weights"])
    return {
        weight: names_in(shape)[0] for weights, shape, _ in rows for weight in names_in(weights)
    }


def numbered(weight):
    """Return the name of a weight as a page writes it for all layers of a list."""
    return re.sub(r"\.\d+\.", ".{i}.", weight)


def test_every_page_is_that_of_a_variant():
    assert {page.stem for page in FOLDER.glob("*.md")} == {*NAMES, "README"}


@every_variant
def test_a_page_has_its_type_for_a_title_and_the_same_sections_as_all(name):
    assert page_of(name).startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page_of(name), flags=re.MULTILINE) == SECTIONS


@every_variant
def test_the_options_are_those_of_the_config(name):
    options = options_of(VARIANTS[name].config, json_schema(name))
    own = {option: facts for option, facts in options.items() if option not in SHARED}
    assert options_told(sections_of(page_of(name))["Options"]) == own


@every_variant
@pytest.mark.parametrize("option", ["use_rope", "qk_norm"])
def test_a_page_says_which_shared_options_are_refused_and_why(name, option):
    text = " ".join(sections_of(page_of(name))["Options"].split())
    reason = refusal_of(name, option)
    is_told = f"`{option}` is refused, because" in text or f"and `{option}`, because" in text
    assert is_told == (reason is not None)
    assert reason is None or reason in text


@every_variant
def test_the_config_on_a_page_is_one(name):
    assert structure(yaml.safe_load(code_of(name, "yaml"))).type == name


@every_variant
def test_the_code_on_a_page_gives_the_module_all_that_it_honours(name):
    code = code_of(name, "python")
    honoured = [
        capability for capability in VARIANTS[name].capabilities if capability not in HELD_BY_ALL
    ]
    assert [
        capability
        for capability in honoured
        if ARGUMENTS.get(capability, f"{capability}=") not in code
    ] == []
    assert "\nassert " in code


@every_variant
def test_the_weights_are_those_of_the_module(name):
    module, told = example_of(name), weights_told(name)
    options = plan_of(VARIANTS[name].config).options
    sizes = {option: getattr(module.config, option) for option in options} | {
        "inner": module.config.hidden_dim
    }

    for weight, tensor in module.state_dict().items():
        shape = told[weight if weight in told else numbered(weight)].strip("()")
        symbols = shape.split(", ") if shape else []
        assert tuple(size_of(symbol, sizes) for symbol in symbols) == tensor.shape, weight


def size_of(symbol, sizes):
    """Return a size that a page writes as a number, an option, or a multiple of one."""
    factor, _, name = symbol.rpartition(" ")
    return int(factor or 1) * int(sizes.get(name, name))


OTHER_WEIGHTS = {
    "flare": {"num_layers_k_proj": -1, "num_layers_v_proj": -1},
    "flare_plusplus": {"share_k0_v0": False},
    "gale": {"mixing": "concat_project"},
    "gale_flare": {"mixing": "concat_project"},
}
"""Options with which modules have weights that others have not."""


@every_variant
def test_no_page_names_a_weight_that_does_not_exist(name):
    weights = example_of(name).state_dict().keys()
    if name in OTHER_WEIGHTS:
        weights |= example_of(name, **OTHER_WEIGHTS[name]).state_dict().keys()
    assert weights_told(name).keys() <= weights | {numbered(weight) for weight in weights}


@every_variant
def test_the_reference_is_that_of_the_record(name):
    (paper,) = re.findall(r"arXiv [\d.]+", VARIANTS[name].reference)
    assert paper in sections_of(page_of(name))["Reference"]


def test_the_index_has_a_row_for_every_variant_with_its_interface_and_capabilities():
    rows = {
        row[0]: (row[1], [*names_in(row[5]), *HELD_BY_ALL])
        for row in rows_of(INDEX)
        if row[0].startswith("[")
    }
    assert rows == {
        f"[`{name}`]({name}.md)": (variant.interface, list(variant.capabilities))
        for name, variant in VARIANTS.items()
    }


def test_the_index_names_the_options_that_all_share():
    told = options_told(sections_of(INDEX)["Options that all share"])
    options = options_of(VARIANTS["dot_product"].config, json_schema("dot_product"))
    assert told == {option: facts for option, facts in options.items() if option in SHARED}


@pytest.mark.parametrize("name", noether_core.nn.__all__)
def test_the_page_of_building_blocks_names_each(name):
    assert re.search(rf"`{name}[`(]", BUILDING_BLOCKS)


@every_variant
def test_a_page_has_a_small_picture_of_its_type_with_words_for_who_cannot_see_it(name):
    (alt, path) = re.search(r"^!\[(.+)\]\((.+)\)$", page_of(name), flags=re.MULTILINE).groups()
    picture = (FOLDER / path).resolve()

    assert picture == file_of(name)
    assert f">{name}: which tokens attend to which</text>" in picture.read_text(encoding="utf-8")
    assert picture.stat().st_size < 30_000
    assert alt.startswith(f"Which tokens attend to which in {name}: ")
