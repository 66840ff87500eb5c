"""``noether show``: one variant, task, saved module or run in full; or a picture of attention."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from noether_core.cli.choosing import add_kind_option, kind_of
from noether_core.cli.output import (
    add_table_options,
    print_error,
    print_facts,
    print_json,
    print_line,
    print_table,
)
from noether_core.cli.pictures import add_picture_options, refuse_stray_options, show_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from noether_core.hookspecs import AttentionVariant
    from noether_core.saving.contents import Contents
    from noether_core.schemas.open_config import OpenConfig

_PROVENANCE = (
    "type",
    "distribution",
    "version",
    "commit",
    "url",
    "editable",
    "entry_point",
    "contract",
    "schema",
)
"""What a table shows of a provenance, in this order."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "type",
        metavar="TYPE|FILE|RUN",
        help="a type, bare or as distribution:type; a .safetensors file that save wrote; or the "
        "folder of a run",
    )
    add_kind_option(parser)
    add_table_options(parser)
    add_picture_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what there is to say of a variant, a task, a file or a run, or draw; return 0 if so."""
    if options.picture is not None:
        return show_picture(options)
    stray = refuse_stray_options(options)
    if stray is not None:
        print_error(f"noether show: {stray}")
        return 2
    if _is_path(options.type):
        _show_path(options.type, options)
    else:
        _show_type(options.type, options)
    return 0


def _is_path(name: str) -> bool:
    """Return whether a file or folder is meant, and no type."""
    # What looks like a path is one: types are identifiers by convention.
    if name.endswith(".safetensors") or os.sep in name:
        return True
    return os.path.isdir(name) and not _is_type(name)


def _is_type(name: str) -> bool:
    """Return whether something installed has this type: it goes before a folder of that name."""
    from noether_core.plugins.registry import registry

    return bool(registry().providers(name) or registry().tasks.providers(name))


def _show_path(path: str, options: argparse.Namespace) -> None:
    """Print what there is to say of a saved module, or of a run."""
    from noether_core.cli.runs import show_run
    from noether_core.saving.sealed import kind_in

    if os.path.isdir(path) or kind_in(path) != "module":
        show_run(path, as_json=options.json, plain=options.plain)
    else:
        _show_file(path, options)


def _show_type(type: str, options: argparse.Namespace) -> None:
    """Print what a plugin says of its variant or its task, and the options."""
    from noether_core.hookspecs import AttentionVariant
    from noether_core.plugins.registry import registry
    from noether_core.reports import shipped_report

    kind = kind_of(type, registry(), is_task=options.task).kind
    known = registry().of_kind(kind)
    record = known.get(type)
    entry = known.provider(type)
    described = _options_of(record.config)
    old_options = _old_options_of(record.config)
    facts = {
        "type": record.type,
        "kind": kind.noun,
        "summary": record.summary,
        "provider": entry.provider,
        "plugin": entry.value,
        "module": record.module,
    }
    report = None
    if isinstance(record, AttentionVariant):
        report = shipped_report(entry)
        facts |= _facts_of_variant(record) | {"report": str(report)}
    else:
        facts["reference"] = record.reference
    if options.json:
        others: dict[str, Any] = {} if report is None else {"report": report.as_dict()}
        example = {"type": record.type, **record.example}
        others |= {"options": described, "old_options": old_options, "example": example}
        print_json(facts | others)
        return

    print_facts(facts, plain=options.plain)
    print_line()
    rows = [row | {"default": _default_text(row)} for row in described]
    print_table(rows, ("option", "accepts", "default", "help"), plain=options.plain)
    if old_options:
        print_line()
        print_table(old_options, ("old_option", "now", "help"), plain=options.plain)


def _facts_of_variant(variant: AttentionVariant) -> dict[str, Any]:
    return {
        "interface": variant.interface,
        "capabilities": list(variant.capabilities),
        "time": _growth(variant.time_exponent),
        "memory": _growth(variant.memory_exponent),
        "reference": variant.reference,
        "origins": sorted(variant.origins),
    }


def _default_text(option: Mapping[str, Any]) -> str:
    """Return a default as a YAML file says it, or that an option has none."""
    return "(required)" if option["required"] else _text(option["default"])


def _growth(exponent: float | None) -> str:
    """Return how time or memory grow with the tokens, as a variant's record says."""
    return "not promised" if exponent is None else f"tokens ** {exponent:g}"


def _options_of(config: type[OpenConfig]) -> list[dict[str, Any]]:
    """Return what each option of a config class accepts, ``type`` first."""
    from noether_core.schemas.help_text import help_of, plain_text
    from noether_core.schemas.schema import plan_of
    from noether_core.schemas.unstructure import unstructure

    plan = plan_of(config)
    texts = help_of(config)
    described = []
    # A stable sort: the others stay in the order of the class.
    for field in sorted(plan.fields, key=lambda field: field.option != "type"):
        if field.option not in plan.options:
            continue
        is_required = field.option in plan.required
        described.append(
            {
                "option": field.option,
                "accepts": field.expected,
                "default": None if is_required else unstructure(field.default_value()),
                "required": is_required,
                "help": plain_text(texts.get(field.option, "")),
            }
        )
    return described


def _old_options_of(config: type[OpenConfig]) -> list[dict[str, Any]]:
    """Return the options that older versions had: what each is called now, or what to do."""
    from noether_core.schemas.schema import plan_of

    plan = plan_of(config)
    renamed = [
        {"old_option": old, "now": new, "help": "Read as that, with a warning."}
        for old, new in plan.renamed.items()
    ]
    dropped = [
        {"old_option": old, "now": None, "help": way_out or "Left out, with a warning."}
        for old, way_out in plan.dropped.items()
    ]
    return renamed + dropped


def _show_file(file: str, options: argparse.Namespace) -> None:
    """Print config, provenance and tensors of a saved module, and what is installed otherwise."""
    facts = _facts_of(file)
    if options.json:
        print_json(facts)
        return

    print_table(list(_rows(facts)), ("fact", "value"), plain=options.plain)
    print_line()
    config = [{"option": name, "value": _text(value)} for name, value in facts["config"].items()]
    print_table(config, ("option", "value"), plain=options.plain)


def _facts_of(file: str) -> dict[str, Any]:
    """Return what a file says, and in what that differs from what is installed, as plain data."""
    from noether_core.saving.contents import read_contents
    from noether_core.schemas.unstructure import unstructure

    contents, header = read_contents(file)
    data = unstructure(contents)
    # Canonical JSON in the file has sorted the options; readers look for the type first.
    return {
        "file": file,
        "config": {"type": data["config"].get("type"), **data["config"]},
        "provenance": data["provenance"],
        "parts": data["parts"],
        "differences": _differences(contents),
        "tensors": {
            "count": len(header.tensors),
            "bytes": header.size,
            "dtypes": sorted({info.dtype for info in header.tensors.values()}),
        },
    }


def _differences(contents: Contents) -> list[dict[str, str]]:
    """Return in what providers are others here, or why that cannot be found out."""
    from noether_core.errors import PluginError
    from noether_core.plugins.registry import registry
    from noether_core.saving.contents import compare

    try:
        differences = compare(contents, registry()).differences
    except PluginError as error:  # the file can be shown all the same
        return [{"name": "broken", "message": str(error)}]
    return [
        difference._asdict() | {"message": difference.headline("saved with")}
        for difference in differences
    ]


def _rows(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a table about a file."""
    provenance, tensors = facts["provenance"], facts["tensors"]
    yield {"fact": "file", "value": facts["file"]}
    for name in _PROVENANCE:
        if name in provenance:
            yield {"fact": name, "value": provenance[name]}
    for part in facts["parts"]:
        value = f"{part['type']} of {part['distribution']} {part['version']}"
        yield {"fact": "part", "value": value}
    dtypes = ", ".join(tensors["dtypes"])
    value = f"{tensors['count']:,} of {tensors['bytes']:,} bytes: {dtypes}"
    yield {"fact": "tensors", "value": value}
    for difference in facts["differences"] or [{"message": "none"}]:
        yield {"fact": "difference", "value": difference["message"]}


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) and value else json.dumps(value)
