"""``noether new``: names, files, and what is refused."""

import importlib
import os
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from noether_core import registry
from noether_core.scaffold import INTERFACES, files_of, files_of_task, names_of


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        command = ["noether", "new", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("distribution", "type", "package", "variant", "module"),
    [
        ("acme-foo", None, "acme_foo", "acme_foo", "AcmeFooAttention"),
        ("Acme.Foo--2", None, "acme_foo_2", "acme_foo_2", "AcmeFoo2Attention"),
        ("acme_foo", "acme_window", "acme_foo", "acme_window", "AcmeWindowAttention"),
        ("acme", "acme_attention", "acme", "acme_attention", "AcmeAttention"),
    ],
)
def test_everything_is_named_after_the_package_and_the_type(
    distribution, type, package, variant, module
):
    names = names_of(distribution, type)
    assert (names.package, names.type, names.module) == (package, variant, module)


@pytest.mark.parametrize(
    "distribution",
    [
        "",
        "-acme",
        "acme-",
        "../acme",
        "/acme",
        "acme foo",
        "äcme",
        "a;b",
        "3d",
        "class",
        "json",
        "noether-core",
        "tests",
    ],
)
def test_a_name_that_can_be_no_package_is_refused(distribution):
    with pytest.raises(ValueError, match=r"cannot be|would hide"):
        names_of(distribution)


@pytest.mark.parametrize(
    "type", ["", "Acme", "acme-foo", "3d", "acme__foo", "_acme", "acme_", "acme:foo", "class", "ä"]
)
def test_a_name_that_can_be_no_type_is_refused(type):
    with pytest.raises(ValueError, match="cannot be a type"):
        names_of("acme-foo", type)


@pytest.mark.parametrize("interface", INTERFACES)
def test_every_file_is_whole_and_names_what_it_should(interface):
    names = names_of("Acme-Foo", "acme_bar")
    files = files_of(names, interface, version="1.5", api_version=7)
    assert sorted(files) == [
        ".github/workflows/tests.yml",
        ".gitignore",
        "README.md",
        "example.yaml",
        "pyproject.toml",
        "src/acme_foo/__init__.py",
        "src/acme_foo/config.py",
        "src/acme_foo/module.py",
        "src/acme_foo/py.typed",
        "tests/test_acme_bar.py",
    ]
    assert [path for path, text in files.items() if "$" in text] == []
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "Acme-Foo"
    assert project["dependencies"] == ["noether-attention>=1.5"]
    assert project["entry-points"] == {"noether.attention": {"acme_bar": "acme_foo"}}
    assert "api_version=7" in files["src/acme_foo/__init__.py"]
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_a_package_with_a_task_is_whole_and_keeps_what_tasks_promise(site, tmp_path, monkeypatch):
    names = names_of("Acme-Foo", "acme_bar")
    files = files_of_task(names, version="1.5", api_version=1)
    assert sorted(files) == [
        ".github/workflows/tests.yml",
        ".gitignore",
        "README.md",
        "example.yaml",
        "pyproject.toml",
        "src/acme_foo/__init__.py",
        "src/acme_foo/config.py",
        "src/acme_foo/py.typed",
        "src/acme_foo/task.py",
        "tests/test_acme_bar.py",
    ]
    assert [path for path, text in files.items() if "$" in text] == []
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["dependencies"] == ["noether-attention[torch]>=1.5"]
    assert project["entry-points"] == {"noether.task": {"acme_bar": "acme_foo"}}

    code = {path.removeprefix("src/"): text for path, text in files.items() if path[-3:] == ".py"}
    code["tests_of_acme.py"] = code.pop("tests/test_acme_bar.py")
    site.install("Acme-Foo", tasks={"acme_bar": "acme_foo"}, files=code)
    monkeypatch.setattr("noether_core.plugins.registry._default", None)  # which has seen no site
    assert registry().tasks.get("acme_bar").config.__name__ == "AcmeBarConfig"
    tests = importlib.import_module("tests_of_acme")
    tests.test_it_keeps_what_tasks_promise(tmp_path)
    tests.test_temperature_falls_with_the_logarithm_of_the_distance()
    tests.test_a_file_that_holds_no_plate_is_refused(tmp_path)


def test_the_command_writes_a_package_with_a_task(run, tmp_path):
    result = run("acme-foo", "--task")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "acme-foo: a package with the task 'acme_foo'"
    assert "class AcmeFooTask(Task):" in (tmp_path / "acme-foo/src/acme_foo/task.py").read_text()


def test_the_command_writes_the_package_and_says_what_comes_next(run, tmp_path):
    result = run("acme-foo", "--type", "acme_bar", "--interface", "tokens")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "acme-foo: a package with the variant 'acme_bar'"
    assert "  python -m pip install -e '.[test]'\n  python -m pytest\n" in result.stdout
    written = {
        str(path.relative_to(tmp_path / "acme-foo"))
        for path in (tmp_path / "acme-foo").rglob("*")
        if path.is_file()
    }
    assert written == set(
        files_of(names_of("acme-foo", "acme_bar"), "tokens", version="0", api_version=1)
    )
    assert 'interface="tokens"' in (tmp_path / "acme-foo/src/acme_foo/__init__.py").read_text()
    assert names_in(tmp_path) == ["acme-foo"]


@pytest.mark.parametrize(
    ("distribution", "refused"),
    [
        ("torch", "'torch' would hide the package 'torch', which is imported from "),
        ("Annotated-Types", "would hide the package 'annotated_types', which is imported from "),
        ("pyyaml", "a package 'pyyaml' is installed in "),
        ("json", "'json' would hide the package 'json'"),
    ],
)
def test_a_name_that_can_be_imported_or_is_installed_is_refused(
    run, tmp_path, distribution, refused
):
    result = run(distribution)
    assert (result.returncode, result.stdout) == (2, "")
    assert refused in result.stderr
    assert result.stderr.endswith("choose another name\n")
    assert names_in(tmp_path) == []


def test_a_folder_and_its_files_have_the_permissions_of_any_other(run, tmp_path):
    (tmp_path / "other").mkdir()
    run("acme-foo")
    modes = {
        stat.S_IMODE((tmp_path / name).stat().st_mode)
        for name in ("other", "acme-foo", "acme-foo/src")
    }
    assert len(modes) == 1


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")],
    ids=["folder", "file", "dangling link"],
)
def test_what_is_there_is_never_overwritten(run, tmp_path, make):
    make(tmp_path / "acme-foo")
    before = (tmp_path / "acme-foo").lstat()
    result = run("acme-foo")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "noether new: acme-foo is there already; nothing was written\n"
    assert (tmp_path / "acme-foo").lstat() == before
    assert names_in(tmp_path) == ["acme-foo"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["../acme"], "'../acme' cannot be the name of a package"),
        (["acme", "--type", "Acme"], "'Acme' cannot be a type"),
        (["acme", "--type", "flare"], "the type 'flare' is provided by noether-attention"),
        (["acme", "--interface", "both"], "invalid choice: 'both'"),
        (["acme", "--task", "--interface", "self"], "not allowed with argument --task"),
        (["acme", "--task", "--type", "airfoil"], "the type 'airfoil' is provided by noether-att"),
        ([], "the following arguments are required: NAME"),
    ],
)
def test_wrong_usage_writes_nothing(run, tmp_path, arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(tmp_path, monkeypatch):
    from noether_core.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        os, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    assert main(["new", "acme-foo"]) == 1
    assert names_in(tmp_path) == []
