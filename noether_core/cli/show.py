"""``noether show``: one variant, or one saved module, in full."""

from __future__ import annotations

import argparse
from typing import Any

from noether_core.cli.saved import is_file_name, show_file
from noether_core.cli.table import add_table_options, print_json, print_table

_FACTS = (
    "type",
    "summary",
    "provider",
    "plugin",
    "module",
    "interface",
    "capabilities",
    "time",
    "memory",
    "reference",
    "report",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument(
        "type",
        metavar="TYPE|FILE",
        help="a type, bare or as distribution:type; or a .safetensors file that save wrote",
    )
    add_table_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what the plugin says of the variant, and its options; return 0."""
    if is_file_name(options.type):
        return show_file(options.type, options)
    from noether_core.plugins.registry import registry
    from noether_core.reports import shipped_report

    variant = registry().get(options.type)
    entry = registry().provider(options.type)
    report = shipped_report(entry)
    facts = {
        "type": variant.type,
        "summary": variant.summary,
        "provider": entry.provider,
        "plugin": entry.value,
        "module": variant.module,
        "interface": variant.interface,
        "capabilities": list(variant.capabilities),
        "time": _growth(variant.time_exponent),
        "memory": _growth(variant.memory_exponent),
        "reference": variant.reference,
        "report": str(report),
    }
    described = _options(variant.config)
    if options.json:
        others = {"options": described, "example": {"type": variant.type, **variant.example}}
        print_json(facts | others | {"report": report.as_dict()})
        return 0
    print_table(
        [{"fact": name, "value": facts[name]} for name in _FACTS],
        ("fact", "value"),
        plain=options.plain,
    )
    print()
    print_table(described, ("option", "accepts", "default", "help"), plain=options.plain)
    return 0


def _growth(exponent: float | None) -> str:
    """Return how time or memory grow with the tokens, as a variant's record says."""
    return "not promised" if exponent is None else f"tokens ** {exponent:g}"


def _options(config: Any) -> list[dict[str, Any]]:
    from noether_core.schemas import help_of
    from noether_core.schemas.schema import plan_of
    from noether_core.schemas.unstructure import unstructure

    plan = plan_of(config)
    texts = help_of(config)
    fields = sorted(
        plan.fields, key=lambda field: field.option != "type"
    )  # a stable sort: type first, the rest in order
    return [
        {
            "option": field.option,
            "accepts": field.expected,
            "default": None
            if field.option in plan.required
            else unstructure(field.default_value()),
            "required": field.option in plan.required,
            "help": texts.get(field.option, ""),
        }
        for field in fields
        if field.option in plan.options
    ]
