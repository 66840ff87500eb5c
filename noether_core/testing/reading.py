"""Configs that remember which of their options somebody looked at."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig

_COPYISTS = ("attr", "attrs", "cattrs", "copy", "noether_core.schemas", "noether_core.structuring")
"""Modules that go through all options, whatever they are: comparing, copying and writing out is not
reading.
"""


def recording(config: AttentionConfig, looked_at: set[str]) -> AttentionConfig:
    """Return a config equal to *config* that adds the name of every attribute that is read to
    *looked_at*.
    """
    cls = type(config)

    def read(self: AttentionConfig, name: str) -> Any:
        reader = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001  there is no other way to the caller
        if not any(reader == copyist or reader.startswith(f"{copyist}.") for copyist in _COPYISTS):
            looked_at.add(name)
        return object.__getattribute__(self, name)

    def compared(self: AttentionConfig, other: object) -> bool:
        return isinstance(other, cls) and all(
            object.__getattribute__(self, name) == object.__getattribute__(other, name)
            for name in _fields(cls)
        )

    members = {
        "__slots__": (),
        "__getattribute__": read,
        "__eq__": compared,
        "__hash__": object.__hash__,
    }
    recorded: AttentionConfig = object.__new__(type(cls.__name__, (cls,), members))
    for name in _fields(cls):
        object.__setattr__(recorded, name, getattr(config, name))
    return recorded


def _fields(cls: type) -> tuple[str, ...]:
    import attrs

    return tuple(field.name for field in attrs.fields(cls))
