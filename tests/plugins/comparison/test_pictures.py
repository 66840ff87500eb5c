"""Pictures of a comparison."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from noether_plugins.comparison.curves import Curve, read_curve, read_curves
from noether_plugins.comparison.labels import Label, beside_lines, beside_points
from noether_plugins.comparison.pictures import _figure as _figure_of
from noether_plugins.comparison.pictures import _looks, draw
from tests.plugins.comparison import made

_NAMES = ("dot_product", "flare", "gale", "linear")


@pytest.fixture(scope="module")
def comparison():
    return made.comparison(_NAMES, failed=("gale",))


@pytest.fixture(scope="module")
def drawn(comparison, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return draw(comparison, made.curves(comparison), folder)


def test_each_picture_is_there_as_png_and_as_svg(drawn):
    assert [file.name for file in drawn] == [
        f"{name}.{suffix}"
        for name, suffix in itertools.product(("errors", "cost", "scaling"), ("png", "svg"))
    ]
    for file in drawn:
        if file.suffix == ".png":
            assert file.read_bytes().startswith(b"\x89PNG")
        else:
            assert ET.parse(file).getroot().tag.endswith("svg")  # noqa: S314  our own


def test_equal_comparisons_give_equal_files(comparison, drawn, tmp_path):
    again = draw(comparison, made.curves(comparison), tmp_path)
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in drawn]


def test_a_comparison_in_which_nothing_was_measured_is_drawn(tmp_path):
    found = made.comparison(("linear",), failed=("linear",))
    assert len(draw(found, {}, tmp_path)) == 6


def test_long_names_stand_in_a_key_and_their_numbers_in_the_picture():
    names = [f"transolver num_slices={number} mlp_ratio=2.0" for number in range(3)]
    looks = _looks(names)
    assert [look.name for look in looks.values()] == ["1", "2", "3"]
    figure, _ = _figure_of(2, "title", looks)
    assert [text.get_text() for text in figure.texts[1:]] == [
        f"{number + 1}  {name}" for number, name in enumerate(names)
    ]

    many = _looks([f"row_{number}" for number in range(100)])
    assert len({look[1:] for look in many.values()}) == 100


def test_validation_is_drawn_where_all_runs_have_it(tmp_path):
    found = made.comparison(("linear",))
    curve = Curve(
        seconds=(1.0, 2.0),
        losses=(1.0, 0.5),
        validation_seconds=(2.0,),
        validation_losses=(0.6,),
    )
    assert len(draw(found, {"linear": [curve]}, tmp_path)) == 6


def _figure():
    figure = Figure(figsize=(6, 4), dpi=100)
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _boxes(figure, axes):
    renderer = figure.canvas.get_renderer()
    texts = [text for text in axes.texts if text.get_text()]
    # Of the text alone: that of an annotation takes in the line that leads to it.
    return [Text.get_window_extent(text, renderer) for text in texts]


@pytest.mark.parametrize("write", [beside_points, beside_lines])
def test_names_do_not_lie_over_each_other(write):
    figure, axes = _figure()
    labels = [
        Label(f"name_{number}", 1 + number % 2, 1 + 0.004 * number, "k") for number in range(12)
    ]
    axes.plot([label.x for label in labels], [label.y for label in labels], "o")
    axes.set_ylim(0.9, 1.3)
    write(axes, labels, size=7)
    figure.canvas.draw()
    extents = _boxes(figure, axes)
    assert len(extents) == 12
    for first, second in itertools.combinations(extents, 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(width, height) <= 1


def test_logs_of_runs_become_curves(comparison, tmp_path):
    run = tmp_path / comparison.rows[0].runs[1]
    run.mkdir(parents=True)
    (run / "log.csv").write_text(
        "step,loss,learning_rate,seconds,validation_loss\n"
        "1,4.0,0.1,0.5,\n"
        "2,3.0,0.1,1.0,3.5\n"
        "3,2.0,0.1,1.",
        encoding="utf-8",
    )
    curves = read_curves(comparison, tmp_path)
    (curve,) = curves[comparison.rows[0].name]
    assert curve.seconds[:2] == (0.5, 1.0)
    assert curve.losses[:2] == (4.0, 3.0)
    assert curve.validation_seconds == (1.0,)
    assert curve.validation_losses == (3.5,)
    assert curves[comparison.rows[1].name] == []
    assert read_curve(tmp_path / "none.csv") is None
