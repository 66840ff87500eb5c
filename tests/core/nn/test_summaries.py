"""Summaries: merged exactly, refused by name, and as torch and files hold them."""

import copy
import gc
import itertools
import math
import pickle
import re

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from noether_core import AttentionConfig, structure
from noether_core.errors import SavedModuleError, SummaryError
from noether_core.nn import Attended, KeyValues, Summary, Summed, check_summary
from noether_core.nn.summaries import numbered

BATCH, QUERIES, TOKENS, WIDTH = 2, 3, 11, 5
SPLITS = [(11,), (4, 7), (0, 11), (11, 0), (1, 3, 0, 7), (1,) * 11, (0, 0, 11)]


class Summing(nn.Module):
    """The smallest attention that gathers: learned queries attend, and values are summed."""

    def __init__(self, **options):
        super().__init__()
        given = {"type": "transolver", "hidden_dim": WIDTH, "num_heads": 1, **options}
        self.config = structure(AttentionConfig(**given))
        self.queries = nn.Parameter(torch.randn(QUERIES, WIDTH))

    def gather(self, x, is_real=None, seed=None):
        logits = torch.einsum("qd,bnd->bqn", self.queries, x)
        if is_real is not None:
            logits = logits.masked_fill(~is_real[:, None], -math.inf)
        log_mass = logits.logsumexp(dim=-1, keepdim=True)
        is_empty = log_mass == -math.inf
        mean = (logits - log_mass.masked_fill(is_empty, 0.0)).exp() @ x
        parts = {"latents": Attended(mean, log_mass), "sums": Summed(x.sum(dim=1))}
        return Summary.of(self, x, parts=parts, seed=seed)

    def read(self, x, summary):
        check_summary(summary, self, x)
        return x @ summary.parts["latents"].mean.mT + summary.parts["sums"].value.sum()


@pytest.fixture
def module():
    return Summing().double()


@pytest.fixture
def x():
    return torch.randn(BATCH, TOKENS, WIDTH, dtype=torch.float64, requires_grad=True)


def tensors(summary):
    return pytree.tree_leaves(summary)


def gradients(module, x, summary):
    """Return the gradients by way of all that a summary holds."""
    latents, sums = summary.parts["latents"], summary.parts["sums"]
    loss = latents.mean.sin().sum() + latents.log_mass.cos().sum() + sums.value.sin().sum()
    return torch.autograd.grad(loss, [x, module.queries])


@pytest.mark.parametrize("sizes", SPLITS, ids=str)
def test_parts_of_the_tokens_merge_to_what_all_of_them_give_values_and_gradients(module, x, sizes):
    first, *others = [module.gather(part) for part in x.split_with_sizes(sizes, dim=1)]
    merged, whole = first.merge(*others), module.gather(x)
    torch.testing.assert_close(tensors(merged), tensors(whole))
    torch.testing.assert_close(gradients(module, x, merged), gradients(module, x, whole))


def test_to_merge_is_associative_and_commutative(module, x):
    parts = [module.gather(part) for part in x.split_with_sizes((4, 0, 7), dim=1)]
    whole = tensors(module.gather(x))
    for a, b, c in itertools.permutations(parts):
        torch.testing.assert_close(tensors(a.merge(b).merge(c)), whole)
        torch.testing.assert_close(tensors(a.merge(b.merge(c))), whole)


def test_what_is_empty_changes_no_bit(module, x):
    empty, whole = module.gather(x[:, :0]), module.gather(x)
    for merged in (whole.merge(empty), empty.merge(whole), empty.merge(empty, whole)):
        assert all(map(torch.equal, tensors(merged), tensors(whole)))


def test_where_nothing_was_attended_to_there_are_zeros_and_gradients_are_finite(module, x):
    nobody = torch.zeros(BATCH, TOKENS, dtype=torch.bool)
    halves = [module.gather(x[:, :4], nobody[:, :4]), module.gather(x[:, 4:], nobody[:, 4:])]
    attended = halves[0].merge(halves[1]).parts["latents"]
    assert not attended.mean.any()
    assert (attended.log_mass == -math.inf).all()

    # By the rule of merging itself: masks are the business of whoever gathers.
    leaves = [
        tensor.detach().requires_grad_() for half in halves for tensor in half.parts["latents"]
    ]
    merged = Attended.merged([Attended(*leaves[:2]), Attended(*leaves[2:])])
    for gradient in torch.autograd.grad(merged.mean.sum(), leaves):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("logit", [-1e4, 1e4], ids=str)
def test_masses_that_no_number_holds_merge(logit):
    parts = [
        Attended(torch.tensor([[float(n)]]), torch.tensor([[logit + math.log(n)]])) for n in (1, 3)
    ]
    mean, log_mass = Attended.merged(parts)
    assert mean.item() == pytest.approx(2.5, rel=1e-3)
    assert log_mass.item() == pytest.approx(logit + math.log(4))


def test_a_part_of_much_less_mass_has_the_gradient_that_it_should():
    masses = [torch.tensor([[0.0]], requires_grad=True), torch.tensor([[-200.0]])]
    parts = [
        Attended(torch.tensor([[n]]), mass) for n, mass in zip((1.0, 3.0), masses, strict=True)
    ]
    merged = Attended.merged(parts)
    (gradient,) = torch.autograd.grad(merged.log_mass.sum(), masses[0])
    assert gradient.item() == 1


def test_a_single_part_is_itself(module, x):
    summary = module.gather(x)
    assert summary.merge() is summary


def test_bytes_do_not_depend_on_the_number_of_tokens(module, x):
    sizes = {module.gather(x[:, :count]).nbytes for count in (0, 1, 11)}
    assert sizes == {8 * BATCH * (QUERIES * (WIDTH + 1) + WIDTH)}


def test_a_constant_carries_no_gradient(module, x):
    constant = module.gather(x).detach()
    assert not any(tensor.requires_grad for tensor in tensors(constant))
    module.read(x, constant).sum().backward()
    assert module.queries.grad is None


def test_a_summary_moves_between_devices(module, x):
    there = module.gather(x, seed=torch.tensor([7])).to("meta")
    assert {tensor.device.type for tensor in tensors(there)} == {"meta"}
    message = "summary: it was gathered with device meta, and the call has cpu"
    with pytest.raises(SummaryError, match=f"^{message}$"):
        module.read(x, there)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:1], "batch 2, and {} has 1"),
        (lambda x: x.float(), "dtype torch.float64, and {} has torch.float32"),
    ],
    ids=["batch", "dtype"],
)
def test_other_tokens_are_refused_by_what_differs(module, x, change, message):
    summary = module.gather(x)
    other = Summary.of(module, change(x), parts=summary.parts)
    with pytest.raises(SummaryError, match=re.escape(message.format("the call"))):
        module.read(change(x), summary)
    with pytest.raises(SummaryError, match=re.escape(message.format("another one"))):
        summary.merge(summary, other)


@pytest.mark.parametrize("other", [None, torch.zeros(3), ()], ids=["None", "tensor", "tuple"])
def test_what_is_no_summary_is_refused(module, x, other):
    message = f"summary: got {type(other).__name__}, wanted a Summary, which gather returns"
    for refused in (lambda: module.read(x, other), lambda: module.gather(x).merge(other)):
        with pytest.raises(SummaryError, match=f"^{message}$"):
            refused()


def test_another_round_is_refused(module, x):
    summary = module.gather(x)
    with pytest.raises(SummaryError, match=r"^summary: it was gathered with round 1, and .* has 2"):
        check_summary(summary, module, x, round=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "gathered by another module of the same config than that of {}; each module reads"),
        ({"num_slices": 7}, "gathered by num_slices=512, and {} has num_slices=7"),
        ({"type": "flare"}, "gathered by 'transolver', and {} has 'flare'"),
    ],
    ids=["module", "option", "type"],
)
def test_what_another_module_gathered_is_refused(module, x, options, message):
    other = Summing(**options).double()
    summary = module.gather(x)
    with pytest.raises(SummaryError, match=re.escape(message.format("the call"))):
        other.read(x, summary)
    with pytest.raises(
        SummaryError, match=re.escape(message.format("another one").split(" and")[0])
    ):
        summary.merge(other.gather(x))


def test_other_random_numbers_are_refused(module, x):
    first, same, other = (module.gather(x, seed=torch.tensor([seed])) for seed in (7, 7, 8))
    assert first.merge(same).seed == 7
    with pytest.raises(SummaryError, match=r"give each of them the seed of the first"):
        first.merge(other)
    with pytest.raises(SummaryError, match="other random numbers"):
        module.gather(x).merge(first)


def test_a_summary_holds_no_module_alive(x):
    summary = Summing().double().gather(x).detach()
    gc.collect()
    assert summary.origin.module() is None


def test_a_copy_serves_modules_of_an_equal_config(module, x):
    summary = module.gather(x).detach()
    for twin in (copy.deepcopy(summary), pickle.loads(pickle.dumps(summary))):  # noqa: S301  our own bytes
        assert all(map(torch.equal, tensors(twin), tensors(summary)))
        module.read(x, twin)
        Summing().double().read(x, twin)
        with pytest.raises(SummaryError, match="num_slices=512, and the call has num_slices=7"):
            Summing(num_slices=7).double().read(x, twin)


def test_its_tensors_are_the_leaves_of_a_pytree(module, x):
    summary = module.gather(x, seed=torch.tensor([7]))
    leaves, structure = pytree.tree_flatten(summary)
    assert len(leaves) == 4
    twice = pytree.tree_unflatten([2 * leaf for leaf in leaves], structure)
    assert torch.equal(twice.parts["sums"].value, 2 * summary.parts["sums"].value)
    assert twice.seed == 14
    assert twice.origin == summary.origin
    assert structure == pytree.tree_structure(module.gather(x[:, :4], seed=torch.tensor([7])))

    paths = [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(summary)[0]]
    assert paths[0] == ".parts['latents']['mean']"


def test_graphs_of_compilers_take_and_return_it(module, x):
    def step(x, before):
        summary = before.merge(module.gather(x[:, :4]), module.gather(x[:, 4:]))
        return summary.detach(), module.read(x, summary)

    before = module.gather(x).detach()  # torch warns of graphs whose input has a graph of its own
    summary, y = torch.compile(step, fullgraph=True, backend="eager")(x, before)
    torch.testing.assert_close(
        (tensors(summary), y), (tensors(step(x, before)[0]), step(x, before)[1])
    )
    module.read(x, summary)


def test_it_names_its_type_and_parts(module, x):
    assert repr(module.gather(x)) == "Summary(transolver: latents, sums)"


@pytest.fixture
def saved(module, x, tmp_path):
    """Return a summary, and the file that it was saved to."""
    summary, file = (
        module.gather(x.detach(), seed=torch.tensor([7])),
        tmp_path / "summary.safetensors",
    )
    summary.save(file)
    return summary, file


def twin_of(module, **options):
    twin = Summing(**options).double()
    twin.load_state_dict(module.state_dict())
    return twin


def test_a_file_holds_it_for_any_module_of_its_config_and_weights(module, x, saved):
    summary, file = saved
    twin = twin_of(module)
    loaded = Summary.load(file, twin)
    assert list(loaded.parts) == list(summary.parts)
    assert all(map(torch.equal, tensors(loaded), tensors(summary)))
    assert loaded.origin == summary.origin._replace(module=loaded.origin.module)
    assert torch.equal(twin.read(x, loaded), module.read(x, summary))
    with pytest.raises(SummaryError, match="gathered by another module"):
        module.read(x, loaded)


def test_equal_summaries_give_equal_files(module, saved, tmp_path):
    summary, file = saved
    summary.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "flare"}, "was gathered by 'transolver', and the module is 'flare'"),
        ({"num_slices": 7}, "was gathered by a 'transolver' of another config than the module's"),
        ({}, "was gathered with other weights than the module has; load those, or gather anew"),
    ],
    ids=["type", "config", "weights"],
)
def test_a_file_is_refused_for_another_module(saved, options, message):
    with pytest.raises(SummaryError, match=re.escape(f"{saved[1]} {message}")):
        Summary.load(saved[1], Summing(**options).double())


def test_every_flipped_bit_of_a_file_is_found(module, saved):
    _, file = saved
    content = file.read_bytes()
    for place in (20, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(SavedModuleError, match=r"summary\.safetensors: "):
            Summary.load(file, module)


def test_files_of_others_are_refused(module, tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(SavedModuleError, match="holds no saved summary"):
        Summary.load(tmp_path / "other", module)


def test_without_its_module_it_is_not_saved(x, tmp_path):
    summary = copy.deepcopy(Summing().double().gather(x.detach()).detach())
    with pytest.raises(SummaryError, match="the module that gathered it is gone or unknown"):
        summary.save(tmp_path / "orphan")
    assert not list(tmp_path.iterdir())


def key_values(tokens, real=None):
    return KeyValues(
        torch.randn(BATCH, 1, tokens, WIDTH), torch.randn(BATCH, 1, tokens, WIDTH), real
    )


def test_numbered_keys_and_values_stand_in_their_order_however_they_were_merged(
    module, x, tmp_path
):
    real = torch.tensor([[True, False, True]] * BATCH)
    groups = [key_values(7), key_values(3, real), key_values(0)]
    parts = [
        Summary.of(module, x, parts={"kv": numbered(group, first)}, seed=torch.tensor([7]))
        for group, first in zip(groups, [0, 7, 10], strict=True)
    ]
    wanted = KeyValues.merged(groups)
    merged = parts[2].merge(parts[1], parts[0])
    merged.save(tmp_path / "numbered")
    for each in (merged, Summary.load(tmp_path / "numbered", module)):
        assert all(map(torch.equal, each.parts["kv"].in_order(), wanted))


def test_keys_and_values_are_put_one_behind_the_other_by_group(module, x, tmp_path):
    real = torch.ones(BATCH, 3, dtype=torch.bool)
    surface, more, volume = key_values(7), key_values(3, real), key_values(5)
    first = Summary.of(module, x, parts={"surface": surface})
    second = Summary.of(module, x, parts={"surface": more, "volume.inner": volume})
    merged = first.merge(second)
    assert merged.parts["surface"].keys.shape[2] == 10
    assert merged.parts["surface"].real.shape == (BATCH, 10)
    assert merged.parts["volume.inner"] is not None
    assert merged.nbytes == 4 * 2 * BATCH * 15 * WIDTH + 10 * BATCH

    assert pytree.tree_map(lambda tensor: tensor, first).parts["surface"].real is None
    merged.save(tmp_path / "groups")
    loaded = Summary.load(tmp_path / "groups", module)
    assert list(map(type, loaded.parts.values())) == [KeyValues, KeyValues]
    assert all(map(torch.equal, tensors(loaded), tensors(merged)))
    assert loaded.parts["volume.inner"].real is None
