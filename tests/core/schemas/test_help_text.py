"""The string under a field is its help."""

from __future__ import annotations

import sys
import types
from typing import Annotated, Literal

import attrs
import pytest
from annotated_types import Ge

from noether_core import AttentionConfig, AttentionPattern, AttentionVariant, Registry, TokenSpec
from noether_core.plugins.metadata import scan
from noether_core.schemas import Schema, help_of
from noether_core.schemas.schema import plan_of

INSTALLED = {
    entry.qualified_name: Registry(index=scan()).get(entry.qualified_name)
    for entry in Registry().providers()
}


@attrs.frozen(kw_only=True)
class Base(Schema):
    """No help of any field."""

    size: int = 1
    """Tokens
    on either side."""

    _hidden: int = 2
    """Under the name that constructors use."""

    name: str = "a"


@attrs.frozen(kw_only=True)
class Derived(Base):
    """Likewise."""

    name: str = "b"
    """What it is called."""

    constant = "no field"
    """No help of any field either."""

    count: Annotated[int, Ge(1)] = 3
    f"""No {"literal"}."""


@pytest.mark.parametrize("cls", [AttentionConfig, TokenSpec, AttentionPattern, AttentionVariant])
def test_every_field_of_the_core_schemas_has_help(cls):
    helped = help_of(cls)
    assert set(helped) == {field.option for field in plan_of(cls).fields}
    assert all(helped.values())


@pytest.mark.parametrize("name", INSTALLED)
def test_every_option_of_an_installed_variant_has_help(name):
    config = INSTALLED[name].config
    assert plan_of(config).options <= help_of(config).keys()


def test_the_string_under_a_field_is_its_help_under_the_name_that_documents_use():
    assert help_of(Base) == {
        "size": "Tokens\non either side.",
        "hidden": "Under the name that constructors use.",
    }


def test_a_subclass_adds_to_the_help_of_its_base():
    assert help_of(Derived) == {**help_of(Base), "name": "What it is called."}


def test_a_class_without_source_has_no_help_of_its_own(monkeypatch):
    prompt = types.ModuleType("prompt")
    names = vars(prompt)
    names.update(AttentionConfig=AttentionConfig, attrs=attrs, Literal=Literal)
    monkeypatch.setitem(sys.modules, "prompt", prompt)
    source = (
        "@attrs.frozen(kw_only=True)\nclass Typed(AttentionConfig):\n    type: Literal['t'] = "
        "'t'\n    '''Unseen.'''\n"
    )
    exec(source, names)  # noqa: S102  a class typed at a prompt has no source
    typed = names["Typed"]
    assert help_of(typed) == help_of(AttentionConfig)


def test_help_cannot_be_changed():
    with pytest.raises(TypeError):
        help_of(Base)["size"] = "other"
