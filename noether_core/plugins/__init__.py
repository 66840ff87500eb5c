"""Which package provides which type.

Nothing is imported here: `noether_core.plugins.metadata` must cost little enough for ``--help``.
"""
