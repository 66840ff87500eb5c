"""The pictures of attention in docs/images: ``python -m tests.docs.attention_pictures`` draws them.

One for the page of each variant that ships with Noether, and one of all for the table of them.
"""

from __future__ import annotations

from noether_core import registry
from noether_core.influence import draw, draw_together, influence
from tests.fresh_environment import ROOT

FOLDER = ROOT / "docs" / "images"
OVERVIEW = FOLDER / "attention.svg"
TITLE = "Which tokens attend to which, in examples of 32 tokens, with initial weights"


def file_of(name):
    """Return the file of a variant's picture."""
    return FOLDER / f"attention-{name}.svg"


def main():
    """Draw all of them."""
    names = [
        entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
    ]
    found = [influence(name) for name in names]
    for name, one in zip(names, found, strict=True):
        draw(one, file_of(name))
    draw_together([influence(name, tokens=32) for name in names], OVERVIEW, TITLE)


if __name__ == "__main__":
    main()
