"""From the parts of a report to one HTML file, which may load nothing and run no other scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any, Final, NamedTuple

from noether_plugins.report.markup import text

_HEAD_SCRIPTS: Final = ("theme.js",)
"""Run before anything is seen, so that colours do not change under the reader's eyes."""

_SCRIPTS: Final = (
    "data.js",
    "elements.js",
    "tables.js",
    "charts.js",
    "curves.js",
    "comparisons.js",
    "fields.js",
    "configs.js",
    "start.js",
)
"""One after the other they are one script; each says in its first lines what it is for."""


class Section(NamedTuple):
    """One comparison; all but its titles and data are HTML."""

    title: str
    name: str
    facts: str
    table: str
    notes: str
    scaling: str
    problems: str
    data: Mapping[str, Any]


class Page(NamedTuple):
    """The parts of a report; tables and lists are HTML."""

    title: str
    made: str
    comparisons: Sequence[Section]
    runs: str
    problems: str
    configs: str
    data: Mapping[str, Any]


def page(parts: Page) -> str:
    """Return the whole file."""
    head, script = (_joined(names) for names in (_HEAD_SCRIPTS, _SCRIPTS))
    fills = {
        "policy": text(_policy(head, script)),
        "title": text(parts.title),
        "made": text(parts.made),
        "style": _read("style.css"),
        "head_script": head,
        "script": script,
        "links": "".join(map(_link, parts.comparisons)),
        "comparisons": "\n".join(map(_section, parts.comparisons)),
        "runs": parts.runs,
        "problems": parts.problems,
        "configs": parts.configs,
        "data": _packed(_as_json(parts.data)),
        "plotly": _packed(_plotly()),
    }
    return Template(_read("report.html")).substitute(fills)


def _policy(*scripts: str) -> str:
    """Return what the page may do: run these scripts and what they unpack, and load nothing.

    Whatever came in by a name or an error would not run even if it were markup.
    """
    digests = " ".join(
        f"'sha256-{_base64(hashlib.sha256(each.encode()).digest())}'" for each in scripts
    )
    return (
        f"default-src 'none'; script-src {digests} blob:; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _joined(names: Sequence[str]) -> str:
    return "\n".join(_read(name) for name in names)


def _read(name: str) -> str:
    return files("noether_plugins.report").joinpath("page", name).read_text(encoding="utf-8")


def _plotly() -> bytes:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


def _packed(content: bytes) -> str:
    """Return bytes as text in which nothing can end a script, at a third of the size of most."""
    return _base64(gzip.compress(content, compresslevel=9, mtime=0))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _as_json(data: Any) -> bytes:
    return json.dumps(_finite(data), allow_nan=False, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    """Return plain data with None for what JSON has no number for, and six digits of each other."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _link(section: Section) -> str:
    return f'<li><a href="#{text(section.name)}">{text(section.title)}</a></li>'


def _section(section: Section) -> str:
    fills = {
        "name": text(section.name),
        "title": text(section.title),
        "facts": section.facts,
        "table": section.table,
        "notes": section.notes,
        "scaling": section.scaling,
        "problems": section.problems,
        "has_rows": "" if section.table else " hidden",
        "has_scaling": "" if section.scaling else " hidden",
    }
    return Template(_read("comparison.html")).substitute(fills)
