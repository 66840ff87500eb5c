"""``noether run`` and ``noether predict``: a transformer, with any attention, learns any task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noether_plugins.workbench.saved import Run as Run
    from noether_plugins.workbench.saved import load_run as load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: the commands describe themselves without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from noether_plugins.workbench import saved

    return getattr(saved, name)
