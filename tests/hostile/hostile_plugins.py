"""Plugins that do everything wrong, as the modules of packages that tests install."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.light_environment import indented, task_source, variant_source, write_wheel


@attrs.frozen(kw_only=True)
class Hostile:
    """A package with one plugin, and what is to be said of it."""

    type: str
    """Its type; the module is called ``hostile_TYPE``, the distribution ``hostile-TYPE``."""

    group: str = "noether.attention"
    """The group of its entry point."""

    before: str = ""
    """What its module does before it describes a sound variant."""

    instead: str | None = None
    """What its module holds instead."""

    reason: str = ""
    """How the reason starts why it cannot be used, after the name of the module."""

    found: str = "import"
    """The check of ``noether doctor`` that finds it."""

    severity: str = "error"
    """How bad that is."""

    @property
    def module(self) -> str:
        return f"hostile_{self.type}"

    @property
    def distribution(self) -> str:
        return f"hostile-{self.type.replace('_', '-')}"

    def wheel(self, folder: Path) -> Path:
        """Write the package as a wheel."""
        sound = variant_source(self.type, module=f"{self.module}_module:Module")
        source = indented(self.before) + sound if self.instead is None else indented(self.instead)
        files = {f"{self.module}.py": source, f"{self.module}_module.py": indented(SOUND_MODULE)}
        plugins = {self.type: self.module}
        return write_wheel(folder, self.distribution, files, group=self.group, plugins=plugins)


SOUND_MODULE = """
from torch import nn


class Module(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
"""

_HOOK = """
from noether_core import hookimpl


@hookimpl
def noether_attention_variant():
    {body}
"""


def _hook(body: str) -> str:
    return indented(_HOOK).format(body=body)


BROKEN = [
    Hostile(
        type="raises",
        before="raise OSError('no disk')",
        reason="cannot be imported: OSError: no disk",
    ),
    Hostile(type="exits", before="raise SystemExit(3)", reason="cannot be imported: SystemExit: 3"),
    Hostile(
        type="exits_well",
        before="import sys; sys.exit()",
        reason="cannot be imported: SystemExit: ",
    ),
    Hostile(
        type="stops",
        before="class Stop(BaseException): ...\nraise Stop('now')",
        reason="cannot be imported: Stop: now",
    ),
    Hostile(
        type="leaves",
        before="raise GeneratorExit",
        reason="cannot be imported: GeneratorExit: ",
    ),
    Hostile(
        type="mute",
        before="class Mute(Exception):\n    def __str__(self): raise SystemError\nraise Mute",
        reason="cannot be imported: Mute",
    ),
    Hostile(
        type="recurses", before="def f(): f()\nf()", reason="cannot be imported: RecursionError: "
    ),
    Hostile(type="misspelt", instead="def f(:", reason="cannot be imported: SyntaxError: "),
    Hostile(
        type="incomplete",
        before="import nowhere_at_all",
        reason="cannot be imported: ModuleNotFoundError: No module named",
    ),
    Hostile(type="empty", instead="", reason="implements no hook 'noether_attention_variant'"),
    Hostile(
        type="misnamed",
        instead=(
            "from noether_core import hookimpl\n@hookimpl\ndef noether_attention_varient(): ..."
        ),
        reason="unknown hook 'noether_attention_varient'",
    ),
    Hostile(
        type="wraps",
        instead=_hook("yield").replace("@hookimpl", "@hookimpl(wrapper=True)"),
        reason="implements noether_attention_variant as a wrapper, and there is nothing to wrap",
    ),
    Hostile(type="gives_none", instead=_hook("return None"), reason="returns None from its hook"),
    Hostile(
        type="gives_text", instead=_hook("return 'flare'"), reason="returns 'flare' from its hook"
    ),
    Hostile(type="gives_class", instead=_hook("return hookimpl"), reason="returns <pluggy"),
    Hostile(
        type="hook_exits",
        instead=_hook("raise SystemExit"),
        reason="fails in noether_attention_variant: SystemExit: ",
    ),
    Hostile(
        type="other_type",
        instead=variant_source("flare", module="hostile_other_type_module:Module"),
        reason="has a config of the type 'flare'; name the entry point so",
    ),
    Hostile(
        type="too_new",
        instead=variant_source("too_new", api_version=99),
        reason="was written for version 99 of the plugin contract, and this is version ",
    ),
    Hostile(
        type="torn_task",
        group="noether.task",
        before="raise OSError('no disk')",
        reason="cannot be imported: OSError: no disk",
    ),
    Hostile(
        type="task_gives_variant",
        group="noether.task",
        instead=variant_source("task_gives_variant")
        + indented(
            """
            @hookimpl
            def noether_task():
                return noether_attention_variant()
            """
        ),
        reason="returns AttentionVariant(",
    ),
    Hostile(
        type="newer_task",
        group="noether.task",
        instead=task_source("newer_task", api_version=99),
        reason="was written for version 99 of the plugin contract, and this is version ",
    ),
    Hostile(
        type="asks_itself",
        before="from noether_core import registry\nregistry().get('asks_itself')",
        reason=(
            "cannot be imported: PluginError: 'asks_itself' of hostile-asks-itself 1.0: "
            "hostile_asks"
        ),
    ),
]
"""Plugins that cannot be used, and whose failure leaves the program as it was."""

ENDING = [
    Hostile(
        type="hangs",
        before="import time\ntime.sleep(600)",
        reason="does not come back from its import within 12 seconds",
    ),
    Hostile(
        type="dies",
        before="import os\nos._exit(7)",
        reason="ends the process that imports it, with status 7",
    ),
    Hostile(
        type="crashes",
        before="import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
        reason="ends the process that imports it, with signal 11",
    ),
    Hostile(
        type="interrupts",
        before="raise KeyboardInterrupt",
        reason=(
            "raises KeyboardInterrupt:  when it is imported, which ends every program that uses it"
        ),
    ),
    Hostile(
        type="hook_interrupts",
        instead=_hook("raise KeyboardInterrupt"),
        reason=(
            "raises KeyboardInterrupt:  when it is imported, which ends every program that uses it"
        ),
    ),
    Hostile(
        type="waits_for_itself",
        before="""
            import threading
            from noether_core import registry
            thread = threading.Thread(target=lambda: registry().get('waits_for_itself'))
            thread.start()
            thread.join()
        """,
        reason="does not come back from its import within 12 seconds",
    ),
]
"""Plugins that end whoever imports them, which no library can help: nothing else imports them."""

ODD = [
    Hostile(
        type="brings_torch",
        before="import torch",
        found="torch",
        severity="warning",
        reason="imports torch, so that whatever reads a config of it waits for torch",
    ),
    Hostile(
        type="slow",
        before="import time\ntime.sleep(0.7)",
        found="slow-import",
        severity="warning",
        reason="is slow to import: ",
    ),
    Hostile(
        type="prints",
        before="print('[]')",
        found="output",
        severity="warning",
        reason="prints when it is imported, into what commands print: '[]'",
    ),
    Hostile(
        type="registers",
        instead=variant_source("registers", module="hostile_registers_module:Module")
        + indented(
            """
            from noether_core import registry


            @attrs.frozen(kw_only=True)
            class Other(AttentionConfig):
                type: Literal["registered"] = "registered"


            registry().register(attrs.evolve(noether_attention_variant(), config=Other))
            """
        ),
        found="registers",
        severity="warning",
        reason="registers 'registered' in the process when it is imported, and only then",
    ),
]
"""Plugins that can be used, and hold a surprise."""

SOUND = Hostile(type="sound")


def wheels(folder: Path, *plugins: Hostile) -> list[Path]:
    """Write packages as wheels."""
    return [plugin.wheel(folder) for plugin in plugins]


def by_type(plugins: list[Hostile]) -> Mapping[str, Hostile]:
    """Return plugins by their type."""
    return {plugin.type: plugin for plugin in plugins}
