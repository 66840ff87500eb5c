"""Influence in files and as text: whole, repeatable, groups marked, and no wider than asked."""

import re

import pytest

from noether_core import registry
from noether_core.influence import Style, draw, draw_together, influence, text
from noether_core.influence.terminal import tokens_that_fit
from tests.sampling import ONE_OF_EACH_FORM, sampled

pytest.importorskip("matplotlib", reason="the extra run is not installed")

NAMES = [
    entry.name for entry in registry().providers() if entry.distribution == "noether-attention"
]
ESCAPES = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(scope="module")
def found():
    return influence("cross_anchor", tokens=12)


@pytest.mark.parametrize("name", sampled(NAMES, *ONE_OF_EACH_FORM))
def test_every_built_in_variant_is_drawn_with_its_groups(name, tmp_path):
    found = influence(name, tokens=12)

    draw(found, tmp_path / "picture.svg")

    drawn = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert f"{name}: which tokens attend to which" in drawn
    assert found.provider in drawn
    marked = [
        group for groups in (found.keys, found.queries) if len(groups) > 1 for group in groups
    ]
    assert all(drawn.count(f">{group}</text>") >= marked.count(group) for group in marked)
    assert ("exactly zero" in drawn) == bool(found.is_zero.any())

    lines = text(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(name)


def test_the_same_matrix_makes_the_same_picture_whatever_a_user_prefers(found, tmp_path):
    from matplotlib import rc_context

    draw(found, tmp_path / "one.svg")
    with rc_context({"figure.facecolor": "black", "font.size": 20}):
        draw(found, tmp_path / "other.svg")

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_a_png_is_one_and_replaces_an_older_file_only_when_it_is_whole(
    found, tmp_path, monkeypatch
):
    file = tmp_path / "picture.png"
    file.write_bytes(b"older")
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk is full")))
        with pytest.raises(OSError, match="disk is full"):
            draw(found, file)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("picture.png", b"older")
    ]

    draw(found, file)

    assert file.read_bytes().startswith(b"\x89PNG")


def test_several_are_drawn_on_one_scale(found, tmp_path):
    draw_together([found, influence("linear", tokens=5)], tmp_path / "both.svg", "Two of them")

    drawn = (tmp_path / "both.svg").read_text(encoding="utf-8")
    assert all(word in drawn for word in ("Two of them", "cross_anchor", "linear", "50 %"))
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_together([], tmp_path / "none.svg", "None")


def test_names_of_groups_are_shown_as_they_are(tmp_path):
    found = influence("self_anchor", tokens=12, options={"branches": ["$a_{1}$", "<b>&\u202e"]})

    draw(found, tmp_path / "picture.svg")

    drawn = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert ">$a_{1}$_queries</text>" in drawn
    assert "&lt;b&gt;&amp;\\u202e_queries</text>" in drawn
    assert "\u202e" not in drawn + text(found)


def test_another_suffix_is_refused(found, tmp_path):
    with pytest.raises(ValueError, match=r"picture\.gif: .* use \.svg or \.png"):
        draw(found, tmp_path / "picture.gif")


@pytest.mark.parametrize("width", [40, 80, 132])
@pytest.mark.parametrize("has_colour", [False, True])
@pytest.mark.parametrize("name", ["joint_anchor", "gale"])
def test_text_is_no_wider_than_the_terminal(name, has_colour, width):
    style = Style(width, has_colour=has_colour)
    found = influence(name, tokens=tokens_that_fit(style))

    lines = ESCAPES.sub("", text(found, style)).splitlines()

    assert max(map(len, lines)) <= width
    assert any(line.startswith("across: 1 ") for line in lines)
    assert all(any(line.startswith(group[:3]) for line in lines) for group in found.queries)


def test_text_without_blocks_is_ascii_and_zeros_are_blank(found):
    drawn = text(found, Style(80, has_blocks=False))

    assert drawn.isascii()
    (first,) = [line for line in drawn.splitlines() if line.startswith("surface_queries")]
    _, *walled = first.split("|")
    assert [cells.strip() != "" for cells in walled] == [True, False, False, True, False]


def test_text_has_escape_codes_in_colour_alone(found):
    plain, coloured = text(found), text(found, Style(80, has_colour=True))

    assert "\x1b" not in plain
    assert "\x1b[38;2;" in coloured
    assert len(coloured.splitlines()) < len(plain.splitlines())  # two rows share a line
