"""Plugins that were written for another version of the contract."""

import pytest

from noether_core import PluginError, hookspecs
from noether_core.plugins.metadata import EntryPoint, core_version, required_core


def install(site, version):
    module = site.install_variant("flow")
    file = site.folder / f"{module}.py"
    file.write_text(file.read_text().replace("api_version=1", f"api_version={version}"))
    return module


def reason_of(site):
    with pytest.raises(PluginError) as caught:
        site.registry().get("flow")
    return caught.value.reason


def test_a_newer_one_is_refused_with_what_to_install(site):
    module = install(site, 2)
    assert reason_of(site) == (
        f"{module} was written for version 2 of the plugin contract, and this is version 1; "
        f"install noether-attention newer than {core_version()}"
    )


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("noether-attention>=2.5", ">=2.5"),
        ("Noether_Attention (>=2.5,<3)", ">=2.5,<3"),
        ("noether-attention[test] >= 2.5 ; python_version >= '3.11'", ">= 2.5"),
        ("noether-attention", f"newer than {core_version()}"),
        ("noether-attention-tools>=9", f"newer than {core_version()}"),
    ],
)
def test_a_newer_one_that_says_what_it_needs_is_quoted(site, requirement, message):
    install(site, 2)
    (metadata,) = site.folder.glob("*.dist-info/METADATA")
    metadata.write_text(
        metadata.read_text().replace(
            "\n\n", f"\nRequires-Dist: torch>=2\nRequires-Dist: {requirement}\n\n"
        )
    )
    assert reason_of(site).endswith(f"; install noether-attention {message}")


def test_an_older_one_works_for_as_long_as_the_contract_did_not_change_for_it(site, monkeypatch):
    monkeypatch.setattr(hookspecs, "hookspec_version", 3)
    monkeypatch.setattr(hookspecs, "CHANGES", {3: "nothing that matters to it"})
    install(site, 1)
    assert site.registry().get("flow").api_version == 1


def test_an_older_one_that_works_no_more_is_reported_every_change_since(site, monkeypatch):
    monkeypatch.setattr(hookspecs, "hookspec_version", 4)
    monkeypatch.setattr(hookspecs, "oldest_version", 3)
    changes = {
        2: "rename summary to headline",
        3: "state the license",
        4: "say where it was published",
    }
    monkeypatch.setattr(hookspecs, "CHANGES", {number: changes[number] for number in (4, 2, 3)})
    module = install(site, 2)
    assert reason_of(site) == (
        f"{module} was written for version 2 of the plugin contract, which works no "
        "more; install a newer flow, or "
        "change it: for version 3, state the license; for version 4, say where it was published"
    )


def test_what_is_not_a_package_requires_no_version():
    entry = EntryPoint("noether.attention", "flow", "flow", "in-process", "", "")
    assert required_core(entry) == ""
