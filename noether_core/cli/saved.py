"""``noether show`` of a file: the module in it, and in what its provider is another here. No torch."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from noether_core.cli.table import print_json, print_table

if TYPE_CHECKING:
    from noether_core.saving.contents import Contents


def is_file_name(name: str) -> bool:
    """Return whether *name* is that of a file rather than a type: it ends in .safetensors or leads
    through folders.
    """
    return name.endswith(".safetensors") or os.sep in name


def show_file(file: str, options: argparse.Namespace) -> int:
    """Print config, provenance, differences and tensors of a saved module; return 0."""
    facts = _facts(file)
    if options.json:
        print_json(facts)
        return 0
    print_table(list(_rows(facts)), ("fact", "value"), plain=options.plain)
    print()
    config = [{"option": name, "value": _text(value)} for name, value in facts["config"].items()]
    print_table(config, ("option", "value"), plain=options.plain)
    return 0


def _facts(file: str) -> dict[str, Any]:
    """Return what a file says, and in what that differs from what is installed, as plain data."""
    from noether_core.saving.contents import read_contents
    from noether_core.schemas.plain import plain

    contents, header = read_contents(file)
    said, infos = plain(contents), header.tensors.values()
    return {
        "file": file,
        "config": {"type": said["config"].get("type"), **said["config"]},
        "provenance": said["provenance"],
        "parts": said["parts"],
        "differences": _differences(contents),
        "tensors": {
            "count": len(infos),
            "bytes": header.size,
            "dtypes": sorted({info.dtype for info in infos}),
        },
    }


def _differences(contents: Contents) -> list[dict[str, str]]:
    """Return in what providers are others here; that one cannot be used stands in the place of what
    cannot be told.
    """
    import attrs

    from noether_core.errors import PluginError
    from noether_core.plugins.registry import registry
    from noether_core.saving.contents import compare

    try:
        differences = compare(contents, registry()).differences
    except PluginError as error:
        return [{"name": "broken", "told": str(error)}]
    return [
        attrs.asdict(difference) | {"told": difference.told("saved with")}
        for difference in differences
    ]


def _rows(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    provenance, tensors = facts["provenance"], facts["tensors"]
    yield {"fact": "file", "value": facts["file"]}
    yield from ({"fact": name, "value": provenance[name]} for name in _FACTS if name in provenance)
    for part in facts["parts"]:
        yield {
            "fact": "part",
            "value": f"{part['type']} of {part['distribution']} {part['version']}",
        }
    told = f"{tensors['count']:,} of {tensors['bytes']:,} bytes: {', '.join(tensors['dtypes'])}"
    yield {"fact": "tensors", "value": told}
    for difference in facts["differences"] or [{"told": "none"}]:
        yield {"fact": "difference", "value": difference["told"]}


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


_FACTS = (
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
"""What is told of a provenance, in this order."""
