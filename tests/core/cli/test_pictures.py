"""``noether show --picture``, within this process, which has torch already."""

import importlib.util

import pytest

from noether_core import build
from noether_core.cli import main
from noether_core.saving.writing import save

SMALL = "type: self_anchor\nhidden_dim: 4\nnum_heads: 2\nbranches: [wing]\n"


@pytest.fixture
def show(capsys, monkeypatch, tmp_path):
    """Return what runs ``noether show`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main(["show", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def test_a_picture_of_a_type_goes_into_a_file(show, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra run is not installed")
    status, out, _ = show("self_anchor", "--picture", "wing.svg", "hidden_dim=4", "branches=[wing]")

    assert (status, out.partition(" of ")[0]) == (0, "wing.svg: self_anchor")
    drawn = (tmp_path / "wing.svg").read_text(encoding="utf-8")
    assert "hidden_dim=4, num_heads=2, init_weights=xavier, branches=[wing]" in drawn
    assert "wing_queries" in drawn

    status, _, err = show("self_anchor", "--picture", "wing.svg")
    assert status == 1
    assert "wing.svg: is there already; name another file, or say --overwrite" in err
    assert (tmp_path / "wing.svg").read_text(encoding="utf-8") == drawn

    assert show("linear", "--picture", "wing.svg", "--overwrite", "hidden_dim=4")[0] == 0
    assert "wing" not in (tmp_path / "wing.svg").read_text(encoding="utf-8")


def test_without_a_file_it_is_printed_without_escape_codes(show):
    status, out, _ = show("self_anchor", "hidden_dim=4", "--seed", "3", "--picture")

    assert status == 0
    assert "initial weights, seed 3" in out
    assert "1 surface_queries; 2 surface_anchors" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_a_terminal_that_knows_colours_gets_them(show, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = show("self_anchor", "hidden_dim=4", "--picture")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = show("self_anchor", "hidden_dim=4", "--picture")[1]

    assert "\x1b[38;2;" in coloured
    assert "▀" in coloured
    assert "\x1b" not in plain
    assert "▒" in plain


def test_config_files_experiments_and_saved_modules_have_pictures_too(show, tmp_path):
    (tmp_path / "wing.yaml").write_text(SMALL)
    (tmp_path / "experiment.yaml").write_text(
        f"attention: {{{', '.join(SMALL.splitlines())}}}\ntask: {{type: airfoil}}\n"
    )
    save(build("self_anchor", hidden_dim=4, num_heads=2, branches=["wing"]), "wing.safetensors")

    for name, weights in (
        ("wing.yaml", "initial weights"),
        ("experiment.yaml", "initial weights"),
        ("wing.safetensors", "weights of its own"),
    ):
        status, out, err = show(name, "--picture")
        assert (status, err) == (0, "")
        assert "wing_anchors" in out
        assert weights in out
    assert "num_heads=1" in show("wing.yaml", "num_heads=1", "--picture")[1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["airfoil", "--picture"], 2, "airfoil: is a task; there are pictures of types of"),
        (["runs/flow", "--picture"], 2, "runs/flow: there are pictures of types of attention"),
        (["linear", "--picture", "--json"], 2, "--json: --picture draws, and prints no data"),
        (["linear", "--picture", "--at", "a"], 2, "--at: linear is no config file"),
        (["a.safetensors", "b=1", "--picture"], 2, "leave out 'b=1'"),
        (["linear", "hidden_dim=4"], 2, "OPTION=VALUE: only with --picture"),
        (["linear", "--seed", "1", "--overwrite"], 2, "--seed, --overwrite: only with --picture"),
        (["linear", "--picture", "a.gif"], 2, "a.gif: the suffix names no format of pictures"),
        (["--picture", "linear"], 2, "write TYPE before --picture"),
        (["linear", "--picture", "--seed", "-1"], 2, "expected an integer from 0 to"),
        (["linear", "--picture", "none/a.svg"], 1, "none/a.svg: there is no folder"),
        (["linear", "chunk=1", "--picture"], 1, "command line: chunk: unknown option of 'linear'"),
        (["linaer", "--picture"], 1, "did you mean 'linear'?"),
        (["none.yaml", "--picture"], 1, "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(show, arguments, status, message):
    found, _, err = show(*arguments)

    assert found == status
    assert message in " ".join(err.split())


@pytest.mark.parametrize(
    ("package", "file", "extra"), [("matplotlib", ["a.svg"], "run"), ("torch", [], "torch")]
)
def test_a_missing_extra_is_named(show, monkeypatch, package, file, extra):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else real(name, *a)
    )
    status, _, err = show("linear", "--picture", *file)

    assert status == 1
    assert (
        f"needs {package}, which is not installed; pip install 'noether-attention[{extra}]'" in err
    )
