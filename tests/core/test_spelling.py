"""The name that a misspelt one was meant to be."""

from __future__ import annotations

import string
from random import Random

import pytest

from noether_core import registry
from noether_core.schemas.schema import plan_of
from noether_core.spelling import did_you_mean, nearest

NAMES = ("num_slices", "num_heads", "hidden_dim", "GELU", "SILU")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("num_slice", "num_slices"),
        ("num_slices", "num_slices"),
        ("NUM_HEADS", "num_heads"),
        ("gelu", "GELU"),
        ("hiden_dim", "hidden_dim"),
        ("zzz", None),
        ("", None),
        ("num_slices" * 100, None),
        (3, None),
        (None, None),
        (["num_slices"], None),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case_and_only_where_one_is_near(name, meant):
    assert nearest(name, NAMES) == meant
    assert did_you_mean(name, NAMES) == (None if meant is None else f"did you mean '{meant}'?")


def test_very_long_names_are_not_compared():
    assert nearest("x" * 200, ["x" * 199]) == "x" * 199
    assert nearest("x" * 201, ["x" * 200]) is None


def test_of_no_names_none_is_near():
    assert nearest("num_heads", ()) is None


def test_names_may_come_once():
    assert nearest("num_head", iter(NAMES)) == "num_heads"


def _misspelt(name, random):
    """Edit a name once or twice: a letter left out, added or replaced, or two exchanged."""
    for _ in range(random.choice((1, 2))):
        place, letter = random.randrange(len(name)), random.choice(string.ascii_lowercase + "_")
        before, after = name[:place], name[place:]
        kind = random.choice(("leave out", "add", "replace", "exchange"))
        if kind == "leave out" and len(name) > 1:
            name = before + after[1:]
        elif kind == "exchange":
            name = before + after[1:2] + after[:1] + after[2:]
        else:
            name = before + letter + (after[1:] if kind == "replace" else after)
    return name


def test_of_500_typos_in_types_and_options_at_least_95_in_100_are_understood():
    random = Random(7)
    types = registry().types()
    families = [types, *(sorted(plan_of(registry().get(name).config).options) for name in types)]
    typos = []
    while len(typos) < 500:
        names = random.choice(families)
        name = random.choice(names)
        typo = _misspelt(name, random)
        if typo not in names:
            typos.append(nearest(typo, names) == name)
    assert sum(typos) >= 475


def test_a_variant_may_be_spelt_as_its_paper_does():
    types = ["flare", "flare_plusplus", "transolver", "transolver_plusplus"]
    assert nearest("FLARE++", types) == "flare_plusplus"
    assert nearest("Transolver++", types) == "transolver_plusplus"
