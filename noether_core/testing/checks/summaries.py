"""What tokens contribute to attention and what they get of it, apart: gather, merge and read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from noether_core.errors import SummaryError
from noether_core.nn import Summary
from noether_core.nn.parts import gather_in_parts, read_in_parts
from noether_core.schemas import TokenSpec
from noether_core.testing.comparing import check_close, check_refused
from noether_core.testing.contract import check
from noether_core.testing.subject import Subject

_BY_TOKEN = frozenset({"key_padding_mask", "token_specs"})
"""Arguments that belong to tokens, and that calls of these checks have."""

_TOO_FAR = 0.25
"""How far an exponent that is measured may be from the promised one."""


@check("summary")
def check_summary(subject: Subject) -> None:
    """Tokens that are gathered in parts, merged in any order, and read in parts get the whole's."""
    module = subject.module()
    for arguments in _calls(subject, module):
        for sizes in _splits(subject.sizes.tokens):
            _check_split(subject, module, arguments, sizes)
    _check_bytes(subject, module)
    _check_laws(subject, module)
    _check_refusals(subject, module)


@check("summary")
def check_summary_draws(subject: Subject) -> None:
    """In training, noise and dropout are the same for a token however tokens are cut."""
    changes: dict[str, Any] = {"dropout": 0.3} if subject.is_sound(dropout=0.3) else {}
    module = subject.module(**changes).train()
    arguments = subject.arguments(module)
    whole, *others = _splits(subject.sizes.tokens)
    wanted = _in_parts(subject, module, arguments, whole)
    for sizes in others:
        problem = "parts of the tokens draw other noise or dropout than all of them at once"
        got = _in_parts(subject, module, arguments, sizes)
        check_close(got, wanted, f"{subject.type}: {problem}")

    cut = _cut(subject, arguments, others[-1])
    with subject.seeded(0):
        summaries = _gathered_backwards(module, cut.contributing)
        got = torch.cat(list(read_in_parts(module, cut.reading, summaries, **cut.shared)), dim=1)
    problem = "parts that are merged in another order draw other noise or dropout"
    check_close(got, wanted, f"{subject.type}: {problem}")


def _calls(subject: Subject, module: nn.Module) -> Iterator[dict[str, Any]]:
    """Yield calls of which all that belongs to tokens can be cut."""
    names = {subject.signature.queries, subject.signature.keys, "context", *_BY_TOKEN}
    plain = subject.arguments(module)
    for arguments in subject.each_call(module):
        # Groups that a call can do without choose who contributes, and not what.
        if arguments.keys() <= names and ("token_specs" in arguments) == ("token_specs" in plain):
            yield arguments


def _splits(tokens: int) -> list[list[int]]:
    """Return sizes of parts: the whole, an empty one first, single tokens, uneven ones."""
    return [[tokens], [0, tokens], [1, tokens - 5, 0, 1, 3]]


def _check_split(
    subject: Subject, module: nn.Module, arguments: Mapping[str, Any], sizes: list[int]
) -> None:
    """Check that parts of some sizes get what one call gives, values and gradients."""
    names = {subject.signature.queries, subject.signature.keys}
    leaves = {name: arguments[name].clone().requires_grad_() for name in sorted(names)}
    own, mask = {**arguments, **leaves}, arguments.get("key_padding_mask")
    wanted = module(**own)
    got = _in_parts(subject, module, own, sizes)
    if mask is not None and subject.signature.is_of_one_set:  # rows of padding mean nothing
        got, wanted = got[mask], wanted[mask]

    text = f"tokens in parts of {sizes}"
    check_close(got, wanted, f"{subject.type}: {text} get something else than all at once")
    problem = f"{subject.type}: {text} have other gradients than all at once"
    sources = [*leaves.values(), *module.parameters()]
    check_close(_gradient(sources, got), _gradient(sources, wanted), problem)


class _Cut(NamedTuple):
    """A call in parts."""

    contributing: list[dict[str, Any]]
    """Tokens that are gathered, as ``x``, and what belongs to them."""

    reading: list[dict[str, Any]]
    """Tokens that read, likewise."""

    shared: dict[str, Any]
    """What all that read have in common."""


def _cut(subject: Subject, arguments: Mapping[str, Any], sizes: Sequence[int]) -> _Cut:
    signature = subject.signature
    by_token = {name: arguments[name] for name in _BY_TOKEN if name in arguments}
    of_queries: dict[str, Any] = {}
    if not signature.is_of_one_set and "token_specs" in by_token:  # they are those of the queries
        of_queries["token_specs"] = by_token.pop("token_specs")
    contributing = list(_parts(arguments[signature.keys], by_token, sizes))
    shared = {name: arguments[name] for name in ("context",) if name in arguments}
    if signature.is_of_one_set:
        return _Cut(contributing, contributing, shared)

    queries = arguments[signature.queries]
    some = [1, queries.shape[1] - 1] if len(sizes) > 1 else [queries.shape[1]]
    return _Cut(contributing, list(_parts(queries, of_queries, some)), shared)


def _parts(
    x: Tensor, by_token: Mapping[str, Any], sizes: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield tokens in parts, with their mask and their groups."""
    bounds = [0, *itertools.accumulate(sizes)]
    for start, stop in itertools.pairwise(bounds):
        part: dict[str, Any] = {"x": x[:, start:stop]}
        if "key_padding_mask" in by_token:
            part["key_padding_mask"] = by_token["key_padding_mask"][:, start:stop]
        if "token_specs" in by_token:
            part["token_specs"] = _specs_within(by_token["token_specs"], start, stop)
        yield part


def _specs_within(specs: Sequence[TokenSpec], start: int, stop: int) -> list[TokenSpec]:
    """Return the groups of the tokens from *start* to *stop*; of size None if they have none."""
    found, first = [], 0
    for spec in specs:
        size = spec.size or 0
        shared = min(first + size, stop) - max(first, start)
        found.append(TokenSpec(spec.name, shared if shared > 0 or not size else None))
        first += size
    return found


def _in_parts(
    subject: Subject, module: nn.Module, arguments: Mapping[str, Any], sizes: Sequence[int]
) -> Tensor:
    """Return the result of a call whose tokens are gathered and read in parts."""
    cut = _cut(subject, arguments, sizes)
    with subject.seeded(0):
        summaries = gather_in_parts(module, cut.contributing)
        return torch.cat(list(read_in_parts(module, cut.reading, summaries, **cut.shared)), dim=1)


def _gradient(sources: Sequence[Tensor], y: Tensor) -> Tensor:
    """Return the gradients of tokens and parameters, in one row."""
    due = [source for source in sources if source.requires_grad]
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view(y.shape)
    found = torch.autograd.grad((y * weights).sum(), due, allow_unused=True)
    filled = [
        torch.zeros_like(source) if gradient is None else gradient
        for source, gradient in zip(due, found, strict=True)
    ]
    return torch.cat([each.flatten() for each in filled])


def _gathered(module: Any, parts: list[dict[str, Any]]) -> list[Summary]:
    """Return what each part contributes in the last round, after all contributed before."""
    earlier = gather_in_parts(module, parts)[:-1]
    found = []
    for part in parts:
        others = {name: value for name, value in part.items() if name != "x"}
        found.append(module.gather(part["x"], *earlier, **others))
    return found


def _gathered_backwards(module: Any, parts: list[dict[str, Any]]) -> list[Summary]:
    """Return what all parts contribute in each round, the last merged first."""
    summaries: list[Summary] = []
    for _ in range(getattr(module, "rounds", 1)):
        found: list[Summary] = []
        seed = summaries[0].seed if summaries else None
        first_token = 0
        for part in parts:
            others = {name: value for name, value in part.items() if name != "x"}
            drawn = {"first_token": first_token, "seed": seed}
            found.append(module.gather(part["x"], *summaries, **others, **drawn))
            seed, first_token = found[0].seed, first_token + part["x"].shape[1]
        summaries.append(found[-1].merge(*reversed(found[:-1])))
    return summaries


def _check_laws(subject: Subject, module: nn.Module) -> None:
    """Check that to merge is associative and commutative, by what tokens get of it."""
    arguments = subject.arguments(module)
    cut = _cut(subject, arguments, [4, 0, subject.sizes.tokens - 4])
    earlier = gather_in_parts(module, cut.contributing)[:-1]
    a, b, c = _gathered(module, cut.contributing)

    def got(merged: Summary) -> Tensor:
        return torch.cat(list(read_in_parts(module, cut.reading, (*earlier, merged))), dim=1)

    wanted = got(a.merge(b, c))
    orders = {
        "(a b) c": a.merge(b).merge(c),
        "a (b c)": a.merge(b.merge(c)),
        "c b a": c.merge(b, a),
        "b a c": b.merge(a, c),
    }
    for order, merged in orders.items():
        problem = f"{subject.type}: summaries merged as {order} are not those merged as a b c"
        check_close(got(merged), wanted, problem)
        if subject.variant.summary_exponent == 0:
            check_close(_numbers(merged), _numbers(a.merge(b, c)), problem)


def _numbers(summary: Summary) -> Tensor:
    """Return all that a summary holds, in one row."""
    return torch.cat([tensor.flatten() for tensor in pytree.tree_leaves(dict(summary.parts))])


def _check_bytes(subject: Subject, module: nn.Module) -> None:
    """Check that the bytes of a summary grow with the tokens as the record says."""
    sizes = []
    for tokens in (64 * subject.sizes.tokens, 128 * subject.sizes.tokens):
        arguments = subject.arguments(module, tokens=tokens)
        with torch.no_grad():
            summaries = gather_in_parts(module, _cut(subject, arguments, [tokens]).contributing)
        sizes.append(sum(each.nbytes for each in summaries))
    promised, measured = subject.variant.summary_exponent, math.log2(sizes[1] / sizes[0])
    if measured > promised + _TOO_FAR * (promised > 0):
        raise subject.failure(
            f"summary_exponent is {promised:g}, and the bytes of a summary grow from {sizes[0]:,} "
            f"to {sizes[1]:,} with twice as many tokens, exponent {measured:.2f}"
        )


def _check_refusals(subject: Subject, module: Any) -> None:
    """Check that a summary of another module, or of another batch, is refused by name."""
    other: Any = subject.module(seed=1)
    arguments = subject.arguments(module)
    cut = _cut(subject, arguments, [subject.sizes.tokens])
    summaries = gather_in_parts(module, cut.contributing)
    (part,) = cut.reading
    x, others = part["x"], {name: value for name, value in part.items() if name != "x"}
    problem = f"{subject.type}: a summary that another module gathered is read"
    check_refused(lambda: other.read(x, *summaries, **others), SummaryError, "summary", problem)
    problem = f"{subject.type}: a summary of another batch is read"
    check_refused(lambda: module.read(x[:1], *summaries, **others), SummaryError, "batch", problem)
