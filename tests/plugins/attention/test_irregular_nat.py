"""Neighbourhood attention against its formula over a full matrix of distances, in float64."""

import copy
import math

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from noether_core import ConfigError, ShapeError
from noether_core.errors import DerivativeError
from noether_plugins.attention.irregular_nat import operation
from noether_plugins.attention.irregular_nat.at_once import Tokens
from noether_plugins.attention.irregular_nat.config import IrregularNatAttentionConfig
from noether_plugins.attention.irregular_nat.module import IrregularNatAttention
from noether_plugins.attention.irregular_nat.neighbours import PositionError, nearest_neighbours
from noether_plugins.attention.irregular_nat.operation import attend_to_neighbours
from tests.plugins.attention.formulas import assert_same_numbers, linear, rms_normed, with_own_norms
from tests.sampling import sampled

BATCH, HEADS, TOKENS, WIDTH, POINTS, DEGREE, INNER = 2, 3, 13, 5, 2, 4, 7
HIDDEN = HEADS * WIDTH
RADIUS = 0.4


def make(**options):
    """Return a module in float64 whose norms have weights of their own."""
    sizes = {
        "hidden_dim": HIDDEN,
        "num_heads": HEADS,
        "input_dim": POINTS,
        "relpos_mlp_hidden_dim": INNER,
    }
    config = IrregularNatAttentionConfig(
        **{**sizes, "radius": RADIUS, "max_degree": DEGREE, "init_weights": "torch", **options}
    )
    return with_own_norms(IrregularNatAttention(config))


def tokens():
    return torch.randn(BATCH, TOKENS, HIDDEN, dtype=torch.float64, requires_grad=True)


def points():
    return torch.rand(BATCH, TOKENS, POINTS, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def chunks(monkeypatch):
    """Make a chunk of three tokens, whatever the sizes."""
    monkeypatch.setattr(operation, "_AT_ONCE", -1)
    monkeypatch.setitem(operation._CHUNK, "cpu", 3 * DEGREE * HIDDEN)


def seen(positions, radius, degree, real=None):
    """Return who is seen by whom, by sorting a full matrix of distances: numbers of tokens, -1 for
    nobody.
    """
    batch, count, _ = positions.shape
    real = torch.ones(batch, count, dtype=torch.bool) if real is None else real
    squares = (positions.double()[:, :, None] - positions.double()[:, None]).square().sum(-1)
    found = torch.full((batch, count, degree), -1)
    for b, i in real.nonzero().tolist():
        others = [
            j for j in range(count) if j != i and real[b, j] and squares[b, i, j] <= radius**2
        ]
        others.sort(key=lambda j: (squares[b, i, j].item(), j))
        row = [i, *others][:degree]
        found[b, i, : len(row)] = torch.tensor(row)
    return found


def formula(state, x, positions, real=None):
    """Return the output with every pair of tokens worked out, those that do not see each other
    masked.
    """
    q, k, v = (
        linear(state, name, x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for name in "qkv"
    )
    if "q_norm.weight" in state:
        q, k = rms_normed(q, state["q_norm.weight"]), rms_normed(k, state["k_norm.weight"])
    offsets = positions[:, None] - positions[:, :, None]
    bias = linear(
        state, "relpos_fc2", torch.nn.functional.gelu(linear(state, "relpos_fc1", offsets))
    )
    logits = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(WIDTH) + bias.permute(0, 3, 1, 2)

    sees = torch.zeros(BATCH, TOKENS, TOKENS + 1, dtype=torch.bool)  # nobody is the last column
    sees.scatter_(2, seen(positions.detach(), RADIUS, DEGREE, real) % (TOKENS + 1), value=True)
    sees = sees[:, None, :, :TOKENS]
    weights = logits.masked_fill(~sees, -1e9).softmax(-1).masked_fill(~sees, 0.0)
    return linear(state, "proj", torch.einsum("bhij,bhjd->bihd", weights, v).flatten(-2))


def assert_formula(module, x, positions, real=None):
    """Compare the output and the gradients of tokens, positions and every parameter."""
    got = module(x, positions=positions, key_padding_mask=real)
    wanted = formula(dict(module.named_parameters()), x, positions, real)
    assert_same_numbers(got, wanted, [x, positions, *module.parameters()])


MASKS = {
    "no mask": None,
    "some real": torch.arange(TOKENS) < torch.tensor([[11], [5]]),
    "one sample empty": torch.tensor([[True], [False]]).expand(BATCH, TOKENS),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
def test_it_is_its_formula(real, qk_norm, bias):
    assert_formula(make(bias=bias, qk_norm=qk_norm), tokens(), points(), real)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("real", MASKS.values(), ids=MASKS)
def test_it_is_its_formula_chunk_by_chunk(real, bias):
    assert_formula(make(bias=bias, qk_norm=True), tokens(), points(), real)


def scattered(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def lattice(per_side, coordinates):
    """Return the points of a regular lattice, where most distances are ties."""
    axes = [torch.arange(per_side) * 0.1] * coordinates
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(1, -1, coordinates)


def around(count):
    """Return a circle of points and its centre, from which all are equally far."""
    angles = torch.arange(count) * (math.pi / 2 / count * 4)
    return torch.cat(
        [torch.zeros(1, 2), torch.stack([angles.cos().round(decimals=6), angles.sin()], -1)]
    )[None]


CLOUDS = {
    "in three dimensions": scattered(2, 101, 3),
    "on a line": scattered(2, 53, 1),
    "in seven dimensions": scattered(1, 53, 7),
    "on a lattice": lattice(5, 3),
    "with ties and duplicates": (scattered(2, 101, 2) * 4).floor(),
    "all equal": torch.full((2, 61, 3), 0.7),
    "two points": torch.tensor([0.0, 0.25]).repeat(30)[None, :, None],
    "with far outliers": torch.cat([scattered(1, 31, 2), scattered(1, 3, 2) * 1e7], dim=1),
    "around a centre": around(37),
    "one point": scattered(2, 1, 3),
    "no point": scattered(2, 0, 3),
    "far from the origin": scattered(1, 53, 3) + 1e4,
}


@pytest.mark.parametrize("degree", sampled([1, 2, 5, 16, 70], 1, 5, 70))
@pytest.mark.parametrize("radius", sampled([0.1, 0.3, 1.0, 1e9], 0.3, 1e9))
@pytest.mark.parametrize("cloud", CLOUDS)
def test_neighbours_are_those_of_a_full_distance_matrix(cloud, radius, degree):
    positions = CLOUDS[cloud]
    found = nearest_neighbours(positions, None, radius=radius, max_degree=degree)
    assert torch.equal(found.neighbours, seen(positions, radius, degree))


@pytest.mark.parametrize("cloud", ["in three dimensions", "with ties and duplicates", "all equal"])
def test_padding_is_nobodys_neighbour_and_has_none(cloud):
    positions = CLOUDS[cloud].clone()
    real = scattered(*positions.shape[:2]) < 0.6
    wanted = seen(positions, 0.3, 5, real)
    positions[~real] = float("nan")
    assert torch.equal(
        nearest_neighbours(positions, real, radius=0.3, max_degree=5).neighbours, wanted
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_neighbours_depend_on_positions_as_they_are_stored(dtype):
    positions = scattered(1, 101, 3).to(dtype)
    found = nearest_neighbours(positions, None, radius=0.3, max_degree=5)
    assert torch.equal(found.neighbours, seen(positions, 0.3, 5))


def test_a_token_as_far_as_the_radius_is_seen():
    positions = torch.tensor([0.0, 0.5, 1.25])[None, :, None]
    assert nearest_neighbours(positions, None, radius=0.5, max_degree=3).neighbours.tolist() == [
        [[0, 1, -1], [1, 0, -1], [2, -1, -1]]
    ]


def test_of_equal_points_each_sees_itself_and_the_first_ones():
    assert nearest_neighbours(
        torch.zeros(1, 5, 2), None, radius=1.0, max_degree=3
    ).neighbours.tolist() == [[[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1]]]


@pytest.mark.usefixtures("chunks")
def test_dropout_by_chunks_drops_what_it_drops_at_once(monkeypatch):
    options = {"dropout": 0.3, "relpos_mlp_dropout": 0.4}
    module, x, positions = make(**options), tokens(), points()
    inputs = [x, positions, *module.parameters()]
    results = []
    for at_once in (0, 1 << 22):
        monkeypatch.setattr(operation, "_AT_ONCE", at_once)
        torch.manual_seed(3)
        y = module(x, positions=positions)
        results.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for chunked, whole in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("option", ["dropout", "relpos_mlp_dropout"])
def test_either_dropout_acts_in_training_alone(option):
    module, x, positions = make(**{option: 0.5}), tokens(), points()
    assert not torch.equal(module(x, positions=positions), module(x, positions=positions))
    module.eval()
    plain = make()
    plain.load_state_dict(module.state_dict())
    assert torch.equal(module(x, positions=positions), plain(x, positions=positions))


def test_only_where_points_lie_to_each_other_matters():
    module, x, positions = make(), tokens(), points()
    torch.testing.assert_close(
        module(x, positions=positions + 0.25), module(x, positions=positions), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("cloud", ["in three dimensions", "with ties and duplicates", "no point"])
def test_the_walk_visits_every_token_once_and_padding_last(cloud):
    positions = CLOUDS[cloud].clone()
    real = scattered(*positions.shape[:2]) < 0.6
    positions[~real] = float("nan")
    walk = nearest_neighbours(positions, real, radius=0.3, max_degree=5).walk
    assert torch.equal(walk.sort(dim=1).values, torch.arange(positions.shape[1]).expand_as(walk))
    assert torch.equal(real.gather(1, walk), real.sort(dim=1, descending=True).values)


def test_the_walk_goes_from_near_to_near():
    positions = scattered(1, 4096, 3)
    walk = nearest_neighbours(positions, None, radius=0.1, max_degree=1).walk[0]
    steps, random_steps = (
        points.diff(dim=0).norm(dim=1).mean() for points in (positions[0, walk], positions[0])
    )
    assert steps < random_steps / 4


@pytest.mark.usefixtures("chunks")
def test_the_order_of_the_walk_changes_nothing_but_rounding():
    module, x, positions = make(), tokens(), points()
    given = module._neighbourhood(
        nearest_neighbours(positions, None, radius=RADIUS, max_degree=DEGREE)
    )
    projected = [layer(x).flatten(0, 1) for layer in (module.q, module.k, module.v)]
    one, other = (
        attend_to_neighbours(
            Tokens(*projected, positions.flatten(0, 1)), module._relpos_weights(), neighbourhood
        )
        for neighbourhood in (given, given._replace(walk=torch.randperm(BATCH * TOKENS)))
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("chunks")
def test_gradients_by_chunks_are_those_of_finite_differences():
    module, x, positions, real = (
        make(relpos_mlp_dropout=0.4, dropout=0.3),
        tokens(),
        points(),
        MASKS["some real"],
    )

    def called(x, positions, *_):
        torch.manual_seed(3)
        return module(x, positions=positions, key_padding_mask=real)

    assert torch.autograd.gradcheck(called, (x, positions, *module.parameters()), fast_mode=True)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("shape", [(0, TOKENS), (BATCH, 0), (BATCH, 1)])
def test_few_tokens_and_none_are_computed_by_chunks_too(shape):
    module, x, positions = (
        make(),
        torch.randn(*shape, HIDDEN).double(),
        torch.rand(*shape, POINTS).double(),
    )
    y = module(x.requires_grad_(), positions=positions)
    y.sum().backward()
    assert y.shape == x.grad.shape == x.shape


@pytest.mark.usefixtures("chunks")
def test_under_autocast_chunks_compute_what_is_computed_at_once(monkeypatch):
    module, x, positions = make().float(), tokens().float(), points().float()
    results = []
    for at_once in (0, 1 << 22):
        monkeypatch.setattr(operation, "_AT_ONCE", at_once)
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x, positions=positions)
        results.append([y, *torch.autograd.grad(y.float().square().sum(), module.parameters())])
    largest = max(whole.abs().max().item() for whole in results[1])
    for chunked, whole in zip(*results, strict=True):
        assert chunked.dtype == whole.dtype
        torch.testing.assert_close(chunked, whole, rtol=0, atol=2**-8 * largest)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning"
)  # torch's own, on first use
@pytest.mark.parametrize("at_once", [0, 1 << 22])
@pytest.mark.parametrize("moved", ["tokens", "positions"])
def test_derivatives_in_forward_mode_are_there_and_not_zero(moved, at_once, monkeypatch):
    monkeypatch.setattr(operation, "_AT_ONCE", at_once)
    module, x, positions = make(), tokens().detach(), points().detach()
    step = torch.randn_like(x if moved == "tokens" else positions)

    def along(size):
        given = (x + size * step, positions) if moved == "tokens" else (x, positions + size * step)
        return module(given[0], positions=given[1])

    with forward_ad.dual_level():
        one = torch.ones((), dtype=torch.float64)
        tangent = forward_ad.unpack_dual(along(forward_ad.make_dual(0 * one, one))).tangent
    assert tangent.any()
    torch.testing.assert_close(tangent, (along(1e-6) - along(-1e-6)) / 2e-6, rtol=0, atol=1e-7)


@pytest.mark.parametrize("at_once", [0, 1 << 22])
def test_functional_gradients_are_those_of_autograd(at_once, monkeypatch):
    monkeypatch.setattr(operation, "_AT_ONCE", at_once)
    module, x, positions = make(), tokens(), points()

    def loss(x, positions):
        return module(x, positions=positions).square().sum()

    wanted = torch.autograd.grad(loss(x, positions), (x, positions))
    got = torch.func.grad(loss, argnums=(0, 1))(x.detach(), positions.detach())
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


class Graphs:
    """A compiler that counts what it is given, and runs it as it is."""

    count = 0

    def __call__(self, graph, _):
        self.count += 1
        return graph.forward


COUNTS = (7, 11, 13, 17, 23, 37, 53, 101, 211, 307)


@pytest.mark.parametrize(("dynamic", "most"), [(None, 2), (True, 1)])
def test_ten_numbers_of_points_take_at_most_two_graphs(dynamic, most):
    module, graphs = make().eval(), Graphs()
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend=graphs, dynamic=dynamic)
    for count in COUNTS:
        x, positions = (
            torch.randn(BATCH, count, HIDDEN).double(),
            torch.rand(BATCH, count, POINTS).double(),
        )
        real = torch.rand(BATCH, count) < 0.8
        torch.testing.assert_close(
            compiled(x, positions=positions, key_padding_mask=real),
            module(x, positions=positions, key_padding_mask=real),
            rtol=0,
            atol=1e-12,
        )
    assert graphs.count <= most


@pytest.mark.parametrize("masked", [True, False])
def test_it_is_exported_with_any_number_of_points_and_comes_back_from_a_file(masked, tmp_path):
    module = make().eval()

    def given(count):
        mask = {"key_padding_mask": torch.rand(BATCH, count) < 0.8} if masked else {}
        return {
            "x": torch.randn(BATCH, count, HIDDEN).double(),
            "positions": torch.rand(BATCH, count, 2).double(),
            **mask,
        }

    count = torch.export.Dim("count", min=2, max=1 << 20)
    example = given(TOKENS)
    exported = torch.export.export(
        module, (), example, dynamic_shapes={key: {1: count} for key in example}
    )
    torch.export.save(exported, tmp_path / "module.pt2")
    loaded = torch.export.load(tmp_path / "module.pt2").module()
    for tokens_given in map(given, COUNTS):
        torch.testing.assert_close(
            loaded(**tokens_given), module(**tokens_given), rtol=0, atol=1e-12
        )


def test_graphs_never_gather_all_keys_and_values():
    count, degree = 100_003, 17
    module = make(max_degree=degree, hidden_dim=48, num_heads=3).float().eval()
    given = {"x": torch.randn(1, count, 48), "positions": torch.rand(1, count, POINTS)}
    graph = torch.export.export(module, (), given).module()
    with torch.no_grad(), Largest() as largest:
        graph(**given)
    assert count * 48 <= largest.numel < count * degree * 48 / 10


def test_a_second_derivative_is_there_for_one_chunk():
    module, x, positions = make(), tokens(), points()
    (gradient,) = torch.autograd.grad(
        module(x, positions=positions).square().sum(), x, create_graph=True
    )
    gradient.square().sum().backward()
    assert x.grad.any()


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize(
    "loss", [torch.Tensor.sum, lambda y: y.square().sum()], ids=["linear", "square"]
)
def test_a_second_derivative_of_several_chunks_is_refused(loss):
    module, x, positions = make().requires_grad_(requires_grad=False), tokens(), points()
    (gradient,) = torch.autograd.grad(loss(module(x, positions=positions)), x, create_graph=True)
    with pytest.raises(
        DerivativeError, match="no second derivative where tokens are computed chunk by chunk"
    ):
        gradient.square().sum().backward()


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("second", ["tokens", "positions", "q.weight", "relpos_fc1.weight"])
@pytest.mark.parametrize("first", ["tokens", "positions", "v.weight"])
def test_a_derivative_of_one_gradient_by_chunks_along_another_is_refused_and_not_in_parts(
    first, second
):
    module, x, positions = make(), tokens(), points()
    inputs = {"tokens": x, "positions": positions, **dict(module.named_parameters())}
    (gradient,) = torch.autograd.grad(
        module(x, positions=positions).sin().sum(), inputs[first], create_graph=True
    )
    with pytest.raises(
        DerivativeError, match="no second derivative where tokens are computed chunk by chunk"
    ):
        torch.autograd.grad(gradient.sin().sum(), inputs[second])


@pytest.mark.parametrize("at_once", [0, 1 << 22])
def test_positions_of_padding_may_be_anything(at_once, monkeypatch):
    monkeypatch.setattr(operation, "_AT_ONCE", at_once)
    module, x, positions, real = make(), tokens(), points(), MASKS["some real"]
    lost = torch.where(real[..., None], positions, float("nan"))
    results = []
    for given in (positions, lost):
        y = module(x, positions=given, key_padding_mask=real)
        results.append(
            [y, *torch.autograd.grad(y.square().sum(), [x, positions, *module.parameters()])]
        )
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that is made within it."""

    numel = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        for tensor in made if isinstance(made, (list, tuple)) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return made


def test_keys_and_values_of_neighbours_are_never_gathered_all_at_once():
    count, degree = 100_003, 17
    module = make(max_degree=degree, hidden_dim=48, num_heads=3).float()
    x = torch.randn(1, count, 48, requires_grad=True)
    with Largest() as largest:
        module(x, positions=torch.rand(1, count, POINTS)).sum().backward()
    assert count * 48 <= largest.numel < count * degree * 48 / 10


def test_two_hundred_thousand_points_run_forward_and_backward():
    module = make(max_degree=16, input_dim=3, radius=0.1, hidden_dim=16, num_heads=2).float()
    x = torch.randn(1, 200_000, 16, requires_grad=True)
    y = module(x, positions=torch.rand(1, 200_000, 3))
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert x.grad.any()


def test_a_degree_beyond_the_tokens_costs_nothing():
    module = make(max_degree=10**9).float()
    with Largest() as largest:
        module(
            torch.randn(1, TOKENS, HIDDEN), positions=torch.rand(1, TOKENS, POINTS)
        ).sum().backward()
    assert largest.numel < 10**5


@pytest.mark.parametrize("at_once", [0, 1 << 22])
def test_large_queries_and_keys_do_not_leave_float16(at_once, monkeypatch):
    monkeypatch.setattr(operation, "_AT_ONCE", at_once)
    module, x, positions = make().half(), 300 * tokens().detach().half(), points().detach()
    exact = copy.deepcopy(module).double()(x.double(), positions=positions)
    y = module(x, positions=positions)
    assert (y.double() - exact).norm() < 1e-2 * exact.norm()


def test_positions_are_required():
    with pytest.raises(
        ShapeError, match=r"positions: got None, wanted points of shape .* = \(2, 13, 2\)"
    ):
        make()(tokens())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda positions: positions[..., :1], r"got shape \(2, 13, 1\), wanted .* = \(2, 13, 2\)"),
        (lambda positions: positions[:, 1:], r"got shape \(2, 12, 2\), wanted .* = \(2, 13, 2\)"),
        (lambda positions: positions[:1], r"got shape \(1, 13, 2\), wanted .* = \(2, 13, 2\)"),
        (torch.Tensor.long, "got torch.int64, wanted a floating dtype"),
        (lambda positions: positions.to("meta"), "got a tensor on meta, wanted cpu"),
    ],
)
def test_positions_of_another_shape_or_kind_are_refused(spoil, message):
    with pytest.raises(ShapeError, match=f"^positions: {message}"):
        make()(tokens(), positions=spoil(points()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_positions_that_are_no_points_are_reported_with_their_token(value):
    positions = points().detach()
    positions[1, 7, 0] = value
    with pytest.raises(
        PositionError, match=rf"^positions: got \[ *{value}.* for token 7 of sample 1"
    ):
        make()(tokens(), positions=positions)


NAMES = "q k v proj relpos_fc1 relpos_fc2"


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_have_the_names_of_stored_weights(bias):
    leaves = ["weight", "bias"] if bias else ["weight"]
    assert sorted(make(bias=bias).state_dict()) == sorted(
        f"{name}.{leaf}" for name in NAMES.split() for leaf in leaves
    )


def test_weights_of_the_fused_layout_give_the_same_numbers():
    module, twin, x, positions = make(), make(), tokens(), points()
    state = module.state_dict()
    for leaf in ("weight", "bias"):
        state[f"qkv.{leaf}"] = torch.cat([state.pop(f"{part}.{leaf}") for part in "qkv"])

    twin.load_state_dict(state)

    assert torch.equal(twin(x, positions=positions), module(x, positions=positions))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("input_dim", 0),
        ("radius", 0.0),
        ("radius", -1.0),
        ("max_degree", 0),
        ("relpos_mlp_hidden_dim", 0),
        ("relpos_mlp_dropout", 1.5),
        ("use_rope", True),
    ],
)
def test_options_out_of_bounds_are_refused(option, value):
    with pytest.raises(ConfigError) as caught:
        make(**{option: value})
    assert [problem.path for problem in caught.value.problems] == [option]


def test_points_have_as_many_coordinates_as_the_config_must_say():
    with pytest.raises(TypeError, match="input_dim"):
        IrregularNatAttentionConfig(hidden_dim=HIDDEN, num_heads=HEADS)
