"""Arguments that a record says are honoured: each acts, and as its meaning says."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from noether_core.errors import NoetherError, ShapeError, TokenGroupError
from noether_core.nn import KVCache
from noether_core.schemas import AttentionPattern, TokenSpec
from noether_core.testing import calls
from noether_core.testing.comparing import are_alike, check_close, check_refused
from noether_core.testing.failures import CheckFailed
from noether_core.testing.gradients import are_finite, gradients_of
from noether_core.testing.promises import promise
from noether_core.testing.subject import Subject, config_of

_TURNED = 1e-4
"""Largest error that rotations in float32 leave."""


_NARROWEST = 2
"""Features that a rotation turns."""


@promise("attn_mask")
def check_attn_mask(subject: Subject) -> None:
    """With `attn_mask` a query reads no key that the mask hides; numbers are added to the logits."""
    module, arguments = subject.module(), subject.arguments()
    mask = subject.optional("attn_mask", arguments)
    y = subject.call(module, {**arguments, "attn_mask": mask})
    _check_hidden_keys(subject, module, arguments, mask)

    added = torch.zeros(mask.shape, dtype=y.dtype, device=y.device).masked_fill(
        ~mask, float("-inf")
    )
    told = f"{subject.type}: an attn_mask of minus infinities has not the result of a boolean one"
    check_close(subject.call(module, {**arguments, "attn_mask": added}), y, told)
    tilted = added + torch.arange(mask.shape[1], device=y.device) / mask.shape[1]
    if are_alike(subject.call(module, {**arguments, "attn_mask": tilted}), y):
        raise CheckFailed(
            f"{subject.type}: the numbers of a floating attn_mask are not added to the logits"
        )


def _check_hidden_keys(
    subject: Subject, module: nn.Module, arguments: calls.Arguments, mask: Tensor
) -> None:
    """Check by gradients which tokens some queries read under *mask*; a token that reads others is
    its own query.
    """
    read = calls.READ[subject.variant.interface]
    is_self = read == calls.ASKING[subject.variant.interface]
    for query in (0, mask.shape[0] // 2):
        tokens = arguments[read].clone().requires_grad_()
        y = module(**{**arguments, read: tokens, "attn_mask": mask})
        (gradient,) = torch.autograd.grad(y[0, query].square().sum(), tokens)
        hidden = ~mask[query]
        if is_self:
            hidden = hidden.index_fill(0, torch.tensor(query, device=mask.device), value=False)
        if gradient[0, hidden].any():
            raise CheckFailed(
                f"{subject.type}: query {query} reads tokens that attn_mask hides from it"
            )


@promise("key_padding_mask")
def check_key_padding_mask(subject: Subject) -> None:
    """Padding has no influence on what real tokens get: it may hold anything, or not be there at
    all.
    """
    module, arguments = subject.module(), subject.arguments()
    mask = subject.optional("key_padding_mask", arguments)
    y = subject.call(module, {**arguments, "key_padding_mask": mask})
    is_cross = subject.variant.interface == "cross"

    other = subject.arguments(seed=3)
    replaced = {
        name: torch.where(mask[..., None], value, other[name])
        for name, value in arguments.items()
        if isinstance(value, Tensor) and not value.is_complex() and value.shape[:2] == mask.shape
    }
    told = f"{subject.type}: what stands in padding changes what real tokens get"
    chosen = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device) if is_cross else mask
    again = subject.call(module, {**arguments, **replaced, "key_padding_mask": mask})
    check_close(again[chosen], y[chosen], told)

    kept = int(mask.sum(dim=1).min())
    real = (torch.arange(mask.shape[1], device=mask.device) < kept).expand_as(mask)
    short = subject.call(module, calls.shortened(arguments, kept))
    padded = subject.call(module, {**arguments, "key_padding_mask": real})
    told = f"{subject.type}: real tokens get something else beside padding than without it"
    check_close(padded[:, : short.shape[1]], short, told)

    whole = subject.call(module, {**arguments, "key_padding_mask": torch.ones_like(mask)})
    told = f"{subject.type}: a key_padding_mask that hides nothing changes the result"
    check_close(whole, subject.call(module, arguments), told)


@promise("key_padding_mask", "attn_mask")
def check_nothing_to_read(subject: Subject) -> None:
    """A query that may read no key gets finite numbers, and finite gradients pass through it."""
    module, plain = subject.module(), subject.arguments()
    for argument in ("key_padding_mask", "attn_mask"):
        if not subject.honours(argument):
            continue
        mask = torch.zeros_like(subject.optional(argument, plain))
        y = subject.call(module, {**plain, argument: mask})
        if not are_finite(y, gradients_of(module, y)):
            raise CheckFailed(
                f"{subject.type}: a {argument} that hides everything gives numbers or gradients that are not finite; "
                "noether_core.nn.attend gives zeros"
            )


@promise("rope")
def check_rope(subject: Subject) -> None:
    """With `use_rope` frequencies are required, and rotate queries and keys alike.

    So that differences of positions count. Without it, frequencies are refused by name.
    """
    if subject.config().head_dim < _NARROWEST:
        raise CheckFailed(
            f"{subject.type}: the heads of the record's example are too narrow to rotate; give them two"
        )
    module, points = subject.module(use_rope=True), _points(subject)
    arguments = _rotated(subject, module, points)
    for name in (name for name in arguments if name.endswith("freqs")):
        told = f"{subject.type}: with use_rope a call without {name} must be refused"
        without = {key: value for key, value in arguments.items() if key != name}
        check_refused(lambda: subject.call(module, without), ShapeError, name, told)  # noqa: B023  called at once

    still, plain = subject.module(), subject.arguments()
    for name in (name for name in arguments if name.endswith("freqs")):
        told = f"{subject.type}: {name} must be refused where use_rope is false"
        turned = {**plain, name: arguments[name]}
        check_refused(lambda: subject.call(still, turned), NoetherError, name, told)  # noqa: B023  called at once

    y = subject.call(module, arguments)
    if are_alike(subject.call(module, _rotated(subject, module, 2 * points)), y):
        raise CheckFailed(f"{subject.type}: with use_rope, frequencies do not change the result")
    told = f"{subject.type}: with use_rope, a shift of all places changes the result; rotate queries and keys alike"
    check_close(
        subject.call(module, _rotated(subject, module, points + 0.5)), y, told, tolerance=_TURNED
    )


def _points(subject: Subject) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    most = max(subject.sizes.tokens, subject.sizes.queries)
    return 4 * torch.rand(subject.sizes.batch, most, 2, generator=generator, dtype=torch.float64)


def _rotated(subject: Subject, module: nn.Module, points: Tensor) -> dict[str, object]:
    """Return a call whose tokens stand at *points*."""
    arguments, head_dim = subject.arguments(module), config_of(module).head_dim
    for name in [name for name in arguments if name.endswith("freqs")]:
        count = subject.sizes.queries if name == "q_freqs" else subject.sizes.tokens
        arguments[name] = calls.frequencies(points[:, :count].to(subject.device), head_dim)
    return arguments


@promise("positions")
def check_positions(subject: Subject) -> None:
    """`positions` change the result."""
    module, arguments = subject.module(), subject.arguments()
    other = {**arguments, "positions": subject.arguments(seed=5)["positions"]}
    if are_alike(subject.call(module, other), subject.call(module, arguments)):
        raise CheckFailed(
            f"{subject.type}: other positions leave the result as it is; read them, or refuse them"
        )


@promise("token_specs")
def check_token_specs(subject: Subject) -> None:
    """`token_specs` are looked at: sizes that do not add up are refused, and where none need be
    given, some act.
    """
    module, arguments = subject.module(), subject.arguments()
    specs = calls.specs_of(subject.variant.example_groups, subject.sizes.tokens)
    wrong = [*specs[:-1], TokenSpec(specs[-1].name, (specs[-1].size or 0) + 1)]
    told = f"{subject.type}: token_specs whose sizes do not add up to the tokens must be refused"
    check_refused(
        lambda: subject.call(module, {**arguments, "token_specs": wrong}),
        TokenGroupError,
        "token_specs",
        told,
    )
    if subject.variant.interface == "self":
        grouped = subject.call(module, {**arguments, "token_specs": specs})
        if are_alike(grouped, subject.call(module, arguments)):
            raise CheckFailed(
                f"{subject.type}: token_specs leave the result as it is; read them, refuse them, or name groups that "
                "matter in the record's example_groups"
            )


@promise("attention_patterns")
def check_attention_patterns(subject: Subject) -> None:
    """Tokens read the groups that their pattern in `attention_patterns` names, and no others."""
    module, arguments = subject.module(), subject.arguments()
    spans = calls.spans_of(arguments["token_specs"])
    patterns = [AttentionPattern((name,), (name,)) for name in spans]
    for (name, own), (other, others) in itertools.permutations(spans.items(), 2):
        if not _reads(module, {**arguments}, own, others):
            raise CheckFailed(
                f"{subject.type}: without attention_patterns {name!r} does not read {other!r}"
            )
        if _reads(module, {**arguments, "attention_patterns": patterns}, own, others):
            raise CheckFailed(
                f"{subject.type}: {name!r} reads {other!r}, which its pattern does not name"
            )


def _reads(module: nn.Module, arguments: calls.Arguments, own: slice, others: slice) -> bool:
    """Return whether some tokens read some others."""
    tokens = arguments["x"].clone().requires_grad_()
    y = module(**{**arguments, "x": tokens})
    (gradient,) = torch.autograd.grad(y[:, own].square().sum(), tokens)
    return bool(gradient[:, others].any())


@promise("kv_cache")
def check_kv_cache(subject: Subject) -> None:
    """A call that fills `kv_cache` has the result of one without, and so has a later call that
    reads from it.
    """
    module = subject.module(use_rope=True) if subject.honours("rope") else subject.module()
    arguments, cache = subject.arguments(module), KVCache()
    plain = subject.call(module, arguments)
    told = f"{subject.type}: a call that fills a kv_cache has another result than one without"
    check_close(subject.call(module, {**arguments, "kv_cache": cache}), plain, told)
    if not len(cache):
        raise CheckFailed(f"{subject.type}: a call leaves its kv_cache empty")

    later, rows = _call_from_cache(subject, arguments)
    told = f"{subject.type}: a call that reads keys from kv_cache has another result than one that makes them"
    check_close(subject.call(module, {**later, "kv_cache": cache}), plain[:, rows], told)


def _call_from_cache(
    subject: Subject, arguments: calls.Arguments
) -> tuple[dict[str, object], Tensor]:
    """Return a call without some of the tokens that are read, and the rows of the result that it
    still has.
    """
    if subject.variant.interface == "cross":
        later = {key: value for key, value in arguments.items() if key != "k_freqs"}
        return {**later, "kv": None}, torch.arange(subject.sizes.queries, device=subject.device)
    specs, groups = arguments["token_specs"], subject.variant.example_groups or calls.GROUPS
    cached = {name for name, size in groups.items() if size is not None} or {specs[-1].name}
    spans = calls.spans_of(specs).items()
    rows = torch.cat(
        [torch.arange(span.start, span.stop) for name, span in spans if name not in cached]
    )
    rows = rows.to(subject.device)
    later = calls.on_tokens(lambda tensor, _: tensor[:, rows], arguments)
    return {
        **later,
        "token_specs": [TokenSpec(s.name, None) if s.name in cached else s for s in specs],
    }, rows
