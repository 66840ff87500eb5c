"""What is installed is compared with what a module was saved with."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from noether_core import ConfigError, PluginError, build, load_module, provenance_of, save
from noether_core.errors import (
    OutdatedOptionWarning,
    ProvenanceError,
    ProvenanceWarning,
    SavedModuleError,
)
from tests.core.flow import STRIDE, WIDER, WINDOW, flow_files

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import nn

    from noether_core import Registry

WITH_1 = "saved with acme-flow 1.0"
REMEDY = "pip install 'acme-flow==1.0'"


@attrs.frozen
class Bench:
    """A folder of installed packages, and a file that was saved with acme-flow 1.0."""

    site: Any
    file: Path

    def install(self, distribution: str = "acme-flow", version: str = "2.0", **code: Any) -> Bench:
        package = f"{distribution}_{version}".replace("-", "_").replace(".", "_")
        files = flow_files(package, told=f"{distribution} {version}", **code)
        self.site.install(distribution, version=version, attention={"flow": package}, files=files)
        return self

    def registry(self) -> Registry:
        return self.site.registry()

    def load(self, strict: bool | Collection[str] = False) -> tuple[nn.Module, list[str]]:
        """Return the module in the file, and the lines of the one warning that there was."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module = load_module(self.file, registry=self.registry(), strict=strict)
        assert len(caught) <= 1
        assert all(warning.category is ProvenanceWarning for warning in caught)
        assert all(warning.filename == __file__ for warning in caught)
        return module, self.lines(str(caught[0].message)) if caught else []

    def refused(self, strict: bool | Collection[str]) -> list[str]:
        """Return the lines of the refusal, and see that they are its differences."""
        with pytest.raises(ProvenanceError) as caught:
            load_module(self.file, registry=self.registry(), strict=strict)
        lines = self.lines(str(caught.value))
        assert lines == [
            difference.headline("saved with") for difference in caught.value.differences
        ]
        assert isinstance(caught.value, SavedModuleError)
        return lines

    def lines(self, message: str) -> list[str]:
        """Return the lines of a message, each without the name of the file."""
        assert all(line.startswith(f"{self.file}: ") for line in message.splitlines())
        return [line.removeprefix(f"{self.file}: ") for line in message.splitlines()]


@pytest.fixture
def bench(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    before = Bench(
        attrs.evolve(site, folder=site.folder / "before"), tmp_path / "module.safetensors"
    )
    before.site.folder.mkdir()
    monkeypatch.syspath_prepend(str(before.site.folder))
    before.install(version="1.0")
    save(
        build("flow", hidden_dim=8, num_heads=2, window=5, registry=before.registry()), before.file
    )
    return Bench(site, before.file)


def test_the_same_package_is_no_difference(bench):
    module, warned = bench.install(version="1.0").load(strict=True)
    assert (type(module).__doc__, warned) == ("Of acme-flow 1.0.", [])


def test_another_version_is_one_warning_or_refused(bench):
    message = f"version of 'flow': {WITH_1}, here acme-flow 2.0; {REMEDY}"
    bench.install()
    for strict in (False, (), ["provider", "commit", "schema", "contract", "editable", "missing"]):
        module, warned = bench.load(strict)
        assert type(module).__doc__ == "Of acme-flow 2.0."
        assert provenance_of(module).provider == "acme-flow 2.0"
        assert warned == [message]
    for strict in (True, "version", {"version", "schema"}):
        assert bench.refused(strict) == [message]


def test_a_changed_schema_is_reported_by_option(bench):
    bench.install(options=f"{WINDOW.replace('3', '7')}\n{STRIDE}")
    version = f"version of 'flow': {WITH_1}, here acme-flow 2.0; {REMEDY}"
    schema = (
        "schema of 'flow': saved with other options, here 'stride' is new, with the default 1; "
        f"'window' has the default 7 instead of the default 3; {REMEDY}"
    )
    module, warned = bench.load()
    assert (module.config.window, module.config.stride) == (5, 1)
    assert warned == bench.refused(strict=True) == [version, schema]
    assert bench.refused({"schema"}) == [schema]
    assert bench.refused({"version"}) == [version]


def test_a_config_that_is_no_longer_one_is_reported_with_the_file_and_what_has_changed(bench):
    bench.install(options=f"{WIDER}\n{STRIDE}")
    with pytest.raises(ConfigError) as caught:
        bench.load()
    default = "'window' has the default 9 instead of the default 3"
    changed = f"'stride' is new, with the default 1; 'window' accepts other values; {default}"
    assert bench.lines(str(caught.value)) == [
        "window: expected an integer of at least 9, got 5",
        f"version of 'flow': {WITH_1}, here acme-flow 2.0; {REMEDY}",
        f"schema of 'flow': saved with other options, here {changed}; {REMEDY}",
    ]
    assert {problem.file for problem in caught.value.problems} == {str(bench.file)}
    assert caught.value.problems[0].value == 5


def test_an_option_that_was_renamed_is_read_with_a_warning_that_has_the_file(bench):
    renamed = f"{WINDOW.replace('window', 'reach')}\n    renamed_options = {{'window': 'reach'}}"
    bench.install(options=renamed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = load_module(bench.file, registry=bench.registry())
    assert module.config.reach == 5
    (outdated,) = (found for found in caught if found.category is OutdatedOptionWarning)
    assert bench.lines(str(outdated.message)) == ["window: is an old name of reach; write reach"]
    assert outdated.filename == __file__
    _, schema = bench.refused(strict=True)
    assert "saved with other options, here 'window' is 'reach' now;" in schema


def test_an_option_that_is_gone_is_no_longer_one(bench):
    bench.install(options=STRIDE)
    with pytest.raises(ConfigError) as caught:
        bench.load()
    first, _, schema = bench.lines(str(caught.value))
    assert first.startswith("window: unknown option of 'flow'")
    assert "'window' is gone" in schema


def test_tensors_that_do_not_fit_are_reported_by_name_with_what_has_changed(bench):
    with pytest.raises(SavedModuleError) as caught:
        bench.install(width=6).load()
    assert caught.value.reason.splitlines() == [
        "its tensors do not fit the module:",
        "  'mix.bias' has the shape (4,) in the file, the shape (6,) in the module",
        "  'mix.weight' has the shape (4, 8) in the file, the shape (6, 8) in the module",
        f"  version of 'flow': {WITH_1}, here acme-flow 2.0; {REMEDY}",
    ]


def test_tensors_of_other_names_are_reported(bench):
    with pytest.raises(SavedModuleError) as caught:
        bench.install(layer="blend").load()
    assert caught.value.reason.splitlines()[:-1] == [
        "its tensors do not fit the module:",
        "  'blend.bias' is not in the file",
        "  'blend.weight' is not in the file",
        "  'mix.bias' is not in the module",
        "  'mix.weight' is not in the module",
    ]


@pytest.mark.parametrize("strict", [False, True, ()])
def test_a_missing_package_is_always_refused_with_what_to_install(bench, strict):
    assert bench.refused(strict) == [
        f"missing of 'flow': {WITH_1}, here nothing provides it; {REMEDY}"
    ]


def test_another_provider_takes_the_place_with_a_warning_or_is_refused(bench):
    message = f"provider of 'flow': {WITH_1}, here best-flow 7.0; {REMEDY}"
    module, warned = bench.install("best-flow", "7.0").load({"version"})
    assert (type(module).__doc__, warned) == ("Of best-flow 7.0.", [message])
    assert bench.refused({"provider"}) == [message]


def test_of_several_providers_the_recorded_one_is_taken_whatever_is_preferred(bench, monkeypatch):
    monkeypatch.setenv("NOETHER_PREFER", "best-flow")
    bench.install("aaa-flow").install("best-flow").install(version="1.0")
    module, warned = bench.load(strict=True)
    assert (type(module).__doc__, warned) == ("Of acme-flow 1.0.", [])


def test_where_only_others_provide_the_type_none_is_guessed(bench):
    message = (
        f"missing of 'flow': {WITH_1}, here best-flow 2.0 and cool-flow 2.0 provide it; {REMEDY}"
    )
    assert bench.install("best-flow").install("cool-flow").refused(strict=False) == [message]


def test_a_type_that_a_config_qualifies_is_provided_by_no_other(bench):
    bench.install(version="1.0")
    save(build("acme-flow:flow", hidden_dim=8, num_heads=2, registry=bench.registry()), bench.file)
    module, warned = bench.load(strict=True)
    assert (module.config.type, warned) == ("acme-flow:flow", [])
    other = attrs.evolve(bench, site=attrs.evolve(bench.site, folder=bench.site.folder / "other"))
    other.site.folder.mkdir()
    assert other.install("best-flow").refused(strict=False) == [
        f"missing of 'flow': {WITH_1}, here nothing provides it; {REMEDY}"
    ]


def test_a_package_that_cannot_be_used_is_reported_as_ever(bench):
    bench.install(options="    window: int = undefined")
    with pytest.raises(PluginError, match=r"'flow' of acme-flow 2\.0: .*NameError"):
        bench.load()


@pytest.mark.parametrize("strict", ["versoin", {"version", "colour"}])
def test_a_difference_that_there_is_not_is_refused_by_name(bench, strict):
    with pytest.raises(ValueError, match="strict: expected True, False or some of") as caught:
        bench.install(version="1.0").load(strict)
    assert str(caught.value).endswith("got ['versoin']") or str(caught.value).endswith(
        "got ['colour']"
    )


def test_a_variant_of_another_process_is_reported_as_one(bench):
    variant = bench.install(version="1.0").registry().get("flow")
    known = attrs.evolve(bench.site, folder=bench.site.folder / "nothing").registry()
    known.register(variant)
    save(build("flow", hidden_dim=8, num_heads=2, registry=known), bench.file)
    assert load_module(bench.file, registry=known, strict=True).config.type == "flow"
    empty = attrs.evolve(bench, site=attrs.evolve(bench.site, folder=bench.site.folder / "nothing"))
    (message,) = empty.refused(strict=False)
    assert message.startswith(
        "missing of 'flow': saved with in-process, here nothing provides it; "
    )
    assert message.endswith("; register the variant with registry().register() before")


def test_another_version_of_the_contract_is_reported(bench):
    module = build(
        "flow", hidden_dim=8, num_heads=2, registry=bench.install(version="1.0").registry()
    )
    vars(module)["_noether_provenance"] = attrs.evolve(provenance_of(module), contract=7)
    save(module, bench.file)
    before = WITH_1.removesuffix("acme-flow 1.0") + "version 7"
    message = f"contract of 'flow': {before}, here version 1; {REMEDY}"
    assert bench.load()[1] == bench.refused({"contract"}) == [message]


OUTER = """\
    inner: AttentionConfig | None = None
"""

HOLDS_INNER = """\
from torch import nn
from noether_core import build
from known_here import known


class Module(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.inner = build(config.inner, registry=known())
"""


@pytest.fixture
def outer(bench, monkeypatch):
    """The bench, and in its file a module that holds a built one of the type ``flow``."""
    inner = {"type": "flow", "hidden_dim": 8, "num_heads": 2}
    files = flow_files("acme_outer", options=OUTER) | {"acme_outer/module.py": HOLDS_INNER}
    files = {name: text.replace('"flow"', '"outer"') for name, text in files.items()}
    before = attrs.evolve(bench, site=attrs.evolve(bench.site, folder=bench.site.folder / "before"))
    for one in (before, bench):
        one.site.install(
            "acme-outer", version="1.0", attention={"outer": "acme_outer"}, files=files
        )
    monkeypatch.setitem(sys.modules, "known_here", SimpleNamespace(known=before.registry))
    save(
        build("outer", hidden_dim=8, num_heads=2, inner=inner, registry=before.registry()),
        bench.file,
    )
    monkeypatch.setitem(sys.modules, "known_here", SimpleNamespace(known=bench.registry))
    return bench


def test_the_provider_of_a_module_within_is_the_recorded_one_too(outer):
    module, warned = outer.install(version="1.0").install("best-flow").load(strict=True)
    assert (type(module.inner).__doc__, warned) == ("Of acme-flow 1.0.", [])
    assert provenance_of(module).distribution == "acme-outer"
    assert provenance_of(module.inner).distribution == "acme-flow"


def test_what_differs_of_a_module_within_is_reported_as_well(outer):
    message = f"version of 'flow': {WITH_1}, here acme-flow 2.0; {REMEDY}"
    assert outer.install().load()[1] == outer.refused({"version"}) == [message]


def test_a_module_within_that_nothing_provides_is_refused(outer):
    assert outer.refused(strict=False) == [
        f"missing of 'flow': {WITH_1}, here nothing provides it; {REMEDY}"
    ]


COMPILES = """\
import torch
from noether_core import hookimpl


@hookimpl
def noether_after_build(module):
    return torch.compile(module, backend="eager")
"""


def test_a_module_that_a_package_compiles_is_saved_as_its_original_and_compiled_again(bench):
    bench.install(version="1.0")
    bench.site.install(
        "acme-eager", extensions={"eager": "acme_eager"}, files={"acme_eager.py": COMPILES}
    )
    module = build("flow", hidden_dim=8, num_heads=2, registry=bench.registry())
    assert hasattr(module, "_orig_mod")
    save(module, bench.file)
    loaded, warned = bench.load(strict=True)
    assert hasattr(loaded, "_orig_mod")
    assert loaded.mix.weight.equal(module.mix.weight)
    assert warned == []
