"""Extensions that misbehave, installed by pip: each failure names its extension."""

from __future__ import annotations

import pytest

from tests.light_environment import indented, write_wheel

EXTENSIONS = {
    "wraps": (
        """
        @hookimpl(wrapper=True)
        def noether_after_build(module):
            return (yield)
        """,
        "ext_wraps implements noether_after_build as a wrapper, and there is nothing to wrap: ",
    ),
    "wraps_in_the_old_way": (
        """
        @hookimpl(hookwrapper=True)
        def noether_before_build(config):
            yield
        """,
        "ext_wraps_in_the_old_way implements noether_before_build as a wrapper, and there is ",
    ),
    "wraps_first": (
        """
        @hookimpl(wrapper=True, tryfirst=True)
        def noether_validate_config(config):
            return (yield)
        """,
        "ext_wraps_first implements noether_validate_config as a wrapper, and there is ",
    ),
    "exits": (
        """
        @hookimpl(tryfirst=True)
        def noether_before_build():
            raise SystemExit(3)
        """,
        "ext_exits fails in noether_before_build: SystemExit: 3",
    ),
    "yields_and_fails": (
        """
        @hookimpl(trylast=True)
        def noether_validate_config(config):
            yield 1 / 0
        """,
        "ext_yields_and_fails fails in noether_validate_config: ZeroDivisionError: ",
    ),
    "gives_text": (
        """
        @hookimpl
        def noether_after_build(module):
            return "module"
        """,
        "what noether_after_build returns is no torch.nn.Module: 'module'",
    ),
}

BUILD = """
import json
from noether_core import PluginError, build

try:
    result = type(build("flare", hidden_dim=8, num_heads=2)).__name__
except PluginError as error:
    result = [error.plugin, error.reason]
print(json.dumps(result))
"""


def distribution(name):
    return f"ext-{name.replace('_', '-')}"


@pytest.fixture(scope="module")
def sandbox(new_sandbox):
    sandbox = new_sandbox()
    wheels = []
    for name, (source, _) in EXTENSIONS.items():
        files = {f"ext_{name}.py": f"from noether_core import hookimpl\n{indented(source)}"}
        wheel = write_wheel(
            sandbox.folder,
            distribution(name),
            files,
            group="noether.extension",
            plugins={name: f"ext_{name}"},
        )
        wheels.append(wheel)
    sandbox.install(*wheels)
    return sandbox


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_that_misbehaves_is_named_and_can_be_blocked(sandbox, name):
    others = ",".join(distribution(other) for other in EXTENSIONS if other != name)
    plugin, reason = sandbox.python(BUILD, NOETHER_BLOCK=others)
    assert plugin == f"'{name}' of {distribution(name)} 1.0"
    assert reason.startswith(EXTENSIONS[name][1])


def test_without_them_everything_is_built(sandbox):
    blocked = ",".join(map(distribution, EXTENSIONS))
    assert sandbox.python(BUILD, NOETHER_BLOCK=blocked) == "FLAREAttention"


def test_doctor_finds_those_that_register_as_wrappers(sandbox):
    diagnosis = sandbox.json("doctor", status=1, NOETHER_BLOCK="noether-attention")
    found = {finding["distribution"]: finding["message"] for finding in diagnosis["findings"]}
    wrappers = [name for name in EXTENSIONS if name.startswith("wraps")]
    assert set(found) == {distribution(name) for name in wrappers}
    for name in wrappers:
        assert found[distribution(name)].startswith(EXTENSIONS[name][1])
