"""Pages for maintainers name what there is: files, tests, versions, and every word once."""

import re
import tomllib

import pytest
import yaml

import noether_core
from tests.fresh_environment import ROOT

PAGES = ("CONTRIBUTING.md", "SECURITY.md", "docs/style.md")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

_PATH = re.compile(
    r"(?<![\w./])(?:tests|docs|noether_core|noether_plugins|\.ci)/[\w./-]*\w|\b[\w-]+\.(?:toml|cff|txt)\b"
)
"""Files and folders of the project, in commands and in text."""

_MADE_UP = ("_TYPE", "_NAME")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page):
    named = set(_PATH.findall((ROOT / page).read_text(encoding="utf-8")))
    named = {path for path in named if not path.removesuffix(".py").endswith(_MADE_UP)}
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_contributors_learn_what_ci_runs_without_benchmarks():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for command in ("ruff format --check .", "ruff check .", "lint-imports", "mypy"):
        assert f"\n{command}\n" in page
        assert command in map(str.strip, script)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert (citation["type"], citation["message"] != "") == ("software", True)
    assert citation["version"] == noether_core.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["keywords"] == PROJECT["keywords"]


def test_the_index_leads_to_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w./-]+)\)", index))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages | {"variants/README.md"} <= linked


def test_the_glossary_explains_every_word_once():
    words = re.findall(r"^\| (?!word)([a-z][^|]*?) \|", GLOSSARY, flags=re.MULTILINE)
    assert len(words) > 40
    assert len(words) == len(set(words))
