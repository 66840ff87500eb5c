"""The page of performance shows what the benchmarks promise, for every subject."""

import re
from collections.abc import Iterator

import pytest

from tests.benchmarks.page import marked
from tests.benchmarks.subjects import LONG, SUBJECTS, planned
from tests.benchmarks.tables import markdown
from tests.fresh_environment import ROOT

PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
SECTIONS = dict(marked(PAGE))
FIXED = (
    "ours / reference",
    "exponent",
    "bound",
    "budget",
    "variant",
    "what",
    "tokens",
    "over tokens",
    "type",
    "seeds",
)
"""Columns that say what was measured and what was promised, rather than what was found."""


def rows(text: str) -> Iterator[tuple[str, ...]]:
    """Yield of every row the cells that no measurement changes."""
    for head, body in re.findall(
        r"^\| (.+) \|\n\|[-:|]+\|\n((?:\|.*\|\n)+)", text, flags=re.MULTILINE
    ):
        names = head.split(" | ")
        for row in body.splitlines():
            cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
            yield tuple(cell for name, cell in zip(names, cells, strict=True) if name in FIXED)


def test_every_subject_has_a_place_on_the_page():
    assert sorted(SECTIONS) == sorted([*SUBJECTS, *LONG, "pictures"])


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script:DeprecationWarning"
)  # of x-transformers, at its import
@pytest.mark.parametrize("subject", [*SUBJECTS, *LONG])
def test_the_page_shows_what_is_promised(subject):
    results, _ = planned(subject, quick=False)
    assert list(rows(SECTIONS[subject])) == list(rows("\n".join(markdown(results))))


@pytest.mark.parametrize("subject", [*SUBJECTS, *LONG])
def test_the_page_says_on_what_it_was_measured(subject):
    measured = r"^Measured on (CPU|CUDA)\b.*, \d+ threads of \d+ cores, .*, torch \d"
    assert re.search(measured, SECTIONS[subject], re.MULTILINE)


def test_pictures_show_time_and_memory_of_every_family():
    shown = re.findall(r"\]\((images/performance-\w+\.svg)\)", SECTIONS["pictures"])
    families = {
        result.family for result in planned("peers", quick=False)[0] if hasattr(result, "family")
    }
    assert sorted(shown) == sorted(f"images/performance-{family}.svg" for family in families)
    for file in shown:
        assert "memory, forward and backward" in (ROOT / "docs" / file).read_text(encoding="utf-8")
