"""Who sees whom: samples, tokens, and their order."""

from __future__ import annotations

import torch
from torch import Tensor

from noether_core.testing import calls
from noether_core.testing.comparing import check_close
from noether_core.testing.failures import CheckFailed
from noether_core.testing.promises import promise
from noether_core.testing.subject import Subject


def check_batch_independence(subject: Subject) -> None:
    """Samples of a batch do not see each other."""
    module = subject.module()
    for arguments in subject.each_call(module):
        if (
            "kv_cache" in arguments or "attn_mask" in arguments
        ):  # a cache is no tensor, a mask of pairs has no samples
            continue
        together = subject.call(module, arguments)
        alone = [
            subject.call(module, calls.samples(arguments, slice(i, i + 1)))
            for i in range(subject.sizes.batch)
        ]
        check_close(
            together,
            torch.cat(alone),
            f"{subject.type}: a sample alone has another result than in a batch",
        )


def check_tokens_see_each_other(subject: Subject) -> None:
    """What a token gets depends on other tokens: on some that are read, in each sample."""
    module, arguments = subject.module(), subject.arguments()
    read = calls.READ[subject.variant.interface]
    y = subject.call(module, arguments)
    seen = torch.zeros(y.shape[0], dtype=torch.bool, device=y.device)
    for token in range(subject.sizes.tokens):
        changed = arguments[read].clone()
        changed[:, token] = changed[:, token] * 2 + 1
        moved = (subject.call(module, {**arguments, read: changed}) - y).abs().amax(-1)
        if read == calls.ASKING[subject.variant.interface]:
            moved[:, token] = 0
        seen |= (moved > 0).any(-1)
    if not seen.all():
        raise CheckFailed(
            f"{subject.type}: no token changes what another token gets; it is no attention"
        )


@promise("permutation")
def check_permutation(subject: Subject) -> None:
    """Tokens in another order, with all that belongs to them, get the same results in that order.

    Within their groups, where tokens are grouped; tokens that ask and tokens that are read each by
    themselves.
    """
    module = subject.module()
    for arguments in subject.each_call(module):
        if "attn_mask" in arguments or "kv_cache" in arguments:
            continue
        order = _order(subject, arguments)
        asking = torch.arange(subject.sizes.queries - 1, -1, -1, device=subject.device)
        permuted = calls.on_tokens(
            lambda tensor, is_asking: tensor[:, asking if is_asking else order],  # noqa: B023  used within the loop
            arguments,
        )
        told = f"{subject.type}: permuted tokens do not get their results in the permuted order; drop 'permutation'"
        own = asking if subject.variant.interface == "cross" else order
        check_close(subject.call(module, permuted), subject.call(module, arguments)[:, own], told)


def _order(subject: Subject, arguments: calls.Arguments) -> Tensor:
    """Return an order of the tokens that leaves each in its group."""
    generator = torch.Generator().manual_seed(2)
    sizes = [spec.size for spec in arguments.get("token_specs", [])] or [subject.sizes.tokens]
    parts, start = [], 0
    for size in sizes:
        parts.append(start + torch.randperm(size, generator=generator))
        start += size
    return torch.cat(parts).to(subject.device)
