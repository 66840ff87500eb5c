"""A class of configs that nobody has any more is let go of, whatever was done with it."""

from __future__ import annotations

import gc
import pickle
import sys
import types
import weakref
from typing import Literal

import attrs
import pytest
from torch import nn

from noether_core import (
    AttentionConfig,
    AttentionVariant,
    Registry,
    build,
    json_schema,
    structure,
    unstructure,
)
from noether_core.plugins.metadata import Index
from noether_core.provenance import provenance_in
from noether_core.schemas import Schema, help_of
from noether_core.schemas.schema import plan_of

CLASSES = 60
OPTIONS = {"type": "acme_fleeting", "hidden_dim": 8, "num_heads": 2}


class Module(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config


@pytest.fixture
def known(monkeypatch):
    module = types.ModuleType("acme_fleeting")
    module.Module = module.Other = Module
    monkeypatch.setitem(sys.modules, "acme_fleeting", module)
    return Registry(index=Index((), (), ()))


def new_config():
    annotations = {"type": Literal["acme_fleeting"], "size": int, "inner": new_schema() | None}
    values = {"type": "acme_fleeting", "size": 3, "inner": None, "__doc__": "One of many."}
    return decorated("Config", AttentionConfig, annotations, values)


def new_schema():
    annotations = {"width": int, "others": tuple[int, ...]}
    return decorated("Inner", Schema, annotations, {"width": 2, "others": ()})


def decorated(name, base, annotations, values):
    body = {**values, "__annotations__": annotations, "__module__": __name__}
    return attrs.frozen(kw_only=True)(type(name, (base,), body))


def record(cls, number=0):
    name = ("Module", "Other")[number % 2]
    return AttentionVariant(config=cls, module=f"acme_fleeting:{name}", interface="self")


def use_config(cls, number, known):
    config = cls(hidden_dim=8, num_heads=2)
    assert unstructure(config)["size"] == 3
    config.fingerprint()
    help_of(cls)
    json_schema(cls)


def use_registry(cls, number, known):
    known.register(record(cls, number))
    assert type(structure(OPTIONS, registry=known)) is cls
    assert structure({**OPTIONS, "inner": {"width": 5}}, registry=known).inner.width == 5
    json_schema("acme_fleeting", registry=known)
    build(OPTIONS, registry=known)


def use_structure(cls, number, known):
    structure({"hidden_dim": 8, "num_heads": 2, "inner": {"width": 5}}, cls, registry=known)


def use_record(cls, number, known):
    variant = record(cls)
    known.register(variant)
    provenance_in(variant, known.provider("acme_fleeting"))


@pytest.mark.parametrize("use", [use_config, use_registry, use_structure, use_record])
def test_of_many_classes_few_stay(known, use):
    made = []
    for number in range(CLASSES):
        cls = new_config()
        use(cls, number, known)
        made += [weakref.ref(cls), weakref.ref(plan_of(cls).nested["inner"].__args__[0])]
    del cls
    gc.collect()
    # the one that is registered last, and those that a converter has seen last
    assert sum(reference() is not None for reference in made) < CLASSES / 2


def test_the_plan_of_a_class_is_its_own_and_no_part_of_a_pickle():
    base = new_config()
    inner = decorated("Derived", base, {"height": int}, {"height": 1})
    assert plan_of(base).options < plan_of(inner).options
    assert plan_of(inner) is plan_of(inner)
    assert pickle.loads(pickle.dumps(plan_of(inner))) is None  # noqa: S301  our own
