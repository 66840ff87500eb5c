"""Packages that take part in building."""

import argparse
import sys

import pytest
import torch
from torch import nn

from noether_core import ConfigError, PluginError, build
from noether_core.plugins.metadata import scan
from noether_core.structuring.checking import check_configs
from noether_core.structuring.documents import parse

SIZES = {"hidden_dim": 8, "num_heads": 2}
MODULE = """
from torch import nn


class Module(nn.Module):
    def __init__(self, config):
        super().__init__()
        LOG.append(("made", config.window))
        self.config = config


LOG = []
"""
RECORDS = """
from noether_core import Problem, hookimpl
from module_of_flow import LOG


@hookimpl{marks}
def noether_validate_config(config):
    LOG.append(("{name} validates", config.window))


@hookimpl{marks}
def noether_before_build(config):
    LOG.append(("{name} before", config.window))


@hookimpl{marks}
def noether_after_build(module, config):
    LOG.append(("{name} after", type(module).__name__))
"""


@pytest.fixture
def flow(site):
    """A site with a variant that has a module."""
    site.install_variant("flow", "acme-flow", module="module_of_flow:Module")
    (site.folder / "module_of_flow.py").write_text(MODULE)
    return site


def extend(site, name, source):
    """Install an extension."""
    module = f"extension_{name}"
    site.install(f"acme-{name}", extensions={name: module}, files={f"{module}.py": source})


def made(site, **options):
    return build("flow", **SIZES, **options, registry=site.registry())


def log():
    return sys.modules["module_of_flow"].LOG


def test_extensions_are_called_in_the_order_of_their_names_around_the_build(flow):
    for name in ("b", "a"):
        extend(flow, name, RECORDS.format(name=name, marks=""))
    module = made(flow, window=5)
    assert log() == [
        ("a validates", 5),
        ("b validates", 5),
        ("a before", 5),
        ("b before", 5),
        ("made", 5),
        ("a after", "Module"),
        ("b after", "Module"),
    ]
    assert type(module).__name__ == "Module"


def test_an_extension_may_choose_to_be_first_or_last(flow):
    for name, marks in (("a", "(trylast=True)"), ("b", ""), ("c", "(tryfirst=True)")):
        extend(flow, name, RECORDS.format(name=name, marks=marks))
    made(flow)
    assert [what for what, _ in log() if what.endswith("before")] == [
        "c before",
        "b before",
        "a before",
    ]


def test_several_that_are_first_or_last_are_in_the_order_of_their_names(flow):
    marks = {"a": "trylast", "b": "trylast", "c": "tryfirst", "d": "tryfirst", "e": "optionalhook"}
    for name, mark in marks.items():
        extend(flow, name, RECORDS.format(name=name, marks=f"({mark}=True)"))
    made(flow)
    assert [what[0] for what, _ in log() if what.endswith("before")] == ["c", "d", "e", "a", "b"]


@pytest.mark.parametrize("mark", ["wrapper=True", "hookwrapper=True"])
@pytest.mark.parametrize("hook", ["noether_validate_config", "noether_before_build"])
def test_a_hook_that_is_a_wrapper_is_refused_since_it_would_wrap_nothing(flow, mark, hook):
    source = f"from noether_core import hookimpl\n@hookimpl({mark})\ndef {hook}(config):\n"
    extend(flow, "a", f"{source}    return (yield)\n")
    with pytest.raises(PluginError) as caught:
        made(flow)
    assert caught.value.plugin == "'a' of acme-a 1.2.0"
    assert caught.value.reason == (
        f"extension_a implements {hook} as a wrapper, and there is nothing to wrap: each plugin is "
        "called by itself. Drop wrapper=True; tryfirst=True and trylast=True say when an extension "
        "is called; to build without it, set NOETHER_BLOCK=acme-a:a"
    )


def test_a_variant_and_a_command_may_be_no_wrappers_either(site):
    source = "from noether_core import hookimpl\n@hookimpl(wrapper=True)\ndef {}:\n    yield\n"
    files = {
        "acme_flow.py": source.format("noether_attention_variant()"),
        "acme_cost.py": source.format("noether_command(parser)"),
    }
    plugins = {"attention": {"flow": "acme_flow"}, "commands": {"cost": "acme_cost"}}
    site.install("acme", **plugins, files=files)
    known = site.registry()
    with pytest.raises(PluginError, match="implements noether_attention_variant as a wrapper"):
        known.get("flow")
    with pytest.raises(PluginError, match="implements noether_command as a wrapper"):
        known.add_command(known.commands()[0], argparse.ArgumentParser())


def test_what_extensions_find_wrong_is_reported_at_once_with_their_distributions(flow):
    returns = (
        "Problem(keys=('window',), message='too wide', value=config.window, suggestion='halve it')"
    )
    source = (
        "from noether_core import ConfigError, Problem, hookimpl\n@hookimpl\n"
        "def noether_validate_config(config):\n"
    )
    extend(flow, "a", f"{source}    return {returns}\n")
    extend(flow, "b", f"{source}    yield {returns}\n    yield {returns}\n")
    extend(flow, "c", f"{source}    raise ConfigError([{returns}])\n")
    extend(flow, "d", f"{source}    return []\n")
    with pytest.raises(ConfigError) as caught:
        made(flow)
    assert [problem.headline for problem in caught.value.problems] == [
        "window: too wide, says acme-a 1.2.0; halve it",
        "window: too wide, says acme-b 1.2.0; halve it",
        "window: too wide, says acme-b 1.2.0; halve it",
        "window: too wide, says acme-c 1.2.0; halve it",
    ]
    assert "module_of_flow" not in sys.modules


def test_what_an_extension_finds_wrong_has_its_line_in_a_file(flow):
    source = (
        "from noether_core import Problem, hookimpl\n@hookimpl\n"
        "def noether_validate_config(config):\n"
    )
    extend(flow, "a", f"{source}    return Problem(keys=('window',), message='too wide')\n")
    text = "type: flow\nhidden_dim: 8\nnum_heads: 2\nwindow: 9\n"
    (checked,) = check_configs(parse(text, "yaml", file="a.yaml"), None, registry=flow.registry())
    assert [str(problem).splitlines()[0] for problem in checked.problems] == [
        "a.yaml:4:9: window: too wide, says acme-a 1.2.0"
    ]


def test_a_module_may_be_replaced_and_the_next_extension_sees_the_new_one(flow):
    wraps = (
        "from torch import nn\nfrom noether_core import hookimpl\n"
        "class Wrapped{name}(nn.Module):\n"
        "    def __init__(self, inner):\n"
        "        super().__init__()\n        self.inner, self.config = inner, inner.config\n"
        "@hookimpl\ndef noether_after_build(module):\n    return Wrapped{name}(module)\n"
    )
    for name in ("a", "b"):
        extend(flow, name, wraps.format(name=name))
    module = made(flow)
    assert [type(module).__name__, type(module.inner).__name__] == ["Wrappedb", "Wrappeda"]
    assert type(module.inner.inner).__name__ == "Module"


@pytest.mark.parametrize(
    ("hook", "body", "reason"),
    [
        (
            "noether_validate_config(config)",
            "raise OSError('disk')",
            "fails in noether_validate_config: OSError: disk",
        ),
        (
            "noether_validate_config()",
            "return [3]",
            "fails in noether_validate_config: TypeError: expected Problems, got 3",
        ),
        ("noether_validate_config()", "return True", "TypeError: 'bool' object is not iterable"),
        ("noether_validate_config()", "yield 1 / 0", "ZeroDivisionError: division by zero"),
        (
            "noether_before_build()",
            "raise SystemExit(3)",
            "fails in noether_before_build: SystemExit: 3",
        ),
        (
            "noether_after_build(config)",
            "1 / 0",
            "fails in noether_after_build: ZeroDivisionError: division by zero",
        ),
        (
            "noether_after_build()",
            "return 3",
            "what noether_after_build returns is no torch.nn.Module: 3",
        ),
        (
            "noether_after_build()",
            "from torch import nn; return nn.ReLU()",
            "does not keep the config",
        ),
    ],
)
def test_an_extension_that_fails_is_reported_by_name(flow, hook, body, reason):
    extend(flow, "a", f"from noether_core import hookimpl\n@hookimpl\ndef {hook}:\n    {body}\n")
    with pytest.raises(PluginError) as caught:
        made(flow)
    assert caught.value.plugin == "'a' of acme-a 1.2.0"
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise OSError('disk')", "extension_a cannot be imported: OSError: disk"),
        ("", "extension_a implements no hook; mark one with @hookimpl"),
        (
            "from noether_core import hookimpl\n@hookimpl\ndef noether_after(): ...\n",
            "unknown hook 'noether_after'",
        ),
        (
            "from noether_core import hookimpl\n@hookimpl\ndef noether_after_build(models): ...\n",
            "models",
        ),
        (
            (
                "from noether_core import hookimpl\n@hookimpl\ndef noether_before_build(): ...\n"
                "def __dir__(): raise OSError('disk')\n"
            ),
            "extension_a cannot be registered: OSError: disk",
        ),
    ],
)
def test_nothing_is_built_past_an_extension_that_cannot_be_used_unless_it_is_blocked(
    flow, source, reason
):
    extend(flow, "a", source)
    with pytest.raises(PluginError) as caught:
        made(flow)
    assert reason in caught.value.reason
    assert caught.value.reason.endswith("; to build without it, set NOETHER_BLOCK=acme-a:a")
    known = flow.registry(block=["acme-a:a"])
    assert type(build("flow", **SIZES, registry=known)).__name__ == "Module"


def test_an_interrupt_is_the_users_and_not_the_extensions(flow):
    extend(
        flow,
        "a",
        (
            "from noether_core import hookimpl\n@hookimpl\n"
            "def noether_before_build(): raise KeyboardInterrupt\n"
        ),
    )
    with pytest.raises(KeyboardInterrupt):
        made(flow)


def test_extensions_are_imported_once_and_not_before_something_is_built(flow):
    extend(flow, "a", RECORDS.format(name="a", marks=""))
    known = flow.registry()
    known.get("flow")
    assert "extension_a" not in sys.modules
    first = known.loaded_extensions()
    assert known.loaded_extensions() is first
    known.refresh()
    assert known.loaded_extensions() is not first


def test_a_package_may_serve_several_groups(site):
    source = (
        "from torch import nn\nfrom noether_core import hookimpl\n"
        "from plugin_of_flow_flow import *\n"
        "@hookimpl\ndef noether_before_build(): LOG.append(1)\nLOG = []\n"
        "class Module(nn.Module):\n    def __init__(self, config):\n"
        "        super().__init__(); self.config = config\n"
    )
    site.install_variant("flow", module="both:Module")
    (site.folder / "both.py").write_text(source)
    site.install("acme-both", extensions={"flow": "both"})
    assert scan([str(site.folder)]).of("noether.extension")[0].qualified_name == "acme-both:flow"
    made(site)
    assert sys.modules["both"].LOG == [1]


def test_a_module_wrapped_by_the_compiler_keeps_its_config(flow):
    extend(
        flow,
        "a",
        "import torch\nfrom noether_core import hookimpl\n"
        "@hookimpl\ndef noether_after_build(module): return torch.compile(module, "
        "backend='eager')\n",
    )
    module = made(flow)
    assert isinstance(module, nn.Module)
    assert type(module) is type(torch.compile(nn.ReLU(), backend="eager"))
