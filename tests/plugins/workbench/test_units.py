"""The units of the model, measured on the samples to learn from."""

import numpy as np
import pytest

from noether_plugins.workbench import units as module
from noether_plugins.workbench.units import Measurement, Units
from tests.plugins.workbench.tiny_task import TinyTask, TinyTaskConfig


@pytest.fixture
def task():
    return TinyTask(TinyTaskConfig(n_train=5), seed=0)


def _measured(task):
    measurement = Measurement(task.layout)
    for sample in task.train:
        measurement.add(sample)
    return measurement.units()


def test_units_are_mean_and_spread_over_all_points_of_all_samples(task, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    units = _measured(task)
    for path, values in {
        "wall.fields.pressure": [each.groups["wall"].fields["pressure"] for each in task.train],
        "fluid.fields.velocity": [each.groups["fluid"].fields["velocity"] for each in task.train],
        "wall.inputs.rough": [each.groups["wall"].inputs["rough"] for each in task.train],
        "inputs.gain": [each.inputs["gain"][None] for each in task.train],
    }.items():
        rows = np.concatenate(values)
        np.testing.assert_allclose(units.scales[path].mean, rows.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(units.scales[path].spread, rows.std(axis=0, ddof=1), rtol=1e-9)


def test_a_small_change_of_a_large_number_keeps_its_digits(task):
    units = _measured(task)
    fields = [units.encode_fields("wall", each.groups["wall"]) for each in task.train]
    encoded = np.concatenate([each["pressure"] for each in fields])
    true = np.concatenate([each.groups["wall"].fields["pressure"] for each in task.train])
    assert encoded.dtype == np.float32
    decoded = units.decode_fields({"wall": {"pressure": encoded}})["wall"]["pressure"]
    assert np.abs(decoded - true).max() < 1e-6  # single precision of 101,325 ends at 0.008


def test_what_is_constant_is_divided_by_one(task):
    scale = _measured(task).scales["fluid.fields.heat"]
    assert scale.spread == [1.0]
    assert scale.mean == pytest.approx([0.1])


def test_positions_lie_in_a_box_whose_longest_side_is_two(task):
    units = _measured(task)
    everything = np.concatenate(
        [points.positions for sample in task.train for points in sample.groups.values()]
    )
    encoded = units.scales["positions"].encode(everything)
    np.testing.assert_allclose(encoded.max(axis=0), -encoded.min(axis=0))
    assert np.abs(encoded).max() == pytest.approx(1)


def test_positions_are_divided_by_the_length_of_a_layout_that_has_one(task):
    import attrs

    measurement = Measurement(attrs.evolve(task.layout, length=4.0))
    scale = measurement.units().scales["positions"]
    np.testing.assert_array_equal(scale.encode(np.array([[8.0, 2.0]])), [[2.0, 0.5]])


def test_features_are_position_inputs_and_the_inputs_of_the_sample(task):
    units, sample = _measured(task), task.train[1]
    points = sample.groups["wall"]
    features = units.encode_features("wall", points, sample)
    assert features.shape == (len(points), 2 + 1 + 2 + 1)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, 3:5], points.inputs["normal"], rtol=1e-6)
    gain = units.scales["inputs.gain"].encode(sample.inputs["gain"])
    np.testing.assert_allclose(features[:, 5], np.repeat(gain, len(points)), rtol=1e-6)


def test_values_in_single_precision_are_computed_in_it():
    scale = module.Scale(np.array([0.1]), np.array([0.3]))
    values = np.array([[0.7]], dtype=np.float32)
    expected = (values - np.float32(0.1)) / np.float32(0.3)
    assert scale.encode(values).dtype == np.float32
    np.testing.assert_array_equal(scale.encode(values), expected)


def test_units_are_the_same_again_from_their_arrays(task):
    units = _measured(task)
    again = Units.from_arrays(task.layout, units.arrays())
    for name, array in units.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)


@pytest.mark.parametrize("wrong", [[0.0, 1.0], [np.nan, 1.0], [1.0]])
def test_arrays_that_are_no_units_are_refused(task, wrong):
    arrays = {**_measured(task).arrays(), "fluid.fields.velocity.spread": np.array(wrong)}
    with pytest.raises(ValueError, match=r"fluid\.fields\.velocity is none of 2 numbers"):
        Units.from_arrays(task.layout, arrays)
