"""The passes over tokens: two forward, two back; nothing of the size of tokens times slices
outlives a tile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from noether_core.nn.operators import dtype_of_sums
from noether_core.nn.slices.among import Sums, among_gradients, attend_among
from noether_core.nn.slices.operands import Operands, present
from noether_core.nn.slices.tiles import add_product_, tiles_of
from noether_core.nn.slices.weights import Sources, add_weight_gradients_, weights_of

if TYPE_CHECKING:
    from torch import Tensor

    from noether_core.nn.slices.operands import Choices
    from noether_core.nn.slices.tiles import Tile


def run_forward(operands: Operands, choices: Choices) -> tuple[Tensor, Sums]:
    """Return the output, ``(batch, tokens, D)``, and what the slices gathered.

    The first pass gathers; then the slices read each other; the second hands out. States of the
    first are kept in the rows of the output, where the second finds them before it overwrites them.
    """
    y = operands.x.new_empty(operands.x.shape)
    sums = empty_sums(operands, choices)
    tiles, x, rows = tiles_of(operands, choices), operands.x.flatten(0, 1), y.flatten(0, 1)
    features, counts = (each.flatten(0, 1) for each in sums)
    for tile in tiles:
        sources = _sources(x, tile, keep_in=rows)
        weights = weights_of(sources, tile).weights
        add_product_(features[tile.slices], weights.transpose(1, 2), _features(sources, tile))
        counts[tile.slices].add_(weights.sum(dim=1))

    handed_out = attend_among(sums, operands, choices).handed_out.to(y.dtype).flatten(0, 1)

    for tile in reversed(tiles):  # the rows of the last ones are still in the cache
        weights = weights_of(_sources(x, tile, kept_in=rows), tile).weights
        read = tile.combine("read", weights, handed_out[tile.slices], is_shared=choices.is_folded)
        _project(read, operands, choices, out=rows[tile.rows])
    return y, sums


def run_backward(gradient: Tensor, sums: Sums, operands: Operands, choices: Choices) -> Operands:
    """Return the gradients of the operands, from that of the output, ``(batch, tokens, D)``.

    The first pass finds the gradients of what the slices handed out; they go back through the
    attention among slices; the second pass brings them to the tokens. Both make the weights of
    slices again.
    """
    totals = _no_gradients(operands)
    tiles, among = tiles_of(operands, choices), attend_among(sums, operands, choices)
    x, rows, gradient = operands.x.flatten(0, 1), totals.x.flatten(0, 1), gradient.flatten(0, 1)

    of_handed_out = torch.zeros_like(among.handed_out)
    total, read = of_handed_out.flatten(0, 1), among.read.to(x.dtype).flatten(0, 1)
    for tile in tiles:
        weights = weights_of(_sources(x, tile, keep_in=rows), tile).weights
        own = gradient[tile.rows]
        add_product_(total[tile.slices], weights.transpose(1, 2), _gradient_of_read(own, tile))
        if totals.out_bias is not None:
            totals.out_bias.add_(own.sum(dim=0))
        if not choices.is_folded:
            add_product_(
                totals.out_weight, own.t(), tile.combine("read", weights, read[tile.slices])
            )

    of_sums = among_gradients(totals, of_handed_out, among, sums, operands, choices)

    handed_out = among.handed_out.to(x.dtype).flatten(0, 1).transpose(1, 2)
    of_features, of_counts = (each.to(x.dtype).flatten(0, 1) for each in of_sums)
    for tile in reversed(tiles):  # likewise
        sources = _sources(x, tile, kept_in=rows)
        made = weights_of(sources, tile)
        of_own = of_features[tile.slices]
        of_read = _gradient_of_read(gradient[tile.rows], tile)
        of_made = torch.baddbmm(
            of_counts[tile.slices].unsqueeze(1),
            of_read,
            handed_out[tile.slices],
            out=tile.scratch.empty("of weights", made.weights.shape),
        )
        of_made.baddbmm_(_features(sources, tile), of_own.transpose(1, 2))
        of_sources = add_weight_gradients_(totals, of_made, made, sources, tile)
        of_gathered = tile.combine("of gathered", made.weights, of_own, is_shared=choices.is_folded)
        _add_token_gradients_(totals, rows[tile.rows], of_gathered, of_sources, sources, tile)
    return totals


def empty_sums(operands: Operands, choices: Choices) -> Sums:
    """Return sums over no tokens."""
    batch, _, width = operands.x.shape
    shape = (batch, choices.heads, operands.logit_weight.shape[-1])
    own = width if choices.is_folded else width // choices.heads
    dtype = dtype_of_sums(operands.x.dtype)
    return Sums(
        operands.x.new_zeros((*shape, own), dtype=dtype), operands.x.new_zeros(shape, dtype=dtype)
    )


def _no_gradients(operands: Operands) -> Operands:
    """Return zeros for the gradients of all operands but the tokens, whose rows are written one
    tile after another.
    """
    x, *others = operands
    dtype = dtype_of_sums(x.dtype)
    zeros = (None if each is None else each.new_zeros(each.shape, dtype=dtype) for each in others)
    return Operands._make((x.new_empty(x.shape), *zeros))


def _sources(
    x: Tensor, tile: Tile, *, keep_in: Tensor | None = None, kept_in: Tensor | None = None
) -> Sources:
    """Return the tokens of a tile, padding as zeros whatever it holds, and the states, if anything
    is made from them.

    Args:
        x: The tokens of all tiles.
        tile: The tile.
        keep_in: Where the states are written to, among those of all tiles.
        kept_in: Where they were.
    """
    tokens, real, weight = x[tile.rows], tile.choices.real, tile.operands.state_weight
    if real is not None:
        tokens = tokens.masked_fill(~real.view(-1, 1)[tile.rows], 0)
    if weight is None:
        return Sources(tokens, None)
    if kept_in is not None:
        return Sources(tokens, kept_in[tile.rows])
    return Sources(tokens, torch.mm(tokens, weight.t(), out=present(keep_in)[tile.rows]))


def _features(sources: Sources, tile: Tile) -> Tensor:
    """Return what each head gathers, ``(batch * heads, tokens, width)``, before its bias."""
    if tile.choices.is_folded:
        return tile.by_head(present(sources.tokens), is_shared=True)
    weight = tile.operands.feature_weight
    if weight is None:
        return tile.by_head(present(sources.states))
    return tile.by_head(tile.scratch.product("features", present(sources.tokens), weight.t()))


def _project(read: Tensor, operands: Operands, choices: Choices, *, out: Tensor) -> None:
    """Write what the rows *read*, as output."""
    weight, bias = operands.out_weight, operands.out_bias
    if not choices.is_folded:
        torch.mm(read, weight.t(), out=out) if bias is None else torch.addmm(
            bias, read, weight.t(), out=out
        )
    elif bias is None:
        out.copy_(read)
    else:
        torch.add(read, bias, out=out)


def _gradient_of_read(rows: Tensor, tile: Tile) -> Tensor:
    """Return the gradient of what each head reads, ``(batch * heads, tokens, width)``, from that of
    the output.
    """
    if tile.choices.is_folded:
        return tile.by_head(rows, is_shared=True)
    return tile.by_head(tile.scratch.product("of read", rows, tile.operands.out_weight))


def _add_token_gradients_(  # noqa: PLR0917  all of them are of one kind
    totals: Operands,
    rows: Tensor,
    of_gathered: Tensor,
    of_sources: Sources,
    sources: Sources,
    tile: Tile,
) -> None:
    """Write the gradient of the tokens of a tile, and add to those of the weights that they went
    through.

    Args:
        totals: Gradients of the operands.
        rows: Where that of the tokens is written to.
        of_gathered: That of the features, ``(batch * tokens, D)``; with folded weights, of the
            tokens themselves.
        of_sources: Those that come by way of the slice weights.
        sources: The tokens.
        tile: The tile.
    """
    own, (of_tokens, of_states), tokens = tile.operands, of_sources, present(sources.tokens)
    if own.feature_weight is None:
        of_states = of_gathered if of_states is None else of_states + of_gathered
    if of_states is None:
        rows.zero_()
    else:
        torch.mm(of_states, present(own.state_weight), out=rows)
        add_product_(present(totals.state_weight), of_states.t(), tokens)
    if of_tokens is not None:
        rows += of_tokens
    if tile.choices.is_folded:
        rows += of_gathered
    elif own.feature_weight is not None:
        rows.addmm_(of_gathered, own.feature_weight)
        add_product_(present(totals.feature_weight), of_gathered.t(), tokens)
