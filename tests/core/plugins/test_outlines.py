"""What the source of a plugin says of it: as its record does, or nothing, and nothing is run."""

import os
import subprocess
import sys

import pytest

from noether_core import registry
from noether_core.plugins.metadata import ATTENTION, EntryPoint
from noether_core.plugins.outlines import Outline, outline_of

CONFIG = '''\
@attrs.frozen(kw_only=True)
class WindowConfig(AttentionConfig):
    """Tokens read what is near.

    More of it.
    """
'''

PLUGIN = """\
raise SystemExit('imported')
{before}
@hookimpl
def noether_attention_variant() -> AttentionVariant:
    {doc}
    return AttentionVariant({arguments})
"""

SAID = Outline("self", "Tokens read what is near.")
NOTHING = Outline()


@pytest.fixture
def written(tmp_path):
    """Return what writes a plugin beside its metadata, and returns what its source says."""

    def outline(before="", doc='"""Return the record."""', arguments="", **others):
        for name, text in others.items():
            (tmp_path / f"{name}.py").write_text(text)
        text = PLUGIN.format(before=before, doc=doc, arguments=arguments)
        (tmp_path / "acme.py").write_text(text)
        return outline_of(plugin(tmp_path))

    return outline


def plugin(folder, value="acme"):
    origin = os.fspath(folder / "acme-1.0.dist-info")
    return EntryPoint(ATTENTION, "acme", value, "acme", "1.0", origin)


@pytest.mark.parametrize("entry", registry().providers(), ids=lambda entry: entry.name)
def test_it_is_what_the_record_of_every_variant_says(entry):
    record = registry().get(entry.name)
    assert outline_of(entry) == (record.interface, record.summary)


@pytest.mark.parametrize(
    "arguments",
    [
        'config=WindowConfig, module="a:B", interface="self"',
        "config=WindowConfig,module='a:B',interface='self'",
        '\n        config=WindowConfig,\n        interface="self",\n    ',
        '\n        interface="self",\n        summary="Tokens read what is near.",\n    ',
    ],
)
def test_records_are_read_however_they_are_laid_out(written, arguments):
    assert written(CONFIG, arguments=arguments) == SAID


@pytest.mark.parametrize(
    ("before", "doc"),
    [
        ("from config import WindowConfig", ""),
        ("from config import (\n    Other,  # of old\n    WindowConfig,\n)", ""),
        ("", "from config import WindowConfig"),
        ("from other import Named as WindowConfig", ""),
    ],
)
def test_configs_are_found_where_they_are_imported_from(written, before, doc):
    other = "from config import Other, WindowConfig as Named\n"
    arguments = 'config=WindowConfig, interface="self"'
    assert written(before, doc, arguments, config="\n" + CONFIG, other="\n" + other) == SAID


def test_relative_imports_are_followed(tmp_path):
    package = tmp_path / "acme" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "acme" / "config.py").write_text("\n" + CONFIG)
    arguments = 'config=WindowConfig, interface="self"'
    text = PLUGIN.format(before="from ..config import WindowConfig", doc="", arguments=arguments)
    (package / "__init__.py").write_text(text)
    assert outline_of(plugin(tmp_path, "acme.inner")) == SAID


@pytest.mark.parametrize(
    ("before", "doc", "arguments"),
    [
        ("", "", "**options"),
        ("", "", 'config=CONFIGS[0], interface=INTERFACE, module="a:B"'),
        ("", "", 'config=WindowConfig, interface="self" "ish"'),
        ("", "", r'interface="se\x6cf", summary=TEXT'),
        ("", "if True: return None", 'interface="self"'),
        (CONFIG.replace('"""', "'''"), "", "config=WindowConfig"),
        (CONFIG.replace("near", r"n\145ar"), "", "config=WindowConfig"),
        ("from acme import WindowConfig", "", "config=WindowConfig"),
        ("from nowhere_at_all import WindowConfig", "", "config=WindowConfig"),
    ],
)
def test_what_is_computed_is_not_guessed(written, before, doc, arguments):
    assert written(before, doc, arguments) == NOTHING


def test_what_is_no_small_source_says_nothing(tmp_path):
    assert outline_of(plugin(tmp_path)) == NOTHING
    assert outline_of(plugin(tmp_path, "sys")) == NOTHING

    file = tmp_path / "acme.py"
    file.write_bytes(b"\xff")
    assert outline_of(plugin(tmp_path)) == NOTHING
    file.write_text(" " * 2**18 + PLUGIN.format(before="", doc="", arguments='interface="self"'))
    assert outline_of(plugin(tmp_path)) == NOTHING
    file.unlink()
    os.mkfifo(file)
    assert outline_of(plugin(tmp_path)) == NOTHING


def test_a_list_imports_no_plugin_and_nothing_that_takes_long():
    code = (
        "import sys; before = {*sys.modules}; from noether_core.cli import main; main(['list']); "
        "print(*{*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Tokens gather into slices" in done.stdout
    modules = set(done.stdout.splitlines()[-1].split())
    slow = {"argcomplete", "ast", "attrs", "noether_core.errors", "noether_plugins", "typing"}
    assert not modules & slow
