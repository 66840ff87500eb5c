"""An import of core stays as small as it was, but for a quarter."""

import pytest

from tests.import_sizes import IMPORTS, counts_of, growths, recorded

REMEDY = "grew by more than a quarter; if that has to be, run python -m tests.import_sizes"


@pytest.mark.parametrize("name", IMPORTS)
def test_an_import_grows_by_a_quarter_at_most(name):
    grown = list(growths(recorded()[name], counts_of(IMPORTS[name])))
    assert not grown, f"the import of {name} {REMEDY}: {'; '.join(grown)}"


def test_what_is_recorded_is_what_is_measured():
    assert list(recorded()) == list(IMPORTS)


def test_a_count_that_grows_by_more_is_told():
    before = {"modules of ours": 8, "modules of others": 40}
    assert list(growths(before, {"modules of ours": 10, "modules of others": 50})) == []
    assert list(growths(before, {"modules of ours": 11, "modules of others": 51})) == [
        "modules of ours: 8 -> 11",
        "modules of others: 40 -> 51",
    ]


def test_modules_of_others_are_counted():
    alone = counts_of(IMPORTS["noether_core"])
    more = counts_of(f"{IMPORTS['noether_core']}; import wave, noether_core.spelling")
    assert more["modules of others"] > alone["modules of others"]
    assert more["modules of ours"] > alone["modules of ours"]
    assert more["bytes of ours"] > alone["bytes of ours"]
