"""Which providers configs need, written down; whatever else is there is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import attrs
import pytest
from annotated_types import MinLen

from noether_core import (
    AmbiguousTypeError,
    AttentionConfig,
    ConfigError,
    Registry,
    load,
    structure,
)
from noether_core.schemas import Schema
from noether_core.schemas.open_config import open_configs_in
from noether_core.structuring.lock import Locked, lock_of, read_lock, write_lock
from tests.core.flow import WINDOW, flow_files

NOETHER = Path(sysconfig.get_path("scripts")) / "noether"
CORE = version("noether-attention")
FLOW = "type: flow\nhidden_dim: 8\nnum_heads: 2\n"
OTHER_WAY = "or write noether.lock anew with 'noether lock'"
NOT_EDITABLE = "one that is not editable"
BACK_TO_1 = f"pip install 'acme-flow==1.0', {OTHER_WAY}"


@attrs.frozen
class Place:
    """A folder of installed packages beside the project's, and a folder in which commands run."""

    site: Any
    folder: Path

    def install(
        self, distribution: str, version: str = "1.0", *, default: int = 3, editable: bool = False
    ) -> Place:
        """Install a package that provides the type ``flow``."""
        package = f"{distribution}_{version}".replace("-", "_").replace(".", "_")
        files = flow_files(package, options=WINDOW.replace("3", str(default)))
        metadata = self.site.install(
            distribution, version=version, attention={"flow": package}, files=files
        )
        if editable:
            (metadata / "direct_url.json").write_text(
                '{"url": "file:///flow", "dir_info": {"editable": true}}'
            )
        return self

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def noether(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NOETHER, *arguments],
            cwd=self.folder,
            env=self.site.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def registry(self) -> Registry:
        return self.site.registry()


@pytest.fixture
def place(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Place]:
    """Return what makes places, all of which share the folder in which commands run."""
    folder = tmp_path / "work"
    folder.mkdir()

    def make(name: str) -> Place:
        (site.folder / name).mkdir()
        monkeypatch.syspath_prepend(str(site.folder / name))
        return Place(attrs.evolve(site, folder=site.folder / name), folder)

    return make


def lock(place: Place, text: str = FLOW, *arguments: str) -> None:
    """Lock what a config needs, as it is installed at *place*."""
    done = place.noether("lock", place.write("flow.yaml", text), *arguments)
    assert done.returncode == 0, done.stderr


def problems(place: Place, *arguments: str) -> list[str]:
    """Return the first line of each problem that a command tells under the lock."""
    done = place.noether(*(arguments or ("validate", "flow.yaml")), "--locked")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if not re.match(r" *\d* \| ", line)]


def test_a_lock_file_names_what_configs_need_and_where_it_is_from(place):
    here = place("here").install("acme-flow", "1.2.0")
    here.write("more.json", '{"blocks": [{"type": "flow", "hidden_dim": 8, "num_heads": 2}]}')
    done = here.noether("lock", here.write("flow.yaml", FLOW))
    assert (done.returncode, done.stdout) == (0, "noether.lock: flow: acme-flow 1.2.0\n"), (
        done.stderr
    )
    text = (here.folder / "noether.lock").read_text(encoding="utf-8")
    assert text.startswith("# Written by 'noether lock'")
    told = tomllib.loads(text)
    (flow,) = told.pop("types")
    assert told == {"format": 1, "noether": CORE}
    assert len(flow.pop("schema")) == 64
    assert flow == {
        "type": "flow",
        "distribution": "acme-flow",
        "version": "1.2.0",
        "editable": False,
        "entry_point": "acme_flow_1_2_0",
        "contract": 1,
    }
    assert here.noether("validate", "flow.yaml", "--locked").stdout == "flow.yaml: good: flow\n"


def test_equal_needs_are_equal_files_in_whatever_order_and_place_they_are_named(place):
    here = place("here").install("acme-flow")
    here.write("a.yaml", "type: transolver\nhidden_dim: 8\nnum_heads: 2\n")
    here.write("b.yaml", "type: acme-flow:flow\nhidden_dim: 8\nnum_heads: 4\n")
    here.write(
        "c.yaml",
        (
            "- type: flow\n  hidden_dim: 16\n  num_heads: 4\n- type: transolver\n  hidden_dim: "
            "4\n  num_heads: 1\n"
        ),
    )
    for arguments in (
        ["a.yaml", "b.yaml"],
        ["b.yaml", "a.yaml", "a.yaml"],
        ["--at", "[*]", "c.yaml"],
    ):
        done = here.noether("lock", *arguments, "--output", f"{len(arguments)}.lock")
        assert done.returncode == 0, done.stderr
    one, *others = (path.read_bytes() for path in here.folder.glob("*.lock"))
    assert len(others) == 1
    assert {one} == set(others)
    assert [locked["type"] for locked in tomllib.loads(one.decode())["types"]] == [
        "flow",
        "transolver",
    ]


def test_nothing_is_locked_while_anything_is_wrong(place):
    here = place("here").install("acme-flow")
    lock(here)
    before = (here.folder / "noether.lock").read_bytes()
    here.write("wrong.yaml", FLOW.replace("2", "3"))
    done = here.noether("lock", "flow.yaml", "wrong.yaml", "missing.yaml")
    assert done.returncode == 1
    assert "wrong.yaml:3:12: num_heads: 3 does not divide hidden_dim 8" in done.stderr
    assert "missing.yaml: cannot be read" in done.stderr
    assert (here.folder / "noether.lock").read_bytes() == before


def test_a_type_that_several_provide_is_not_locked_until_one_is_named(place):
    here = place("here").install("acme-flow").install("best-flow")
    done = here.noether("lock", here.write("flow.yaml", FLOW))
    assert done.returncode == 1
    assert "write 'acme-flow:flow' or 'best-flow:flow'" in done.stderr
    lock(here, FLOW.replace("flow", "best-flow:flow"))
    assert 'distribution = "best-flow"' in (here.folder / "noether.lock").read_text()


def test_under_a_lock_a_bare_type_means_what_it_is_locked_to_whoever_comes_beside(
    place, monkeypatch
):
    lock(place("before").install("acme-flow", default=7))
    beside = (
        place("beside").install("acme-flow", default=7).install("best-flow").install("aaa-flow")
    )
    assert beside.noether("validate", "flow.yaml").returncode == 1
    done = beside.noether("validate", "flow.yaml", "--locked")
    assert (done.returncode, done.stdout) == (0, "flow.yaml: good: flow\n"), done.stderr
    monkeypatch.setenv("NOETHER_PREFER", "aaa-flow")
    config = load(
        beside.folder / "flow.yaml", lock=beside.folder / "noether.lock", registry=beside.registry()
    )
    assert (type(config).__module__, config.window) == ("acme_flow_1_0", 7)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"distribution": "acme-flow", "version": "2.0"},
            [f"version of 'flow': locked to acme-flow 1.0, here acme-flow 2.0; {BACK_TO_1}"],
        ),
        (
            {"distribution": "best-flow"},
            [f"provider of 'flow': locked to acme-flow 1.0, here best-flow 1.0; {BACK_TO_1}"],
        ),
        (
            {"distribution": "acme-flow", "editable": True},
            [
                (
                    f"editable of 'flow': locked to {NOT_EDITABLE}, here an editable install; "
                    f"{BACK_TO_1}"
                )
            ],
        ),
        (
            {"distribution": "acme-flow", "version": "2.0", "default": 7},
            [
                f"version of 'flow': locked to acme-flow 1.0, here acme-flow 2.0; {BACK_TO_1}",
                "schema of 'flow': locked to ",
            ],
        ),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_every_difference_is_refused_by_name_with_both_ways_out(place, arguments, told):
    lock(place("before").install("acme-flow"))
    found = problems(place("after").install(**arguments))
    assert [
        line.removeprefix("flow.yaml:1:7: type: ")[: len(wanted)]
        for line, wanted in zip(found, told, strict=True)
    ] == told


def test_a_locked_package_that_is_missing_is_reported_as_that(place):
    lock(place("before").install("acme-flow"))
    after = place("after")
    told = (
        "flow.yaml:1:7: type: missing of 'flow': locked to acme-flow 1.0, here nothing "
        f"provides it; {BACK_TO_1}"
    )
    assert problems(after) == [told]
    after.write("flow.yaml", FLOW.replace("type: flow", "type: acme-flow:flow"))
    assert problems(after) == [told]
    after.write("flow.yaml", FLOW.replace("type: flow", "type: flown"))
    assert problems(after)[0].startswith("flow.yaml:1:7: type: 'flown' is not installed")


def test_a_type_that_is_not_in_the_lock_is_refused(place):
    here = place("here").install("acme-flow")
    lock(here)
    here.write("flow.yaml", FLOW.replace("flow", "transolver"))
    told = (
        f"'transolver' of noether-attention {CORE} is not in noether.lock; write it anew with "
        "'noether lock'"
    )
    assert problems(here) == [f"flow.yaml:1:7: type: {told}"]


def test_of_two_packages_under_one_type_each_is_locked_by_itself(place):
    here = place("here").install("acme-flow").install("best-flow").install("cool-flow")
    for name in ("acme", "best"):
        here.write(f"{name}.yaml", FLOW.replace("flow", f"{name}-flow:flow"))
    assert here.noether("lock", "acme.yaml", "best.yaml").returncode == 0
    assert here.noether("validate", "acme.yaml", "best.yaml", "--locked").returncode == 0
    here.write("flow.yaml", FLOW.replace("flow", "cool-flow:flow"))
    (told,) = problems(here)
    assert "'cool-flow:flow' of cool-flow 1.0 is not in noether.lock" in told


def test_another_noether_is_refused_with_its_location_in_the_lock_file(place):
    here = place("here").install("acme-flow")
    lock(here)
    file = here.folder / "noether.lock"
    file.write_text(file.read_text().replace(f'noether = "{CORE}"', 'noether = "0.0.1"'))
    told = (
        f"noether-attention is locked to 0.0.1, here {CORE}; pip install "
        f"'noether-attention==0.0.1', {OTHER_WAY}"
    )
    assert problems(here) == [f"noether.lock:3:11: noether: {told}"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "format = 1",
            "format = 2",
            "noether.lock:2:10: format: expected 1, got 2: another version of noether-attention",
        ),
        (
            "[[types]]",
            "[[typs]]",
            "noether.lock:5:3: typs: unknown option of Lock; did you mean 'types'?",
        ),
        ("[[types]]", "[[types]", "noether.lock:5:8: not valid TOML"),
        (
            "contract = 1",
            "contract = 0",
            "noether.lock:11:12: types[0].contract: expected an integer of at least 1, got 0",
        ),
        (
            'schema = "',
            'schema = "x',
            "noether.lock:12:10: types[0].schema: expected text that passes is_sha256",
        ),
        (
            "contract = 1",
            'contract = 1\ncolour = "red"',
            "noether.lock:12:1: types[0].colour: unknown option",
        ),
    ],
)
def test_a_broken_lock_file_is_reported_with_line_and_column(place, old, new, told):
    here = place("here").install("acme-flow")
    lock(here)
    file = here.folder / "noether.lock"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    assert any(line.startswith(told) for line in problems(here)), problems(here)


def test_a_type_that_is_locked_twice_is_reported(place):
    here = place("here").install("acme-flow")
    lock(here)
    file = here.folder / "noether.lock"
    text = file.read_text()
    file.write_text(
        text + text[text.index("[[types]]") :].replace('version = "1.0"', 'version = "2.0"')
    )
    (told,) = problems(here)
    assert told.endswith("types[1]: acme-flow:flow is locked twice")


def test_a_lock_file_that_is_not_there_is_reported_with_the_way_out(place):
    here = place("here")
    here.write("flow.yaml", FLOW)
    assert problems(here) == [
        "noether.lock: cannot be read: No such file or directory; write one with 'noether lock'"
    ]


def test_problems_under_a_lock_are_reported_as_json(place):
    lock(place("before").install("acme-flow"))
    after = place("after").install("acme-flow", "2.0")
    (result,) = json.loads(after.noether("validate", "flow.yaml", "--json", "--locked").stdout)
    assert (result["valid"], result["configs"]) == (False, [])
    (problem,) = result["problems"]
    assert (problem["path"], problem["line"], problem["column"]) == ("type", 1, 7)
    (after.folder / "noether.lock").write_text("format = 1")
    (result,) = json.loads(after.noether("validate", "flow.yaml", "--json", "--locked").stdout)
    assert (result["file"], result["valid"]) == ("noether.lock", False)


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_config_behind_the_option_is_not_taken_for_the_lock_file(place, command):
    here = place("here").install("acme-flow")
    lock(here)
    done = here.noether(command, "--locked", "flow.yaml")
    assert done.returncode == 2
    assert "'flow.yaml' is no name of a lock file, which ends in .lock; write" in done.stderr


def test_a_lock_file_may_have_another_name_and_place(place):
    here = place("here").install("acme-flow")
    (here.folder / "locks").mkdir()
    lock(here, FLOW, "--output", "locks/flow.lock")
    assert here.noether("validate", "flow.yaml", "--locked", "locks/flow.lock").returncode == 0
    assert here.noether("validate", "--locked=locks/flow.lock", "flow.yaml").returncode == 0
    done = here.noether("lock", "flow.yaml", "--output", "flow.toml")
    assert (done.returncode, (here.folder / "flow.toml").exists()) == (2, False)


def test_problems_of_configs_within_files_are_placed_there(place):
    here = place("here").install("acme-flow")
    lock(here)
    here.write(
        "blocks.yaml",
        (
            "blocks:\n  - {type: flow, hidden_dim: 8, num_heads: 2}\n  - {type: flare, "
            "hidden_dim: 8, num_heads: 2}\n"
        ),
    )
    found = problems(here, "validate", "blocks.yaml", "--at", "blocks[*]")
    assert [line.partition(" of ")[0] for line in found] == [
        "blocks.yaml:3:12: blocks[1].type: 'flare'"
    ]


EXPERIMENT = """\
attention: {type: transolver, hidden_dim: 16, num_heads: 2, num_slices: 4}
model: {depth: 1}
task: {type: airfoil, n_train: 4, n_test: 1, n_surface: 16, n_volume: 16}
training: {steps: 1, batch_size: 2}
"""


def test_a_run_under_a_lock_runs_what_is_locked_and_nothing_else(place):
    here = place("here")
    here.write("run.yaml", EXPERIMENT)
    assert here.noether("lock", "run.yaml", "--at", "attention").returncode == 0
    (told,) = problems(here, "run", "run.yaml", "--output", "bad")
    assert told.startswith("run.yaml:3:14: task.type: 'airfoil' of noether-attention ")
    assert here.noether("lock", "run.yaml", "--experiment").returncode == 0
    good = here.noether("run", "run.yaml", "--output", "good", "--locked")
    assert good.returncode == 0, good.stderr
    other = ["attention={type: flare, hidden_dim: 16, num_heads: 2}"]
    (told,) = problems(here, "run", "run.yaml", *other, "--output", "bad")
    assert told.startswith("command line: attention.type: 'flare' of noether-attention")
    file = here.folder / "noether.lock"
    file.write_text(file.read_text().replace('version = "', 'version = "7', 1))
    (told,) = problems(here, "run", "run.yaml", "--output", "bad")
    assert told.startswith(
        "run.yaml:1:19: attention.type: version of 'transolver': locked to noether-attention 7"
    )
    assert {path.name for path in here.folder.iterdir()} == {"run.yaml", "noether.lock", "good"}


@attrs.frozen(kw_only=True)
class Model(Schema):
    """A config that holds configs in every way."""

    first: AttentionConfig
    blocks: Annotated[tuple[AttentionConfig, ...], MinLen(1)]
    named: Mapping[str, AttentionConfig]
    last: AttentionConfig | None = None


def options(type: str = "flow") -> dict[str, Any]:
    return {"type": type, "hidden_dim": 8, "num_heads": 2}


def test_configs_within_configs_are_locked_wherever_they_stand(place):
    known = place("here").install("acme-flow").registry()
    config = structure(
        {"first": options(), "blocks": [options()] * 2, "named": {"a": options()}},
        Model,
        registry=known,
    )
    assert [keys for keys, _ in open_configs_in(config)] == [
        ("first",),
        ("blocks", 0),
        ("blocks", 1),
        ("named", "a"),
    ]
    assert [locked.provider for locked in lock_of([config], known).types] == ["acme-flow 1.0"]


def test_a_file_of_configs_within_configs_is_loaded_under_a_lock(place):
    before = place("before").install("acme-flow")
    text = json.dumps(
        {"first": options(), "blocks": [options()], "named": {"a": options()}}, indent=1
    )
    model, file = before.folder / before.write("model.json", text), before.folder / "noether.lock"
    config = structure(json.loads(text), Model, registry=before.registry())
    write_lock(lock_of([config], before.registry()), file)
    assert load(model, Model, lock=file, registry=before.registry()) == config

    after = place("after").install("acme-flow", "2.0")
    with pytest.raises(ConfigError) as caught:
        load(model, Model, lock=file, registry=after.registry())
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [
        ("first.type", 3),
        ("blocks[0].type", 9),
        ("named.a.type", 16),
    ]
    with pytest.raises(ConfigError) as caught:  # and a part of the file keeps its place in it
        load(model, at="named.a", lock=file, registry=after.registry())
    assert {(problem.path, problem.line) for problem in caught.value.problems} == {
        ("named.a.type", 16)
    }
    with pytest.raises(ConfigError) as caught:
        load(model, Model, lock=file, registry=place("nowhere").registry())
    assert len(caught.value.problems) == 3
    assert all(
        problem.message.startswith("missing of 'flow': locked to acme-flow 1.0")
        for problem in caught.value.problems
    )


def test_overrides_and_other_problems_are_reported_as_by_load(place):
    here = place("here").install("acme-flow")
    lock(here)
    arguments = {"lock": here.folder / "noether.lock", "registry": here.registry()}
    assert load(here.folder / "flow.yaml", overrides=["window=3"], **arguments).window == 3
    with pytest.raises(
        ConfigError, match="command line: window: expected an integer of at least 1, got 0"
    ):
        load(here.folder / "flow.yaml", overrides=["window=0"], **arguments)
    here.write("flow.yaml", FLOW + "windw: 3\n")
    with pytest.raises(ConfigError, match=r"flow\.yaml:4:1: windw: unknown option"):
        load(here.folder / "flow.yaml", **arguments)
    assert dict(load(here.folder / "flow.yaml", unknown="keep", **arguments).extra) == {"windw": 3}


def test_a_lock_is_read_as_it_was_written(place):
    known = place("here").install("acme-flow").registry()
    lock = lock_of([structure(options(), registry=known)], known)
    path = place("there").folder / "noether.lock"
    write_lock(lock, path)
    assert read_lock(path)[0] == lock
    assert isinstance(Locked(path, registry=known).registry, Registry)


def test_the_registry_that_is_seen_through_a_lock_is_left_as_it_was(place):
    here = place("here").install("acme-flow").install("best-flow")
    lock(here, FLOW.replace("flow", "best-flow:flow"))
    known = here.registry()
    seen = Locked(here.folder / "noether.lock", registry=known).registry
    assert seen.provider("flow").distribution == "best-flow"
    assert seen.get("flow") is known.get("best-flow:flow")
    with pytest.raises(AmbiguousTypeError):
        known.get("flow")
