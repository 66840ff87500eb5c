"""A config selects among installed variants, and nothing more: attempts at more, all of which end
in ConfigError.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TRAPS = ("trap_plugin", "trap_module", "trap_type", "trap_folder")
"""Modules that lie in reach, and that nothing may import: a plugin's, its module's, and two that
are no plugins.
"""

WATCHED = """
import sys

watched = {"armed": False, "seen": []}
harmless = ("object.", "sys._getframe", "code.__new__", "builtins.id", "gc.")

def watch(event, arguments):
    if watched["armed"] and not event.startswith(harmless):
        watched["seen"].append([event, repr(arguments)[:200]])

sys.addaudithook(watch)
import json
from noether_core import ConfigError, build, json_schema, load, registry, structure

def refused(attempt, source):
    try:
        attempt(source)
    except ConfigError as error:
        return str(error)
    raise AssertionError(f"{source!r:.200} was accepted by {attempt.__name__}")

# All that Noether itself may need, and what messages are made with.
for entry in registry().providers():
    if entry.distribution == "noether-attention":
        registry().get(entry.qualified_name)
warm = {"type": "flar", "hidden_dim": 8, "num_heads": 3}
for source in (warm, {**warm, "type": "flare"}, {**warm, "type": None}):
    refused(structure, source)
refused(build, warm)
refused(json_schema, "flar")
for format in ("yaml", "json", "toml"):
    for name in ("unknown", "broken", "deep", "long"):
        refused(load, f"{name}.{format}")

results = []
for source in eval(sys.stdin.read()):
    modules = set(sys.modules)
    watched.update(armed=True, seen=[])
    if isinstance(source, str):
        told = [refused(load, source)]
    else:
        told = [refused(structure, source), refused(build, source)]
        if isinstance(source["type"], str) and source["type"] not in registry().types():
            told += [refused(json_schema, source["type"]), refused(registry().get, source["type"])]
    watched["armed"] = False
    results.append([told, watched["seen"], sorted(set(sys.modules) - modules)])
print(json.dumps(results))
"""
"""Tries the configs, or files with one, that standard input lists, and tells all that happened
meanwhile.

What Noether imports on first use is imported before, so that whatever is seen is due to the config.
"""


@pytest.fixture
def attempt(site):
    """Return what tries configs in one program, and returns what each was told and everything that
    happened.
    """
    trap = "import sys\nsys.stderr.write('TRAPPED')\n"
    files = {**{f"{name}.py": trap for name in TRAPS}, "trap_folder/__init__.py": trap}
    site.install("trap", attention={"trap": "trap_plugin"}, files=files)
    for suffix, text in {
        "yaml": "type: flar",
        "json": '{"type": "flar"}',
        "toml": "type = 'flar'",
    }.items():
        (site.folder / f"unknown.{suffix}").write_text(text)
        (site.folder / f"broken.{suffix}").write_text("[")
        (site.folder / f"deep.{suffix}").write_text("[" * 3000)
        (site.folder / f"long.{suffix}").write_text(
            text.replace("'flar'", "9" * 5000).replace('"flar"', "9" * 5000)
        )

    def call(sources):
        done = run(site, sources)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return call


def run(site, sources):
    return subprocess.run(
        [sys.executable, "-c", WATCHED],
        input=sources if isinstance(sources, str) else repr(sources),
        cwd=site.folder,
        env=site.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def config(**options):
    return {"type": "flare", "hidden_dim": 8, "num_heads": 2, **options}


TYPES = {
    "dotted paths": [
        "os.system",
        "trap_type",
        "trap_type.Config",
        "noether_plugins.attention.flare",
        "builtins.eval",
    ],
    "entry points": [
        "trap_module:Module",
        "noether_plugins.attention.flare.config:FlareAttentionConfig",
        "os:system",
    ],
    "entry point syntax": [
        "flare = trap_type",
        "[noether.attention]\nflare = trap_type",
        "flare[extra]",
        "trap:trap:trap",
    ],
    "qualified names": [
        "trap_type:flare",
        "noether-attention:trap",
        "noether-attention:",
        ":flare",
        "::flare",
        ":",
    ],
    "addresses": [
        "https://example.com/flare",
        "file:///etc/passwd",
        "git+https://example.com/flare.git",
        "hf://flare",
    ],
    "files": [
        "trap_type.py",
        "./trap_type.py",
        "../../trap_type",
        "/etc/passwd",
        "C:\\trap_type.py",
        "~/trap_type.py",
    ],
    "folders": [
        "trap_folder",
        "./trap_folder/",
        "..",
        ".",
        "/",
        "%2e%2e/trap_type",
        "flare/../trap_type",
    ],
    "what shells and templates expand": [
        "$HOME",
        "${oc.env:HOME}",
        "$(id)",
        "`id`",
        "{{7*7}}",
        "%(type)s",
        "flare;id",
    ],
    "look-alikes": [
        "fl\u0430re",
        "\uff46lare",
        "\ufb02are",
        "fla\u200bre",
        "flare\u202e",
        "\u202eeralf",
        "flar\u0435\u0301",
    ],
    "spaces and ends": [
        "flare ",
        " flare",
        "flare\n",
        "flare\x00",
        "flare\x00.py",
        "\tflare",
        "Flare",
        "FLARE",
    ],
    "names of Python": [
        "__class__",
        "__import__",
        "__main__",
        "__builtins__",
        "__init__",
        "__globals__",
        "type",
        "None",
    ],
    "code": [
        "lambda: 0",
        "__import__('os').system('id')",
        "exec('import trap_type')",
        "@trap_type",
        "flare()",
        "f'{1}'",
    ],
    "much": ["flare" * 10_000, "a." * 5_000 + "b", ":" * 10_000, "\U0001f680" * 1_000],
    "no text": [None, True, 7, 1.5, ["flare"], {"flare": 1}, {"_target_": "trap_type.Config"}, []],
}
"""Values of ``type`` that try to lead to something else than a variant that is installed."""

OPTIONS = {
    "dunder names": [
        {name: 1}
        for name in (
            "__class__",
            "__init__",
            "__dict__",
            "__reduce__",
            "__attrs_attrs__",
            "__slots__",
        )
    ],
    "dunder names with code": [
        {"__class__": "trap_type.Config"},
        {"__reduce__": ["os.system", ["id"]]},
        {"__module__": "trap_module"},
        {"__builtins__": {}},
    ],
    "words of other loaders": [
        {"_target_": "trap_type.Config"},
        {"_partial_": True},
        {"class_path": "trap_type.Config", "init_args": {}},
        {"!!python/object/apply:os.system": "id"},
        {"$ref": "file:///etc/passwd"},
        {"defaults": ["trap_type"]},
        {"module": "trap_module:Module"},
        {"config": "trap_type"},
        {"import": "trap_type"},
        {"extra": {"__class__": "x"}},
        {"self": 1},
        {"cls": 1},
        {"registry": "trap_type"},
    ],
    "names that are strange": [
        {"": 1},
        {" hidden_dim": 1},
        {"hidden_dim ": 1},
        {"hidden\u200b_dim": 1},
        {"a" * 100_000: 1},
    ],
}
"""Options that try to reach into what holds them."""

VALUES = {
    "paths and code": [
        {"init_weights": "trap_type:init"},
        {"init_weights": "torch.nn.init.ones_"},
        {"dropout": "file:///dev/zero"},
        {"bias": "__import__('os').system('id')"},
        {"hidden_dim": "8 * 2"},
        {"hidden_dim": {"_target_": "trap_type.Config"}},
        {"num_heads": ["trap_type"]},
    ],
    "mappings in the place of numbers": [
        {"hidden_dim": {"__class__": "int"}},
        {"dropout": {"__float__": 1}},
    ],
}
"""Values that ask for something to be looked up or computed."""

DOCUMENTS = {
    "tag.yaml": "!!python/object/apply:os.system ['id']",
    "value.yaml": "type: flare\nhidden_dim: !!python/object/apply:os.system ['id']\nnum_heads: 2\n",
    "name.yaml": "type: !!python/name:trap_type.Config\nhidden_dim: 8\nnum_heads: 2\n",
    "module.yaml": "type: !!python/module:trap_type\nhidden_dim: 8\nnum_heads: 2\n",
    "include.yaml": "type: flare\nhidden_dim: !include /etc/passwd\nnum_heads: 2\n",
    "merge.yaml": "base: &base {hidden_dim: 8}\n<<: *base\ntype: flare\nnum_heads: 2\n",
    "bomb.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "deepest.yaml": "[" * 30_000,
    "number.yaml": f"type: flare\nhidden_dim: {'9' * 100_000}\nnum_heads: 2\n",
    "number.json": f'{{"type": "flare", "hidden_dim": {"9" * 100_000}, "num_heads": 2}}',
    "deepest.json": "[" * 30_000,
    "number.toml": f'type = "flare"\nhidden_dim = {"9" * 100_000}\nnum_heads = 2\n',
    "type.toml": 'type = "../trap_type"\nhidden_dim = 8\nnum_heads = 2\n',
    "escaped.json": '{"type": "\\u0066lar\\u0435", "hidden_dim": 8, "num_heads": 2}',
}
"""Files that try the same."""

HUGE = [
    "10**4300",
    "-(10**4300)",
    "10**20_000",
    "-1",
    "0",
    "float('inf')",
    "float('nan')",
    "1e300",
    "'9' * 5000",
    "True",
]
"""Sizes that are none."""

EXCESSIVE = ["2**63", "10**30", "10**4299"]
"""Sizes that no machine has, and no tensor could."""

every_size = pytest.mark.parametrize("option", ["hidden_dim", "num_heads", "num_latents"])


def test_what_is_imported_and_read_would_be_seen(attempt, site):
    assert "TRAPPED" in run(site, [config(type="trap")]).stderr
    ((_, seen, _),) = attempt(
        "[registry().refresh() or {'type': 'trpa', 'hidden_dim': 8, 'num_heads': 2}]"
    )
    assert {"open", "os.listdir"} <= {event for event, _ in seen}


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_leads_to_nothing_but_an_installed_variant(attempt, kind):
    for told, seen, modules in attempt([config(type=name) for name in TYPES[kind]]):
        assert all(message.startswith("type: ") for message in told)
        assert len(told) == (2 if kind == "no text" else 4)
        assert (seen, modules) == ([], [])


@pytest.mark.parametrize("kind", OPTIONS)
def test_an_option_reaches_nothing_but_its_own_value(attempt, kind):
    for told, seen, modules in attempt([config(**options) for options in OPTIONS[kind]]):
        assert all(told)
        assert (seen, modules) == ([], [])


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_is_data_and_no_more(attempt, kind):
    for told, seen, modules in attempt([config(**options) for options in VALUES[kind]]):
        assert all("expected" in message for message in told)
        assert (seen, modules) == ([], [])


@every_size
def test_a_size_that_is_none_is_refused(attempt, option):
    sizes = [f"{{**{config()!r}, {option!r}: {size}}}" for size in HUGE]
    for told, seen, modules in attempt(f"[{', '.join(sizes)}]"):
        assert all(f"{option}: " in message for message in told)
        assert all(len(message) < 1000 for message in told)
        assert (seen, modules) == ([], [])


@pytest.mark.parametrize("size", EXCESSIVE)
def test_a_size_that_no_machine_has_is_refused(attempt, size):
    (result,) = attempt(f"[{{**{config(num_heads=1)!r}, 'hidden_dim': {size}}}]")
    assert "hidden_dim: " in result[0][0]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_is_data_and_no_more(attempt, site, name):
    (site.folder / name).write_text(DOCUMENTS[name], encoding="utf-8")
    ((told, seen, modules),) = attempt([name])
    assert told[0].startswith(name)
    assert [event for event in seen if name not in event[1]] == []
    assert modules == []
