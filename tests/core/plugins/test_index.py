"""What is installed, from metadata alone."""

import sys
import zipfile

import pytest

from noether_core.plugins.index import ATTENTION, COMMAND, EntryPoint, canonical, scan


def _names(index):
    return [entry.qualified_name for entry in index.entry_points]


def test_entry_points_are_read_with_distribution_version_and_origin(site):
    metadata = site.install(
        "acme_flow", version="2.0.1", attention={"flow": "acme_flow.plugin"}, commands={"cost": "c"}
    )
    assert scan([str(site.folder)]).entry_points == (
        EntryPoint(ATTENTION, "flow", "acme_flow.plugin", "acme-flow", "2.0.1", str(metadata)),
        EntryPoint(COMMAND, "cost", "c", "acme-flow", "2.0.1", str(metadata)),
    )


def test_nothing_is_imported(site):
    site.install("acme-flow", attention={"flow": "acme_flow"}, files={"acme_flow.py": "raise SystemExit"})
    scan([str(site.folder)])
    assert "acme_flow" not in sys.modules


def test_groups_of_others_are_passed_over(site):
    site.write_metadata(
        "acme-1.0.dist-info", "acme", "1.0", "[console_scripts]\nnoether.x = a:b\n[noether.other]\nc = d\n"
    )
    assert scan([str(site.folder)]).entry_points == ()


@pytest.mark.parametrize("name", ["Acme_Flow", "acme.flow", "ACME-flow", "acme-_.flow"])
def test_a_distribution_has_one_spelling(name):
    assert canonical(name) == "acme-flow"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[noether.attention]\nflow = acme\xff\n", "is not UTF-8"),
        (
            b"[noether.attention]\nflow = not a path\n",
            "'flow = not a path' under [noether.attention] is no entry point",
        ),
        (b"[noether.attention]\nflow\n", "'flow' under [noether.attention] is no entry point"),
        (b"[noether.attention]\n= acme\n", "'= acme' under [noether.attention] is no entry point"),
        (b"[noether.attention]\nflow = ../acme\n", "is no entry point"),
        (b"[noether.attention]\nflow = https://acme\n", "is no entry point"),
    ],
)
def test_what_cannot_be_read_is_a_fault_and_hides_nothing_else(site, content, reason):
    metadata = site.write_metadata("odd-1.0.dist-info", "odd", "1.0", content)
    site.install("acme-flow", attention={"flow": "acme_flow"})
    index = scan([str(site.folder)])
    assert _names(index) == ["acme-flow:flow"]
    (fault,) = index.faults
    assert fault.origin == str(metadata)
    assert reason in fault.reason


def test_one_bad_line_hides_no_other_of_the_same_file(site):
    site.write_metadata("odd-1.0.dist-info", "odd", "1.0", "[noether.attention]\na = no path\nb = sound\n")
    index = scan([str(site.folder)])
    assert _names(index) == ["odd:b"]
    assert len(index.faults) == 1


def test_metadata_without_its_file_is_a_fault(site):
    metadata = site.install("acme-flow", attention={"flow": "acme_flow"})
    (metadata / "METADATA").unlink()
    index = scan([str(site.folder)])
    assert index.entry_points == ()
    assert index.faults[0].reason == "METADATA is missing"


def test_metadata_that_names_nothing_is_a_fault(site):
    metadata = site.write_metadata("odd.egg-info", "odd", "1.0", "[noether.attention]\nflow = acme\n")
    (metadata / "PKG-INFO").write_text("Summary: nothing\n")
    assert scan([str(site.folder)]).faults[0].reason == "PKG-INFO names no distribution and version"


def test_left_overs_of_pip_are_passed_over(site):
    site.write_metadata("~cme-1.0.dist-info", "acme", "1.0", "[noether.attention]\nflow = acme\n")
    assert scan([str(site.folder)]).entry_points == ()


def test_an_installed_copy_goes_before_a_stale_one_of_a_source_tree(site, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    stale = type(site)(source)
    stale.write_metadata("acme_flow.egg-info", "acme-flow", "0.9", "[noether.attention]\nflow = stale\nold = stale\n")
    site.install("acme-flow", version="1.0", attention={"flow": "fresh"})
    index = scan([str(source), str(site.folder)])
    assert {entry.name: (entry.value, entry.version) for entry in index.entry_points} == {
        "flow": ("fresh", "1.0"),
        "old": ("stale", "0.9"),
    }
    assert [(entry.name, entry.value) for entry in index.shadowed] == [("flow", "stale")]


def test_of_two_copies_the_first_on_the_path_goes_first(site, tmp_path):
    other = type(site)(tmp_path / "other")
    other.folder.mkdir()
    other.install("acme-flow", version="2.0", attention={"flow": "second"})
    site.install("acme-flow", version="1.0", attention={"flow": "first"})
    index = scan([str(site.folder), str(other.folder)])
    assert [entry.value for entry in index.entry_points] == ["first"]
    assert [entry.value for entry in index.shadowed] == ["second"]


def test_a_folder_that_is_twice_on_the_path_shadows_nothing(site):
    site.install("acme-flow", attention={"flow": "acme"})
    (site.folder / "link").symlink_to(site.folder)
    assert scan([str(site.folder), str(site.folder), str(site.folder / "link")]).shadowed == ()


def test_folders_that_are_not_there_are_passed_over(tmp_path):
    (tmp_path / "file").touch()
    assert scan([str(tmp_path / "nowhere"), str(tmp_path / "file")]).entry_points == ()


def test_archives_on_the_path_are_read(site, tmp_path, monkeypatch):
    site.install("acme-flow", attention={"flow": "acme_flow"})
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for file in site.folder.rglob("*"):
            if file.is_file():
                bundle.write(file, file.relative_to(site.folder))
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert _names(scan()) == ["acme-flow:flow"]


def test_an_importer_that_fails_is_a_fault(monkeypatch):
    class Finder:
        def find_spec(self, *_):
            return None

        def find_distributions(self, context):
            yield Broken()

    class Broken:
        def read_text(self, name):
            raise OSError("gone")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert [fault.reason for fault in scan().faults] == ["OSError: gone"]


def test_five_hundred_packages_are_listed(site):
    for number in range(500):
        site.install(f"plugin{number}", attention={f"type{number}": f"plugin{number}"})
    for number in range(300):
        site.write_metadata(f"other{number}-1.0.dist-info", f"other{number}", "1.0", "[console_scripts]\na = b:c\n")
    assert len(scan([str(site.folder)]).entry_points) == 500
