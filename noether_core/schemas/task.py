"""What every task config is made of; the concrete ones live beside their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.open_config import OpenConfig, with_extra


@attrs.frozen(kw_only=True)
class TaskConfig(OpenConfig):
    """Options of every task; made directly, the open schema that keeps all others.

    A subclass is a *concrete* config: it declares the options of one task, and its ``type`` is a
    literal::

        @attrs.frozen(kw_only=True)
        class PipeConfig(TaskConfig):
            type: Literal["acme_pipe"] = "acme_pipe"

            n_train: Annotated[int, Ge(1)] = 256
            "Pipes to learn from."

    Args:
        **options: The fields below, and for the open schema options of any task, which `extra`
            keeps.

    Raises:
        ConfigError: If an option has the wrong type, is out of bounds or contradicts another.
        TypeError: If a required option is missing.
    """

    plugin_group: ClassVar[str] = "noether.task"
    extra_field: ClassVar[str | None] = "extra"

    type: str
    """Which task; any installed package may provide it. ``distribution:type`` names the package
    too.
    """

    extra: Mapping[str, Any] = EMPTY
    """Options of other tasks, kept and not read."""

    def __init__(self, *, extra: Mapping[str, Any] = EMPTY, **options: Any) -> None:
        # attrs names its own __init__ so where a class brings one
        self.__attrs_init__(**with_extra(TaskConfig, options, extra))  # type: ignore[attr-defined]
