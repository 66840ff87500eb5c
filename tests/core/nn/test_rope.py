"""Rotary embeddings against rotations written out pair by pair."""

import copy
import math
import pickle

import pytest
import torch

from noether_core.nn import RopeFrequency, rotate

BATCH, HEADS, TOKENS = 2, 3, 7
SHAPES = [(13, 3), (11, 2), (8, 3), (5, 1), (2, 1), (17, 5)]
FORMS = ["complex", "real"]


def pairs(form, width, axis, i):
    """Return the two features of a head that angle *i* of *axis*, of that *width*, turns."""
    if form == "complex":
        first = axis * width + 2 * i
        return first, first + 1
    first = axis * width + i
    return first, first + width // 2


def rotated_pair_by_pair(x, coordinates, form):
    head_dim, input_dim = x.shape[-1], coordinates.shape[-1]
    per = (head_dim - head_dim % input_dim) // input_dim
    width = per - per % 2
    columns = list(x.unbind(-1))
    for axis in range(input_dim):
        for i in range(width // 2):
            angle = coordinates[:, None, :, axis] * 10000 ** (-2 * i / width)
            first, second = pairs(form, width, axis, i)
            a, b = x[..., first], x[..., second]
            columns[first] = a * angle.cos() - b * angle.sin()
            columns[second] = b * angle.cos() + a * angle.sin()
    return torch.stack(columns, dim=-1)


def heads_and_points(head_dim, input_dim, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, HEADS, TOKENS, head_dim, generator=generator, dtype=torch.float64).to(
        dtype
    )
    return x, torch.randn(BATCH, TOKENS, input_dim, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("head_dim", "input_dim"), SHAPES)
def test_both_forms_rotate_as_their_formula(head_dim, input_dim, form):
    x, points = heads_and_points(head_dim, input_dim)

    turned = rotate(x, RopeFrequency(head_dim, input_dim, implementation=form)(points))

    torch.testing.assert_close(turned, rotated_pair_by_pair(x, points, form), rtol=0, atol=2e-6)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_rotate_back(form):
    x, points = heads_and_points(13, 3)
    freqs = RopeFrequency(13, 3, implementation=form)(points)
    cotangent = torch.randn_like(x)

    (gradient,) = torch.autograd.grad(rotate(x.requires_grad_(), freqs), x, cotangent)

    back = RopeFrequency(13, 3, implementation=form)(-points)
    torch.testing.assert_close(gradient, rotate(cotangent, back), rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_logits_depend_on_differences_of_points_only(form):
    x, points = heads_and_points(13, 3)
    rope = RopeFrequency(13, 3, implementation=form)

    def logits(points):
        return rotate(x, rope(points)) @ rotate(x.flip(2), rope(points)).mT

    torch.testing.assert_close(logits(points + 1.5), logits(points), rtol=0, atol=1e-5)


def test_the_forms_agree_only_for_two_features_per_coordinate():
    for head_dim, agree in [(6, True), (12, False)]:
        x, points = heads_and_points(head_dim, 3)
        complex_, real = (
            rotate(x, RopeFrequency(head_dim, 3, implementation=form)(points)) for form in FORMS
        )
        assert torch.allclose(complex_, real, atol=1e-6) is agree


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_the_heads_is_kept_and_the_rotation_exact_in_it(form, dtype):
    x, points = heads_and_points(13, 3, dtype)
    freqs = RopeFrequency(13, 3, implementation=form)(points)

    turned = rotate(x, freqs)

    assert turned.dtype == dtype
    exact = rotate(x.double(), freqs)
    torch.testing.assert_close(
        turned.double(), exact, rtol=torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("form", FORMS)
def test_frequencies_without_a_batch_serve_every_sample(form):
    x, points = heads_and_points(13, 3)
    rope = RopeFrequency(13, 3, implementation=form)

    shared = rotate(x, rope(points[0]))

    torch.testing.assert_close(
        shared, rotate(x, rope(points[:1].expand(BATCH, -1, -1))), rtol=0, atol=0
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("row", "offset"), [(9, 0), (10, 1), (10, 2)])
def test_heads_may_lie_anywhere_in_memory(form, row, offset):
    x, points = heads_and_points(8, 3)
    freqs = RopeFrequency(8, 3, implementation=form)(points)
    spread = torch.zeros(BATCH, HEADS, TOKENS, row, dtype=x.dtype)[..., offset : offset + 8].copy_(
        x
    )
    assert not spread.is_contiguous()

    torch.testing.assert_close(rotate(spread, freqs), rotate(x, freqs), rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_no_tokens_are_rotated_to_no_tokens(form):
    freqs = RopeFrequency(13, 3, implementation=form)(torch.zeros(BATCH, 0, 3))
    assert rotate(torch.zeros(BATCH, HEADS, 0, 13), freqs).shape == (BATCH, HEADS, 0, 13)


def test_complex_frequencies_are_unit_numbers_that_leave_the_tail_alone():
    freqs = RopeFrequency(16, 3)(torch.randn(BATCH, TOKENS, 3))
    assert freqs.shape == (BATCH, TOKENS, 8)
    assert freqs.dtype == torch.complex64
    torch.testing.assert_close(freqs.abs(), torch.ones(BATCH, TOKENS, 8))
    assert (freqs[..., 6:] == 1).all()


def test_real_frequencies_hold_every_angle_twice():
    angles = RopeFrequency(16, 3, implementation="real")(torch.randn(BATCH, TOKENS, 3))
    assert [tuple(angle.shape) for angle in angles] == [(BATCH, TOKENS, 4)] * 3
    assert all(torch.equal(angle[..., :2], angle[..., 2:]) for angle in angles)


def test_wavelengths_grow_geometrically_up_to_the_given_one():
    omega = RopeFrequency(24, 3, max_wavelength=50.0).omega
    torch.testing.assert_close(omega, torch.tensor([50 ** (-i / 4) for i in range(4)]))


def test_omega_is_stored_with_the_weights():
    assert list(RopeFrequency(16, 3).state_dict()) == ["omega"]


@pytest.mark.parametrize("form", FORMS)
def test_angles_are_float32_under_autocast_and_for_points_of_any_dtype(form):
    rope, points = (
        RopeFrequency(12, 2, implementation=form),
        torch.randint(0, 900, (BATCH, TOKENS, 2)).float(),
    )
    wanted = rope(points)
    with torch.autocast("cpu", torch.bfloat16):
        cast = rope(points)
    torch.testing.assert_close(cast, wanted, rtol=0, atol=0)
    torch.testing.assert_close(rope(points.double()), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_casting_a_model_leaves_its_angles_alone(dtype):
    points = torch.full((1, 1, 2), 777.0)
    rope = RopeFrequency(12, 2)
    wanted = rope(points)

    model = torch.nn.Sequential(rope, torch.nn.Linear(2, 2)).to(dtype)

    assert model[1].weight.dtype == dtype
    assert rope.omega.dtype == torch.float32
    assert torch.equal(rope(points), wanted)


def test_casting_while_moving_takes_omega_along():
    rope = RopeFrequency(12, 2).to("meta", torch.bfloat16)
    assert rope.omega.device.type == "meta"
    assert rope.omega.dtype == torch.float32


def test_copies_give_the_same_frequencies():
    rope, points = RopeFrequency(12, 2), torch.randn(BATCH, TOKENS, 2)
    for twin in (copy.deepcopy(rope), pickle.loads(pickle.dumps(rope))):  # noqa: S301  our own bytes
        assert torch.equal(twin(points), rope(points))


def test_gradients_reach_the_points():
    x, points = heads_and_points(8, 2, torch.float32)
    points = points.float().requires_grad_()
    rotate(x, RopeFrequency(8, 2)(points)).square().mul(torch.arange(8)).sum().backward()
    assert points.grad.abs().min() > 0


@pytest.mark.parametrize(("hidden_dim", "input_dim"), [(5, 3), (1, 1), (0, 1), (8, 0), (8, -1)])
def test_a_head_too_narrow_for_its_coordinates_is_refused(hidden_dim, input_dim):
    with pytest.raises(ValueError, match=rf"hidden_dim {hidden_dim} .* input_dim {input_dim}"):
        RopeFrequency(hidden_dim, input_dim)


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="implementation: got 'polar', wanted 'complex' or 'real'"):
        RopeFrequency(8, 2, implementation="polar")


@pytest.mark.parametrize("wavelength", [0, -1.0, math.nan])
def test_a_wavelength_that_is_not_above_zero_is_refused(wavelength):
    with pytest.raises(ValueError, match=f"max_wavelength: got {wavelength}"):
        RopeFrequency(8, 2, max_wavelength=wavelength)


@pytest.mark.parametrize(
    "points", [torch.zeros(2, 7, 3), torch.zeros(2, 7, 2, dtype=torch.int64), torch.zeros(())]
)
def test_points_of_another_width_or_kind_are_refused(points):
    with pytest.raises(
        ValueError, match=r"coordinates: got torch.* wanted floating numbers \(..., 2\)"
    ):
        RopeFrequency(8, 2)(points)


@pytest.mark.parametrize("assign", [False, True])
def test_frequencies_of_a_rounded_checkpoint_are_computed_anew(assign):
    rope = RopeFrequency(64, 2)
    exact = rope.omega.clone()
    state = {"omega": exact.bfloat16()}
    with torch.device("meta" if assign else "cpu"):
        loaded = RopeFrequency(64, 2)
    assert loaded.load_state_dict(state, assign=assign).missing_keys == []
    assert loaded.omega.dtype == torch.float32
    assert loaded.omega.equal(exact)


def test_frequencies_come_back_behind_the_meta_device():
    with torch.device("meta"):
        rope = RopeFrequency(64, 2)
    assert rope.to_empty(device="cpu").omega.equal(RopeFrequency(64, 2).omega)
