"""``python -m noether_core`` is ``noether``."""

from noether_core.cli import script

script()
