"""What speaks for and against each plugin that a type may mean, and the sentence about it."""

import sys

import pytest

from noether_core.plugins.catalogue import Catalogue, candidates
from noether_core.plugins.metadata import ATTENTION, EntryPoint, scan
from noether_core.plugins.resolution import explain


@pytest.fixture
def known(site, monkeypatch):
    """Return what makes a catalogue of all that is installed in the site."""
    for name in ("NOETHER_BLOCK", "NOETHER_PREFER"):
        monkeypatch.delenv(name, raising=False)

    def make(**choices):
        return Catalogue(index=scan([str(site.folder)]), **choices)

    return make


def states(found):
    return {one.entry.distribution: one.description for one in found}


def test_the_only_plugin_of_a_type_is_chosen(site, known):
    site.install_variant("flow", "acme")
    (one,) = candidates(known(), "flow")
    assert (one.state, one.reason, one.description, one.is_meant) == ("chosen", "", "chosen", True)


def test_several_are_ambiguous_with_each_other_or_one_is_preferred(site, known):
    for name in ("acme", "best", "cold"):
        site.install_variant("flow", name)
    assert states(candidates(known(), "flow")) == {
        "acme": "ambiguous with best:flow and cold:flow",
        "best": "ambiguous with acme:flow and cold:flow",
        "cold": "ambiguous with acme:flow and best:flow",
    }
    assert states(candidates(known(prefer=["zebra", "best:flow", "acme"]), "flow")) == {
        "acme": "passed over for best:flow",
        "best": "preferred by prefer=best:flow",
        "cold": "passed over for best:flow",
    }
    site.install_variant("slow", "other")
    assert states(candidates(known(block=["acme", "best:flow", "other"]), "flow")) == {
        "acme": "blocked by block=acme",
        "best": "blocked by block=best:flow",
        "cold": "chosen",
    }
    assert states(candidates(known(), "Best:flow")) == {"best": "chosen"}


def test_what_the_environment_names_is_named_and_what_the_caller_names_goes_first(
    site, known, monkeypatch
):
    for name in ("acme", "best", "cold"):
        site.install_variant("flow", name)
    monkeypatch.setenv("NOETHER_BLOCK", "acme,best")
    monkeypatch.setenv("NOETHER_PREFER", "best,cold")
    assert states(candidates(known(block=["acme"]), "flow")) == {
        "acme": "blocked by block=acme",
        "best": "blocked by NOETHER_BLOCK=best",
        "cold": "chosen",
    }


def test_a_copy_that_is_hidden_is_listed_with_the_one_that_hides_it(site, known, tmp_path):
    site.install_variant("flow", "acme")
    origin = site.write_metadata(
        "acme-1.0.dist-info", "acme", "1.0", "[noether.attention]\nflow = old\nflow = older\n"
    )
    assert [(one.entry.value, one.description) for one in candidates(known(), "flow")] == [
        ("old", "chosen"),
        ("older", "shadowed by old, which stands above it"),
        ("plugin_of_acme_flow", f"shadowed by 1.0 in {origin.parent}"),
    ]
    assert candidates(known(), "other") == ()


def test_all_types_are_listed_at_once_and_other_groups_never(site, known):
    site.install_variant("flow", "acme")
    site.install_variant("flow", "best")
    site.install_variant("slow", "acme2")
    site.install("command", commands={"flow": "command"})
    site.write_metadata(
        "command-0.9.dist-info", "command", "0.9", "[noether.command]\nflow = command\n"
    )
    assert [
        (one.entry.qualified_name, one.state) for one in candidates(known(prefer=["best"]))
    ] == [
        ("acme:flow", "passed over"),
        ("best:flow", "preferred"),
        ("acme2:slow", "chosen"),
    ]


SENTENCES = {
    "'flow' is acme:flow of acme 1.2.0.": ("flow", {}, "acme:flow"),
    "'Acme:flow' is acme:flow of acme 1.2.0.": ("Acme:flow", {}, "acme:flow"),
    "'flow' is not installed; acme:flow is blocked. Installed: gone, twice.": (
        "flow",
        {"block": ["acme"]},
        None,
    ),
    "'flw' is not installed; did you mean 'flow'? Installed: flow, gone, twice.": ("flw", {}, None),
    "'twice' is provided by one 1.2.0 and two 1.2.0; write 'one:twice' or 'two:twice', "
    "or name one of them in "
    "NOETHER_PREFER.": ("twice", {}, None),
    "'twice' is two:twice of two 1.2.0, preferred by prefer=two.": (
        "twice",
        {"prefer": ["two"]},
        "two:twice",
    ),
    "'gone' is left:gone of left 1.2.0, and cannot be used: there is no nowhere_at_all.": (
        "gone",
        {},
        "left:gone",
    ),
}


@pytest.mark.parametrize(("sentence", "case"), SENTENCES.items(), ids=SENTENCES)
def test_a_sentence_says_what_a_type_means_and_nothing_is_imported(site, known, sentence, case):
    modules = [
        site.install_variant(name, of)
        for name, of in (("flow", "acme"), ("twice", "one"), ("twice", "two"))
    ]
    site.install("left", attention={"gone": "nowhere_at_all"})
    name, choices, means = case
    explanation = explain(name, known(**choices))
    assert (explanation.type, explanation.means, explanation.sentence) == (name, means, sentence)
    assert explanation.resolves == (means is not None and name != "gone")
    assert not set(modules) & set(sys.modules)


def test_what_was_registered_in_this_process_is_said_to_be_so(known):
    catalogue = known()
    catalogue.add(EntryPoint(ATTENTION, "mine", "os:path", "in-process", "", ""))
    assert (
        explain("mine", catalogue).sentence
        == "'mine' is in-process:mine registered in this process."
    )
