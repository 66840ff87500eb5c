"""Arguments other than masks: each acts as its meaning says, and wrong ones are refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import attrs
import torch
from torch import Tensor, nn

from noether_core.errors import NoetherError, ShapeError, TokenGroupError
from noether_core.nn import KVCache
from noether_core.schemas import AttentionPattern, TokenSpec
from noether_core.testing import calls
from noether_core.testing.comparing import are_alike, check_close, check_refused
from noether_core.testing.contract import check
from noether_core.testing.subject import Subject, config_of

_ROTATED = 1e-4
"""Largest error that rotations in float32 leave."""

_NARROWEST = 2
"""Features that a rotation turns."""


@check("rope")
def check_rope(subject: Subject) -> None:
    """With `use_rope` frequencies are required and rotate queries and keys; else they are refused.

    Both alike, so that nothing but differences of positions counts.
    """
    if subject.config().head_dim < _NARROWEST:
        raise subject.failure("heads of the record's example are too narrow to rotate; widen them")
    module, points = subject.module(use_rope=True), _points(subject)
    arguments = _rotated(subject, module, points)
    _check_frequencies_are_required(subject, module, arguments)

    y = subject.call(module, arguments)
    if are_alike(subject.call(module, _rotated(subject, module, 2 * points)), y):
        raise subject.failure("with use_rope, frequencies do not change the result")
    shifted = subject.call(module, _rotated(subject, module, points + 0.5))
    problem = "with use_rope, a shift of all positions changes the result"
    remedy = "rotate queries and keys alike"
    check_close(shifted, y, f"{subject.type}: {problem}; {remedy}", tolerance=_ROTATED)


def _check_frequencies_are_required(
    subject: Subject, module: nn.Module, arguments: calls.Arguments
) -> None:
    """Check that frequencies are given exactly where a config says `use_rope`."""
    unrotated, plain = subject.module(), subject.arguments()
    for name in _frequencies_in(arguments):
        without = {key: value for key, value in arguments.items() if key != name}
        problem = f"{subject.type}: with use_rope a call without {name} must be refused"
        check_refused(lambda: subject.call(module, without), ShapeError, name, problem)  # noqa: B023  called at once

        beside = {**plain, name: arguments[name]}
        problem = f"{subject.type}: {name} must be refused where use_rope is false"
        check_refused(lambda: subject.call(unrotated, beside), NoetherError, name, problem)  # noqa: B023  called at once


def _frequencies_in(arguments: calls.Arguments) -> list[str]:
    return [name for name in arguments if name.endswith("freqs")]


def _points(subject: Subject) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    most = max(subject.sizes.tokens, subject.sizes.queries)
    return 4 * torch.rand(subject.sizes.batch, most, 2, generator=generator, dtype=torch.float64)


def _rotated(subject: Subject, module: nn.Module, points: Tensor) -> dict[str, object]:
    """Return a call whose tokens lie at *points*."""
    arguments, head_dim = subject.arguments(module), config_of(module).head_dim
    for name in _frequencies_in(arguments):
        count = subject.sizes.queries if name == "q_freqs" else subject.sizes.tokens
        arguments[name] = calls.frequencies(points[:, :count].to(subject.device), head_dim)
    return arguments


@check("positions")
def check_positions(subject: Subject) -> None:
    """`positions` change the result."""
    module, arguments = subject.module(), subject.arguments()
    other = {**arguments, "positions": subject.arguments(seed=5)["positions"]}
    if are_alike(subject.call(module, other), subject.call(module, arguments)):
        raise subject.failure(
            "other positions leave the result as it is; use them, or do not declare them"
        )


@check("token_specs")
def check_token_specs(subject: Subject) -> None:
    """`token_specs` must add up to the tokens, and act: with `num_types`, or where not needed."""
    module, arguments = subject.module(), subject.arguments()
    count = arguments[subject.signature.queries].shape[1]
    specs = calls.specs_of(subject.groups(), count)
    last = specs[-1]
    wrong = [*specs[:-1], TokenSpec(last.name, (last.size or 0) + 1)]
    problem = f"{subject.type}: token_specs that do not add up to the tokens must be refused"
    check_refused(
        lambda: subject.call(module, {**arguments, "token_specs": wrong}),
        TokenGroupError,
        "token_specs",
        problem,
    )

    if subject.is_sound(num_types=_DOMAINS):
        _check_domains(subject)
    elif "token_specs" not in subject.signature.required:
        grouped = subject.call(module, {**arguments, "token_specs": specs})
        if are_alike(grouped, subject.call(module, arguments)):
            raise subject.failure(
                "token_specs leave the result as it is; use them, do not declare them, or name "
                "groups that matter in the record's example_groups"
            )


def _check_domains(subject: Subject) -> None:
    """Check that each domain of groups has weights of its own under the option `num_types`."""
    module = subject.module(num_types=_DOMAINS)
    groups = calls.one_of_each_domain(subject.groups(module))
    if len(groups) != _DOMAINS:
        return  # the example has other domains
    arguments = subject.arguments(module)
    count = arguments[subject.signature.queries].shape[1]
    first, last = calls.specs_of(groups, count)
    one, other = (
        subject.call(module, {**arguments, "token_specs": specs})
        for specs in ([first, last], _one_moved(first, last))
    )
    if are_alike(one, other):
        raise subject.failure(
            "with num_types, a token gets the same in another domain; give each domain weights "
            "of its own, or call the option something else"
        )


def _one_moved(first: TokenSpec, last: TokenSpec) -> list[TokenSpec]:
    """Return two groups after the first took a token from the last."""
    return [
        TokenSpec(first.name, (first.size or 0) + 1),
        TokenSpec(last.name, (last.size or 0) - 1),
    ]


@check("context")
def check_context(subject: Subject) -> None:
    """`context` changes the result, whatever the order of its tokens; and needs `context_dim`.

    A context may have the heads behind the batch, each with its own tokens.
    """
    module, arguments = subject.module(), subject.arguments()
    context = subject.optional("context", arguments)
    if context is None:
        raise subject.failure("the record's example takes no context; give it a context_dim")
    y = subject.call(module, {**arguments, "context": context})
    if are_alike(subject.call(module, {**arguments, "context": context + 1}), y):
        raise subject.failure("another context leaves the result as it is; use it")

    reversed_context = context.flip(1)
    problem = "the order of the tokens of a context changes the result"
    got = subject.call(module, {**arguments, "context": reversed_context})
    check_close(got, y, f"{subject.type}: {problem}")

    by_head = context.unsqueeze(1).repeat(1, subject.config().num_heads, 1, 1)
    problem = "a context of every head that is the same for all changes the result"
    got = subject.call(module, {**arguments, "context": by_head})
    check_close(got, y, f"{subject.type}: {problem}")
    _check_context_needs_width(subject, context)


def _check_context_needs_width(subject: Subject, context: Tensor) -> None:
    if not subject.is_sound(context_dim=None):
        return
    module = subject.module(context_dim=None)
    arguments = {**subject.arguments(module), "context": context}
    problem = f"{subject.type}: a context must be refused where context_dim is None"
    check_refused(lambda: subject.call(module, arguments), NoetherError, "context", problem)


@check("attention_patterns", needs="gradients")
def check_attention_patterns(subject: Subject) -> None:
    """Tokens attend to the groups that their pattern in `attention_patterns` names alone."""
    module, arguments = subject.module(), subject.arguments()
    spans = calls.spans_of(arguments["token_specs"])
    patterns = [AttentionPattern((name,), (name,)) for name in spans]
    patterned = {**arguments, "attention_patterns": patterns}
    for (name, own), (other, others) in itertools.permutations(spans.items(), 2):
        if not _attends(module, arguments, own, others):
            raise subject.failure(
                f"without attention_patterns {name!r} does not attend to {other!r}"
            )
        if _attends(module, patterned, own, others):
            raise subject.failure(f"{name!r} attends to {other!r}, which its pattern does not name")


def _attends(module: nn.Module, arguments: calls.Arguments, own: slice, others: slice) -> bool:
    """Return whether some tokens attend to some others."""
    tokens = arguments["x"].clone().requires_grad_()
    y = module(**{**arguments, "x": tokens})
    (gradient,) = torch.autograd.grad(y[:, own].square().sum(), tokens)
    return bool(gradient[:, others].any())


@check("kv_cache")
def check_kv_cache(subject: Subject) -> None:
    """A call that fills `kv_cache`, and a later one that uses it, have the results of one without.

    The later call gives no tokens whose keys and values are cached.
    """
    module = subject.module(use_rope=True) if subject.honours("rope") else subject.module()
    arguments, cache = subject.arguments(module), KVCache()
    plain = subject.call(module, arguments)
    filling = subject.call(module, {**arguments, "kv_cache": cache})
    problem = "a call that fills a kv_cache has another result than one without"
    check_close(filling, plain, f"{subject.type}: {problem}")
    if not len(cache):
        raise subject.failure("a call leaves its kv_cache empty")

    later, rows = _later_call(subject, arguments)
    using = subject.call(module, {**later, "kv_cache": cache})
    problem = "a call with keys from its kv_cache has another result than one that makes them"
    check_close(using, plain[:, rows], f"{subject.type}: {problem}")


def _later_call(subject: Subject, arguments: calls.Arguments) -> tuple[dict[str, object], Tensor]:
    """Return a call without the tokens that are cached, and the rows of the result it still has."""
    if subject.variant.interface == "cross":
        later = {key: value for key, value in arguments.items() if key != "k_freqs"}
        return {**later, "kv": None}, torch.arange(subject.sizes.queries, device=subject.device)

    specs, groups = arguments["token_specs"], subject.groups()
    cached = {name for name, size in groups.items() if size is not None} or {specs[-1].name}
    kept = [
        torch.arange(span.start, span.stop)
        for name, span in calls.spans_of(specs).items()
        if name not in cached
    ]
    rows = torch.cat(kept).to(subject.device)
    later = calls.each_tensor(lambda tensor: tensor[:, rows], arguments)
    # A group of no size is one whose keys and values are in the cache.
    later["token_specs"] = [
        TokenSpec(spec.name, None) if spec.name in cached else spec for spec in specs
    ]
    return later, rows


_DOMAINS = 2
"""Domains with weights of their own, where there is an option for it."""


@attrs.frozen
class _Wrong:
    """An argument that is to be refused."""

    names: tuple[str, ...]
    """What it is called, by interface."""

    fault: str
    spoil: Callable[[Tensor], Tensor]
    """Makes a sound value wrong."""


_TOKENS = ("x", "q", "kv")
_FREQUENCIES = ("freqs", "q_freqs", "k_freqs")
_MASK, _PADDING, _POSITIONS = ("attn_mask",), ("key_padding_mask",), ("positions",)
_CONTEXT = ("context",)

_WRONG_SHAPES = (
    _Wrong(_TOKENS, "two axes", lambda tokens: tokens[0]),
    _Wrong(_TOKENS, "four axes", lambda tokens: tokens[..., None]),
    _Wrong(_TOKENS, "another width", lambda tokens: tokens[..., :-1]),
    _Wrong(_PADDING, "too few tokens", lambda mask: mask[:, :-1]),
    _Wrong(_PADDING, "one sample for many", lambda mask: mask[:1]),
    _Wrong(_PADDING, "three axes", lambda mask: mask[:, None]),
    _Wrong(_MASK, "too few keys", lambda mask: mask[:, :-1]),
    _Wrong(_MASK, "five axes", lambda mask: mask[None, None, None]),
    _Wrong(_POSITIONS, "too few tokens", lambda points: points[:, :-1]),
    _Wrong(_POSITIONS, "two axes", lambda points: points[0]),
    _Wrong(_CONTEXT, "two axes", lambda context: context[0]),
    _Wrong(_CONTEXT, "another width", lambda context: context[..., :-1]),
    _Wrong(_CONTEXT, "one sample for many", lambda context: context[:1]),
    _Wrong(_FREQUENCIES, "too few tokens", lambda freqs: freqs[:, :-1]),
    _Wrong(_FREQUENCIES, "too wide", lambda freqs: torch.cat([freqs, freqs], dim=-1)),
)

_WRONG_DTYPES = (
    _Wrong(_TOKENS, "integers", lambda tokens: tokens.long()),
    _Wrong(_TOKENS, "complex numbers", lambda tokens: tokens.to(torch.complex128)),
    _Wrong(_PADDING, "floating numbers", lambda mask: mask.double()),
    _Wrong(_MASK, "integers", lambda mask: mask.long()),
    _Wrong(_POSITIONS, "integers", lambda points: points.long()),
    _Wrong(_CONTEXT, "integers", lambda context: context.long()),
    _Wrong(_FREQUENCIES, "real numbers", lambda freqs: freqs.real),
)


@check()
def check_refuses_wrong_shapes(subject: Subject) -> None:
    """A tensor of a wrong shape is refused by a ShapeError that names the argument."""
    _check_each_refused(subject, _WRONG_SHAPES)


@check()
def check_refuses_wrong_dtypes(subject: Subject) -> None:
    """A tensor of a wrong kind of numbers is refused by a ShapeError that names the argument."""
    _check_each_refused(subject, _WRONG_DTYPES)


def _check_each_refused(subject: Subject, wrongs: tuple[_Wrong, ...]) -> None:
    sound = list(_sound_calls(subject))
    for wrong in wrongs:
        for module, arguments in sound:
            for name in arguments.keys() & set(wrong.names):
                spoilt = {**arguments, name: wrong.spoil(arguments[name])}
                problem = f"{subject.type}: {name} with {wrong.fault} must be refused"
                remedy = "noether_core.nn has checks for it"
                check_refused(
                    lambda: subject.call(module, spoilt),  # noqa: B023  called at once
                    ShapeError,
                    name,
                    f"{problem}; {remedy}",
                )


def _sound_calls(subject: Subject) -> Iterator[tuple[nn.Module, calls.Arguments]]:
    """Yield modules with calls that they take: with every mask, and with rotations."""
    module = subject.module()
    for arguments in subject.each_call(module):
        yield module, arguments
    if subject.honours("rope"):
        rotating = subject.module(use_rope=True)
        yield rotating, subject.arguments(rotating)
