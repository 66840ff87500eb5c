"""How a module runs over tokens that come in parts, which need not fit into memory together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from noether_core.errors import SummaryError

if TYPE_CHECKING:
    from noether_core.nn.summaries import Summary

Part = Tensor | Mapping[str, Any]
"""Tokens, ``(batch, tokens, hidden_dim)``; or ``x`` and what else belongs to them, by the names of
arguments: ``{"x": x, "key_padding_mask": is_real}``.
"""


def attend_in_parts(module: nn.Module, parts: Iterable[Part], **options: Any) -> Iterator[Tensor]:
    """Run a module over tokens that come in parts: each part gets what it gets of all.

    What all tokens contribute is gathered before this returns; the results are made one by one.
    Memory holds one part at a time, and what is of fixed size. Results are those of one call of the
    module with all tokens, to rounding, and to the last bit the same in noise and dropout; but for
    variants that gather keys and values, of which one call lets its kernel drop weights, others.

    Args:
        module: An attention with the capability ``summary``.
        parts: The tokens. They are gone through once for each of the module's ``rounds`` and once
            more, so give a list, or an object that reads them anew.
        **options: What else its ``read`` takes, the same for all parts.

    Returns:
        An iterator over the results, each ``(batch, tokens of the part, hidden_dim)``.

    Raises:
        SummaryError: If the module gathers nothing, or *parts* are none or cannot be gone through
            again.
    """
    return read_in_parts(module, parts, gather_in_parts(module, parts), **options)


def read_in_parts(
    module: nn.Module, parts: Iterable[Part], summaries: Sequence[Summary], **options: Any
) -> Iterator[Tensor]:
    """Return an iterator over what parts of tokens get of summaries, made one by one.

    Args:
        module: As in `attend_in_parts`.
        parts: The tokens that read, gone through once.
        summaries: What `gather_in_parts` returned, of these tokens or others.
        **options: As in `attend_in_parts`.
    """
    read: Any = module.read
    first_token = 0
    for part in parts:
        x, others = _arguments(part)
        yield read(x, *summaries, **others, **options, first_token=first_token)
        first_token += x.shape[1]


def gather_in_parts(module: nn.Module, parts: Iterable[Part]) -> tuple[Summary, ...]:
    """Return what all tokens contribute, a summary for each of the module's rounds.

    Args:
        module: As in `attend_in_parts`.
        parts: As there, gone through once for each round.

    Raises:
        SummaryError: As there.
    """
    gather: Any = getattr(module, "gather", None)
    if gather is None:
        raise SummaryError(
            f"module: a {type(module).__name__} gathers nothing; "
            "take a variant with the capability 'summary'"
        )
    if iter(parts) is parts:
        raise SummaryError(
            f"parts: got a {type(parts).__name__}, which can be gone through once; "
            "give a list, or an object whose __iter__ starts anew"
        )

    rounds: int = getattr(module, "rounds", 1)
    summaries: list[Summary] = []
    for _ in range(rounds):
        summaries.append(_gathered(gather, parts, summaries))
    return tuple(summaries)


def _gathered(gather: Any, parts: Iterable[Part], earlier: list[Summary]) -> Summary:
    """Return what all parts contribute in one round.

    Those of equally many parts are merged with each other: keys and values, which grow with their
    tokens, are copied as often as the number of parts has doubled, and not once for each part.
    """
    held: list[tuple[int, Summary]] = []
    seed = earlier[0].seed if earlier else None
    first_token = 0
    for part in parts:
        x, others = _arguments(part)
        summary = gather(x, *earlier, **others, first_token=first_token, seed=seed)
        seed = summary.seed
        first_token += x.shape[1]
        count = 1
        while held and held[-1][0] == count:
            _, before = held.pop()
            summary, count = before.merge(summary), 2 * count
        held.append((count, summary))
    if not held:
        raise SummaryError("parts: there are none")
    first, *rest = [summary for _, summary in held]
    return first.merge(*rest)


def _arguments(part: Part) -> tuple[Tensor, dict[str, Any]]:
    if isinstance(part, Tensor):
        return part, {}
    others = dict(part)
    return others.pop("x"), others
