"""Where importing torch raises, everything short of building a module works."""

import os
import subprocess
import sys

import pytest

PREAMBLE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "numpy", "scipy"}:
            raise ModuleNotFoundError(f"{name} must not be imported", name=name)

sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "attention.yaml"
    file.write_text("type: transolver\nhidden_dim: 8\nnum_heads: 2\n")
    return file


def _python(code, *arguments):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", PREAMBLE + code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_guard_does_guard():
    assert "must not be imported" in _python("import torch").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("list",),
        ("list", "--details"),
        ("show", "transolver"),
        ("schema",),
        ("schema", "dot_product"),
    ],
    ids=" ".join,
)
def test_commands_run(arguments):
    done = _python("from noether_core.cli import main; sys.exit(main(sys.argv[1:]))", *arguments)
    assert done.returncode == 0, done.stderr
    assert "transolver" in done.stdout or arguments in {("--help",), ("schema", "dot_product")}


def test_files_are_validated(config):
    done = _python(
        "from noether_core.cli import main; sys.exit(main(sys.argv[1:]))", "validate", config
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{config}: good: transolver\n"


def test_every_public_name_but_a_module_itself_works(config, tmp_path):
    code = """
import noether_core
for name in set(noether_core.__all__) - {"AnyAttention"}:
    getattr(noether_core, name)
config = noether_core.load(sys.argv[1])
noether_core.dump(config, sys.argv[2])
assert noether_core.load(sys.argv[2]) == config
assert noether_core.structure(noether_core.unstructure(config)) == config
noether_core.json_schema()
config.fingerprint()
"""
    done = _python(code, config, tmp_path / "copy.toml")
    assert done.returncode == 0, done.stderr


def test_configs_of_every_installed_variant_are_made_from_here_and_from_their_old_homes():
    code = """
import warnings
from noether_core import registry, structure, unstructure
from noether_core.schemas import modules

assert len(registry().types()) >= 10
for type in registry().types():
    config = registry().get(type).example_config()
    assert structure(unstructure(config)) == config
warnings.simplefilter("ignore")
for name in dir(modules):
    getattr(modules, name)
"""
    done = _python(code)
    assert done.returncode == 0, done.stderr


def test_a_module_is_offered_with_the_extra_that_it_needs():
    done = _python("from noether_core import AnyAttention")
    assert "MissingExtraError: AnyAttention needs torch" in done.stderr
    assert "pip install 'noether-attention[torch]'" in done.stderr


def test_building_without_torch_names_what_is_missing(config):
    done = _python(
        "import noether_core; noether_core.build(noether_core.load(sys.argv[1]))", config
    )
    assert (
        "MissingExtraError: building a module needs torch, which is not installed; "
        "pip install 'noether-attention[torch]'" in done.stderr
    )


def test_pytest_says_what_the_kit_needs(tmp_path):
    code = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = _python(code, "-p", "no:cacheprovider", "-n0", "--noether", "flare", tmp_path)
    needs = "ERROR: pytest --noether needs torch, which is not installed; "
    assert done.stderr.startswith(needs), done.stdout + done.stderr
    assert done.returncode == 4
