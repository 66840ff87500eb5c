"""Where the code of a plugin lies, without importing it."""

import sys
import zipfile

import pytest

from noether_core.plugins.imports import file_of


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Return what writes modules, none of which may ever be imported."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(*names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("raise SystemExit('imported')")
        return folder

    return write


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("home_module", "home_module.py"),
        ("home_module:Plugin.nested", "home_module.py"),
        ("home_package", "home_package/__init__.py"),
        ("home_package.inner", "home_package/inner/__init__.py"),
        ("home_package.inner.deep", "home_package/inner/deep.py"),
        ("home_names.inner", "home_names/inner.py"),
        ("home_names.more.deep", "home_names/more/deep.py"),
    ],
)
def test_a_module_is_found_in_packages_and_in_folders_without_code_and_nothing_is_imported(
    code, path, file
):
    folder = code(
        "home_module.py",
        "home_package/__init__.py",
        "home_package/inner/__init__.py",
        "home_package/inner/deep.py",
        "home_names/inner.py",
        "home_names/more/deep.py",
    )
    before = set(sys.modules)
    assert file_of(path) == str(folder / file)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("home_nowhere", "there is no home_nowhere"),
        ("home_nowhere.inner", "there is no home_nowhere"),
        ("home_package.nowhere", "there is no home_package.nowhere"),
        ("home_package.nowhere.deep", "there is no home_package.nowhere"),
        ("home_module.inner", "there is no home_module.inner"),
        ("home_empty", "home_empty is a folder without code"),
        ("home_package.empty", "home_package.empty is a folder without code"),
    ],
)
def test_what_is_not_there_is_told(code, path, told):
    folder = code("home_module.py", "home_package/__init__.py")
    (folder / "home_empty").mkdir()
    (folder / "home_package" / "empty").mkdir()
    with pytest.raises(ImportError) as caught:
        file_of(path)
    assert str(caught.value) == told


def test_a_module_that_is_built_into_python_is_there(code):
    assert file_of("sys") == "built-in"


def test_a_module_in_an_archive_is_found(tmp_path, monkeypatch):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("home_zipped/__init__.py", "raise SystemExit")
        file.writestr("home_zipped/inner.py", "raise SystemExit")
    monkeypatch.syspath_prepend(str(archive))
    assert file_of("home_zipped.inner") == str(archive / "home_zipped" / "inner.py")


class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "home_odd":
            raise RuntimeError("no")


def test_an_importer_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ImportError, match="home_odd cannot be looked for: RuntimeError: no"):
        file_of("home_odd")


def test_a_module_that_was_made_by_hand_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "home_made", type(sys)("home_made"))
    with pytest.raises(ImportError, match="home_made cannot be looked for: ValueError: "):
        file_of("home_made")
