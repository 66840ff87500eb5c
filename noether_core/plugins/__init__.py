"""Which package provides which type."""

from noether_core.plugins.index import EntryPoint, Fault, Index, scan
from noether_core.plugins.registry import Registry, registry

__all__ = ["EntryPoint", "Fault", "Index", "Registry", "registry", "scan"]
