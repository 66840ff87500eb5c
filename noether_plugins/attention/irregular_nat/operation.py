"""Attention to neighbours chunk by chunk, forward and backward, as an operation of torch.

Pairs of tokens never have keys of their own. Compilers and exporters take the operation as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from noether_core.errors import DerivativeError
from noether_core.nn import dropout_at
from noether_core.nn.operators import (
    define_operator,
    dtype_of_sums,
    is_transformed,
    without_autocast,
)
from noether_plugins.attention.irregular_nat.at_once import (
    Neighbourhood,
    Tokens,
    attend_at_once,
)
from noether_plugins.attention.irregular_nat.relpos import (
    RelposWeights,
    add_relpos_gradients_,
    bias_of,
    features_of,
)
from noether_plugins.attention.irregular_nat.sums import (
    pairs_by_neighbour,
    sum_over_attending,
    sum_over_neighbours,
    walk_through,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AT_ONCE = 1 << 20
"""Numbers of gathered keys, or of inner features, up to which everything is computed at once."""

_CHUNK = {"cpu": 1 << 22}
"""Numbers of gathered keys, of values, or of inner features that a chunk holds: what the caches of
a device hold.
"""

_CHUNK_ELSEWHERE = 1 << 25
"""Likewise where starting an operation takes longer than a chunk of a CPU."""


def attend_to_neighbours(tokens: Tokens, relpos: RelposWeights, given: Neighbourhood) -> Tensor:
    """Return what every token attends to, ``(tokens, hidden_dim)``; zeros without neighbours.

    ``softmax(q_i k_j^T / sqrt(d) + b(p_j - p_i)) v_j`` over the neighbours ``j`` of token ``i``, in
    every head. Beyond a million gathered numbers, and in compiled graphs, it is computed chunk by
    chunk, so that memory grows with the tokens alone. Within transforms of ``torch.func``, and for
    derivatives in forward mode, it is computed at once, however many tokens there are.

    Raises:
        DerivativeError: If a second derivative is wanted of what is computed chunk by chunk.
    """
    width = max(tokens.keys.shape[1], relpos.inner.shape[0])
    if _is_at_once(given, width):
        return attend_at_once(tokens, relpos, given)
    result: Tensor
    result, _ = _operator(*tokens, *relpos, None, *given)
    return result


def attend_with_bias(tokens: Tokens, pair_bias: Tensor, given: Neighbourhood) -> Tensor:
    """Return what `attend_to_neighbours` does, with a bias that was made before.

    Args:
        tokens: The tokens; their positions do not matter.
        pair_bias: The bias of every pair and head, ``(tokens, degree, heads)``.
        given: Which tokens attend to which; dropout within the bias is not repeated.
    """
    # An MLP without features adds nothing to the bias.
    weights = pair_bias.new_zeros(0, tokens.positions.shape[1])
    relpos = RelposWeights(weights, pair_bias.new_zeros(given.num_heads, 0), None, None)
    given = given._replace(relpos_seed=None)
    if _is_at_once(given, tokens.keys.shape[1]):
        return attend_at_once(tokens, relpos, given, pair_bias)
    result: Tensor
    result, _ = _operator(*tokens, *relpos, pair_bias, *given)
    return result


def _is_at_once(given: Neighbourhood, width: int) -> bool:
    """Return whether all pairs are gathered at once, *width* numbers each."""
    if is_transformed():
        return True
    # A graph serves any number of tokens, so it does not depend on this one.
    if torch.compiler.is_compiling():
        return False
    return given.neighbours.numel() * width <= _AT_ONCE


class _DropoutScales(NamedTuple):
    """What dropout multiplies the numbers of a chunk with; None where nothing is dropped."""

    weights: Tensor | None
    """``(heads, rows, degree)``."""

    features: Tensor | None
    """``(rows * degree, relpos_hidden_dim)``."""


class OperatorInputs(NamedTuple):
    """What the operator is given, by its records."""

    tokens: Tokens
    relpos: RelposWeights

    pair_bias: Tensor | None
    """Added to the bias by *relpos*, ``(tokens, degree, heads)``; None for nothing."""

    given: Neighbourhood


class Gradients(NamedTuple):
    """The gradients of the first three."""

    tokens: Tokens
    relpos: RelposWeights
    pair_bias: Tensor | None


class _Operands:
    """Everything that chunks are computed from, in the dtype in which sums are taken.

    A chunk is a span of rows of the walk.
    """

    def __init__(self, inputs: OperatorInputs) -> None:
        tokens, relpos, pair_bias, given = inputs
        dtype = dtype_of_sums(tokens.queries.dtype)
        self.queries = tokens.queries.to(dtype).contiguous()
        self.keys = tokens.keys.to(dtype).contiguous()
        self.values = tokens.values.to(dtype).contiguous()
        self.positions = tokens.positions
        self.relpos = relpos.map(lambda weight: weight.to(dtype))
        self.pair_bias = pair_bias
        self.given = given
        self.walk = walk_through(given.neighbours, given.walk)

        self.heads = given.num_heads
        self.count, self.degree = given.neighbours.shape
        hidden_dim = self.queries.shape[1]
        self.scale = 1 / math.sqrt(hidden_dim // self.heads)

        width = max(hidden_dim, relpos.inner.shape[0])
        held = _CHUNK.get(self.queries.device.type, _CHUNK_ELSEWHERE)
        self.rows_at_once = max(1, min(self.count, held // (self.degree * width)))
        # One buffer for all chunks: large tensors take new pages of memory each time.
        self._gathered = self.queries.new_empty(self.rows_at_once * self.degree, hidden_dim)

    def chunks(self) -> Iterator[slice]:
        """Yield the rows of each chunk."""
        for start in range(0, self.count, self.rows_at_once):
            yield slice(start, min(start + self.rows_at_once, self.count))

    def by_head(self, tensor: Tensor) -> Tensor:
        """Return ``(tokens, hidden_dim)`` as ``(tokens, heads, head_dim)``."""
        return tensor.view(tensor.shape[0], self.heads, tensor.shape[1] // self.heads)

    def new_pairs(self) -> Tensor:
        """Return room for a number of every head and pair, ``(heads, tokens, degree)``."""
        return self.queries.new_empty(self.heads, self.count, self.degree)

    def products(self, own: Tensor, others: Tensor, rows: slice) -> Tensor:
        """Return the products of tokens with their neighbours, ``(heads, rows, degree)``.

        Args:
            own: What a token has, ``(tokens, hidden_dim)``.
            others: What its neighbours have, likewise.
            rows: The tokens, in the order of the walk.
        """
        neighbours = self.walk.neighbours[rows].flatten()
        gathered = self._gathered[: len(neighbours)]
        torch.index_select(others, 0, neighbours, out=gathered)

        pairs = gathered.view(-1, self.degree, self.heads, others.shape[1] // self.heads)
        pairs.mul_(self.by_head(own.index_select(0, self.walk.tokens[rows])).unsqueeze(1))
        return pairs.sum(dim=-1).permute(2, 0, 1)

    def offsets(self, rows: slice) -> Tensor:
        """Return where neighbours are, seen from each token, ``(rows * degree, coordinates)``.

        Zero where there is none: the position of padding may be anything, NaN too.
        """
        neighbours, own = self.walk.neighbours[rows], self.walk.tokens[rows]
        gathered = self.positions.index_select(0, neighbours.flatten())
        gathered = gathered.view(*neighbours.shape, self.positions.shape[1])

        offsets = gathered - self.positions.index_select(0, own).unsqueeze(1)
        offsets.masked_fill_(self.walk.is_missing[rows].unsqueeze(-1), 0.0)
        return offsets.flatten(0, 1).to(self.queries.dtype)

    def dropout_scales(self, rows: slice) -> _DropoutScales:
        """Return what dropout multiplies the numbers of a chunk with: the same in both passes."""
        given, tokens = self.given, self.walk.tokens[rows]
        weights = features = None
        if given.seed is not None:
            ones = self.queries.new_ones(len(tokens), self.degree, self.heads)
            weights = dropout_at(ones, given.dropout, given.seed, tokens).permute(2, 0, 1)
        if given.relpos_seed is not None:
            inner_width = self.relpos.inner.shape[0]
            ones = self.queries.new_ones(len(tokens), self.degree, inner_width)
            features = dropout_at(ones, given.relpos_dropout, given.relpos_seed, tokens)
            features = features.flatten(0, 1)
        return _DropoutScales(weights, features)


def _attend(inputs: OperatorInputs) -> tuple[Tensor, Tensor]:
    """Return what every token attends to, ``(tokens, hidden_dim)``, and the weights.

    The weights are ``(heads, tokens, degree)``, before dropout, in the order of the walk.
    """
    operands, given = _Operands(inputs), inputs.given
    walk = operands.walk
    weights = operands.new_pairs()
    kept = weights if given.seed is None else operands.new_pairs()

    for rows in operands.chunks():
        scales = operands.dropout_scales(rows)
        features = features_of(operands.offsets(rows), operands.relpos, scales.features)
        logits = bias_of(features, operands.relpos).view(operands.heads, -1, operands.degree)
        if operands.pair_bias is not None:
            own = operands.pair_bias.index_select(0, walk.tokens[rows])
            logits.add_(own.permute(2, 0, 1))
        products = operands.products(operands.queries, operands.keys, rows)
        logits.add_(products, alpha=operands.scale)

        # A token without neighbours would make NaN of minus infinity, so its weights are zeroed.
        is_missing = walk.is_missing[rows]
        logits.masked_fill_(is_missing, torch.finfo(logits.dtype).min)
        weights[:, rows] = logits.softmax(dim=-1).masked_fill_(is_missing, 0.0)
        if scales.weights is not None:
            torch.mul(weights[:, rows], scales.weights, out=kept[:, rows])

    result = torch.empty_like(operands.values)
    sum_over_neighbours(operands.by_head(operands.values), kept, walk, operands.by_head(result))
    return result.to(inputs.tokens.values.dtype), weights


def _attend_backward(grad_result: Tensor, weights: Tensor, inputs: OperatorInputs) -> Gradients:
    """Return the gradients of tokens, of the weights of the bias, and of the bias of pairs.

    Args:
        grad_result: Gradient of what the tokens attend to.
        weights: What `_attend` returned.
        inputs: As there.
    """
    operands, given = _Operands(inputs), inputs.given
    walk, positions = operands.walk, operands.positions
    grad_result = grad_result.to(operands.values.dtype).contiguous()
    kept = weights if given.seed is None else operands.new_pairs()

    grad_logits = operands.new_pairs()
    grad_positions = positions.new_zeros(positions.shape, dtype=dtype_of_sums(positions.dtype))
    grad_relpos = operands.relpos.map(lambda weight: weight.new_zeros(weight.shape))

    for rows in operands.chunks():
        scales = operands.dropout_scales(rows)
        grad_weights = operands.products(grad_result, operands.values, rows)
        if scales.weights is not None:
            grad_weights = grad_weights * scales.weights
            torch.mul(weights[:, rows], scales.weights, out=kept[:, rows])

        # Through the softmax: dl = w (dw - sum w dw).
        chunk = grad_logits[:, rows]
        torch.mul(grad_weights, weights[:, rows], out=chunk)
        chunk.addcmul_(weights[:, rows], chunk.sum(dim=-1, keepdim=True), value=-1)

        grad_offsets = add_relpos_gradients_(
            grad_relpos,
            chunk.flatten(1),
            operands.offsets(rows),
            operands.relpos,
            scales.features,
        ).to(grad_positions.dtype)
        grad_positions.index_add_(0, walk.neighbours[rows].flatten(), grad_offsets)
        own = grad_offsets.view(-1, operands.degree, grad_offsets.shape[1]).sum(dim=1)
        grad_positions.index_add_(0, walk.tokens[rows], own, alpha=-1)

    by_head, pairs = operands.by_head, pairs_by_neighbour(walk)
    grad_queries = torch.empty_like(operands.queries)
    grad_keys = torch.empty_like(operands.keys)
    grad_values = torch.empty_like(operands.values)
    sum_over_neighbours(by_head(operands.keys), grad_logits, walk, by_head(grad_queries))
    sum_over_attending(by_head(operands.queries), grad_logits, pairs, by_head(grad_keys))
    sum_over_attending(by_head(grad_result), kept, pairs, by_head(grad_values))
    grad_queries.mul_(operands.scale)
    grad_keys.mul_(operands.scale)
    grad_tokens = Tokens(grad_queries, grad_keys, grad_values, grad_positions)
    if operands.pair_bias is None:
        return Gradients(grad_tokens, grad_relpos, None)

    grad_bias = operands.pair_bias.new_empty(operands.pair_bias.shape)
    grad_bias[walk.tokens] = grad_logits.permute(1, 2, 0).to(grad_bias.dtype)
    return Gradients(grad_tokens, grad_relpos, grad_bias)


_SECOND_DERIVATIVE = (
    "irregular_nat: there is no second derivative where tokens are computed chunk by chunk; "
    "give fewer"
)

_INPUTS = (
    "Tensor queries, Tensor keys, Tensor values, Tensor positions, "
    "Tensor inner, Tensor outer, Tensor? inner_bias, Tensor? outer_bias, Tensor? pair_bias, "
    "Tensor neighbours, Tensor walk, Tensor? seed, Tensor? relpos_seed, "
    "int num_heads, float dropout, float relpos_dropout"
)
"""The fields of `Tokens` and `RelposWeights`, the bias of pairs, and the fields of `Neighbourhood`;
all but the last have gradients.
"""

_MADE_OF = len(Tokens._fields) + len(RelposWeights._fields)
_DIFFERENTIATED = _MADE_OF + 1
_TENSORS = _DIFFERENTIATED + 4


def _records(inputs: Sequence[Any]) -> OperatorInputs:
    """Return what an operator is given, as the records that it was made of."""
    tokens = Tokens._make(inputs[: len(Tokens._fields)])
    relpos = RelposWeights._make(inputs[len(Tokens._fields) : _MADE_OF])
    given = Neighbourhood._make(inputs[_DIFFERENTIATED:])
    return OperatorInputs(tokens, relpos, inputs[_MADE_OF], given)


def _forward(*inputs: Any) -> tuple[Tensor, Tensor]:
    with without_autocast(inputs[0].device):
        return _attend(_records(inputs))


def _fake_forward(*inputs: Any) -> tuple[Tensor, Tensor]:
    tokens, _, _, given = _records(inputs)
    weights = tokens.queries.new_empty(
        (given.num_heads, *given.neighbours.shape), dtype=dtype_of_sums(tokens.queries.dtype)
    )
    return tokens.values.new_empty(tokens.values.shape), weights


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what the backward pass needs: the weights and all inputs."""
    _, weights = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(weights)
    ctx.save_for_backward(weights, *inputs[:_TENSORS])
    ctx.options = inputs[_TENSORS:]


def _gradients(ctx: Any, grad_result: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    """Return a gradient, or None, for each input of the operator."""
    inputs = (*ctx.saved_tensors[1:], *ctx.options)
    if grad_result is None:
        return (None,) * len(inputs)

    # The operator returns no gradient where a layer has no bias, so they are counted out here.
    gradients = iter(_backward_operator(grad_result, *ctx.saved_tensors, *ctx.options))
    of_inputs = [None if tensor is None else next(gradients) for tensor in inputs[:_DIFFERENTIATED]]
    return (*of_inputs, *(None for _ in inputs[_DIFFERENTIATED:]))


def _backward(grad_result: Tensor, weights: Tensor, *inputs: Any) -> list[Tensor]:
    """Return the gradients of the tensors among tokens and weights, without those that are None."""
    with without_autocast(grad_result.device):
        made = _attend_backward(grad_result, weights, _records(inputs))

    gradients = []
    in_order = (*made.tokens, *made.relpos, made.pair_bias)
    for gradient, tensor in zip(in_order, inputs, strict=False):
        if gradient is not None:
            gradients.append(gradient.to(tensor.dtype))
    return gradients


def _fake_backward(grad_result: Tensor, weights: Tensor, *inputs: Any) -> list[Tensor]:  # noqa: ARG001
    differentiated = [tensor for tensor in inputs[:_DIFFERENTIATED] if tensor is not None]
    return [tensor.new_empty(tensor.shape) for tensor in differentiated]


def _forward_flops(*inputs: Any, **_: Any) -> int:
    """Return the operations of the forward pass, of inputs with shapes in the place of tensors."""
    own = _pair_products(inputs)
    return 2 * own.heads + own.inner + own.outer


def _backward_flops(_: Any, __: Any, *inputs: Any, **___: Any) -> int:
    """Return the operations of the backward pass."""
    own = _pair_products(inputs)
    return 4 * own.heads + 3 * own.inner + 2 * own.outer


class _PairProducts(NamedTuple):
    """The operations of products of all pairs, those of a neighbour's numbers among them."""

    heads: int
    """Queries with keys, or weights with values."""

    inner: int
    """Relative positions with the first layer of the bias."""

    outer: int
    """Its inner features with the second."""


def _pair_products(inputs: Sequence[Any]) -> _PairProducts:
    shapes: Any = _records(inputs)
    pairs = 2 * math.prod(shapes.given.neighbours)
    return _PairProducts(
        heads=pairs * shapes.tokens.queries[1],
        inner=pairs * math.prod(shapes.relpos.inner),
        outer=pairs * math.prod(shapes.relpos.outer),
    )


def _refuse(*_: Any) -> NoReturn:
    raise DerivativeError(_SECOND_DERIVATIVE)


_operator = define_operator(
    "noether::attend_to_neighbours",
    f"({_INPUTS}) -> (Tensor result, Tensor weights)",
    _forward,
    fake=_fake_forward,
    gradients=_gradients,
    keep=_keep,
    flops=_forward_flops,
)
_backward_operator = define_operator(
    "noether::attend_to_neighbours_backward",
    f"(Tensor grad_result, Tensor weights, {_INPUTS}) -> Tensor[]",
    _backward,
    fake=_fake_backward,
    gradients=_refuse,
    flops=_backward_flops,
)
