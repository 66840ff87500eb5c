"""One type of two packages, one package twice, one file of two packages, and what is left of
packages that are gone.
"""

from __future__ import annotations

import shutil

import pytest

from tests.light_environment import indented, variant_source, write_wheel

BACKEND = """
import base64, hashlib, os, zipfile


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "twice-2.0-py3-none-any.whl"
    info = "twice-2.0.dist-info"
    files = {
        "__editable__twice.pth": os.path.join(os.getcwd(), "src") + "\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: twice\\nVersion: 2.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\n"
        "Tag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[noether.attention]\\ntwice = twice\\nfresh = twice_fresh\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def reported_by(sandbox, *names, **variables):
    """Return the summary and the file of each type, resolved in one program."""
    code = """
import json, sys
from noether_core import registry

results = {}
for name in sys.argv[1:]:
    config = registry().get(name).config
    results[name] = [registry().provider(name).provider, sys.modules[config.__module__].__file__]
print(json.dumps(results))
"""
    return sandbox.python(code, *names, **variables)


@pytest.fixture
def sandbox(new_sandbox):
    return new_sandbox()


@pytest.fixture(scope="module")
def rivals(new_sandbox):
    """Two packages with one type, and one with Noether's own."""
    sandbox = new_sandbox()
    sandbox.install(
        *(
            write_wheel(
                sandbox.folder,
                f"{name}-flow",
                {f"{name}_flow.py": variant_source("flow")},
                plugins=plugins,
            )
            for name, plugins in {
                "acme": {"flow": "acme_flow"},
                "best": {"flow": "best_flow"},
            }.items()
        ),
        write_wheel(
            sandbox.folder,
            "my-flare",
            {"my_flare.py": variant_source("flare")},
            plugins={"flare": "my_flare"},
        ),
    )
    return sandbox


def test_a_type_of_two_packages_is_refused_bare_and_found_in_full(rivals):
    (rivals.folder / "flow.yaml").write_text("type: flow\nhidden_dim: 8\nnum_heads: 2\n")
    done = rivals.run("noether", "validate", "flow.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "flow.yaml:1:7: type: 'flow' is provided by acme-flow 1.0 and best-flow 1.0; "
        "write 'acme-flow:flow' or 'best-flow:flow'"
    )
    found = reported_by(
        rivals,
        "acme-flow:flow",
        "best-flow:flow",
        "my-flare:flare",
        "noether-attention:flare",
        "mixed",
    )
    assert found["acme-flow:flow"] == ["acme-flow 1.0", str(rivals.site / "acme_flow.py")]
    assert found["best-flow:flow"] == ["best-flow 1.0", str(rivals.site / "best_flow.py")]
    assert found["my-flare:flare"] == ["my-flare 1.0", str(rivals.site / "my_flare.py")]
    assert found["noether-attention:flare"][0].startswith("noether-attention ")


def test_list_why_and_doctor_report_the_clash_before_it_bites(rivals):
    notes = {
        row["distribution"]: row["note"] for row in rivals.json("list") if row["type"] == "flow"
    }
    assert notes == {name: f"ambiguous; write {name}:flow" for name in ("acme-flow", "best-flow")}
    why = rivals.json("why", "flow", status=1)
    assert why["means"] is None
    assert [(row["candidate"], row["state"], row["reason"]) for row in why["candidates"]] == [
        ("acme-flow:flow", "ambiguous", "best-flow:flow"),
        ("best-flow:flow", "ambiguous", "acme-flow:flow"),
    ]
    assert why["sentence"] == (
        "'flow' is provided by acme-flow 1.0 and best-flow 1.0; write 'acme-flow:flow' "
        "or 'best-flow:flow', "
        "or name one of them in NOETHER_PREFER."
    )
    clashes = {
        finding["message"]: finding
        for finding in rivals.json("doctor", "--no-import")["findings"]
        if finding["check"] == "clash"
    }
    finding = clashes[
        "the type 'flow' is provided by acme-flow 1.0 and best-flow 1.0; its bare name is refused"
    ]
    assert finding["severity"] == "warning"
    assert "NOETHER_PREFER=acme-flow:flow" in finding["remedy"]
    assert len(clashes) == 2


def test_a_clash_that_is_decided_is_none(rivals):
    settings = {"NOETHER_PREFER": "best-flow", "NOETHER_BLOCK": "my-flare"}
    assert rivals.json("doctor", "--no-import", **settings)["findings"] == []


@pytest.fixture
def editable(sandbox):
    """A package that pip has installed in editable form, as version 2.0; return where it lies."""
    project = sandbox.folder / "project"
    (project / "src").mkdir(parents=True)
    (project / "pyproject.toml").write_text(indented(PYPROJECT))
    (project / "backend.py").write_text(BACKEND)
    for name in ("twice", "fresh"):
        module = "twice" if name == "twice" else "twice_fresh"
        (project / "src" / f"{module}.py").write_text(variant_source(name))
    sandbox.environment.pip("install", "--no-deps", "--no-index", "-e", project)
    return project / "src"


@pytest.fixture
def installed(sandbox):
    """The same package, as version 1.0, in a folder of its own; return that."""
    folder = sandbox.folder / "shared"
    files = {"twice.py": variant_source("twice"), "twice_gone.py": variant_source("gone")}
    wheel = write_wheel(
        sandbox.folder, "twice", files, plugins={"twice": "twice", "gone": "twice_gone"}
    )
    sandbox.environment.pip(
        "install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel
    )
    return folder


def duplicates(sandbox, **variables):
    found = sandbox.json("doctor", "--no-import", **variables)["findings"]
    return {finding["check"]: finding for finding in found if finding["distribution"] == "twice"}


def test_an_editable_install_alone_is_in_order(sandbox, editable):
    assert reported_by(sandbox, "twice") == {"twice": ["twice 2.0", str(editable / "twice.py")]}
    assert duplicates(sandbox) == {}
    assert sandbox.json("why", "twice")["candidates"][0]["file"] == str(editable / "twice.py")


def test_of_an_editable_install_beside_an_installed_one_the_first_on_the_path_counts(
    sandbox, editable, installed
):
    variables = {"PYTHONPATH": str(installed)}
    assert reported_by(sandbox, "twice", **variables) == {
        "twice": ["twice 1.0", str(installed / "twice.py")]
    }
    assert reported_by(sandbox, "twice") == {"twice": ["twice 2.0", str(editable / "twice.py")]}
    states = {
        row["version"]: (row["state"], row["reason"])
        for row in sandbox.json("why", "twice", **variables)["candidates"]
    }
    assert states == {"1.0": ("chosen", ""), "2.0": ("shadowed", f"1.0 in {installed}")}
    notes = {
        row["version"]: row["note"]
        for row in sandbox.json("list", **variables)
        if row["type"] == "twice"
    }
    assert notes == {"1.0": "", "2.0": f"shadowed by 1.0 in {installed}"}
    (finding,) = duplicates(sandbox, **variables).values()
    assert (finding["check"], finding["severity"], finding["version"]) == (
        "duplicate",
        "warning",
        "2.0",
    )
    assert finding["message"] == (
        f"1.0 in {installed} hides 2.0 in {sandbox.site}, which still provides 'fresh'"
    )


def test_metadata_of_one_copy_with_the_code_of_another_are_found(sandbox, editable, installed):
    (sandbox.site / "A.pth").write_text(f"{installed}\n")  # read before the editable install's own
    found = reported_by(sandbox, "twice")
    assert found == {"twice": ["twice 2.0", str(installed / "twice.py")]}
    finding = duplicates(sandbox)["other-code"]
    assert finding["severity"] == "warning"
    assert finding["message"] == (
        f"twice is found in {installed / 'twice.py'}, not in {editable.parent}; that is "
        "another copy than 2.0"
    )


def test_a_copy_that_an_update_left_in_the_same_folder_is_found(sandbox):
    for version in ("1.0", "2.0"):
        wheel = write_wheel(
            sandbox.folder,
            "twice",
            {"twice.py": variant_source("twice")},
            version=version,
            plugins={"twice": "twice"},
        )
        sandbox.install(wheel)
        shutil.copytree(
            sandbox.site / f"twice-{version}.dist-info", sandbox.folder / f"kept-{version}"
        )
    shutil.copytree(sandbox.folder / "kept-1.0", sandbox.site / "twice-1.0.dist-info")
    assert reported_by(sandbox, "twice", "flare")["twice"] == [
        "twice 1.0",
        str(sandbox.site / "twice.py"),
    ]
    found = duplicates(sandbox)
    assert found["duplicate"]["message"] == f"1.0 in {sandbox.site} hides 2.0 in {sandbox.site}"


def test_a_stale_copy_in_a_source_tree_is_found(sandbox):
    tree = sandbox.folder / "tree"
    info = tree / "twice.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: twice\nVersion: 0.9\n")
    (info / "entry_points.txt").write_text(
        "[noether.attention]\ntwice = twice\ngone = twice_gone\n"
    )
    sandbox.install(
        write_wheel(
            sandbox.folder,
            "twice",
            {"twice.py": variant_source("twice")},
            plugins={"twice": "twice"},
        )
    )
    variables = {"PYTHONPATH": str(tree)}
    assert reported_by(sandbox, "twice", **variables) == {
        "twice": ["twice 1.0", str(sandbox.site / "twice.py")]
    }
    diagnosis = sandbox.json("doctor", "--no-import", status=1, **variables)
    found = {finding["check"]: finding["message"] for finding in diagnosis["findings"]}
    assert (
        found["duplicate"]
        == f"1.0 in {sandbox.site} hides 0.9 in {tree}, which still provides 'gone'"
    )
    assert found["missing-code"] == "twice_gone cannot be imported: there is no twice_gone"
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: twice\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[noether.attention]\ntwice = twice\n")
    assert sandbox.json("doctor", "--no-import", **variables)["findings"] == []


def test_a_stale_copy_of_a_package_without_plugins_is_found_in_the_same_folder_alone(sandbox):
    sandbox.install(write_wheel(sandbox.folder, "other", {"other.py": ""}, group="console_scripts"))
    shutil.copytree(
        sandbox.site / "other-1.0.dist-info", sandbox.folder / "elsewhere" / "other-1.1.dist-info"
    )
    variables = {"PYTHONPATH": str(sandbox.folder / "elsewhere")}
    assert sandbox.json("doctor", "--no-import", **variables)["findings"] == []
    shutil.copytree(sandbox.site / "other-1.0.dist-info", sandbox.site / "other-0.9.dist-info")
    (finding,) = sandbox.json("doctor", "--no-import", **variables)["findings"]
    assert (finding["check"], finding["severity"], finding["distribution"]) == (
        "duplicate",
        "warning",
        "other",
    )
    assert finding["message"].endswith(f"are installed in one folder, {sandbox.site}")


def test_two_packages_that_install_one_file_are_found(sandbox):
    for name in ("acme", "best"):
        sandbox.install(
            write_wheel(
                sandbox.folder, name, {"flow.py": variant_source(name)}, plugins={name: "flow"}
            )
        )
    found = sandbox.json("doctor", status=1, NOETHER_BLOCK="noether-attention")["findings"]
    (finding,) = [finding for finding in found if finding["check"] == "shared-code"]
    assert finding["severity"] == "warning"
    assert finding["message"] == (
        f"acme and best have each installed {sandbox.site / 'flow.py'}; the last has "
        "overwritten the others"
    )


def test_names_that_read_like_others_are_found(sandbox):
    names = {"fl\u0430re": "cyrillic", "Flare": "capital"}
    sandbox.install(
        *(
            write_wheel(
                sandbox.folder, f"{module}-flare", {f"{module}.py": ""}, plugins={name: module}
            )
            for name, module in names.items()
        )
    )
    found = {
        finding["distribution"]: finding
        for finding in sandbox.json("doctor", "--no-import")["findings"]
    }
    assert found["cyrillic-flare"]["message"].startswith(
        "'fl\u0430re' is not ASCII: it is 'fl\\u0430re'"
    )
    assert found["capital-flare"]["message"] == "'Flare' reads like 'flare', which is another name"
    assert {finding["check"] for finding in found.values()} == {"look-alike"}
    assert sandbox.json("why", "flare")["means"] == "noether-attention:flare"


def test_commands_that_clash_are_found(sandbox):
    sandbox.install(
        *(
            write_wheel(
                sandbox.folder, name, {f"{name}.py": ""}, group="noether.command", plugins=plugins
            )
            for name, plugins in {
                "acme": {"list": "acme", "cost": "acme"},
                "best": {"cost": "best"},
            }.items()
        )
    )
    found = {
        finding["message"]: finding["remedy"]
        for finding in sandbox.json("doctor", "--no-import")["findings"]
    }
    assert found == {
        "the command 'list' is Noether's own, which goes before that of acme": (
            "write noether acme:list"
        ),
        "the command 'cost' is provided by acme 1.0 and best 1.0; its bare name is refused": (
            "write noether acme:cost or noether best:cost"
        ),
    }
