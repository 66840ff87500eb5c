"""Which tokens attend to which: across samples, in any order, and under masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noether_core.testing import calls
from noether_core.testing.comparing import are_alike, check_close
from noether_core.testing.contract import check
from noether_core.testing.gradients import are_finite, gradients_of
from noether_core.testing.subject import Subject


@check()
def check_batch_independence(subject: Subject) -> None:
    """Samples of a batch do not see each other."""
    module = subject.module()
    for arguments in subject.each_call(module):
        # A cache is no tensor, and a mask over pairs has no samples.
        if "kv_cache" in arguments or "attn_mask" in arguments:
            continue
        together = subject.call(module, arguments)
        alone = [
            subject.call(module, calls.samples(arguments, slice(i, i + 1)))
            for i in range(subject.sizes.batch)
        ]
        problem = f"{subject.type}: a sample alone has another result than in a batch"
        check_close(together, torch.cat(alone), problem)


@check()
def check_tokens_see_each_other(subject: Subject) -> None:
    """What a token gets depends on other tokens, in each sample."""
    module, arguments, keys = subject.module(), subject.arguments(), subject.signature.keys
    y = subject.call(module, arguments)
    is_changed = torch.zeros(y.shape[0], dtype=torch.bool, device=y.device)
    for token in range(subject.sizes.tokens):
        tokens = arguments[keys].clone()
        tokens[:, token] = tokens[:, token] * 2 + 1
        change = (subject.call(module, {**arguments, keys: tokens}) - y).abs().amax(-1)
        if subject.signature.is_of_one_set:
            change[:, token] = 0  # its own result changes in any case
        is_changed |= (change > 0).any(-1)
    if not is_changed.all():
        raise subject.failure("no token changes what another token gets; it is no attention")


@check("permutation")
def check_permutation(subject: Subject) -> None:
    """Tokens in another order, with all that belongs to them, get the same results in that order.

    Within their groups, where tokens are grouped; queries and keys each by themselves.
    """
    module, sizes = subject.module(), subject.sizes
    for arguments in subject.each_call(module):
        if "attn_mask" in arguments or "kv_cache" in arguments:
            continue
        groups = [spec.size for spec in arguments.get("token_specs", [])]
        if subject.signature.is_of_one_set:
            keys = queries = _order(groups or [sizes.tokens], subject.device)
        else:
            queries = _order(groups or [sizes.queries], subject.device)
            keys = _order([sizes.tokens], subject.device)
        permuted = _permuted(arguments, queries, keys)
        wanted = subject.call(module, arguments)[:, queries]
        problem = "permuted tokens do not get their results in the permuted order"
        check_close(
            subject.call(module, permuted), wanted, f"{subject.type}: {problem}; drop 'permutation'"
        )


def _permuted(arguments: calls.Arguments, queries: Tensor, keys: Tensor) -> dict[str, object]:
    def permute(tensor: Tensor, is_of_queries: bool) -> Tensor:
        return tensor[:, queries if is_of_queries else keys]

    return calls.on_tokens(permute, arguments)


def _order(groups: Sequence[int], device: str) -> Tensor:
    """Return an order of tokens that leaves each in its group, of so many."""
    generator = torch.Generator().manual_seed(2)
    orders, start = [], 0
    for size in groups:
        orders.append(start + torch.randperm(size, generator=generator))
        start += size
    return torch.cat(orders).to(device)


@check("attn_mask", needs="gradients")
def check_attn_mask(subject: Subject) -> None:
    """A query attends to no key that `attn_mask` hides; its numbers are added to the logits."""
    module, arguments = subject.module(), subject.arguments()
    mask = subject.optional("attn_mask", arguments)
    y = subject.call(module, {**arguments, "attn_mask": mask})
    _check_hidden_keys(subject, module, arguments, mask)

    zeros = torch.zeros(mask.shape, dtype=y.dtype, device=y.device)
    added = zeros.masked_fill(~mask, float("-inf"))
    problem = "an attn_mask of minus infinities has not the result of a boolean one"
    got = subject.call(module, {**arguments, "attn_mask": added})
    check_close(got, y, f"{subject.type}: {problem}")

    tilted = added + torch.arange(mask.shape[1], device=y.device) / mask.shape[1]
    if are_alike(subject.call(module, {**arguments, "attn_mask": tilted}), y):
        raise subject.failure("the numbers of a floating attn_mask are not added to the logits")


def _check_hidden_keys(
    subject: Subject, module: nn.Module, arguments: calls.Arguments, mask: Tensor
) -> None:
    """Check by gradients which tokens some queries attend to under *mask*."""
    name = subject.signature.keys
    for query in (0, mask.shape[0] // 2):
        tokens = arguments[name].clone().requires_grad_()
        y = module(**{**arguments, name: tokens, "attn_mask": mask})
        (gradient,) = torch.autograd.grad(y[0, query].square().sum(), tokens)
        hidden = ~mask[query]
        if subject.signature.is_of_one_set:
            hidden[query] = False  # it makes the query, whatever the mask hides
        if gradient[0, hidden].any():
            raise subject.failure(f"query {query} attends to tokens that attn_mask hides from it")


@check("key_padding_mask", needs="gradients")
def check_key_padding_mask(subject: Subject) -> None:
    """Padding reaches no real token: it may hold anything, NaN too, or not be there at all."""
    module, arguments = subject.module(), subject.arguments()
    mask = subject.optional("key_padding_mask", arguments)
    _check_content_of_padding(subject, module, arguments, mask)
    _check_undefined_padding(subject, module)
    if subject.honours("rope") and subject.config().head_dim > 1:
        _check_undefined_padding(subject, subject.module(use_rope=True))

    kept = int(mask.sum(dim=1).min())
    real = (torch.arange(mask.shape[1], device=mask.device) < kept).expand_as(mask)
    short = subject.call(module, calls.shortened(arguments, kept))
    padded = subject.call(module, {**arguments, "key_padding_mask": real})
    problem = f"{subject.type}: real tokens get something else beside padding than without it"
    check_close(padded[:, : short.shape[1]], short, problem)

    whole = subject.call(module, {**arguments, "key_padding_mask": torch.ones_like(mask)})
    problem = f"{subject.type}: a key_padding_mask that hides nothing changes the result"
    check_close(whole, subject.call(module, arguments), problem)


def _check_content_of_padding(
    subject: Subject, module: nn.Module, arguments: calls.Arguments, mask: Tensor
) -> None:
    """Check that other numbers in padding leave the results of real tokens as they are."""
    other = subject.arguments(seed=3)
    replaced = {
        name: torch.where(mask[..., None], value, other[name])
        for name, value in arguments.items()
        if isinstance(value, Tensor) and not value.is_complex() and value.shape[:2] == mask.shape
    }
    y = subject.call(module, {**arguments, "key_padding_mask": mask})
    again = subject.call(module, {**arguments, **replaced, "key_padding_mask": mask})
    if subject.signature.is_of_one_set:
        y, again = y[mask], again[mask]  # rows of padding mean nothing
    check_close(again, y, f"{subject.type}: what stands in padding changes what real tokens get")


def _check_undefined_padding(subject: Subject, module: nn.Module) -> None:
    """Check that NaN in padding reaches no result of real tokens and no gradient."""
    arguments = subject.arguments(module)
    mask = subject.optional("key_padding_mask", arguments)

    def outcome(number: float) -> tuple[Tensor, Tensor]:
        def fill(tensor: Tensor, is_of_queries: bool) -> Tensor:
            return tensor if is_of_queries else tensor.masked_fill(~mask[..., None], number)

        filled = calls.on_tokens(fill, arguments)
        y = subject.call(module, {**filled, "key_padding_mask": mask})
        y = y[mask] if subject.signature.is_of_one_set else y  # rows of padding mean nothing
        named = gradients_of(module, y)
        # All as one: some are zero but for rounding, as that of the keys' bias, and no scale.
        return y, torch.cat([each.flatten() for each in named.values() if each is not None])

    y, gradients = outcome(float("nan"))
    wanted, wanted_gradients = outcome(0.0)
    remedy = "put zeros there first, by noether_core.nn.zero_padding"
    check_close(y, wanted, f"{subject.type}: NaN in padding reaches real tokens; {remedy}")
    problem = f"{subject.type}: NaN in padding reaches gradients of parameters; {remedy}"
    check_close(gradients, wanted_gradients, problem)


@check("key_padding_mask", "attn_mask", needs="gradients")
def check_all_keys_hidden(subject: Subject) -> None:
    """A query that may attend to no key gets finite numbers and passes finite gradients."""
    module, plain = subject.module(), subject.arguments()
    for argument in ("key_padding_mask", "attn_mask"):
        if not subject.honours(argument):
            continue
        mask = torch.zeros_like(subject.optional(argument, plain))
        y = subject.call(module, {**plain, argument: mask})
        if not are_finite(y, gradients_of(module, y)):
            raise subject.failure(
                f"a {argument} that hides everything gives numbers or gradients that are not "
                "finite; noether_core.nn.attend gives zeros"
            )
