"""What a task gives, and what is said of a sample that its layout does not fit."""

import numpy as np
import pytest

from noether_core import structure, unstructure
from noether_core.tasks import (
    GroupLayout,
    Layout,
    Points,
    Quantity,
    Sample,
    TaskError,
    check_sample,
)

LAYOUT = Layout(
    coordinates=3,
    inputs={"angle": Quantity(unit="deg")},
    groups={
        "surface": GroupLayout(
            inputs={"normal": Quantity(width=3, is_normalised=False)},
            fields={"pressure": Quantity(unit="Pa")},
        ),
        "volume": GroupLayout(
            fields={"pressure": Quantity(unit="Pa"), "velocity": Quantity(width=3)}
        ),
    },
)


def sample_of(n_surface=4, n_volume=6, *, velocity=3, fields=True, angle=(1,)):
    surface = {"pressure": np.zeros((n_surface, 1))} if fields else {}
    volume = (
        {"pressure": np.zeros((n_volume, 1)), "velocity": np.zeros((n_volume, velocity))}
        if fields
        else {}
    )
    return Sample(
        name="case_7",
        inputs={"angle": np.zeros(angle)},
        groups={
            "surface": Points(
                positions=np.zeros((n_surface, 3)),
                inputs={"normal": np.zeros((n_surface, 3))},
                fields=surface,
            ),
            "volume": Points(positions=np.zeros((n_volume, 3)), fields=volume),
        },
    )


def test_fields_are_named_with_their_group():
    assert LAYOUT.field_names == ("surface.pressure", "volume.pressure", "volume.velocity")


def test_a_layout_is_plain_data_and_back():
    assert structure(unstructure(LAYOUT), Layout) == LAYOUT


@pytest.mark.parametrize("sizes", [(4, 6), (0, 1)])
def test_samples_of_any_size_fit(sizes):
    check_sample(sample_of(*sizes), LAYOUT)


def test_fields_may_be_missing_where_they_are_to_be_predicted():
    check_sample(sample_of(fields=False), LAYOUT, with_fields=False)
    with pytest.raises(TaskError, match=r"surface\.fields: has none, expected pressure"):
        check_sample(sample_of(fields=False), LAYOUT)


def test_everything_wrong_is_said_at_once():
    wrong = sample_of(velocity=2, angle=(2,))
    wrong.groups["surface"].positions[1, 2] = np.nan
    with pytest.raises(TaskError) as caught:
        check_sample(wrong, LAYOUT)
    assert str(caught.value) == (
        "sample 'case_7': surface.positions: 1 of 12 values are not finite; "
        "volume.fields.velocity: shape (6, 2), expected (6, 3); "
        "inputs.angle: shape (2,), expected (1,)"
    )


def test_groups_that_are_missing_are_named():
    short = Sample(name="x", groups={}, inputs={"angle": np.zeros(1)})
    with pytest.raises(TaskError, match="has the groups none, not surface, volume"):
        check_sample(short, LAYOUT)
