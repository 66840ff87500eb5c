"""What one plugin does when it is imported; run in a process of its own, which it may spoil."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from noether_core.errors import NoetherError, PluginError
from noether_core.hookspecs import PluginRecord
from noether_core.plugins.imports import describe, file_of, import_object
from noether_core.plugins.metadata import COMMAND, EXTENSION, KINDS, TASKS, EntryPoint, Index
from noether_core.plugins.registry import IN_PROCESS, Registry, registry
from noether_core.spelling import did_you_mean


def main(task: str, report: str) -> None:
    """Do what *task* says, write what came of it to the file *report*, and leave at once."""
    given = json.loads(task)
    module = given.pop("module")
    try:
        facts = _facts(**given)
    except KeyboardInterrupt as error:
        ends = "when it is imported, which ends every program that uses it"
        facts = {"reason": f"{module} raises {describe(error)} {ends}"}
    except BaseException as error:  # noqa: BLE001  nothing that a plugin does may keep us from reporting it
        facts = {"reason": f"{module} cannot be looked at: {describe(error)}"}

    with open(report, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    with contextlib.suppress(Exception):  # the plugin may have replaced it by anything
        sys.stdout.flush()
    # not sys.exit: threads that the plugin started, and what it wants done at the end, would go on
    os._exit(0)


def _facts(entry: list[str], *, is_deep: bool) -> dict[str, Any]:
    """Return what became of a plugin, or of ``NOETHER_REGISTER`` where *entry* is empty."""
    before = set(_registered()) if entry else set()
    had_torch = "torch" in sys.modules

    waited, started = _seconds_without_processor(), time.perf_counter()
    facts = _use(EntryPoint(*entry)) if entry else _import_registered()
    seconds = time.perf_counter() - started
    # A busy machine makes no import slow: others are imported beside this one.
    seconds -= min(seconds, _seconds_without_processor() - waited)

    facts["milliseconds"] = round(seconds * 1000, 1)
    facts["imports_torch"] = "torch" in sys.modules and not had_torch
    facts["registered"] = sorted(set(_registered()) - before)
    record = facts.pop("record", None)
    if record is not None:
        facts["api_version"] = record.api_version
        if not is_deep:
            facts["complaint"] = complaint_about(record.module)
        elif entry[0] == TASKS.group:
            facts["complaint"] = _complaint_about_task(record)
        else:
            facts["complaint"] = _deep_complaint(record)
    return facts


def _seconds_without_processor() -> float:
    """Return how long this thread could have run and did not; 0 where the system does not say."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0


def _registered() -> list[str]:
    entries = [entry for known in registry().kinds() for entry in known.providers()]
    return [entry.name for entry in entries if entry.distribution == IN_PROCESS]


def _import_registered() -> dict[str, Any]:
    """Let the registry import the modules that ``NOETHER_REGISTER`` names."""
    registry().providers()
    faults = [fault.reason for fault in registry().faults if fault.origin == "NOETHER_REGISTER"]
    return {"reason": "; ".join(faults) or None}


def _use(entry: EntryPoint) -> dict[str, Any]:
    """Import a plugin as its users do; return its record, if it has one, or what went wrong."""
    try:
        return {"record": _load(entry)}
    except PluginError as error:
        reason = error.reason
        # an extension's error also says how to do without it, and so does doctor
        if entry.group == EXTENSION and isinstance(error.__cause__, PluginError):
            reason = error.__cause__.reason
        return {"reason": reason}
    except NoetherError as error:
        return {"reason": str(error)}


def _load(entry: EntryPoint) -> PluginRecord | None:
    if entry.group in KINDS:
        record: PluginRecord = registry().of_kind(KINDS[entry.group]).get(entry.qualified_name)
        return record
    if entry.group == COMMAND:
        registry().add_command(entry, argparse.ArgumentParser())
    else:
        Registry(index=Index((entry,), (), ())).loaded_extensions()
    return None


def _complaint_about_task(record: PluginRecord) -> str | None:
    """Import the class of a task, and make one of the example; samples are not made for it."""
    if find_spec("numpy") is None:  # as torch, which comes with it, and of which a finding tells
        return complaint_about(record.module)
    try:
        found = import_object(record.module, record.type)
        tasks = sys.modules.get("noether_core.tasks")
        if tasks is None or not isinstance(found, type) or not issubclass(found, tasks.Task):
            return f"{record.module} is no subclass of Task"
        found(record.example_config(), seed=0)
    except PluginError as error:
        return error.reason
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  a class may fail in any way
        return f"{record.module} makes nothing of its example: {describe(error)}"
    return None


def _deep_complaint(variant: PluginRecord) -> str | None:
    """Import the class of a variant, which brings torch along, and make a module of the example."""
    if find_spec("torch") is None:  # a finding of its own says so, once for all variants
        return complaint_about(variant.module)
    try:
        found = import_object(variant.module, variant.type)
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(found, type) or not issubclass(found, torch.nn.Module):
            return f"{variant.module} is no subclass of torch.nn.Module"
        config = variant.example_config()
        if getattr(found(config), "config", None) != config:
            return f"{variant.module} does not keep the config that it is made from as 'config'"
    except PluginError as error:
        return error.reason
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  a class may fail in any way
        return f"{variant.module} makes nothing of its example: {describe(error)}"
    return None


def complaint_about(path: str) -> str | None:
    """Return what is wrong with ``package.module:Class``, as far as its source says.

    Nothing is imported. None where nothing is wrong, or where the source leaves it open.
    """
    module, _, name = path.partition(":")
    try:
        file = file_of(module)
    except ImportError as error:
        return f"{path} cannot be imported: {error}"
    if not file.endswith(".py"):
        return None
    try:
        with open(file, "rb") as stream:
            tree = ast.parse(stream.read())
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        return f"{path} cannot be imported: {describe(error)}"

    names = set(_names_bound(tree.body))
    if name in names or not names.isdisjoint({"*", "__getattr__"}):
        return None
    suggestion = did_you_mean(name, sorted(names))
    return f"{module} has no {name}" + (f"; {suggestion}" if suggestion else "")


def _names_bound(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind, in branches and loops too; ``*`` stands for any."""
    for statement in statements:
        match statement:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case _:
                yield from _names_bound(ast.iter_child_nodes(statement))
