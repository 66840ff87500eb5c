"""Named groups of tokens: which there are, and how many tokens they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from noether_core.errors import TokenGroupError, shown
from noether_core.nn.trees import register_groups
from noether_core.schemas.modules.attention import TokenSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Layout: TypeAlias = tuple[tuple[str, int | None], ...]
"""Names and sizes of groups, in the order of the input."""

register_groups()


def layout_of(token_specs: Iterable[TokenSpec]) -> Layout:
    """Return the names and sizes of the groups, as plain as a compiler and a memory of layouts want
    them.

    Raises:
        TokenGroupError: If *token_specs* are no specs.
    """
    return tuple([(spec.name, spec.size) for spec in _checked(token_specs)])


def group_sizes(layout: Layout, tokens: int) -> dict[str, int | None]:
    """Return the number of tokens of each group by name, in the order of the input; None for one
    that is not in it.

    Args:
        layout: What `layout_of` returns.
        tokens: Number of tokens of the input.

    Raises:
        TokenGroupError: If a name stands twice, or the sizes do not add up to *tokens*.
    """
    sizes: dict[str, int | None] = {}
    total = 0
    for name, size in layout:
        if name in sizes:
            raise TokenGroupError(
                f"token_specs: {name!r} names two groups; give each a name of its own"
            )
        sizes[name] = size
        total += 0 if size is None else size  # no `or`: it would ask for the size
    if total != tokens:
        raise TokenGroupError(
            f"token_specs: Token specs total size {total} is not the number of tokens {tokens}; "
            f"the groups are {_sizes_text(sizes)}"
        )
    return sizes


def _checked(token_specs: Iterable[TokenSpec]) -> tuple[TokenSpec, ...]:
    specs = tuple(token_specs)
    for spec in specs:
        if not isinstance(spec, TokenSpec):
            raise TokenGroupError(
                f"token_specs: expected a list of TokenSpec, got {shown(spec)} in it"
            )
    return specs


def _sizes_text(sizes: Mapping[str, int | None]) -> str:
    """Return the groups and their sizes, as messages quote them: ``surface_anchors 6,
    volume_anchors None``.
    """
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
