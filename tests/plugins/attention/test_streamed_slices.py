"""Slices chunk by chunk: the numbers of the form that holds every weight, in less memory."""

import copy
import math

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from noether_core import ConfigError, build
from noether_core.errors import DerivativeError
from noether_core.nn import draw_seed, dropout_at, slices
from noether_core.nn.slices import forms, operator
from noether_core.nn.slices.decomposition import run_at_once
from noether_core.nn.slices.operator import _attend, _attend_backward, run_backward, run_forward
from noether_core.nn.slices.steps import SliceSumGradients
from noether_core.nn.slices.tiles import split_into_tiles
from noether_core.testing.measuring import Consumption, Operations

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 11, 5
HIDDEN = HEADS * WIDTH
REAL = torch.arange(TOKENS) < torch.tensor([[7], [4]])
STREAMED = "noether.attend_through_slices.default"

VARIANTS = {
    "transolver": {"type": "transolver", "num_slices": 7},
    "transolver, folded": {"type": "transolver", "num_slices": 5},
    "transolver without bias": {"type": "transolver", "num_slices": 7, "bias": False},
    "transolver without bias, folded": {"type": "transolver", "num_slices": 5, "bias": False},
    "one head": {"type": "transolver", "num_slices": 7, "num_heads": 1},
    "plusplus": {"type": "transolver_plusplus", "num_slices": 7},
    "plusplus without bias": {"type": "transolver_plusplus", "num_slices": 7, "bias": False},
    "plusplus, a temperature of heads": {
        "type": "transolver_plusplus",
        "num_slices": 7,
        "use_adaptive_temperature": False,
        "temperature_activation": "softplus",
    },
    "plusplus, logits from tokens": {
        "type": "transolver_plusplus",
        "num_slices": 7,
        "use_overparameterization": False,
        "temperature_activation": "sigmoid",
    },
    "plusplus, exponential": {
        "type": "transolver_plusplus",
        "num_slices": 7,
        "temperature_activation": "exp",
    },
}

each_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def make(options, **others):
    """Return a module in float64 with different temperatures in its heads, some of which are cut
    off.
    """
    module = build(
        {"hidden_dim": HIDDEN, "num_heads": HEADS, "init_weights": "torch", **options, **others}
    ).double()
    heads = module.num_heads
    with torch.no_grad():
        for name in ("temperature", "bias"):
            if isinstance(getattr(module, name, None), torch.Tensor):
                getattr(module, name).copy_(
                    torch.tensor([0.3, 0.9, -0.6 if name == "bias" else 0.7])[:heads].view(
                        1, heads, 1, 1
                    )
                )
    return module


def twins(options, *, chunk, **others):
    """Return a module that streams and one that holds every weight, of the same weights."""
    streaming, holding = (
        make(options, chunk_size=chunk, **others),
        make(options, backend="math", **others),
    )
    holding.load_state_dict(streaming.state_dict())
    return streaming, holding


def tokens(batch=BATCH, count=TOKENS, **options):
    return torch.randn(
        batch, count, HIDDEN, **{"dtype": torch.float64, "requires_grad": True, **options}
    )


def results(module, x, seed=0, **arguments):
    """Return the output and the gradients of tokens and parameters for one random cotangent."""
    torch.manual_seed(seed)
    y = module(x, **arguments)
    cotangent = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], cotangent)]


def assert_same(got, wanted, atol=1e-10):
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


def operations_of(module, x):
    with Operations() as operations:
        module(x)
    return [name for name, _ in operations.seen]


@each_variant
@pytest.mark.parametrize("chunk", [1, 3, 5, 10])
@pytest.mark.parametrize("real", [None, REAL], ids=["all real", "some real"])
def test_chunk_by_chunk_training_gives_the_numbers_of_all_at_once(options, chunk, real):
    streaming, holding = twins(options, chunk=chunk)
    x = tokens()
    assert STREAMED in operations_of(streaming, x)
    assert_same(
        results(streaming, x, key_padding_mask=real), results(holding, x, key_padding_mask=real)
    )


@each_variant
@pytest.mark.parametrize("chunk", [4, 23, 47])
def test_samples_that_fit_into_a_chunk_are_computed_together(options, chunk):
    streaming, holding = twins(options, chunk=chunk)
    x, real = tokens(batch=13), torch.rand(13, TOKENS) < 0.7
    assert STREAMED in operations_of(streaming, x)
    assert_same(
        results(streaming, x, key_padding_mask=real), results(holding, x, key_padding_mask=real)
    )


@each_variant
def test_chunk_by_chunk_evaluation_gives_the_numbers_of_all_at_once(options):
    streaming, holding = (module.eval() for module in twins(options, chunk=4))
    with torch.no_grad():
        x = tokens()
        torch.testing.assert_close(streaming(x), holding(x), rtol=0, atol=1e-12)


@each_variant
def test_dropout_among_slices_is_the_same_however_tokens_are_cut(options):
    x = tokens()
    first, *others = (make(options, chunk_size=chunk, dropout=0.3) for chunk in (2, 3, 10))
    wanted = results(first, x)
    holding = make(options, backend="math", dropout=0.3)
    holding.load_state_dict(first.state_dict())
    assert_same(results(holding, x), wanted)
    without = make(options, chunk_size=2)
    without.load_state_dict(first.state_dict())
    assert not torch.allclose(results(without, x)[0], wanted[0])
    for other in others:
        other.load_state_dict(first.state_dict())
        assert_same(results(other, x), wanted)


def test_dropout_drops_weights_among_slices_and_scales_the_others():
    operands, settings = operands_of(make(VARIANTS["transolver"]), tokens())
    seed = draw_seed(torch.device("cpu"))
    y, sums = run_forward(operands, settings._replace(dropout=0.4, dropout_seed=seed))

    means = sums.features + sums.weights[..., None] * operands.feature_bias.view(HEADS, 1, WIDTH)
    means = means / (sums.weights[..., None] + 1e-5)
    q, k, v = torch.einsum("bhgi,oi->bhgo", means, operands.qkv_weight).split(WIDTH, -1)
    shares = (torch.einsum("bhgi,bhji->bhgj", q, k) / WIDTH**0.5).softmax(-1)
    kept = dropout_at(
        torch.ones(BATCH * HEADS * 7, 7).double(), 0.4, seed, torch.arange(BATCH * HEADS * 7)
    )
    states = (operands.x @ operands.state_weight.t()).view(BATCH, TOKENS, HEADS, WIDTH)
    logits = (
        torch.einsum("bnhd,hdg->bhng", states, operands.logit_weight) + operands.logit_bias[:, None]
    )
    read = torch.einsum(
        "bhng,bhgj,bhjd->bnhd", logits.softmax(-1), shares * kept.view_as(shares), v
    )
    wanted = read.flatten(2) @ operands.out_weight.t() + operands.out_bias
    assert 0.4 < (kept == 0).double().mean() + 0.1 < 0.6
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-12)


@each_variant
def test_its_gradients_are_those_of_small_differences(options):
    module = make(options, chunk_size=3)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def call(x, *values):
        torch.manual_seed(0)
        return torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), x, {"key_padding_mask": REAL}
        )

    assert torch.autograd.gradcheck(call, (tokens(), *parameters), fast_mode=True)


@each_variant
def test_there_is_no_second_derivative_in_chunks_and_the_error_says_what_has_one(options):
    streaming, holding = twins(options, chunk=3)
    x = tokens()
    (gradient,) = torch.autograd.grad(streaming(x).square().sum(), x, create_graph=True)
    with pytest.raises(DerivativeError, match="backend='math'"):
        torch.autograd.grad(gradient.sum(), x)

    def call(x):
        torch.manual_seed(0)
        return holding(x)

    assert torch.autograd.gradgradcheck(call, (tokens(count=3),), fast_mode=True)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script:DeprecationWarning"
)  # torch's own, where it loads the rules
@each_variant
def test_forward_mode_derivatives_are_those_of_the_form_that_holds_all(options):
    streaming, holding = (module.eval() for module in twins(options, chunk=3))
    x, direction = tokens(requires_grad=False), tokens(requires_grad=False)
    y, tangent = torch.func.jvp(streaming, (x,), (direction,))
    wanted, tangent_wanted = torch.func.jvp(holding, (x,), (direction,))
    assert tangent_wanted.abs().max() > 1e-3
    assert_same([y, tangent], [wanted, tangent_wanted])


@each_variant
def test_torch_func_gives_gradients_of_each_sample(options):
    streaming, holding = (module.eval() for module in twins(options, chunk=3))
    x = tokens(batch=3, requires_grad=False)

    def of_each_sample(module):
        weights = dict(module.named_parameters())

        def loss(weights, sample):
            return torch.func.functional_call(module, weights, sample[None]).square().sum()

        return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)

    got, wanted = of_each_sample(streaming), of_each_sample(holding)
    assert_same(list(got.values()), list(wanted.values()))


@each_variant
def test_recomputed_activations_give_the_same_gradients(options):
    module, x = make(options, chunk_size=3, dropout=0.3), tokens()
    wanted = results(module, x)
    assert_same(results(Recomputing(module), x), wanted)


class Recomputing(torch.nn.Module):
    """Keeps nothing of the forward pass of a module."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return checkpoint(self.module, x, use_reentrant=False)


@each_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_few_bits_give_what_few_bits_can(options, dtype):
    module = make(options, chunk_size=29).to(dtype).eval()
    x = tokens(count=1009, dtype=dtype)
    exact = copy.deepcopy(module).double()(x.double())
    y = module(x)
    y.float().square().mean().backward()
    assert y.dtype == dtype
    assert 0 < ((y.double() - exact).norm() / exact.norm()).item() < 16 * torch.finfo(dtype).eps
    assert x.grad.isfinite().all()


@each_variant
def test_autocast_gives_what_its_dtype_can(options):
    module = make(options, chunk_size=29).float().eval()
    x = tokens(count=1009, dtype=torch.float32)
    exact = copy.deepcopy(module).double()(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    assert ((y.double() - exact).norm() / exact.norm()).item() < 16 * 2**-8
    assert all(
        each.dtype == torch.float32 and each.isfinite().all()
        for each in torch.autograd.grad(y.float().sum(), [x, *module.parameters()])
    )


@each_variant
def test_what_padding_holds_changes_nothing(options):
    module, x = make(options, chunk_size=3).eval(), tokens(requires_grad=False)
    strange = x.masked_fill(~REAL.unsqueeze(-1), float("nan")).requires_grad_()
    y = module(strange, key_padding_mask=REAL)
    assert torch.equal(y, module(x, key_padding_mask=REAL))
    y.sum().backward()
    assert not strange.grad[~REAL].any()


@each_variant
def test_layouts_of_tokens_and_of_gradients_do_not_matter(options):
    module = make(options, chunk_size=3).eval()
    x = tokens()
    y = module(x)
    (wanted,) = torch.autograd.grad(y.sum(), x)
    scattered = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    y_scattered = module(scattered)
    (got,) = torch.autograd.grad(y_scattered.sum(), scattered)
    assert_same([y_scattered, got], [y, wanted])


@each_variant
@pytest.mark.parametrize(("batch", "count"), [(0, 7), (3, 0)])
def test_nothing_in_gives_nothing_out(options, batch, count):
    module = make(options)
    operands, settings = (
        operands_of(module, tokens(batch, count))
        if options["type"] == "transolver"
        else (None, None)
    )
    if operands is not None:
        y, sums = run_forward(operands, settings)
        assert y.shape == (batch, count, HIDDEN)
        assert not sums.features.any()
    assert module(tokens(batch, count)).shape == (batch, count, HIDDEN)


def operands_of(module, x, *, is_folded=False, chunk=4):
    """Return what a transolver streams with, in either form."""
    module.is_folded = is_folded
    operands, settings = module.streamed(x)
    settings = settings._replace(num_heads=module.num_heads, tile_size=chunk)
    return slices.Operands(
        *(None if each is None else each.detach() for each in operands)
    ), settings


def test_the_operator_keeps_the_rules_of_torch():
    for name in ("transolver", "transolver, folded"):
        module = make(VARIANTS[name])
        operands, settings = operands_of(module, tokens(), is_folded=module.is_folded)
        leaves = [None if each is None else each.requires_grad_() for each in operands]
        torch.library.opcheck(_attend, (*leaves, *settings))
        torch.library.opcheck(operator._gather, (*leaves, *settings))
        with torch.no_grad():
            outputs = run_forward(operands, settings).sums.features
        outputs.requires_grad_()
        torch.library.opcheck(operator._read_out, (outputs, *leaves, *settings))


@each_variant
def test_what_other_formats_are_given_computes_the_same(options, monkeypatch):
    module, found = make(options, chunk_size=4, dropout=0.3).train(), []
    real_attend = forms.attend_through_slices
    monkeypatch.setattr(
        forms, "attend_through_slices", lambda *given: found.append(given) or real_attend(*given)
    )
    with torch.no_grad():
        module(tokens(), key_padding_mask=REAL)
        ((operands, settings),) = found
        (y, sums), wanted = run_at_once(operands, settings), run_forward(operands, settings)
    torch.testing.assert_close(y, wanted.y, rtol=0, atol=1e-12)
    torch.testing.assert_close(sums, wanted.sums, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_folded", [False, True])
def test_memory_beyond_input_and_output_does_not_grow_with_tokens(is_folded):
    module = make(VARIANTS["transolver"])
    forward, backward = [], []
    for count in (7 * 16, 67 * 16):
        x = tokens(1, count, requires_grad=False)
        operands, settings = operands_of(module, x, is_folded=is_folded, chunk=16)
        with Consumption() as consumption:
            y, sums = run_forward(operands, settings)
        forward.append(consumption.peak - y.nbytes)
        cotangent = torch.ones_like(y)
        with Consumption() as consumption:
            grad_x, _ = run_backward(cotangent, sums, operands, settings)
        backward.append(consumption.peak - grad_x.nbytes)
    assert forward[0] == forward[1]
    assert backward[0] == backward[1]


def flops_in_place(total, left, right, *_, **__):
    return 2 * math.prod(left) * right[-1]


IN_PLACE = {torch.ops.aten.baddbmm_: flops_in_place, torch.ops.aten.addmm_: flops_in_place}
"""Products that torch's counter leaves out."""


@each_variant
def test_the_counter_is_told_of_every_product(options):
    module, x = make(options), tokens()
    is_folded = getattr(module, "is_folded", False)
    operands, settings = operands_of(module, x, is_folded=is_folded)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as inner:
        y, sums = run_forward(operands, settings)
    with FlopCounterMode(display=False) as told:
        _attend(*operands, *settings)
    assert told.get_total_flops() == inner.get_total_flops()

    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as inner:
        run_backward(y, sums, operands, settings)
    with FlopCounterMode(display=False) as told:
        _attend_backward(y, *sums, *operands, *settings)
    assert told.get_total_flops() == inner.get_total_flops()


@each_variant
def test_the_counter_is_told_of_every_product_of_each_half(options):
    module, x = make(options), tokens()
    is_folded = getattr(module, "is_folded", False)
    operands, settings = operands_of(module, x, is_folded=is_folded)
    y, sums = run_forward(operands, settings)
    # What tokens get of a slice has the width of what they give to it.
    halves = [
        (operator.run_gather, operator._gather, ()),
        (operator.run_gather_backward, operator._gather_backward, (SliceSumGradients(*sums),)),
        (operator.run_read, operator._read_out, (sums.features,)),
        (operator.run_read_backward, operator._read_backward, (y, sums.features)),
    ]
    for run, own, given in halves:
        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as inner:
            run(*given, operands, settings)
        tensors = given[0] if own is operator._gather_backward else given
        with FlopCounterMode(display=False) as told:
            own(*tensors, *operands, *settings)
        assert told.get_total_flops() == inner.get_total_flops(), run.__name__


@each_variant
def test_a_counted_module_streams_and_counts_what_is_held_but_for_what_is_made_again(options):
    streaming, holding = twins(options, chunk=4)
    counted = []
    for module in (streaming, holding):
        with FlopCounterMode(display=False) as counter:
            module(tokens()).sum().backward()
        counted.append(counter.get_total_flops())
    assert STREAMED.partition(".default")[0] in map(str, counter_of(streaming))
    assert 0.9 * counted[1] < counted[0] < 1.8 * counted[1]


def counter_of(module):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(tokens())
    return counter.get_flop_counts()["Global"]


@pytest.mark.parametrize("heads", [1, 2, 3, 5])
@pytest.mark.parametrize("num_slices", [1, 2, 3, 5, 7, 11, 13, 17, 31])
def test_weights_are_folded_exactly_where_that_takes_fewer_operations(heads, num_slices):
    hidden_dim = heads * 7
    module = build("transolver", hidden_dim=hidden_dim, num_heads=heads, num_slices=num_slices)
    x, counted = torch.randn(1, 2**14, hidden_dim), []
    for is_folded in (False, True):
        operands, settings = operands_of(module, x, is_folded=is_folded, chunk=2**13)
        with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
            run_forward(operands, settings)
        counted.append(counter.get_total_flops())
    assert build(
        "transolver", hidden_dim=hidden_dim, num_heads=heads, num_slices=num_slices
    ).is_folded == (counted[1] < counted[0])


def chunk_of(
    tokens,
    heads,
    num_slices,
    *,
    batch=1,
    chosen=None,
    recorded=True,
    draws_noise=False,
    device="cpu",
):
    module = build(
        "transolver", hidden_dim=heads, num_heads=heads, num_slices=num_slices, chunk_size=chosen
    )
    x = torch.empty(batch, tokens, 1, device=device, requires_grad=recorded)
    return slices.choose_tile_size(
        module.requires_grad_(requires_grad=False), x, draws_noise=draws_noise
    )


@pytest.mark.parametrize(
    ("heads", "num_slices", "chunk"),
    [(8, 64, 4096), (8, 65, 2048), (8, 512, 512), (1, 1, 4096), (3, 7, 4096), (64, 4096, 512)],
)
def test_a_chunk_has_512_to_4096_tokens_whose_weights_take_eight_mebibytes_if_they_can(
    heads, num_slices, chunk
):
    assert chunk_of(2**22, heads, num_slices) == chunk


def test_other_devices_get_larger_chunks():
    assert chunk_of(2**22, 8, 64, device="meta") == 2**15


@pytest.mark.parametrize(
    ("tokens", "chunk"), [(4096, None), (4097, 1025), (9000, 2250), (16_384, 4096), (16_385, 4096)]
)
def test_few_tokens_are_cut_into_four_chunks(tokens, chunk):
    assert chunk_of(tokens, 8, 64) == chunk
    assert chunk_of(tokens // 3, 8, 64, batch=3) == (
        chunk_of(tokens - tokens % 3, 8, 64) if chunk else None
    )


def test_sums_over_tokens_have_more_bits_than_half_precision():
    operands, settings = operands_of(
        make(VARIANTS["transolver"]), tokens(batch=1, count=1200), chunk=1
    )
    half = slices.Operands._make(
        None if each is None else each.detach().bfloat16() for each in operands
    )
    _, sums = run_forward(half, settings)  # in bfloat16, 256 + 1 is 256
    torch.testing.assert_close(
        sums.weights.sum(dim=-1), torch.full((1, HEADS), 1200.0), rtol=0.01, atol=0
    )


@pytest.mark.parametrize("size", [1, 3, 10, 11, 12, 21, 22, 23, 33, 100])
@pytest.mark.parametrize("is_real", [None, REAL], ids=["all real", "some real"])
def test_no_tile_holds_more_tokens_than_it_may_and_together_they_hold_each_once(size, is_real):
    x = torch.arange(5.0 * TOKENS).view(5, TOKENS, 1).expand(-1, -1, HIDDEN)
    mask = None if is_real is None else is_real.repeat(3, 1)[:5]
    operands, settings = operands_of(make(VARIANTS["transolver"]), x.double(), chunk=size)
    tiles = split_into_tiles(operands, settings._replace(key_padding_mask=mask))

    for tile in tiles:
        assert len(tile.tokens) <= size
        assert len(tile.tokens) in (tile.samples * TOKENS, tile.rows.stop - tile.rows.start)
        assert tile.heads.stop - tile.heads.start == HEADS * tile.samples
        assert torch.equal(operands.x.flatten(0, 1)[tile.rows], tile.tokens)
    assert torch.equal(
        torch.cat([tile.tokens[:, 0] for tile in tiles]), torch.arange(55.0).double()
    )
    if mask is not None:
        assert torch.equal(torch.cat([tile.is_real for tile in tiles]).view(5, TOKENS), mask)


def test_tiles_are_of_like_size():
    operands, settings = operands_of(make(VARIANTS["transolver"]), tokens(count=10), chunk=9)
    assert [tile.rows for tile in split_into_tiles(operands, settings)] == [
        slice(at, at + 5) for at in (0, 5, 10, 15)
    ]


@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 4096), ({"recorded": False}, 1024), ({"draws_noise": True}, 8192), ({"chosen": 77}, 77)],
)
def test_weights_are_held_where_it_pays_for_gradients_and_for_noise(options, most):
    assert chunk_of(most, 8, 64, **options) is None
    assert chunk_of(most + 1, 8, 64, **options)


def test_weights_of_few_tokens_are_held_however_many_slices_there_are():
    assert chunk_of(512, 64, 4096, recorded=False) is None
    assert chunk_of(513, 64, 4096, recorded=False) == 512


def test_a_parameter_that_learns_is_recorded_as_well():
    module, x = (
        build("transolver", hidden_dim=8, num_heads=8, num_slices=64),
        torch.empty(1, 2048, 8),
    )
    assert slices.choose_tile_size(module, x) is None
    with torch.no_grad():
        assert slices.choose_tile_size(module, x) == 512


@each_variant
def test_few_tokens_and_other_backends_hold_the_weights(options):
    x = tokens()
    assert STREAMED not in operations_of(make(options), x)
    for backend in ("sdpa", "math"):
        assert STREAMED not in operations_of(make(options, backend=backend, chunk_size=1), x)


def test_training_with_noise_holds_the_weights_of_more_tokens_than_evaluation():
    module = build("transolver_plusplus", hidden_dim=4, num_heads=2, num_slices=512)
    x = torch.randn(1, 2**12, 4)
    assert STREAMED not in operations_of(module, x)
    assert STREAMED in operations_of(module.eval(), x)


@each_variant
def test_flex_is_refused_when_the_config_is_made(options):
    with pytest.raises(ConfigError, match="slices attend to each other without a mask"):
        make(options, backend="flex")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@each_variant
def test_a_gpu_gives_the_numbers_of_the_cpu(options):
    module = make(options, chunk_size=3).eval()
    x = tokens()
    wanted = results(module, x, key_padding_mask=REAL)
    got = results(module.cuda(), x.detach().cuda().requires_grad_(), key_padding_mask=REAL.cuda())
    assert_same([each.cpu() for each in got], wanted)
