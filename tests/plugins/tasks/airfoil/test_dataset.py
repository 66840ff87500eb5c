import numpy as np
import pytest

from noether_plugins.tasks.airfoil import BOX, NacaSection, evaluate_field, generate, sample
from noether_plugins.tasks.airfoil.contours import distances, is_inside
from noether_plugins.tasks.airfoil.dataset import CLEARANCE, draw_surface_tokens
from noether_plugins.tasks.airfoil.geometry import (
    DEFAULT_PANELS,
    naca_contour,
    turn_into_stream,
    turn_to_chord,
)
from noether_plugins.tasks.airfoil.panels import solve

SHAPES = {
    "angles_of_attack": (3,),
    "surface_positions": (3, 13, 2),
    "surface_normals": (3, 13, 2),
    "surface_pressures": (3, 13),
    "volume_positions": (3, 17, 2),
    "volume_distances": (3, 17),
    "volume_velocities": (3, 17, 2),
}


@pytest.fixture(scope="module")
def samples():
    return [sample(np.random.default_rng(seed), n_surface=61, n_volume=127) for seed in range(12)]


def contour_of(drawn, n_panels=DEFAULT_PANELS):
    return turn_into_stream(naca_contour(drawn.section, n_panels), drawn.angle_of_attack)


def test_a_batch_stacks_samples_in_single_precision():
    batch = generate(5, 3, 13, 17)

    assert {name: getattr(batch, name).shape for name in SHAPES} == SHAPES
    assert {getattr(batch, name).dtype for name in SHAPES} == {np.dtype(np.float32)}
    assert len(batch.sections) == 3


def test_a_batch_holds_what_sample_draws_from_its_own_random_streams():
    batch = generate(5, 2, 13, 17)
    for index, stream in enumerate(np.random.SeedSequence(5).spawn(2)):
        alone = sample(np.random.default_rng(stream), n_surface=13, n_volume=17)
        assert batch.sections[index] == alone.section
        assert batch.angles_of_attack[index] == np.float32(alone.angle_of_attack)
        for name in SHAPES.keys() - {"angles_of_attack"}:
            assert np.array_equal(
                getattr(batch, name)[index], getattr(alone, name).astype(np.float32)
            ), name


def test_the_same_seed_gives_the_same_samples_however_many_are_asked_for():
    few, many = generate(5, 2, 13, 17), generate(5, 4, 13, 17)

    assert few.sections == many.sections[:2]
    for name in SHAPES:
        assert np.array_equal(getattr(few, name), getattr(many, name)[:2]), name


def test_other_seeds_and_other_samples_are_other_sections():
    sections = [*generate(5, 3, 13, 17).sections, *generate(6, 3, 13, 17).sections]

    assert len(set(sections)) == 6


def test_sections_and_angles_fill_the_ranges_they_are_drawn_from():
    batch = generate(0, 200, 4, 1, n_panels=20)
    drawn = {
        (0.0, 0.06): [section.camber for section in batch.sections],
        (0.3, 0.6): [section.camber_position for section in batch.sections],
        (0.08, 0.20): [section.thickness for section in batch.sections],
        (-6.0, 10.0): batch.angles_of_attack,
    }
    for (low, high), values in drawn.items():
        margin = 0.05 * (high - low)  # 200 uniform draws miss this much of an end once in 28,000
        assert low <= min(values) < low + margin
        assert high - margin < max(values) <= high


def test_surface_tokens_lie_on_the_section_turned_by_its_angle_of_attack(samples):
    for drawn in samples:
        in_chord_frame = turn_to_chord(drawn.surface_positions, drawn.angle_of_attack)
        np.testing.assert_allclose(
            distances(naca_contour(drawn.section), in_chord_frame), 0, atol=1e-12
        )


def test_surface_tokens_run_over_the_upper_side_to_the_nose_and_back_below(samples):
    for drawn in samples:
        x = turn_to_chord(drawn.surface_positions, drawn.angle_of_attack)[:, 0]
        nose = int(x.argmin())
        assert 28 <= nose <= 32
        assert np.all(np.diff(x[1:nose]) < 0)
        assert np.all(np.diff(x[nose + 1 : -1]) > 0)


def test_surface_normals_have_unit_length_and_point_out_of_the_body(samples):
    for drawn in samples:
        np.testing.assert_allclose(np.hypot(*drawn.surface_normals.T), 1, atol=1e-12)
        step = 1e-5 * drawn.surface_normals
        assert not is_inside(contour_of(drawn), drawn.surface_positions + step).any()
        assert is_inside(contour_of(drawn), drawn.surface_positions - step).all()


def test_surface_pressures_never_exceed_that_of_stagnation(samples):
    pressures = np.stack([drawn.surface_pressures for drawn in samples])

    assert pressures.max() <= 1
    assert pressures.min() < -1


def test_surface_pressures_agree_with_four_times_as_many_panels(samples):
    for drawn in samples:
        # Nodes are spaced evenly in an angle, so the same draws give the same places at either
        # resolution.
        coarse, fine = (
            draw_surface_tokens(np.random.default_rng(1), solve(contour_of(drawn, n_panels)), 61)[2]
            for n_panels in (DEFAULT_PANELS, 4 * DEFAULT_PANELS)
        )
        assert np.linalg.norm(coarse - fine) < 0.015 * np.linalg.norm(fine)


def test_volume_tokens_lie_in_the_box_clear_of_the_body_at_the_distance_they_say(samples):
    for drawn in samples:
        for axis, (low, high) in enumerate(BOX):
            assert np.all(
                (drawn.volume_positions[:, axis] >= low) & (drawn.volume_positions[:, axis] <= high)
            )
        assert not is_inside(contour_of(drawn), drawn.volume_positions).any()
        assert drawn.volume_distances.min() >= CLEARANCE
        np.testing.assert_allclose(
            drawn.volume_distances, distances(contour_of(drawn), drawn.volume_positions)
        )


def test_volume_tokens_are_denser_near_the_surface_and_still_reach_the_corners():
    away = generate(0, 8, 4, 500).volume_distances

    # An even spread puts some 5 % of them within a tenth of a chord and 63 % farther than half a
    # chord.
    assert np.mean(away < 0.1) > 0.25
    assert np.mean(away > 0.5) > 0.2


def test_volume_velocities_agree_with_four_times_as_many_panels(samples):
    for drawn in samples:
        fine = solve(contour_of(drawn, 4 * DEFAULT_PANELS)).velocity(drawn.volume_positions)
        np.testing.assert_allclose(
            drawn.volume_velocities, fine, atol=5e-3
        )  # of a speed that is of order 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed: -1 is too small; give at least 0"),
        ({"count": 0}, "count: 0 is too small; give at least 1"),
        ({"n_surface": 3}, "n_surface: 3 is too small; give at least 4"),
        ({"n_volume": 0}, "n_volume: 0 is too small; give at least 1"),
        ({"n_panels": 7}, "n_panels: 7 is too few"),
    ],
)
def test_numbers_too_small_are_refused_with_the_least_that_works(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        generate(**{"seed": 0, "count": 1, "n_surface": 13, "n_volume": 17, **arguments})


def test_a_field_covers_the_box_and_shows_the_flow_outside_the_body():
    section = NacaSection(camber=0.04, camber_position=0.4, thickness=0.15)
    field = evaluate_field(section, 6.0, rows=19, columns=23)
    outside = ~field.is_inside

    assert field.positions.shape == field.velocities.shape == (19, 23, 2)
    assert field.is_inside.shape == field.distances.shape == (19, 23)
    assert field.positions[0, 0].tolist() == [-0.75, -1.0]
    assert field.positions[-1, -1].tolist() == [1.75, 1.0]
    assert np.array_equal(
        field.is_inside, is_inside(field.flow.nodes, field.positions.reshape(-1, 2)).reshape(19, 23)
    )
    assert 0 < field.is_inside.sum() < 20
    np.testing.assert_allclose(
        field.velocities[outside], field.flow.velocity(field.positions[outside]), atol=1e-12
    )
    assert not field.velocities[field.is_inside].any()
    np.testing.assert_array_equal(field.flow.nodes, turn_into_stream(naca_contour(section), 6.0))


def test_a_field_with_the_trailing_edge_on_a_grid_point_counts_it_as_inside():
    field = evaluate_field(
        NacaSection(camber=0, camber_position=0.4, thickness=0.12), 0.0, rows=5, columns=11
    )

    assert field.positions[2, 7].tolist() == [1.0, 0.0]
    assert field.is_inside[2, 7]
    assert np.isfinite(field.velocities).all()


@pytest.mark.parametrize("name", ["rows", "columns"])
def test_a_field_of_less_than_two_lines_is_refused(name):
    section = NacaSection(camber=0, camber_position=0.4, thickness=0.12)
    with pytest.raises(ValueError, match=f"^{name}: 1 is too small; give at least 2"):
        evaluate_field(section, 0.0, **{name: 1})
