"""The real command ``noether``, in processes of its own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading

import pytest

GOOD = "type: transolver\nhidden_dim: 256\nnum_heads: 8\nnum_slices: 64\n"
BAD = "type: transolver\nhidden_dim: 256\nnum_heads: 7\nnum_slice: 64\ndropout: 1.5\n"


NOETHER = shutil.which(
    "noether", path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
)


@pytest.fixture
def run(tmp_path):
    assert NOETHER is not None, "the command noether is not installed"

    def call(*arguments, stdin=None, **environment):
        return subprocess.run(
            [NOETHER, *map(str, arguments)],
            cwd=tmp_path,
            input=stdin,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def installed(site):
    """Return what installs a plugin, and returns the environment in which commands find it."""

    def install(distribution, *, attention=None, commands=None, **modules):
        files = {f"{name}.py": code for name, code in modules.items()}
        site.install(
            distribution, version="1.0", attention=attention, commands=commands, files=files
        )
        return site.environment()

    return install


def test_list_names_every_variant_with_its_provider(run):
    lines = [line.split("\t") for line in run("list").stdout.splitlines()]
    facts = ["type", "distribution", "version", "plugin", "interface", "summary", "note"]
    assert lines[0] == facts
    (flare,) = [dict(zip(facts, line, strict=True)) for line in lines if line[0] == "flare"]
    assert flare["interface"] == "self"
    assert flare["summary"].startswith("Latents attend to the tokens")
    assert ["dot_product", "noether-attention"] in [line[:2] for line in lines]
    assert ["transolver", "noether-attention"] in [line[:2] for line in lines]
    assert lines[1:] == sorted(lines[1:])


def test_list_shows_details_and_json(run):
    rows = json.loads(run("list", "--details", "--json").stdout)
    (transolver,) = [row for row in rows if row["type"] == "transolver"]
    assert transolver["interface"] == "self"
    assert "key_padding_mask" in transolver["capabilities"]
    assert transolver["summary"].endswith(".")


def test_list_shows_blocked_plugins_as_such(run):
    rows = json.loads(run("list", "--json", NOETHER_BLOCK="Noether_Attention:transolver").stdout)
    notes = {row["type"]: row["note"] for row in rows if row["distribution"] == "noether-attention"}
    assert [name for name, note in notes.items() if note] == ["transolver"]
    assert notes["transolver"] == "blocked"
    assert notes["flare"] == ""


def test_list_survives_a_broken_plugin_and_reports_it_on_request(run, installed):
    environment = installed(
        "acme-broken", attention={"broken": "acme_broken"}, acme_broken="raise OSError('no')"
    )
    plain = run("list", **environment)
    assert plain.returncode == 0
    assert "broken\tacme-broken\t1.0\tacme_broken\t" in plain.stdout
    (row,) = [
        row
        for row in json.loads(run("list", "--details", "--json", **environment).stdout)
        if row["type"] == "broken"
    ]
    assert row["note"] == "'broken' of acme-broken 1.0: acme_broken cannot be imported: OSError: no"


def test_list_reports_corrupt_metadata_on_standard_error(run, installed):
    environment = installed("acme-odd", attention={"odd": "not a path"})
    done = run("list", **environment)
    assert done.returncode == 0
    assert "'odd = not a path' under [noether.attention] is no entry point" in done.stderr
    assert "transolver" in done.stdout


def test_list_says_what_to_write_where_two_packages_provide_a_type(run, installed):
    environment = installed("acme-flow", attention={"transolver": "acme_flow"})
    notes = {
        row["distribution"]: row["note"]
        for row in json.loads(run("list", "--json", **environment).stdout)
    }
    assert notes["acme-flow"] == "ambiguous; write acme-flow:transolver"
    done = run("show", "transolver", **environment)
    assert done.returncode == 1
    assert "write 'noether-attention:transolver' or 'acme-flow:transolver'" in done.stderr or (
        "write 'acme-flow:transolver' or 'noether-attention:transolver'" in done.stderr
    )
    assert run("show", "noether-attention:transolver", **environment).returncode == 0


def test_a_table_in_a_pipe_is_not_cut(run, installed):
    name = "a" * 300
    environment = installed("acme-long", attention={name: "acme_long"})
    assert (
        f"{name}\tacme-long\t1.0\tacme_long"
        in run("list", **{**environment, "COLUMNS": "40"}).stdout
    )


def test_a_closed_pipe_gives_no_traceback(tmp_path):
    done = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m noether_core.cli schema | head -c 1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{"
    assert done.stderr == ""


def test_closed_outputs_give_no_traceback(tmp_path):
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        script = f"'{NOETHER}' list {closed}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("columns", ["0", "7", "text", ""])
def test_help_is_readable_in_any_terminal(run, columns):
    assert "attention variants that" in run("--help", COLUMNS=columns).stdout


def test_show_prints_the_record_and_every_option(run):
    shown = json.loads(run("show", "transolver", "--json").stdout)
    assert shown["provider"].startswith("noether-attention ")
    assert shown["module"] == "noether_plugins.attention.transolver.module:TransolverAttention"
    assert shown["time"] == "tokens ** 1"
    options = {option["option"]: option for option in shown["options"]}
    assert next(iter(options)) == "type"
    assert options["num_slices"]["default"] == 512
    assert shown["origins"] == ["thuml/Transolver"]
    assert options["num_slices"]["accepts"] == "an integer of at least 1"
    assert options["hidden_dim"]["required"]
    assert all(option["help"] for option in options.values())
    plain = run("show", "transolver").stdout
    assert "num_slices\tan integer of at least 1\t512\t" in plain


def test_show_says_which_growth_a_variant_does_not_promise(run, installed, site):
    module = site.install_variant("flow", "acme-flow")
    environment = installed("acme-other")
    file = site.folder / f"{module}.py"
    file.write_text(file.read_text().replace("time_exponent=1", "time_exponent=None"))
    shown = json.loads(run("show", "flow", "--json", **environment).stdout)
    assert (shown["time"], shown["memory"]) == ("not promised", "tokens ** 1")


def test_show_of_an_unknown_type_suggests_the_nearest(run):
    done = run("show", "transolvr")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        "type: 'transolvr' is not installed; did you mean 'transolver'? Installed: "
    )


def test_validate_is_silent_about_nothing(run, tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    done = run("validate", "good.yaml", "bad.yaml", "missing.yaml")
    assert done.returncode == 1
    assert done.stdout == "good.yaml: good: transolver\n"
    assert done.stderr == (
        "bad.yaml:3:12: num_heads: 7 does not divide hidden_dim 256; 4 and 8 do\n"
        "   3 | num_heads: 7\n"
        "     |            ^\n"
        "bad.yaml:4:1: num_slice: unknown option of 'transolver'; did you mean 'num_slices'?\n"
        "   4 | num_slice: 64\n"
        "     | ^\n"
        "bad.yaml:5:10: dropout: expected a number from 0 to 1, got 1.5\n"
        "   5 | dropout: 1.5\n"
        "     |          ^\n"
        "missing.yaml: cannot be read: No such file or directory\n"
    )


PLACED = """\
blocks:
  - attention: {type: transolver, hidden_dim: 256, num_heads: 8}
  - attention: {type: flare, hidden_dim: 256, num_heads: 7, radius: 64}
  - mlp: 3
  - attention: {type: perceiver, hidden_dim: 256, num_heads: 8}
"""


def test_validate_finds_configs_within_a_file_and_reports_all(run, tmp_path):
    (tmp_path / "model.yaml").write_text(PLACED)
    done = run("validate", "--plain", "--at", "blocks[*].attention", "model.yaml")
    assert done.returncode == 1
    assert done.stdout == (
        "model.yaml: blocks[0].attention: good: transolver\n"
        "model.yaml: blocks[3].attention: good: perceiver\n"
    )
    assert done.stderr == (
        "model.yaml:3:58: blocks[1].attention.num_heads: 7 does not divide hidden_dim 256; "
        "4 and 8 do\n"
        "model.yaml:3:61: blocks[1].attention.radius: unknown option of 'flare'; "
        "'radius' is an option of irregular_nat\n"
        "model.yaml:4:5: blocks[2].attention: nothing stands here\n"
    )


def test_validate_says_where_each_config_stands_as_data(run, tmp_path):
    (tmp_path / "model.yaml").write_text(PLACED)
    (result,) = json.loads(
        run("validate", "--json", "--at", "blocks[*].attention", "model.yaml").stdout
    )
    assert result["configs"] == [
        {"path": "blocks[0].attention", "type": "transolver"},
        {"path": "blocks[3].attention", "type": "perceiver"},
    ]
    assert [problem["path"] for problem in result["problems"]] == [
        "blocks[1].attention.num_heads",
        "blocks[1].attention.radius",
        "blocks[2].attention",
    ]


def test_validate_refuses_what_is_no_path(run):
    done = run("validate", "--at", "blocks[x]", "model.yaml")
    assert done.returncode == 2
    assert "argument --at: 'blocks[x]' is no path from character 7 on" in done.stderr


def test_validate_takes_folders_whole_and_in_order(run, tmp_path):
    for name in ("b/one.json", "b/a/two.yml", "b/note.txt", "a.toml"):
        (tmp_path / "configs" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "configs" / "b" / "one.json").write_text(
        '{"type": "flare", "hidden_dim": 8, "num_heads": 2}'
    )
    (tmp_path / "configs" / "b" / "a" / "two.yml").write_text(GOOD)
    (tmp_path / "configs" / "b" / "note.txt").write_text("no config")
    (tmp_path / "configs" / "a.toml").write_text(
        'type = "perceiver"\nhidden_dim = 8\nnum_heads = 2\n'
    )
    done = run("validate", "configs")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "configs/a.toml: good: perceiver",
        "configs/b/one.json: good: flare",
        "configs/b/a/two.yml: good: transolver",
    ]


def test_a_pipe_or_a_device_in_a_folder_stops_nothing(run, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "good.yaml").write_text(GOOD)
    os.mkfifo(tmp_path / "configs" / "a.yaml")
    (tmp_path / "configs" / "b.json").symlink_to("/dev/zero")
    for command in ("validate", "lock"):
        done = run(command, "configs")
        assert done.returncode == 1
        assert done.stderr.splitlines()[:2] == [
            "configs/a.yaml: is no regular file and was not read",
            "configs/b.json: is no regular file and was not read",
        ]
    assert run("validate", "configs").stdout == "configs/good.yaml: good: transolver\n"


def test_a_pipe_that_is_named_is_read(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    writer = threading.Thread(target=(tmp_path / "pipe.yaml").write_text, args=[GOOD])
    writer.start()
    assert run("validate", "pipe.yaml").stdout == "pipe.yaml: good: transolver\n"
    writer.join()


def test_validate_reports_a_folder_without_configs(run, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("validate", "empty")
    assert done.returncode == 1
    assert done.stderr == "empty: is a folder without a file of .yaml, .yml, .toml, .json\n"


@pytest.mark.parametrize(
    ("format", "text"), [(None, GOOD), ("json", '{"type": "transolver", "hidden_dim": 8}')]
)
def test_validate_reads_standard_input(run, format, text):
    done = run("validate", "-", *(("--format", format) if format else ()), stdin=text)
    if format is None:
        assert (done.returncode, done.stdout) == (0, "<stdin>: good: transolver\n")
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("<stdin>:1:1: num_heads: missing")


def test_validate_plain_is_a_line_per_problem(run, tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)
    assert len(run("validate", "--plain", "bad.yaml").stderr.splitlines()) == 3


def test_validate_json_has_the_same_facts_as_data(run, tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)
    done = run("validate", "--json", "bad.yaml")
    assert done.returncode == 1
    (result,) = json.loads(done.stdout)
    assert not result["valid"]
    assert result["problems"][0] == {
        "path": "num_heads",
        "message": "7 does not divide hidden_dim 256",
        "value": 7,
        "suggestion": "4 and 8 do",
        "file": "bad.yaml",
        "line": 3,
        "column": 12,
        "source": "num_heads: 7",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bad.yaml", "type: [transolver"),
        ("bad.yaml", "a: 1\na: 2"),
        ("bad.toml", "type = "),
        ("bad.json", '{"type": }'),
        ("bad.txt", "type: transolver"),
        ("bad.yaml", ""),
        ("bad.yaml", "- 1"),
    ],
)
def test_no_document_brings_a_traceback(run, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    done = run("validate", name)
    assert done.returncode == 1
    assert done.stderr.startswith(name)
    assert "Traceback" not in done.stderr


def test_schema_prints_json_schema(run):
    one = json.loads(run("schema", "transolver").stdout)
    assert one["properties"]["num_slices"] == {
        "description": "Slices that the tokens of each head are gathered into.",
        "type": "integer",
        "minimum": 1,
        "default": 512,
    }
    everything = json.loads(run("schema").stdout)
    assert {"dot_product", "transolver"} <= set(everything["properties"]["type"]["enum"])


@pytest.mark.parametrize(
    "arguments", [("lst",), ("show",), ("validate",), ("list", "--plain", "--json")]
)
def test_wrong_usage_exits_with_two(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: noether")


def test_without_arguments_help_is_printed(run):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("--help").stdout


@pytest.mark.parametrize(
    ("name", "near"), [("lst", "list"), ("validte", "validate"), ("rn", "run")]
)
def test_an_unknown_command_suggests_the_nearest_and_lists_all(run, name, near):
    done = run(name)
    assert done.returncode == 2
    assert f"there is no command {name!r}; did you mean {near!r}? Commands: 'list'" in done.stderr


def test_python_m_noether_core_is_the_command(tmp_path):
    call = [sys.executable, "-m", "noether_core", "--version"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("noether-attention ")


def test_options_may_stand_before_behind_and_between_files(run, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD)
    for arguments in (
        ("--plain", "a.yaml", "b.yaml"),
        ("a.yaml", "--plain", "b.yaml"),
        ("a.yaml", "b.yaml", "--plain"),
    ):
        assert run("validate", *arguments).stdout.count(": good:") == 2
    (tmp_path / "-c.yaml").write_text(GOOD)
    assert "-c.yaml: good:" in run("validate", "--plain", "--", "a.yaml", "-c.yaml").stdout


def test_show_tells_what_is_required_from_what_is_none(run):
    lines = [line.split("\t") for line in run("show", "flare").stdout.splitlines()]
    defaults = {line[0]: line[2] for line in lines if len(line) == 4}
    assert defaults["hidden_dim"] == "(required)"
    assert defaults["chunk_size"] == "null"


@pytest.mark.parametrize("type", ["flare", "transolver", "dot_product", "mixed"])
def test_show_prints_help_without_marks(run, type):
    assert "`" not in run("show", type).stdout


def test_schema_of_experiments_is_what_the_command_says(run):
    schema = json.loads(run("schema", "--experiment").stdout)
    assert schema["title"] == "Experiment"
    assert schema["required"] == ["task", "attention"]
    assert schema == json.loads(run("schema", "--experiment", "run").stdout)
    jsonschema = pytest.importorskip("jsonschema")
    attention = {"type": "flare", "hidden_dim": 8, "num_heads": 2}
    whole = {"task": {"type": "darcy"}, "attention": attention}
    good, bad = {**whole, "seed": 1}, {**whole, "sed": 1}
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)
    assert run("schema", "--experiment", "list").returncode == 1
    assert run("schema", "flare", "--experiment").returncode == 2


GOOD_EXPERIMENT = """\
task: {type: darcy, grid: 8}
attention: {type: flare, hidden_dim: 8, num_heads: 2}
"""


def test_validate_checks_whole_experiments(run, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD_EXPERIMENT)
    bad.write_text(GOOD_EXPERIMENT.replace("grid", "grids").replace("num_heads: 2", "num_heads: 3"))

    done = run("validate", "--experiment", "--plain", good)
    assert done.stdout.splitlines() == [
        f"{good}: task: good: darcy",
        f"{good}: attention: good: flare",
    ]
    assert "a whole experiment: --experiment" in run("validate", good).stderr

    done = run("validate", "--experiment", "--plain", bad)
    assert done.returncode == 1
    assert [line.partition(f"{bad}:")[2] for line in done.stderr.splitlines()] == [
        "1:21: task.grids: unknown option of 'darcy'; did you mean 'grid'?",
        "2:52: attention.num_heads: 3 does not divide hidden_dim 8; 2 and 4 do",
    ]
    assert "leave out --at" in run("validate", "--experiment", "--at", "task", good).stderr


def test_lock_takes_whole_experiments(run, tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD_EXPERIMENT)
    lock = tmp_path / "noether.lock"
    done = run("lock", "--experiment", "--output", lock, tmp_path / "good.yaml")
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == ["flare", "darcy"]
    done = run("validate", "--experiment", "--locked", lock, tmp_path / "good.yaml")
    assert done.returncode == 0


@pytest.fixture
def completed(tmp_path):
    """Return what returns what a shell is offered at the end of a line."""
    pytest.importorskip("argcomplete")
    offered = tmp_path / "offered"

    def call(line):
        asked = {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
        script = f"'{NOETHER}' 8>'{offered}' 9>/dev/null"  # where argcomplete writes
        subprocess.run(["sh", "-c", script], env={**os.environ, **asked}, check=True)
        return {word.strip() for word in offered.read_text().splitlines()}

    return call


def test_a_shell_completes_commands_types_and_options(completed):
    assert {"validate"} == completed("noether val")
    assert "run" in completed("noether ")
    assert {"transolver", "transolver_plusplus"} <= completed("noether show trans")
    assert "--locked" in completed("noether validate --l")
    assert "--overwrite" in completed("noether run x.yaml --o")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_code_of_each_shell(run, shell):
    pytest.importorskip("argcomplete")
    done = run("completion", shell)
    assert done.returncode == 0
    assert "noether" in done.stdout
    assert run("completion", "cmd").returncode == 2


def test_help_names_the_commands_of_packages_without_importing_them(run, installed):
    environment = installed("acme-cost", commands={"cost": "acme_cost"}, acme_cost="raise OSError")
    done = run("--help", **environment)
    assert done.returncode == 0
    assert "cost" in done.stdout
    assert "from acme-cost 1.0" in done.stdout


COMMAND = """
from noether_core import hookimpl

@hookimpl
def noether_command(parser):
    parser.add_argument("number", type=int)
    parser.set_defaults(run=lambda options: print(options.number) or 0)
"""


def test_a_package_adds_a_command(run, installed):
    environment = installed("acme-cost", commands={"cost": "acme_cost"}, acme_cost=COMMAND)
    assert run("cost", "7", **environment).stdout == "7\n"
    assert run("cost", "seven", **environment).returncode == 2


MIXED = """
from noether_core import hookimpl

@hookimpl
def noether_command(parser):
    group = parser.add_mutually_exclusive_group()
    group.add_argument("number", type=int, nargs="?")
    group.add_argument("--all", action="store_true")
    parser.set_defaults(run=lambda options: print(options.number, options.all) or 0)
"""

NESTED = """
from noether_core import hookimpl

@hookimpl
def noether_command(parser):
    inner = parser.add_subparsers().add_parser("inner")
    inner.add_argument("names", nargs="*")
    inner.add_argument("--all", action="store_true")
    parser.set_defaults(run=lambda options: print(options.names, options.all) or 0)
"""


def test_commands_of_packages_may_have_any_arguments(run, installed):
    environment = installed(
        "acme-cost",
        commands={"mixed": "acme_mixed", "nested": "acme_nested"},
        acme_mixed=MIXED,
        acme_nested=NESTED,
    )
    assert run("mixed", "7", **environment).stdout == "7 False\n"
    assert run("mixed", "7", "--all", **environment).returncode == 2
    assert run("nested", "inner", "a", "--all", "b", **environment).stdout == "['a', 'b'] True\n"


def test_a_command_of_a_name_that_is_taken_is_used_in_full(run, installed):
    environment = installed("acme-cost", commands={"list": "acme_cost"}, acme_cost=COMMAND)
    assert "transolver" in run("list", **environment).stdout
    assert run("acme-cost:list", "7", **environment).stdout == "7\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(0)", "acme_cost cannot be imported: SystemExit: 0"),
        ("", "acme_cost implements no hook 'noether_command'; mark one with @hookimpl"),
    ],
)
def test_a_broken_command_is_reported_without_a_traceback(run, installed, code, message):
    environment = installed("acme-cost", commands={"cost": "acme_cost"}, acme_cost=code)
    done = run("cost", "7", **environment)
    assert done.returncode == 1
    assert done.stderr == f"noether: 'cost' of acme-cost 1.0: {message}\n"


def test_the_version_is_that_of_the_distribution(run):
    from importlib.metadata import version

    assert run("--version").stdout == f"noether-attention {version('noether-attention')}\n"


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("list",), ("list", "--json"), ("schema",)]
)
def test_a_pipe_that_nobody_reads_gives_no_traceback(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    try:
        done = subprocess.run(
            [NOETHER, *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=buffered,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_and_values_that_are_no_text_are_reported(run, tmp_path):
    name = os.fsdecode(b"caf\xe9.yaml")
    (tmp_path / name).write_text("type: transolver\nhidden_dim: 8\nnum_heads: .inf\n")
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / name.replace(".", "-good.")).write_text(GOOD)
    plain = run("validate", name, name.replace(".", "-good."), PYTHONIOENCODING="ascii")
    assert plain.stdout == "caf\\udce9-good.yaml: good: transolver\n"
    assert plain.stderr.startswith(
        "caf\\udce9.yaml:3:12: num_heads: expected an integer of at least 1, got inf\n"
    )
    done = run("validate", "--json", name, PYTHONIOENCODING="ascii")
    (result,) = json.loads(done.stdout, parse_constant=pytest.fail)
    assert result["file"] == name
    assert result["problems"][0]["value"] is None
    assert "Traceback" not in plain.stderr + done.stderr


def test_two_packages_with_one_command_are_both_used_in_full(run, installed):
    environment = installed("acme-cost", commands={"cost": "acme_cost"}, acme_cost=COMMAND)
    installed(
        "best-cost",
        commands={"cost": "best_cost"},
        best_cost=COMMAND.replace("options.number", "-options.number"),
    )
    assert run("acme-cost:cost", "7", **environment).stdout == "7\n"
    assert run("best-cost:cost", "7", **environment).stdout == "-7\n"
    done = run("cost", "7", **environment)
    assert done.returncode == 2
    assert "'acme-cost:cost', 'best-cost:cost'" in done.stderr


def test_a_blocked_command_is_not_there(run, installed):
    environment = installed(
        "acme-cost", commands={"cost": "acme_cost"}, acme_cost="raise SystemExit(7)"
    )
    done = run("cost", "7", **environment, NOETHER_BLOCK="Acme_Cost:cost")
    assert done.returncode == 2
    assert "cost" not in run("--help", **environment, NOETHER_BLOCK="acme-cost").stdout


def test_help_survives_any_version(run, installed, site):
    environment = installed("acme-cost", commands={"cost": "acme_cost"})
    site.write_metadata("odd-1%d.dist-info", "odd", "1%d", "[noether.command]\nodd = odd\n")
    done = run("--help", **environment)
    assert done.returncode == 0
    assert "from odd 1%d" in done.stdout


def test_a_command_may_use_the_variant_of_its_own_module(run, installed, site):
    module = site.install_variant("flow", "acme-flow")
    file = site.folder / f"{module}.py"
    use = "parser.set_defaults(run=lambda options: print(registry().get('flow').summary))"
    command = "@hookimpl\ndef noether_command(parser):\n"
    command += f"    from noether_core import registry\n    {use}\n"
    file.write_text(f"{file.read_text()}\n\n{command}")
    environment = installed("acme-command", commands={"flow": module})
    done = run("flow", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Tokens read what is near.\n"


def test_a_config_of_a_broken_plugin_is_reported_in_its_place_beside_other_files(
    run, installed, tmp_path
):
    environment = installed(
        "acme-flow", attention={"flow": "acme_flow"}, acme_flow="raise OSError('no disk')"
    )
    (tmp_path / "flow.yaml").write_text("type: flow\nhidden_dim: 8\nnum_heads: 2\n")
    (tmp_path / "good.yaml").write_text(GOOD)
    done = run("validate", "flow.yaml", "good.yaml", **environment)
    assert done.returncode == 1
    assert done.stdout == "good.yaml: good: transolver\n"
    assert "flow.yaml" in done.stderr
    assert "'flow' of acme-flow 1.0: acme_flow cannot be imported: OSError: no disk" in done.stderr
    assert "Traceback" not in done.stderr
    shown = run("show", "flow", **environment)
    assert shown.returncode == 1
    assert (
        shown.stderr
        == "noether: 'flow' of acme-flow 1.0: acme_flow cannot be imported: OSError: no disk\n"
    )


@pytest.mark.parametrize("name", ["folder.yaml", "missing.yaml", "/dev/null", "bytes.yaml"])
def test_no_file_brings_a_traceback(run, tmp_path, name):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    done = run("validate", name)
    assert done.returncode == 1
    assert done.stderr.startswith(name)
    assert "Traceback" not in done.stderr
