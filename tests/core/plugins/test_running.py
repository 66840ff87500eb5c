"""Which version runs, where another is installed while this process lives."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from noether_core import Registry, build, provenance_of
from tests.light_environment import MODULE

OPTIONS = {"hidden_dim": 8, "num_heads": 2}


@pytest.fixture
def flow(site):
    """Return what installs a version of a package in the place of whichever was there."""

    def install(version, commit=None):
        for folder in site.folder.glob("acme_flow-*"):
            shutil.rmtree(folder)
        site.install_variant("flow", "acme-flow", module="acme_modules:Module")
        (site.folder / "acme_modules.py").write_text(MODULE)
        metadata = (site.folder / "acme-flow-1.2.0.dist-info").rename(
            site.folder / f"acme_flow-{version}.dist-info"
        )
        (metadata / "METADATA").write_text(f"Name: acme-flow\nVersion: {version}\n")
        source = {
            "url": "https://acme.example/flow",
            "vcs_info": {"vcs": "git", "commit_id": commit},
        }
        (metadata / "direct_url.json").write_text(json.dumps(source))

    return install


def built(known):
    found = provenance_of(build("flow", **OPTIONS, registry=known))
    return found.version, found.commit


def test_code_that_was_imported_before_an_upgrade_keeps_its_version(flow):
    flow("1.0", "a" * 40)
    known = Registry()
    assert built(known) == ("1.0", "a" * 40)

    flow("2.0", "b" * 40)
    known.refresh()
    assert known.provider("flow").version == "2.0"
    assert built(known) == built(Registry()) == ("1.0", "a" * 40)


def test_another_commit_of_the_same_version_is_another_release(flow):
    flow("1.0", "a" * 40)
    assert built(Registry()) == ("1.0", "a" * 40)
    flow("1.0", "b" * 40)
    assert built(Registry()) == ("1.0", "a" * 40)


def test_code_that_is_imported_after_an_upgrade_has_the_new_version_though_the_index_is_old(flow):
    flow("1.0", "a" * 40)
    known = Registry()
    assert known.provider("flow").version == "1.0"
    flow("2.0", "b" * 40)
    assert built(known) == ("2.0", "b" * 40)


def test_a_module_that_is_imported_after_an_upgrade_decides(flow):
    flow("1.0")
    known = Registry()
    known.get("flow")
    assert "acme_modules" not in sys.modules
    flow("2.0")
    assert built(known)[0] == "2.0"


def test_a_module_that_came_along_before_an_upgrade_has_the_version_of_then(flow):
    flow("1.0")
    known = Registry()
    known.get("flow")
    __import__("acme_modules")
    flow("2.0")
    known.refresh()
    assert built(known)[0] == "1.0"


def test_code_that_was_imported_anew_has_the_new_version(flow):
    flow("1.0")
    assert built(Registry())[0] == "1.0"
    flow("2.0")
    for name in ("acme_modules", "plugin_of_acme_flow_flow"):
        del sys.modules[name]
    assert built(Registry())[0] == "2.0"


def test_what_lies_where_we_are_is_no_record_of_a_variant_of_this_process(tmp_path, monkeypatch):
    (tmp_path / "direct_url.json").write_text('{"vcs_info": {"commit_id": "c"}}')
    monkeypatch.chdir(tmp_path)
    known = Registry()
    known.register(known.get("dot_product"))
    config = {"type": "in-process:dot_product", **OPTIONS}
    assert provenance_of(build(config, registry=known)).commit is None
