"""What one plugin does when it is imported: run in a process of its own, which it may spoil as it
likes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from importlib.util import find_spec
from typing import Any

from noether_core.errors import NoetherError, PluginError
from noether_core.hookspecs import AttentionVariant
from noether_core.plugins.diagnosis.classes import complaint_about
from noether_core.plugins.imports import describe, import_object
from noether_core.plugins.metadata import ATTENTION, COMMAND, EXTENSION, EntryPoint, Index
from noether_core.plugins.registry import IN_PROCESS, Registry, registry


def main(task: str, report: str) -> None:
    """Do what *task* says, write what came of it to the file *report*, and leave without a look
    back.
    """
    given = json.loads(task)
    module = given.pop("module")
    try:
        facts = _facts(**given)
    except KeyboardInterrupt as error:
        facts = {
            "reason": f"{module} raises {describe(error)} when it is imported, which ends every program that uses it"
        }
    except BaseException as error:  # noqa: BLE001  nothing that a plugin does may keep us from telling it
        facts = {"reason": f"{module} cannot be looked at: {describe(error)}"}
    with open(report, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    with contextlib.suppress(Exception):  # the plugin may have replaced it by anything
        sys.stdout.flush()
    os._exit(
        0
    )  # threads that the plugin has started, and what it wants done at the end, are no concern of ours


def _facts(entry: list[str], *, is_deep: bool) -> dict[str, Any]:
    """Return what became of a plugin, or of a module in ``NOETHER_REGISTER`` where *entry* is
    empty.
    """
    before, had_torch = set(_registered()) if entry else set(), "torch" in sys.modules
    started = time.perf_counter()
    facts = _used(EntryPoint(*entry)) if entry else _imported()
    facts["milliseconds"] = round((time.perf_counter() - started) * 1000, 1)
    facts["imports_torch"] = "torch" in sys.modules and not had_torch
    facts["registered"] = sorted(set(_registered()) - before)
    variant = facts.pop("variant", None)
    if variant is not None:
        facts |= {
            "api_version": variant.api_version,
            "complaint": _complaint(variant, is_deep=is_deep),
        }
    return facts


def _registered() -> list[str]:
    return [entry.name for entry in registry().providers() if entry.distribution == IN_PROCESS]


def _imported() -> dict[str, Any]:
    """Let the registry import the modules that ``NOETHER_REGISTER`` names."""
    registry().providers()
    faults = [fault.reason for fault in registry().faults if fault.origin == "NOETHER_REGISTER"]
    return {"reason": "; ".join(faults) or None}


def _used(entry: EntryPoint) -> dict[str, Any]:
    """Import a plugin as those who use it do, and return its variant, if it has one, or why there
    is none.
    """
    try:
        return {"variant": _answer(entry)}
    except PluginError as error:
        cause = (
            error.__cause__ if entry.group == EXTENSION else None
        )  # what it says besides, doctor says as well
        return {"reason": cause.reason if isinstance(cause, PluginError) else error.reason}
    except NoetherError as error:
        return {"reason": str(error)}


def _answer(entry: EntryPoint) -> AttentionVariant | None:
    if entry.group == ATTENTION:
        return registry().get(entry.qualified_name)
    if entry.group == COMMAND:
        registry().add_command(entry, argparse.ArgumentParser())
    else:
        Registry(index=Index((entry,), (), ())).loaded_extensions()
    return None


def _complaint(variant: AttentionVariant, *, is_deep: bool) -> str | None:
    """Return what is wrong with the module class of a variant, or None where nothing is."""
    if not is_deep or find_spec("torch") is None:  # that torch is absent is said once, elsewhere
        return complaint_about(variant.module)
    try:
        return _complaint_of_use(variant)
    except PluginError as error:
        return error.reason
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  a class may fail in any way
        return f"{variant.module} makes nothing of its example: {describe(error)}"


def _complaint_of_use(variant: AttentionVariant) -> str | None:
    """Import the class, which brings torch along, and make a module of the example."""
    found = import_object(variant.module, variant.type)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(found, type) or not issubclass(found, torch.nn.Module):
        return f"{variant.module} is no subclass of torch.nn.Module"
    config = variant.example_config()
    if getattr(found(config), "config", None) != config:
        return f"{variant.module} does not keep the config that it is made from as 'config'"
    return None
