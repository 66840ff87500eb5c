"""Which of several packages a bare type means: the preferred one, and otherwise none."""

import pytest

from noether_core import AmbiguousTypeError, UnknownTypeError, json_schema, structure

SIZES = {"hidden_dim": 8, "num_heads": 2}


@pytest.fixture
def twice(site):
    """Two packages that provide one type."""
    site.install_variant("flow", "acme-flow")
    site.install_variant("flow", "best-flow")
    site.install_variant("other", "best-flow2")
    return site


@pytest.mark.parametrize(
    "prefer", [["best-flow"], ["Best_Flow:flow"], "best-flow", ["nobody", "best-flow", "acme-flow"]]
)
def test_the_preferred_package_is_what_a_bare_type_means(twice, prefer):
    known = twice.registry(prefer=prefer)
    assert known.provider("flow").distribution == "best-flow"
    assert known.get("flow") is known.get("best-flow:flow")
    assert known.get("acme-flow:flow") is not known.get("flow")
    assert structure({"type": "flow", **SIZES}, registry=known).type == "flow"


@pytest.mark.parametrize("prefer", [(), ["nobody"], ["best-flow:other"]])
def test_without_a_preference_that_applies_nothing_is_chosen(twice, prefer):
    with pytest.raises(AmbiguousTypeError, match="write 'acme-flow:flow' or 'best-flow:flow'"):
        twice.registry(prefer=prefer).get("flow")


def test_preferences_of_the_environment_come_after_those_of_the_caller(twice, monkeypatch):
    monkeypatch.setenv("NOETHER_PREFER", "nobody, acme-flow")
    assert twice.registry().provider("flow").distribution == "acme-flow"
    assert twice.registry(prefer=["best-flow"]).provider("flow").distribution == "best-flow"


def test_a_package_that_is_blocked_is_not_preferred(twice):
    assert (
        twice.registry(prefer=["best-flow"], block=["best-flow"]).provider("flow").distribution
        == "acme-flow"
    )
    with pytest.raises(UnknownTypeError, match="best-flow:flow is blocked"):
        twice.registry(prefer=["best-flow"], block=["best-flow", "acme-flow"]).get("flow")


def test_a_preference_makes_no_type(twice):
    with pytest.raises(UnknownTypeError):
        twice.registry(prefer=["best-flow"]).get("best-flow:nothing")


def test_the_schema_offers_the_bare_name_to_the_preferred_package_alone(twice):
    names = json_schema(registry=twice.registry(prefer=["best-flow"]))["properties"]["type"]["enum"]
    assert names == ["acme-flow:flow", "flow", "best-flow:flow", "other", "best-flow2:other"]


def test_a_config_of_a_package_keeps_its_class_whoever_is_preferred(twice):
    known = twice.registry(prefer=["best-flow"])
    config = structure({"type": "acme-flow:flow", **SIZES}, registry=known)
    assert known.provider_of(config).distribution == "acme-flow"
