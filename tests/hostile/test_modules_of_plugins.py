"""Packages whose configs are sound and whose torch modules are not, which build or doctor finds."""

from __future__ import annotations

import attrs
import pytest

from tests.light_environment import MODULE, indented, variant_source, write_wheel
from tests.sampling import sampled


@attrs.frozen(kw_only=True)
class Module:
    """A package whose plugin is sound, and what is wrong with its module."""

    type: str
    path: str = "{package}.module:Module"
    source: str = MODULE

    reason: str
    """What ``build`` says, after the path."""

    doctor: str | None = None
    """What doctor says by the source alone, where it can tell."""

    deep: str
    """What doctor says after it has imported torch."""

    @property
    def package(self) -> str:
        return f"modules_{self.type}"

    def wheel(self, folder):
        path = self.path.format(package=self.package)
        files = {
            f"{self.package}/__init__.py": variant_source(self.type, module=path),
            f"{self.package}/module.py": indented(self.source),
        }
        return write_wheel(folder, f"modules-{self.type}", files, plugins={self.type: self.package})


_NO_CONFIG = (
    "from torch import nn\n\n\nclass Module(nn.Module):\n    def __init__(self, config):\n"
    "        super().__init__()\n"
)

UNSOUND = [
    Module(
        type="plain",
        source="class Module: ...",
        reason="modules_plain.module:Module is no subclass of torch.nn.Module",
        deep="modules_plain.module:Module is no subclass of torch.nn.Module",
    ),
    Module(
        type="careful",
        source="import torch\nclass Module:\n    def __init__(self, config): self.config = config",
        reason="modules_careful.module:Module is no subclass of torch.nn.Module",
        deep="modules_careful.module:Module is no subclass of torch.nn.Module",
    ),
    Module(
        type="function",
        source="from torch import nn\ndef Module(config): return nn.Linear(1, 1)",
        reason="modules_function.module:Module is no subclass of torch.nn.Module",
        deep="modules_function.module:Module is no subclass of torch.nn.Module",
    ),
    Module(
        type="misspelt",
        path="{package}.module:Modul",
        reason="modules_misspelt.module:Modul cannot be imported: AttributeError: ",
        doctor="modules_misspelt.module has no Modul; did you mean 'Module'?",
        deep="modules_misspelt.module:Modul cannot be imported: AttributeError: ",
    ),
    Module(
        type="elsewhere",
        path="{package}.modules:Module",
        reason="modules_elsewhere.modules:Module cannot be imported: ModuleNotFoundError: ",
        doctor=(
            "modules_elsewhere.modules:Module cannot be imported: there is no "
            "modules_elsewhere.modules"
        ),
        deep="modules_elsewhere.modules:Module cannot be imported: ModuleNotFoundError: ",
    ),
    Module(
        type="garbled",
        source="class Module(:",
        reason="modules_garbled.module:Module cannot be imported: SyntaxError: ",
        doctor="modules_garbled.module:Module cannot be imported: SyntaxError: ",
        deep="modules_garbled.module:Module cannot be imported: SyntaxError: ",
    ),
    Module(
        type="exits",
        source="class Module: ...\nraise SystemExit(0)",
        reason="modules_exits.module:Module cannot be imported: SystemExit: 0",
        deep="modules_exits.module:Module cannot be imported: SystemExit: 0",
    ),
    Module(
        type="forgetful",
        source=_NO_CONFIG,
        reason=(
            "modules_forgetful.module:Module does not keep the config that it is made from "
            "as 'config'"
        ),
        deep=(
            "modules_forgetful.module:Module does not keep the config that it is made from "
            "as 'config'"
        ),
    ),
    Module(
        type="failing",
        source=_NO_CONFIG + "        raise SystemExit('no')",
        reason="modules_failing.module:Module cannot be made: SystemExit: no",
        deep="modules_failing.module:Module makes nothing of its example: SystemExit: no",
    ),
    Module(
        type="dividing",
        source=_NO_CONFIG + "        1 / 0",
        reason="modules_dividing.module:Module cannot be made: ZeroDivisionError: division by zero",
        deep="modules_dividing.module:Module makes nothing of its example: ZeroDivisionError: ",
    ),
]

MEDDLING = Module(
    type="meddling",
    source=_NO_CONFIG
    + """
        import torch
        self.config = config
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        torch.set_num_threads(3)
        torch.manual_seed(17)
""",
    reason="modules_meddling.module:Module changes the default dtype to torch.float64 and the "
    "default "
    "device to meta and whether gradients are computed to False and the number of threads to 3 and "
    "the seed to 17 when it is made; it was put back",
    deep="",
)
"""One that can be used, and whose constructor changes settings of the whole program."""

BUILD_MEDDLING = """
import json, warnings
import torch
from noether_core import build

def settings():
    return [
        str(torch.get_default_dtype()),
        str(torch.get_default_device()),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.initial_seed(),
        torch.random.get_rng_state().sum().item(),
    ]

torch.manual_seed(5)
torch.set_num_threads(2)
before = settings()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    build("meddling", hidden_dim=8, num_heads=2)
after = settings()
print(json.dumps([before, after, [str(warning.message) for warning in caught]]))
"""

SOUND = Module(
    type="late",
    source=(
        "def __getattr__(name):\n    from modules_late import real\n    return getattr(real, name)"
    ),
    reason="",
    deep="",
)
"""One whose class no reader of its file finds, and which is there nevertheless."""

BUILD = """
import json, sys
from noether_core import NoetherError, build, registry

results = {}
for name in sys.argv[1:]:
    assert registry().get(name).type == name
    try:
        results[name] = type(build(name, hidden_dim=8, num_heads=2)).__name__
    except NoetherError as error:
        results[name] = [type(error).__name__, error.plugin, error.reason]
print(json.dumps(results))
"""

BY_TYPE = {module.type: module for module in UNSOUND}
ONE_OF_EACH_FAULT = ("plain", "misspelt", "exits", "forgetful", "dividing")

every_module = pytest.mark.parametrize("module", UNSOUND, ids=lambda module: module.type)


@pytest.fixture(scope="module")
def sandbox(new_sandbox):
    sandbox = new_sandbox()
    late = write_wheel(
        sandbox.folder,
        "modules-late",
        {
            "modules_late/__init__.py": variant_source("late", module="modules_late.module:Module"),
            "modules_late/module.py": SOUND.source,
            "modules_late/real.py": MODULE,
        },
        plugins={"late": "modules_late"},
    )
    sandbox.install(late, *(module.wheel(sandbox.folder) for module in [*UNSOUND, MEDDLING]))
    return sandbox


@pytest.fixture(scope="module")
def built(sandbox):
    return sandbox.python(BUILD, *[module.type for module in UNSOUND], "late", "flare")


def found(diagnosis):
    return {finding["distribution"]: finding for finding in diagnosis["findings"]}


@pytest.fixture(scope="module")
def diagnosis(sandbox):
    return found(sandbox.json("doctor", status=1, NOETHER_BLOCK="noether-attention"))


@pytest.fixture(scope="module")
def deep_diagnosis(request, sandbox):
    """What doctor finds once it imports torch, a second for each module: of those looked at."""
    tests = [item for item in request.session.items if "deep_diagnosis" in item.fixturenames]
    looked_at = {item.callspec.params["type"] for item in tests if hasattr(item, "callspec")}
    blocked = [f"modules-{name}" for name in BY_TYPE.keys() - looked_at]
    variables = {"NOETHER_BLOCK": ",".join(["noether-attention", *blocked])}
    return found(sandbox.json("doctor", "--deep", "--timeout", "60", status=1, **variables))


@every_module
def test_a_module_that_cannot_be_made_is_reported_by_build(module, built):
    kind, provider, reason = built[module.type]
    assert (kind, provider) == ("PluginError", f"'{module.type}' of modules-{module.type} 1.0")
    assert reason.startswith(module.reason)


def test_other_modules_are_made_in_the_same_program(built):
    assert built["late"] == "Module"
    assert built["flare"] == "FLAREAttention"


def test_settings_that_a_constructor_changes_are_put_back_and_named(sandbox):
    before, after, warned = sandbox.python(BUILD_MEDDLING)
    assert after == before
    assert warned == [f"'meddling' of modules-meddling 1.0: {MEDDLING.reason}"]


@every_module
def test_doctor_finds_what_the_source_alone_shows(module, diagnosis):
    if module.doctor is None:
        assert f"modules-{module.type}" not in diagnosis
        return
    finding = diagnosis[f"modules-{module.type}"]
    assert (finding["check"], finding["severity"]) == ("module", "error")
    assert finding["message"].startswith(module.doctor)


@pytest.mark.parametrize("type", sampled(BY_TYPE, *ONE_OF_EACH_FAULT))
def test_doctor_finds_every_such_module_where_it_may_import_torch(type, deep_diagnosis):
    finding = deep_diagnosis[f"modules-{type}"]
    assert (finding["check"], finding["severity"]) == ("module", "error")
    assert finding["message"].startswith(BY_TYPE[type].deep)


def test_doctor_finds_nothing_wrong_with_a_class_that_is_made_on_demand(diagnosis, deep_diagnosis):
    assert "modules-late" not in diagnosis.keys() | deep_diagnosis.keys()


def test_everything_is_listed_and_their_configs_are_checked(sandbox):
    assert {module.type for module in UNSOUND} <= {row["type"] for row in sandbox.json("list")}
    (sandbox.folder / "plain.yaml").write_text("type: plain\nhidden_dim: 8\nnum_heads: 3\n")
    done = sandbox.run("noether", "validate", "plain.yaml")
    assert done.stderr.startswith("plain.yaml:3:12: num_heads: 3 does not divide hidden_dim 8")
