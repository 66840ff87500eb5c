"""``python -m noether_core.cli`` is ``noether``."""

from noether_core.cli import script

script()
