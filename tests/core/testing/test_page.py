"""The page of the kit names every check with its contract, and fields and members that exist."""

from __future__ import annotations

import re

import attrs

from noether_core import AttentionVariant
from noether_core.reports import Report
from noether_core.testing import CHECKS, VariantTests
from tests.fresh_environment import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def rows() -> list[tuple[str, str]]:
    return re.findall(
        r"^\| `(\w+)` \| (.+) \|$", PAGE.partition("## The checks")[2], flags=re.MULTILINE
    )


def test_the_page_states_the_contract_of_every_check_in_order():
    assert rows() == [(check.name, check.contract) for check in CHECKS.values()]


def test_the_page_names_fields_and_members_that_exist():
    fields = {field.name for field in attrs.fields(AttentionVariant)}
    named = re.findall(
        r"`(\w+)`", PAGE.partition("## What a record declares")[2].partition("Two options")[0]
    )
    assert {"example_groups", "frozen_parameters", "silent_options"} <= fields & set(named)
    for member in re.findall(r"`report\.(\w+)", PAGE):
        assert hasattr(Report, member) or member in {field.name for field in attrs.fields(Report)}
    for attribute in ("type", "options", "device", "subject"):
        assert attribute in {*VariantTests.__annotations__, *dir(VariantTests)}
        assert f"`{attribute}`" in PAGE or f"self.{attribute}" in PAGE or f"{attribute} = " in PAGE
