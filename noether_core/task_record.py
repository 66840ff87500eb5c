"""What a plugin says of a task: its config, and where its class is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import attrs
from annotated_types import Ge

from noether_core.hookspecs import ConfigClass, PluginRecord
from noether_core.schemas.frozen_mapping import EMPTY
from noether_core.schemas.task import TaskConfig

TaskConfigClass = type[TaskConfig]


@attrs.frozen(kw_only=True)
class TaskRecord(PluginRecord):
    """What a plugin offers: the config of one task, and where its class is.

    Raises:
        ConfigError: If a field is wrong, or the config class cannot serve: not frozen, not slotted,
            not keyword-only, not decorated, or without a literal ``type``.
    """

    open_config: ClassVar[ConfigClass] = TaskConfig
    module_path: ClassVar[str] = "an import path such as 'acme_pipe.task:PipeTask'"

    config: TaskConfigClass
    """The concrete config class. Its file imports no numpy."""

    module: str
    """Import path of the `noether_core.tasks.Task`: ``acme_pipe.task:PipeTask``."""

    summary: str = ""
    """What is to be learnt, in one line; the first line of the config's docstring where it is left
    out.
    """

    reference: str = ""
    """Where the problem, or its data, was published."""

    example: Mapping[str, Any] = EMPTY
    """Options of a small config, without ``type``, whose samples are made in a second.

    Where it is left out, it is made of small values that the annotations of the required options
    accept. A config whose options must agree in ways that no annotation says needs it.
    """

    api_version: Annotated[int, Ge(1)] = 1
    """The `hookspec_version` that the plugin was written for."""
