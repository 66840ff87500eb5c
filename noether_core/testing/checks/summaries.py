"""What tokens contribute to attention and what they get of it, apart: gather, merge and read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from noether_core.errors import SummaryError
from noether_core.nn import Summary, attend_in_parts
from noether_core.nn.parts import gather_in_parts
from noether_core.testing.comparing import check_close, check_refused
from noether_core.testing.contract import check
from noether_core.testing.subject import Subject


@check("summary")
def check_summary(subject: Subject) -> None:
    """Tokens that are gathered in parts, merged in any order, and read in parts get the whole's."""
    module = subject.module()
    for arguments in subject.each_call(module):
        if not arguments.keys() <= {"x", "key_padding_mask"}:
            continue
        for sizes in _splits(arguments["x"].shape[1]):
            _check_split(subject, module, arguments, sizes)
    _check_laws(subject, module)
    _check_bytes(subject, module)
    _check_refusals(subject, module)


@check("summary")
def check_summary_draws(subject: Subject) -> None:
    """In training, noise and dropout are the same for a token however tokens are cut."""
    changes: dict[str, Any] = {"dropout": 0.3} if subject.is_sound(dropout=0.3) else {}
    module = subject.module(**changes).train()
    x = subject.arguments(module)["x"]
    whole = _in_parts(subject, module, [x])
    for sizes in _splits(x.shape[1])[1:]:
        parts = x.split_with_sizes(sizes, dim=1)
        problem = "parts of the tokens draw other noise or dropout than all of them at once"
        check_close(_in_parts(subject, module, parts), whole, f"{subject.type}: {problem}")


def _splits(tokens: int) -> list[list[int]]:
    """Return sizes of parts: the whole, an empty one first, single tokens, uneven ones."""
    return [[tokens], [0, tokens], [1, tokens - 5, 0, 1, 3]]


def _check_split(
    subject: Subject, module: nn.Module, arguments: dict[str, Any], sizes: list[int]
) -> None:
    """Check that parts of some sizes get what one call gives, values and gradients."""
    x = arguments["x"].clone().requires_grad_()
    mask = arguments.get("key_padding_mask")
    parts: list[Any] = list(x.split_with_sizes(sizes, dim=1))
    if mask is not None:
        masks = mask.split_with_sizes(sizes, dim=1)
        parts = [
            {"x": part, "key_padding_mask": real} for part, real in zip(parts, masks, strict=True)
        ]
    wanted = module(**{**arguments, "x": x})
    got = _in_parts(subject, module, parts)
    if mask is not None:  # rows of padding mean nothing
        got, wanted = got[mask], wanted[mask]

    text = f"tokens in parts of {sizes}"
    check_close(got, wanted, f"{subject.type}: {text} get something else than all at once")
    problem = f"{subject.type}: {text} have other gradients than all at once"
    check_close(_gradient(module, x, got), _gradient(module, x, wanted), problem)


def _in_parts(subject: Subject, module: nn.Module, parts: Sequence[Any]) -> Tensor:
    with subject.seeded(0):
        return torch.cat(list(attend_in_parts(module, parts)), dim=1)


def _gradient(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradients of tokens and parameters, in one row."""
    sources = [x, *(each for each in module.parameters() if each.requires_grad)]
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view(y.shape)
    found = torch.autograd.grad((y * weights).sum(), sources, allow_unused=True)
    filled = [
        torch.zeros_like(source) if gradient is None else gradient
        for source, gradient in zip(sources, found, strict=True)
    ]
    return torch.cat([each.flatten() for each in filled])


def _gathered(module: nn.Module, parts: Iterable[Tensor]) -> list[Summary]:
    """Return what each part contributes in the last round, after all contributed before."""
    parts, last = list(parts), module
    summaries = gather_in_parts(module, parts)
    return [last.gather(part, *summaries[:-1]) for part in parts]  # type: ignore[operator]


def _check_laws(subject: Subject, module: nn.Module) -> None:
    """Check that to merge is associative and commutative."""
    x = subject.arguments(module)["x"]
    a, b, c = _gathered(module, x.split_with_sizes([4, 0, x.shape[1] - 4], dim=1))
    wanted = _numbers(a.merge(b, c))
    orders = {
        "(a b) c": a.merge(b).merge(c),
        "a (b c)": a.merge(b.merge(c)),
        "c b a": c.merge(b, a),
        "b a c": b.merge(a, c),
    }
    for order, merged in orders.items():
        problem = f"{subject.type}: summaries merged as {order} are not those merged as a b c"
        check_close(_numbers(merged), wanted, problem)


def _numbers(summary: Summary) -> Tensor:
    """Return all that a summary holds, in one row."""
    return torch.cat([tensor.flatten() for tensor in pytree.tree_leaves(dict(summary.parts))])


def _check_bytes(subject: Subject, module: nn.Module) -> None:
    """Check that a summary is no larger for more tokens."""
    few, many = (
        gather_in_parts(module, [subject.arguments(module, tokens=tokens)["x"]])
        for tokens in (subject.sizes.tokens, 16 * subject.sizes.tokens)
    )
    sizes = [sum(each.nbytes for each in summaries) for summaries in (few, many)]
    if sizes[0] != sizes[1]:
        raise subject.failure(
            f"a summary of {subject.sizes.tokens} tokens has {sizes[0]} bytes, and one of "
            f"16 times as many {sizes[1]}; it must be of fixed size"
        )


def _check_refusals(subject: Subject, module: nn.Module) -> None:
    """Check that a summary of another module, or of another batch, is refused by name."""
    x, other = subject.arguments(module)["x"], subject.module(seed=1)
    summaries = gather_in_parts(module, [x])
    problem = f"{subject.type}: a summary that another module gathered is read"
    check_refused(lambda: other.read(x, *summaries), SummaryError, "summary", problem)  # type: ignore[operator]
    problem = f"{subject.type}: a summary of another batch is read"
    check_refused(lambda: module.read(x[:1], *summaries), SummaryError, "batch", problem)  # type: ignore[operator]
