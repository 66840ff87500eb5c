"""What is installed, from metadata alone."""

from __future__ import annotations

import os
import sys
import zipfile
from importlib import metadata

import pytest

import noether_core
from noether_core import Registry, UnknownTypeError
from noether_core.plugins.metadata import (
    ATTENTION,
    COMMAND,
    EntryPoint,
    canonical,
    core_version,
    scan,
)

ONE = "[noether.attention]\nwindow = acme_window\n"


def names(index):
    return sorted(entry.qualified_name for entry in index.entry_points)


def reasons(index):
    return [fault.reason for fault in index.faults]


def test_what_distributions_announce_is_reported_with_who_announces_it(site):
    origin = site.install(
        "acme-attn",
        version="1.2.0",
        attention={"window": "acme.window", "flare": "acme:flare.plugin"},
    )
    index = scan([str(site.folder)])
    assert index.entry_points == (
        EntryPoint(ATTENTION, "window", "acme.window", "acme-attn", "1.2.0", str(origin)),
        EntryPoint(ATTENTION, "flare", "acme:flare.plugin", "acme-attn", "1.2.0", str(origin)),
    )
    assert index.shadowed == index.faults == ()
    assert index.entry_points[0].qualified_name == "acme-attn:window"
    assert index.entry_points[0].provider == "acme-attn 1.2.0"


def test_nothing_is_imported(site):
    site.install(
        "acme", attention={"window": "acme_raises"}, files={"acme_raises.py": "raise SystemExit(3)"}
    )
    before = set(sys.modules)
    assert names(scan([str(site.folder)])) == ["acme:window"]
    assert set(sys.modules) == before


def test_groups_are_kept_apart_and_those_of_others_are_passed_over(site):
    text = (
        "[console_scripts]\nacme = acme:main\n\n[noether.command]\ntrain = acme.train\n\n"
        "[noether.other]\nx = y\n"
    ) + ONE
    site.write_metadata("acme-1.0.dist-info", "acme", "1.0", text)
    index = scan([str(site.folder)])
    assert [(entry.group, entry.name) for entry in index.entry_points] == [
        (COMMAND, "train"),
        (ATTENTION, "window"),
    ]
    assert [entry.name for entry in index.of(ATTENTION)] == ["window"]
    assert [entry.name for entry in index.of(COMMAND)] == ["train"]
    assert index.faults == ()


def test_comments_blank_lines_spaces_and_a_byte_order_mark_are_passed_over(site):
    text = (
        "\ufeff[ noether.attention ]\r\n# a comment\r\n\r\n; another\r\n  window=acme_window  \r\n"
    )
    site.write_metadata("acme-1.0.dist-info", "acme", "1.0", text)
    index = scan([str(site.folder)])
    assert [(entry.name, entry.value) for entry in index.entry_points] == [
        ("window", "acme_window")
    ]
    assert index.faults == ()


@pytest.mark.parametrize("count", [500])
def test_many_distributions_are_all_found_each_once(site, count):
    for number in range(count):
        site.write_metadata(
            f"acme_{number}-1.0.dist-info",
            f"acme_{number}",
            "1.0",
            ONE.replace("window", f"w{number}"),
        )
    for number in range(300):
        site.write_metadata(
            f"other{number}-1.0.dist-info", f"other{number}", "1.0", "[console_scripts]\na = b:c\n"
        )
    (site.folder / "link").symlink_to(site.folder)
    index = scan([str(site.folder), str(site.folder), str(site.folder / "link")])
    assert len(index.entry_points) == count
    assert {entry.provider for entry in index.entry_points} == {
        f"acme-{number} 1.0" for number in range(count)
    }
    assert index.shadowed == index.faults == ()


@pytest.mark.parametrize(
    ("name", "spelling"),
    [("Acme_Window", "acme-window"), ("acme.window", "acme-window"), ("ACME--_.x", "acme-x")],
)
def test_a_distribution_has_one_spelling(site, name, spelling):
    site.write_metadata(f"{name.replace('-', '_')}-1.0.dist-info", name, "1.0", ONE)
    assert canonical(name) == spelling
    assert names(scan([str(site.folder)])) == [f"{spelling}:window"]


FAULTS = {
    "text of another encoding": (
        "bad-1.0.dist-info",
        "[noether.attention]\nx = caf\xe9\n".encode("latin-1"),
        "not UTF-8",
    ),
    "no value": (
        "bad-1.0.dist-info",
        "[noether.attention]\nwindow =\n",
        "'window =' under [noether.attention] is no",
    ),
    "no equals sign": ("bad-1.0.dist-info", "[noether.attention]\nwindow\n", "'window' under"),
    "no name": ("bad-1.0.dist-info", "[noether.attention]\n= acme\n", "'= acme' under"),
    "a colon in the name": (
        "bad-1.0.dist-info",
        "[noether.attention]\na:b = acme\n",
        "'a:b = acme' under",
    ),
    "a path": (
        "bad-1.0.dist-info",
        "[noether.attention]\nx = ../evil.py\n",
        "'x = ../evil.py' under",
    ),
    "an address": (
        "bad-1.0.dist-info",
        "[noether.attention]\nx = https://acme\n",
        "'x = https://acme' under",
    ),
    "a relative import": (
        "bad-1.0.dist-info",
        "[noether.attention]\nx = .acme\n",
        "'x = .acme' under",
    ),
    "a call": (
        "bad-1.0.dist-info",
        "[noether.attention]\nx = acme:load()\n",
        "'x = acme:load()' under",
    ),
    "two colons": (
        "bad-1.0.dist-info",
        "[noether.attention]\nx = acme:a:b\n",
        "'x = acme:a:b' under",
    ),
    "no name of the distribution": (".dist-info", ONE, "names no distribution"),
}


@pytest.mark.parametrize(("folder", "text", "reason"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_read_is_reported_and_hides_nothing_else(site, folder, text, reason):
    site.install("acme-before", attention={"window": "acme"})
    origin = site.write_metadata(folder, "", "", text)
    site.install("zz-after", attention={"window": "acme"})
    index = scan([str(site.folder)])
    assert names(index) == ["acme-before:window", "zz-after:window"]
    (fault,) = index.faults
    assert fault.origin == str(origin)
    assert reason in fault.reason


def test_a_wrong_line_hides_no_other_line_of_its_file(site):
    site.write_metadata(
        "acme-1.0.dist-info",
        "acme",
        "1.0",
        "[noether.attention]\na = 3x\nb = acme\nc = acme:\nd = e\n",
    )
    index = scan([str(site.folder)])
    assert [entry.name for entry in index.entry_points] == ["b", "d"]
    assert len(index.faults) == 2


def test_a_file_of_another_package_may_be_anything(site):
    site.write_metadata("other-1.0.dist-info", "other", "1.0", b"\xff\xfe[console_scripts]\n")
    site.write_metadata("third-1.0.dist-info", "third", "1.0", "[[[ not = an [ini] file")
    index = scan([str(site.folder)])
    assert index.entry_points == index.faults == ()


def test_a_folder_in_the_place_of_a_file_is_reported(site):
    (site.folder / "bad-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    site.install("acme", attention={"window": "acme"})
    index = scan([str(site.folder)])
    assert names(index) == ["acme:window"]
    assert "Is a directory" in reasons(index)[0]


def test_a_file_in_the_place_of_a_folder_and_one_without_entry_points_are_passed_over(site):
    (site.folder / "file-1.0.dist-info").write_text("no folder")
    (site.folder / "empty-1.0.dist-info").mkdir()
    index = scan([str(site.folder)])
    assert index.entry_points == index.faults == ()


@pytest.mark.parametrize("folder", ["acme-1.0.dist-info", "acme.egg-info"])
def test_missing_metadata_is_reported(site, folder):
    origin = site.write_metadata(folder, "acme", "1.0", ONE)
    name = "METADATA" if folder.endswith("dist-info") else "PKG-INFO"
    (origin / name).unlink()
    index = scan([str(site.folder)])
    assert index.entry_points == ()
    assert reasons(index) == [f"{name} is missing"]


@pytest.mark.parametrize("folder", ["acme.dist-info", "acme.egg-info"])
def test_metadata_that_names_nothing_is_reported(site, folder):
    origin = site.write_metadata(folder, "acme", "1.0", ONE)
    (metadata_file,) = [file for file in origin.iterdir() if file.name != "entry_points.txt"]
    metadata_file.write_text("Summary: nothing\n")
    assert reasons(scan([str(site.folder)])) == [
        f"{metadata_file.name} names no distribution and version"
    ]


@pytest.mark.parametrize("folder", ["acme.dist-info", "acme.egg-info", "acme-9.9-py3.11.egg-info"])
def test_a_folder_whose_name_does_not_report_is_read(site, folder):
    site.write_metadata(folder, "Acme.Attn", "1.3.0", ONE)
    assert [entry.provider for entry in scan([str(site.folder)]).entry_points] == [
        "acme-attn 1.3.0"
    ]


def test_metadata_of_another_encoding_report_name_and_version_nevertheless(site):
    origin = site.write_metadata("acme.egg-info", "acme", "1.0", ONE)
    (origin / "PKG-INFO").write_bytes(b"Author: Andr\xe9\nName: acme\nVersion: 1.0\n")
    assert [entry.provider for entry in scan([str(site.folder)]).entry_points] == ["acme 1.0"]


def test_what_an_interrupted_uninstall_left_is_passed_over(site):
    site.write_metadata("~cme-1.0.dist-info", "acme", "1.0", ONE)
    index = scan([str(site.folder)])
    assert index.entry_points == index.faults == ()


def test_an_installed_copy_goes_before_a_stale_one_of_the_source_tree(site, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    site.write_metadata("../tree/acme.egg-info", "acme", "0.9", ONE + "gone = acme_gone\n")
    site.write_metadata("acme-1.0.dist-info", "acme", "1.0", ONE)
    index = scan([str(tree), str(site.folder)])
    assert {entry.name: entry.version for entry in index.entry_points} == {
        "window": "1.0",
        "gone": "0.9",
    }
    assert [(entry.name, entry.version) for entry in index.shadowed] == [("window", "0.9")]


def test_of_two_installed_copies_the_one_that_python_would_import_counts(site, tmp_path):
    (tmp_path / "first").mkdir()
    site.write_metadata("../first/acme-2.0.dist-info", "acme", "2.0", ONE)
    site.write_metadata("acme-1.0.dist-info", "acme", "1.0", ONE)
    index = scan([str(tmp_path / "first"), str(site.folder)])
    assert [entry.version for entry in index.entry_points] == ["2.0"]
    assert [entry.version for entry in index.shadowed] == ["1.0"]


def test_a_name_given_twice_in_one_file_counts_once(site):
    site.write_metadata("acme-1.0.dist-info", "acme", "1.0", ONE + "window = acme_other\n")
    index = scan([str(site.folder)])
    assert [entry.value for entry in index.entry_points] == ["acme_window"]
    assert [entry.value for entry in index.shadowed] == ["acme_other"]


def test_one_type_of_two_distributions_is_announced_by_both(site):
    site.install("acme-b", attention={"window": "b"})
    site.install("acme-a", attention={"window": "a"})
    assert names(scan([str(site.folder)])) == ["acme-a:window", "acme-b:window"]


@pytest.mark.parametrize("entry", ["/no/such/folder", "", "file"])
def test_what_is_no_folder_of_packages_is_passed_over(tmp_path, monkeypatch, entry):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    index = scan([entry])
    assert index.entry_points == index.faults == ()


def test_the_folder_where_we_are_is_looked_at_where_the_path_says_so(site, monkeypatch):
    site.install("acme", attention={"window": "acme"})
    monkeypatch.chdir(site.folder)
    assert names(scan([""])) == ["acme:window"]


def test_the_path_of_python_is_looked_at_by_default_whatever_stands_on_it(site, monkeypatch):
    site.install("acme", attention={"window": "acme"})
    for stranger in (site.folder, None, 3, b"/tmp"):
        monkeypatch.setattr(sys, "path", [stranger, *sys.path])
    found = names(scan())
    assert "acme:window" in found
    assert "noether-attention:transolver" in found


def write_archive(path, text=ONE):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "zipped-3.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: Zipped\nVersion: 3.0\n"
        )
        archive.writestr("zipped-3.0.dist-info/entry_points.txt", text)


@pytest.mark.parametrize("name", ["zipped-3.0.zip", "zipped-3.0.whl", "app.pyz", "app", "app.bin"])
@pytest.mark.parametrize("head", [b"", b"#!/usr/bin/env python3\n"])
def test_archives_on_the_path_are_looked_into_whatever_they_are_called(
    site, tmp_path, monkeypatch, name, head
):
    site.install("acme", attention={"window": "acme"})
    write_archive(tmp_path / name)
    (tmp_path / name).write_bytes(head + (tmp_path / name).read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path / name))
    index = scan()
    assert {"zipped:window", "acme:window"} <= set(names(index))
    assert "zipped 3.0" in {entry.provider for entry in index.entry_points}
    assert len(names(index)) == len(set(names(index)))


@pytest.mark.parametrize("name", ["broken.zip", "broken"])
def test_an_archive_that_is_none_hides_nothing(site, tmp_path, monkeypatch, name):
    site.install("acme", attention={"window": "acme"})
    (tmp_path / name).write_bytes(b"PK\x03\x04 no archive")
    monkeypatch.syspath_prepend(str(tmp_path / name))
    assert "acme:window" in names(scan())


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("acme [fast]", "acme"),
        ("acme[fast]", "acme"),
        ("acme.window:plugin [fast,faster]", "acme.window:plugin"),
        ("acme : window . plugin  [ fast , faster ]", None),
        ("acme.window : plugin [fast]", "acme.window:plugin"),
        ("acme []", "acme"),
        ("acme [fast", None),
        ("acme [fast] more", None),
        ("[fast]", None),
        ("acme: [fast]", None),
    ],
)
def test_extras_behind_a_path_are_left_out(site, reference, path):
    text = f"[noether.attention]\nwindow = {reference}\n"
    site.write_metadata("acme-1.0.dist-info", "acme", "1.0", text)
    index = scan([str(site.folder)])
    found = [entry.value for entry in index.entry_points]
    assert found == ([] if path is None else [path])
    assert len(index.faults) == (path is None)


def _as_pipe(path):
    os.mkfifo(path)


def _as_device(path):
    path.symlink_to("/dev/zero")


def _as_endless_file(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


IRREGULAR = {
    "pipe": (_as_pipe, "is no regular file"),
    "device": (_as_device, "is no regular file"),
    "terabyte": (_as_endless_file, "holds more than"),
}


@pytest.mark.parametrize(("make", "reason"), IRREGULAR.values(), ids=IRREGULAR)
@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_metadata_that_hang_or_never_end_are_a_fault_of_their_distribution(
    site, name, make, reason
):
    # the name of the folder has no version, so that the headers are needed
    origin = site.write_metadata("bad.dist-info", "bad", "1.0", ONE)
    (origin / name).unlink()
    make(origin / name)
    site.install("acme", attention={"window": "acme"})
    index = scan([str(site.folder)])
    assert names(index) == ["acme:window"]
    (fault,) = index.faults
    assert fault.origin == str(origin)
    assert reason in fault.reason or fault.reason == "METADATA is missing"


def test_that_the_metadata_of_noether_itself_are_missing_is_reported(site, monkeypatch):
    site.install("acme", attention={"window": "acme"})
    monkeypatch.setattr(sys, "path", [str(site.folder)])
    index = scan()
    assert names(index) == ["acme:window"]
    (fault,) = index.faults
    assert fault.origin == "noether-attention"
    assert "its metadata are not on Python's path" in fault.reason
    with pytest.raises(UnknownTypeError, match="--copy-metadata noether-attention"):
        Registry().get("transolver")
    assert core_version() == noether_core.__version__


class Foreign(metadata.Distribution):
    """A distribution that some importer knows."""

    def __init__(self, files):
        self._files = files

    def read_text(self, filename):
        if isinstance(self._files, Exception):
            raise self._files
        return self._files.get(filename)

    def locate_file(self, path):
        return f"/elsewhere/{path}"


class Finder:
    """An importer that is not Python's own."""

    def __init__(self, *distributions):
        self._distributions = distributions

    def find_spec(self, *_):
        return None

    def find_distributions(self, context):
        return iter(self._distributions)


class BrokenFinder(Finder):
    def find_distributions(self, context):
        raise RuntimeError("no distributions for you")


class HalfBrokenFinder(Finder):
    def find_distributions(self, context):
        yield from self._distributions
        raise RuntimeError("no more for you")


def foreign(name="Elsewhere", version="4.0", text=ONE):
    return Foreign(
        {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "entry_points.txt": text,
        }
    )


def test_what_other_importers_know_is_reported_as_well(site, monkeypatch):
    site.install("acme", attention={"window": "acme"})
    monkeypatch.setattr(
        sys, "meta_path", [Finder(foreign(), foreign("silent", text="")), *sys.meta_path]
    )
    index = scan()
    assert {"elsewhere:window", "acme:window"} <= set(names(index))
    (entry,) = [entry for entry in index.entry_points if entry.distribution == "elsewhere"]
    assert (entry.version, entry.origin) == ("4.0", "/elsewhere/")


@pytest.mark.parametrize(
    ("finder", "reason"),
    [
        (BrokenFinder(), "RuntimeError: no distributions for you"),
        (HalfBrokenFinder(foreign()), "RuntimeError: no more for you"),
        (Finder(Foreign(OSError("unreadable")), foreign()), "OSError: unreadable"),
        (Finder(Foreign({"entry_points.txt": ONE}), foreign()), ""),
    ],
)
def test_an_importer_that_fails_is_reported_and_hides_nothing_else(
    site, monkeypatch, finder, reason
):
    site.install("acme", attention={"window": "acme"})
    monkeypatch.setattr(sys, "meta_path", [finder, Finder(foreign("third")), *sys.meta_path])
    index = scan()
    assert {"acme:window", "third:window", "noether-attention:transolver"} <= set(names(index))
    assert len(index.faults) == 1
    assert reason in reasons(index)[0]


def test_other_importers_and_archives_are_left_alone_where_a_path_is_given(site, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [BrokenFinder(), *sys.meta_path])
    index = scan([str(site.folder)])
    assert index.entry_points == index.faults == ()
