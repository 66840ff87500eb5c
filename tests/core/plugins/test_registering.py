"""Types registered in one process, and the worker processes of that process."""

import os
import subprocess
import sys
import textwrap

import pytest

from tests.sampling import sampled

REGISTERS = """
from typing import Literal

import attrs
from torch import nn

from noether_core import AttentionVariant, registry
from noether_core.schemas import AttentionConfig


@attrs.frozen(kw_only=True)
class ToyConfig(AttentionConfig):
    type: Literal["toy"] = "toy"
    "A variant that no package provides."


class Toy(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, x):
        return 2 * x


registry().register(
    AttentionVariant(
        config=ToyConfig,
        module="toys:Toy",
        interface="self",
        time_exponent=1,
        memory_exponent=1,
        summary="Doubles.",
        example={"hidden_dim": 8, "num_heads": 2},
        api_version=1,
    )
)
"""
WORKS = """
import multiprocessing
import sys

from torch.utils.data import DataLoader, Dataset

from noether_core import ConfigError, build, registry, structure

OPTIONS = {"type": "toy", "hidden_dim": 8, "num_heads": 2}


def work(options):
    try:
        return type(build(options)).__name__
    except ConfigError as error:
        return str(error)


class Points(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, number):
        return work(OPTIONS)


if __name__ == "__main__":
    import toys

    print(work(OPTIONS))
    method = sys.argv[1]
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(pool.apply(work, (OPTIONS,)))
    loader = DataLoader(Points(), batch_size=None, num_workers=1, multiprocessing_context=method)
    print(*loader, sep="\\n")
"""
HINT = (
    "This is a worker process: what another process registered is not known here. Set "
    "NOETHER_REGISTER to a module "
    "that registers 'toy' when it is imported."
)


@pytest.fixture
def run(tmp_path):
    """Return a function that runs code beside the modules of this test."""
    (tmp_path / "toys.py").write_text(REGISTERS)
    (tmp_path / "works.py").write_text(WORKS)

    def run(*command, **environment):
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def code(text):
    return "-c", textwrap.dedent(text)


@pytest.mark.parametrize("method", sampled(["spawn", "forkserver"], "spawn"))
def test_a_worker_does_not_know_the_type_and_says_how_to_register_it(run, method):
    result = run("works.py", method)
    assert result.returncode == 0, result.stderr
    own, *others = result.stdout.splitlines()
    assert own == "Toy"
    assert len(others) == 3
    for message in others:
        assert message.startswith("type: 'toy' is not installed; ")
        assert HINT in message


@pytest.mark.parametrize("method", sampled(["spawn", "forkserver", "fork"], "forkserver"))
def test_a_worker_that_imports_the_module_knows_the_type(run, method):
    result = run("works.py", method, NOETHER_REGISTER="toys")
    assert (result.returncode, result.stdout) == (0, "Toy\n" * 4), result.stderr


def test_no_other_process_is_reported_about_workers(run):
    result = run(*code("from noether_core import structure\nstructure({'type': 'toy'})"))
    assert "'toy' is not installed" in result.stderr
    assert "worker" not in result.stderr


def test_modules_are_imported_when_the_registry_is_first_used_and_not_before(run):
    result = run(
        *code(
            """
            import sys
            from noether_core import registry, structure
            known = registry()
            assert "toys" not in sys.modules
            assert "toy" in known.types() and "toys" in sys.modules
            assert known.provider("toy").distribution == "in-process"
            assert structure({"type": "toy", "hidden_dim": 8, "num_heads": 2}).type == "toy"
            """
        ),
        NOETHER_REGISTER=" , toys ",
    )
    assert result.returncode == 0, result.stderr


def test_a_module_may_ask_the_registry_while_it_is_imported(run, tmp_path):
    asks = (
        "from noether_core import registry\nassert 'transolver' in registry().types()\n"
        "registry().get('transolver')\n"
    )
    (tmp_path / "asks.py").write_text(asks + "import toys\n")
    result = run(
        *code("from noether_core import registry; print(registry().get('toy').type)"),
        NOETHER_REGISTER="asks",
    )
    assert (result.returncode, result.stdout) == (0, "toy\n"), result.stderr


def test_a_module_that_fails_hides_no_type_and_is_reported_where_one_is_missing(run, tmp_path):
    (tmp_path / "broken.py").write_text("raise SystemExit('no')\n")
    names = "broken,nowhere,toys"
    good = run(
        *code("from noether_core import registry; print(registry().get('toy').type)"),
        NOETHER_REGISTER=names,
    )
    assert (good.returncode, good.stdout) == (0, "toy\n"), good.stderr
    bad = run(
        *code("from noether_core import registry; registry().get('toys')"), NOETHER_REGISTER=names
    )
    message = bad.stderr.splitlines()[-1]
    assert "'toys' is not installed; did you mean 'toy'?" in message
    assert "NOETHER_REGISTER: broken cannot be imported: SystemExit: no." in message
    assert (
        "NOETHER_REGISTER: nowhere cannot be imported: ModuleNotFoundError: No module "
        "named 'nowhere'."
    ) in message


def test_a_module_that_fails_is_tried_once(run, tmp_path):
    (tmp_path / "broken.py").write_text("print('tried')\nraise OSError\n")
    result = run(
        *code(
            "from noether_core import registry; registry().types(), registry().types(), "
            "registry().get('flare')"
        ),
        NOETHER_REGISTER="broken",
    )
    assert (result.returncode, result.stdout) == (0, "tried\n"), result.stderr


def test_threads_that_look_at_once_all_see_what_is_registered(run, tmp_path):
    asks = "from noether_core import registry\nregistry().types()\n"
    (tmp_path / "slow.py").write_text(f"{asks}import time\ntime.sleep(0.5)\nimport toys\n")
    result = run(
        *code(
            """
            import time
            from concurrent.futures import ThreadPoolExecutor
            from threading import Barrier
            from noether_core import registry

            barrier = Barrier(8)

            def ask(number):
                barrier.wait()
                time.sleep(0.05 * (number % 4))  # some come while the module is being imported
                return registry().get("toy").type

            with ThreadPoolExecutor(8) as pool:
                print(set(pool.map(ask, range(8))))
            """
        ),
        NOETHER_REGISTER="slow",
    )
    assert (result.returncode, result.stdout) == (0, "{'toy'}\n"), result.stderr


def test_a_registry_of_ones_own_imports_nothing(run):
    result = run(
        *code(
            "import sys; from noether_core import Registry; Registry().types(); assert "
            "'toys' not in sys.modules"
        ),
        NOETHER_REGISTER="toys",
    )
    assert result.returncode == 0, result.stderr
