"""Which tokens attend to which, measured by derivatives on a small example, and drawn.

::

    from noether_core.influence import draw, influence

    found = influence("transolver", options={"num_slices": 8})
    print(found.shares)
    draw(found, "transolver.svg")

Names are imported on first use, so that importing this does without torch and matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noether_core.influence.derivatives import block_norms as block_norms
    from noether_core.influence.measuring import Influence as Influence
    from noether_core.influence.measuring import influence as influence
    from noether_core.influence.picture import draw as draw
    from noether_core.influence.picture import draw_together as draw_together
    from noether_core.influence.terminal import Style as Style
    from noether_core.influence.terminal import text as text

# The same names for run time, each with the module that it is imported from.
_MODULES = {
    "Style": "noether_core.influence.terminal",
    "Influence": "noether_core.influence.measuring",
    "block_norms": "noether_core.influence.derivatives",
    "draw": "noether_core.influence.picture",
    "draw_together": "noether_core.influence.picture",
    "influence": "noether_core.influence.measuring",
    "text": "noether_core.influence.terminal",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605  derived, so that no name stands here a third time


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(_MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
