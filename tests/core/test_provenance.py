"""Which installed package made a module."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import attrs
import pytest
import torch

from noether_core import ConfigError, Provenance, build, provenance_of, registry
from noether_core import provenance as provenance_module
from noether_core.provenance import differences_between, provenance_in
from noether_core.schemas.accepted import accepted_by, schema_hash
from tests.light_environment import MODULE

OPTIONS = {"hidden_dim": 8, "num_heads": 2}
MODULES = {"acme_modules.py": MODULE}
COMMIT = "0123456789abcdef0123456789abcdef01234567"

KNOWN = Provenance(
    type="flow",
    distribution="acme-flow",
    version="1.2.0",
    entry_point="acme_flow",
    contract=1,
    schema="0" * 64,
)


def made(site: Any, record: object = None) -> Provenance:
    """Return the provenance of a module of a package that was installed with that
    ``direct_url.json``.
    """
    site.install_variant("flow", "acme-flow", module="acme_modules:Module")
    site.install("acme-modules", files=MODULES)
    if record is not None:
        text = record if isinstance(record, str) else json.dumps(record)
        (site.folder / "acme-flow-1.2.0.dist-info" / "direct_url.json").write_text(text)
    found = provenance_of(build("flow", **OPTIONS, registry=site.registry()))
    assert found is not None
    return found


@pytest.mark.parametrize("type", registry().types())
def test_every_built_module_carries_its_provider(type):
    entry, variant = registry().provider(type), registry().get(type)
    module = build(type, **variant.example)
    found = provenance_of(module)
    assert found is not None
    assert (found.type, found.distribution, found.version) == (
        type,
        entry.distribution,
        entry.version,
    )
    assert (found.entry_point, found.contract) == (entry.value, variant.api_version)
    assert found.schema == schema_hash(accepted_by(type_of_config(module)))


def type_of_config(module):
    return type(module.config)


def test_it_survives_copies_and_pickles_and_is_no_part_of_the_weights():
    module = build("transolver", **OPTIONS)
    found = provenance_of(module)
    assert provenance_of(copy.deepcopy(module)) == found
    assert provenance_of(pickle.loads(pickle.dumps(module))) == found  # noqa: S301  our own
    assert copy.deepcopy(found) == found
    assert not any("provenance" in name for name in module.state_dict())


def test_it_is_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        KNOWN.version = "2"


def test_a_compiled_module_has_the_provenance_of_the_original():
    module = build("transolver", **OPTIONS)
    assert provenance_of(torch.compile(module, backend="eager")) == provenance_of(module)


@pytest.mark.parametrize("thing", [torch.nn.Linear(2, 2), None, "module"])
def test_what_was_not_built_has_none(thing):
    assert provenance_of(thing) is None


def test_metadata_and_schema_are_read_once_for_each_plugin(site, monkeypatch):
    known = registered(site)
    build("flow", **OPTIONS, registry=known)
    monkeypatch.setattr(provenance_module, "accepted_by", None)
    monkeypatch.setattr(provenance_module, "_installed_from", None)
    assert provenance_of(build("flow", **OPTIONS, registry=known)).distribution == "acme-flow"


def registered(site):
    made(site)
    return site.registry()


def test_another_variant_of_a_type_in_this_process_has_a_schema_of_its_own(site):
    known = registered(site)
    first, entry = known.get("flow"), known.provider("flow")
    other = attrs.evolve(first, config=registry().get("dot_product").config)
    assert provenance_in(first, entry).schema != provenance_in(other, entry).schema


def test_a_package_from_an_index_has_neither_commit_nor_url(site):
    found = made(site)
    assert (found.commit, found.url, found.editable) == (None, None, False)


@pytest.mark.parametrize(
    ("record", "commit", "url", "editable"),
    [
        (
            {
                "url": "https://user:secret@host.example/flow.git",
                "vcs_info": {"vcs": "git", "commit_id": COMMIT},
            },
            COMMIT,
            "git+https://host.example/flow.git",
            False,
        ),
        (
            {
                "url": "ssh://git@host.example:2222/flow.git",
                "vcs_info": {"vcs": "hg", "commit_id": "77"},
            },
            "77",
            "hg+ssh://host.example:2222/flow.git",
            False,
        ),
        (
            {"url": "file:///home/me/flow", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            COMMIT,
            None,
            False,
        ),
        ({"url": "file:///home/me/flow", "dir_info": {"editable": True}}, None, None, True),
        ({"url": "file:///home/me/flow", "dir_info": {}}, None, None, False),
        ({"url": "file:///home/me/flow", "dir_info": {"editable": "yes"}}, None, None, False),
        (
            {"url": "https://me@host.example/flow.whl?token=secret#sha256=77", "archive_info": {}},
            None,
            "https://host.example/flow.whl",
            False,
        ),
        ({"url": "file://server/home/me/flow.whl", "archive_info": {}}, None, None, False),
        ({"url": "https://[broken", "archive_info": {}}, None, None, False),
        ({"url": 7, "vcs_info": {"commit_id": 7}}, None, None, False),
        ([], None, None, False),
        ("{", None, None, False),
        ("[" * 40000, None, None, False),
    ],
)
def test_what_the_installer_recorded_is_kept_but_for_secrets_and_local_folders(
    site, record, commit, url, editable
):
    found = made(site, record)
    assert (found.commit, found.url, found.editable) == (commit, url, editable)
    assert "secret" not in repr(found)
    assert "/home/me" not in repr(found)


def test_a_record_that_is_no_text_at_all_is_none(site):
    made(site)
    folder = site.folder / "acme-flow-1.2.0.dist-info" / "direct_url.json"
    folder.mkdir()
    assert provenance_module._installed_from(str(folder.parent)) == {"url": None}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"url": "https://elsewhere.example/", "entry_point": "acme_flow.moved"}, []),
        ({"version": "1.3.0"}, ["version"]),
        ({"commit": COMMIT}, ["commit"]),
        ({"editable": True}, ["editable"]),
        ({"contract": 2}, ["contract"]),
        ({"schema": "1" * 64}, ["schema"]),
        (
            {"distribution": "best-flow", "version": "7", "commit": COMMIT, "editable": True},
            ["provider"],
        ),
        (
            {"version": "2", "commit": COMMIT, "contract": 2, "schema": "1" * 64},
            ["version", "commit", "contract", "schema"],
        ),
    ],
    ids=str,
)
def test_every_difference_has_a_name(change, names):
    here = attrs.evolve(KNOWN, **change)
    assert [difference.name for difference in differences_between(KNOWN, here)] == names
    assert [difference.name for difference in differences_between(here, KNOWN)] == names


@pytest.mark.parametrize(
    ("before", "here", "message"),
    [
        (
            {},
            {"version": "2.0"},
            (
                "version of 'flow': saved with acme-flow 1.2.0, here acme-flow 2.0; pip "
                "install 'acme-flow==1.2.0'"
            ),
        ),
        (
            {},
            {"distribution": "best-flow"},
            (
                "provider of 'flow': saved with acme-flow 1.2.0, here best-flow 1.2.0; pip "
                "install 'acme-flow==1.2.0'"
            ),
        ),
        (
            {"commit": COMMIT, "url": "git+https://host.example/flow.git"},
            {},
            (
                f"commit of 'flow': saved with {COMMIT}, here no commit; "
                f"pip install 'acme-flow @ git+https://host.example/flow.git@{COMMIT}'"
            ),
        ),
        (
            {"commit": COMMIT},
            {"commit": "77"},
            f"commit of 'flow': saved with {COMMIT}, here 77; install its commit {COMMIT}",
        ),
        (
            {"editable": True},
            {},
            (
                "editable of 'flow': saved with an editable install, here one that is "
                "not editable; "
                "install acme-flow 1.2.0 as editable, from its source"
            ),
        ),
        (
            {"distribution": "in-process", "version": ""},
            {"distribution": "best-flow"},
            (
                "provider of 'flow': saved with in-process, here best-flow 1.2.0; "
                "register the variant with registry().register() before"
            ),
        ),
        (
            {},
            {"contract": 2},
            (
                "contract of 'flow': saved with version 1, here version 2; pip install "
                "'acme-flow==1.2.0'"
            ),
        ),
    ],
)
def test_every_difference_is_reported_with_the_way_back(before, here, message):
    (difference,) = differences_between(attrs.evolve(KNOWN, **before), attrs.evolve(KNOWN, **here))
    assert difference.headline("saved with") == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "0" * 63}, "schema: expected text that passes is_sha256"),
        ({"schema": "O" * 64}, "schema: expected text that passes is_sha256"),
        ({"contract": 0}, "contract: expected an integer of at least 1"),
        ({"distribution": ""}, "distribution: expected text that is not empty"),
        ({"editable": "no"}, "editable: expected true or false"),
    ],
    ids=str,
)
def test_what_cannot_be_is_no_provenance(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        attrs.evolve(KNOWN, **change)
