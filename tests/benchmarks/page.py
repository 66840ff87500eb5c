"""The page that shows what was measured: tables and pictures between its marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.benchmarks import pictures
from tests.benchmarks.machine import Facts
from tests.benchmarks.results import Result
from tests.benchmarks.tables import markdown

_MARKED = re.compile(r"(<!-- measured: (?P<subject>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page: Path, found: Mapping[str, Sequence[Result]], facts: Facts) -> None:
    """Write what was measured into a page, between the marks of each subject.

    Those are ``<!-- measured: SUBJECT -->`` and ``<!-- end -->``.

    The mark of ``pictures`` gets those of all subjects, which lie in ``images`` beside the page.
    What stands between the marks of what was not measured stays.
    """
    caption_line = f"Measured on {caption(facts)}.\n"
    texts = {
        subject: "\n".join((caption_line, *markdown(results))) for subject, results in found.items()
    }
    results = [result for results in found.values() for result in results]
    if shown := "\n".join(_shown(results, page.parent / "images", caption(facts))):
        texts["pictures"] = shown

    def filled(match: re.Match[str]) -> str:
        text = texts.get(match["subject"])
        return match[0] if text is None else f"{match[1]}\n{text}\n{match[3]}"

    page.write_text(_MARKED.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


def _shown(results: Sequence[Result], folder: Path, caption: str) -> Iterator[str]:
    """Draw pictures into *folder*, and yield what shows them on a page beside it."""
    folder.mkdir(exist_ok=True)
    for file in pictures.draw(results, folder, caption):
        family = file.stem.removeprefix("performance-")
        yield f"![{family}: time and memory over tokens]({folder.name}/{file.name})\n"


def marked(text: str) -> Iterator[tuple[str, str]]:
    """Yield each subject that a page has marks for, with what stands between them."""
    for match in _MARKED.finditer(text):
        yield match["subject"], match[0]


def caption(facts: Facts) -> str:
    """Return the machine in one line."""
    threads = f"{facts['threads']} threads of {facts['cores']} cores"
    device = f"{facts['device']} ({facts['processor']})"
    return f"{device}, {threads}, {facts['memory']}, torch {facts['torch']}"
