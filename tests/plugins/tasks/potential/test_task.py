import time

import numpy as np
import pytest

from noether_core import ConfigError
from noether_core.tasks import check_sample
from noether_plugins.tasks.potential.bodies import (
    CLEARANCE,
    NEAR,
    REACH,
    draw_around,
    draw_flow,
    draw_on_surface,
)
from noether_plugins.tasks.potential.config import PotentialTaskConfig
from noether_plugins.tasks.potential.ellipsoid import EllipsoidFlow
from noether_plugins.tasks.potential.task import PotentialTask
from tests.plugins.tasks.potential.test_ellipsoid import BODIES, STREAM, sphere_rule


def task_of(seed=3, **options):
    small = {"n_train": 7, "n_test": 3, "n_surface": 13, "n_volume": 17, **options}
    return PotentialTask(PotentialTaskConfig(**small), seed=seed)


def test_samples_are_what_the_layout_says():
    task = task_of()

    assert (len(task.train), len(task.test)) == (7, 3)
    for sample in (*task.train, *task.test):
        check_sample(sample, task.layout)
        assert [len(points) for points in sample.groups.values()] == [13, 17]
        assert np.linalg.norm(sample.inputs["stream"]) == pytest.approx(1)
        for points in sample.groups.values():
            assert {each.dtype for each in (points.positions, *points.fields.values())} == {
                np.dtype(np.float32)
            }
            assert np.abs(points.positions).max() <= task.layout.length


def test_a_sample_holds_the_flow_past_its_own_body():
    task = task_of(n_surface=401, n_volume=211)
    sample = task.test[1]
    flow, _ = task._flow(3 + 1_000_003, 1)
    surface, volume = (sample.groups[name] for name in ("surface", "volume"))

    on_body, around = (points.positions.astype(float) for points in (surface, volume))
    np.testing.assert_allclose(((on_body / flow.semi_axes) ** 2).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(sample.inputs["stream"], flow.stream.astype(np.float32))
    np.testing.assert_allclose(surface.inputs["normal"], flow.normals(on_body), atol=1e-5)
    np.testing.assert_allclose(
        surface.fields["pressure"][:, 0], flow.surface_pressure(on_body), atol=1e-5
    )
    np.testing.assert_allclose(
        surface.fields["velocity"], flow.surface_velocity(on_body), atol=1e-5
    )
    np.testing.assert_allclose(volume.fields["velocity"], flow.velocity(around), atol=1e-5)


def test_bodies_and_streams_fill_the_ranges_they_are_drawn_from():
    config = PotentialTaskConfig(axis_ratio=4.0, yaw=40.0, pitch=10.0)
    flows = [draw_flow(np.random.default_rng(seed), config) for seed in range(300)]

    axes = np.stack([flow.semi_axes for flow in flows])
    assert np.all(axes.max(axis=1) == 1)
    assert 0.25 <= axes.min() < 0.3
    streams = np.stack([flow.stream for flow in flows])
    yaw = np.rad2deg(np.arctan2(streams[:, 1], streams[:, 0]))
    pitch = np.rad2deg(np.arcsin(streams[:, 2]))
    assert 38 < yaw.max() <= 40
    assert -40 <= yaw.min() < -38
    assert 9.5 < pitch.max() <= 10
    np.testing.assert_allclose(np.linalg.norm(streams, axis=1), 1)
    spheres = draw_flow(np.random.default_rng(0), PotentialTaskConfig(axis_ratio=1))
    np.testing.assert_array_equal(spheres.semi_axes, 1)


@pytest.mark.parametrize("semi_axes", BODIES.values(), ids=BODIES)
def test_points_are_even_over_the_area_of_the_surface(semi_axes):
    semi_axes = np.array(semi_axes)
    points = draw_on_surface(np.random.default_rng(0), semi_axes, 20_000)

    np.testing.assert_allclose(((points / semi_axes) ** 2).sum(axis=1), 1, atol=1e-12)
    directions, weights = sphere_rule()
    areas = weights * np.linalg.norm(directions / semi_axes, axis=1)
    for axis in range(3):
        # the mean of a coordinate's square; where points are even by solid angle, a third
        even = areas @ directions[:, axis] ** 2 / areas.sum()
        found = np.mean((points[:, axis] / semi_axes[axis]) ** 2)
        assert found == pytest.approx(even, abs=0.01)


def test_points_around_a_body_are_as_far_from_it_as_they_say_and_denser_near_it():
    flow = EllipsoidFlow(np.array(BODIES["three axes"]), STREAM)
    points, away = draw_around(np.random.default_rng(0), flow, 499)
    surface = draw_on_surface(np.random.default_rng(1), flow.semi_axes, 20_000)

    nearest = np.array([np.linalg.norm(surface - point, axis=1).min() for point in points])
    assert np.all(nearest >= away - 1e-12)
    np.testing.assert_allclose(nearest, away, atol=0.02)  # as far apart as points of it lie
    assert CLEARANCE <= away.min() < 1.2 * CLEARANCE
    assert 0.97 * REACH < away.max() <= REACH
    assert np.mean(away < NEAR / 5) > 0.25  # some 5 % of an even spread over distance


def test_a_body_depends_on_seed_and_number_and_not_on_how_many_or_how_finely_seen():
    def body(task, number, part="train"):
        return getattr(task, part)[number].inputs["stream"].tobytes()

    assert body(task_of(), 4) == body(task_of(n_train=9, n_surface=19), 4)
    bodies = [body(task_of(), number) for number in range(7)]
    bodies += [body(task_of(), number, "test") for number in range(3)]
    assert len({*bodies, body(task_of(seed=4), 0)}) == 11


def test_a_step_sees_points_of_its_own_of_the_same_body_in_proportion():
    task = task_of(n_surface=1000, n_volume=3000, points_per_sample=40)
    first, second = (task.draw(2, np.random.default_rng(seed)) for seed in (0, 1))
    again = task.draw(2, np.random.default_rng(0))

    for sample in (first, second):
        check_sample(sample, task.layout)
        assert [len(points) for points in sample.groups.values()] == [10, 30]
        np.testing.assert_array_equal(sample.inputs["stream"], task.train[2].inputs["stream"])
    for name in ("surface", "volume"):
        one, other, same = (each.groups[name].positions for each in (first, second, again))
        assert not np.array_equal(one, other)
        assert np.array_equal(one, same)


def test_a_step_sees_the_sample_itself_where_nothing_is_said():
    task = task_of()
    assert task.draw(2, np.random.default_rng(0)) is task.train[2]


def test_a_step_that_would_see_more_than_there_is_is_refused():
    with pytest.raises(ConfigError, match=r"points_per_sample: 31 is more than .*, 30"):
        PotentialTaskConfig(n_surface=13, n_volume=17, points_per_sample=31)


def test_samples_too_large_to_be_kept_are_made_anew_alike():
    task = task_of(n_train=100_000, n_volume=1000)

    one, other = task.train[99_999], task.train[-1]

    assert one is not other
    assert np.array_equal(one.groups["volume"].positions, other.groups["volume"].positions)


def test_a_hundred_thousand_points_take_a_fraction_of_a_second():
    task = task_of(n_surface=50_000, n_volume=50_000)

    start = time.process_time()
    sample = task.train[0]

    assert time.process_time() - start < 1  # a tenth of that when nothing else runs
    check_sample(sample, task.layout)
