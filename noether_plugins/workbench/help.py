"""What ``noether run --help`` says of the options of an experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator

from noether_core.schemas import Schema
from noether_core.schemas.help_text import help_of, plain_text
from noether_core.schemas.schema import plan_of


def options_text(experiment: type[Schema]) -> str:
    """Return what a file may say: a line for each option with its default, its help below."""
    lines = ["options of an experiment, in FILE or as PATH=VALUE:"]
    for path, fact, text in _options_of(experiment):
        lines.append(f"  {path}: {fact}")
        if text:  # without source there is none
            lines.append(f"      {text}")
    lines += ["", "  Options of an attention are those of its type: noether show TYPE."]
    return "\n".join(lines)


def _options_of(cls: type[Schema], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, default and help of each option, those of configs within included."""
    plan = plan_of(cls)
    texts = help_of(cls)
    for field in plan.fields:
        text = plain_text(texts.get(field.option, ""))
        path = prefix + field.option
        if field.option in plan.required:
            yield path, "required", text
            continue
        default = field.default_value()
        if isinstance(default, Schema):
            yield from _options_of(type(default), f"{path}.")
        else:
            written = default if isinstance(default, str) else json.dumps(default)
            yield path, f"{field.expected}; {written} if left out", text
