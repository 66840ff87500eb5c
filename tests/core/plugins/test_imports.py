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
        ("code_module", "code_module.py"),
        ("code_module:Plugin.nested", "code_module.py"),
        ("code_package", "code_package/__init__.py"),
        ("code_package.inner", "code_package/inner/__init__.py"),
        ("code_package.inner.deep", "code_package/inner/deep.py"),
        ("code_names.inner", "code_names/inner.py"),
        ("code_names.more.deep", "code_names/more/deep.py"),
    ],
)
def test_a_module_is_found_in_packages_and_in_folders_without_code_and_nothing_is_imported(
    code, path, file
):
    folder = code(
        "code_module.py",
        "code_package/__init__.py",
        "code_package/inner/__init__.py",
        "code_package/inner/deep.py",
        "code_names/inner.py",
        "code_names/more/deep.py",
    )
    before = set(sys.modules)
    assert file_of(path) == str(folder / file)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("code_nowhere", "there is no code_nowhere"),
        ("code_nowhere.inner", "there is no code_nowhere"),
        ("code_package.nowhere", "there is no code_package.nowhere"),
        ("code_package.nowhere.deep", "there is no code_package.nowhere"),
        ("code_module.inner", "there is no code_module.inner"),
        ("code_empty", "code_empty is a folder without code"),
        ("code_package.empty", "code_package.empty is a folder without code"),
    ],
)
def test_what_is_not_there_is_reported(code, path, message):
    folder = code("code_module.py", "code_package/__init__.py")
    (folder / "code_empty").mkdir()
    (folder / "code_package" / "empty").mkdir()
    with pytest.raises(ImportError) as caught:
        file_of(path)
    assert str(caught.value) == message


def test_a_module_that_is_built_into_python_is_there(code):
    assert file_of("sys") == "built-in"


def test_a_module_in_an_archive_is_found(tmp_path, monkeypatch):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code_zipped/__init__.py", "raise SystemExit")
        file.writestr("code_zipped/inner.py", "raise SystemExit")
    monkeypatch.syspath_prepend(str(archive))
    assert file_of("code_zipped.inner") == str(archive / "code_zipped" / "inner.py")


class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "code_odd":
            raise RuntimeError("no")


def test_an_importer_that_fails_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ImportError, match="code_odd cannot be looked for: RuntimeError: no"):
        file_of("code_odd")


def test_a_module_that_was_made_by_hand_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "code_made", type(sys)("code_made"))
    with pytest.raises(ImportError, match="code_made cannot be looked for: ValueError: "):
        file_of("code_made")
