"""Arguments of each interface: sound ones of any size, and what can be done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from noether_core.hookspecs import Capability, Interface
from noether_core.nn import KVCache, RopeFrequency
from noether_core.schemas import AttentionPattern, TokenSpec

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig

Arguments = Mapping[str, Any]

REQUIRED: Mapping[Interface, tuple[str, ...]] = {
    "self": ("x",),
    "cross": ("q", "kv"),
    "tokens": ("x", "token_specs"),
}
"""The arguments that every variant of an interface declares, by position."""

OPTIONAL: Mapping[Interface, Mapping[str, Capability]] = {
    "self": {
        "attn_mask": "attn_mask",
        "key_padding_mask": "key_padding_mask",
        "freqs": "rope",
        "positions": "positions",
        "token_specs": "token_specs",
    },
    "cross": {
        "attn_mask": "attn_mask",
        "key_padding_mask": "key_padding_mask",
        "q_freqs": "rope",
        "k_freqs": "rope",
        "kv_cache": "kv_cache",
    },
    "tokens": {
        "attention_patterns": "attention_patterns",
        "key_padding_mask": "key_padding_mask",
        "freqs": "rope",
        "kv_cache": "kv_cache",
    },
}
"""The arguments that a variant declares if it honours them, and the capability that says so."""

_ALSO_BY_POSITION = frozenset({"attention_patterns"})
"""Optional arguments that callers need not name."""

OF_RESULTS: frozenset[Capability] = frozenset({"deterministic", "permutation"})
"""Capabilities that no argument belongs to."""

ASKING: Mapping[Interface, str] = {"self": "x", "cross": "q", "tokens": "x"}
"""The argument whose tokens get a result."""

READ: Mapping[Interface, str] = {"self": "x", "cross": "kv", "tokens": "x"}
"""The argument whose tokens are read, and of which a padding mask speaks."""

_OF_QUERIES = frozenset({"q", "q_freqs"})
"""Arguments of the interface *cross* that belong to the tokens that ask."""

GROUPS: Mapping[str, int | None] = {
    "surface_queries": None,
    "surface_anchors": 4,
    "volume_queries": None,
    "volume_anchors": 4,
}
"""Groups of tokens for a record that names none."""

_COORDINATES = 3
"""Coordinates of a point, where no option ``input_dim`` says how many."""

_DENSITY = 13
"""Points in the unit cube."""


def signature_of(interface: Interface, optional: Iterable[str] | None = None) -> str:
    """Return how `forward` declares some of the optional arguments; all of them without any."""
    chosen = list(OPTIONAL[interface]) if optional is None else list(optional)
    positional = [name for name in chosen if name in _ALSO_BY_POSITION]
    named = [name for name in chosen if name not in _ALSO_BY_POSITION]

    parameters = [*REQUIRED[interface], *(f"{name}=None" for name in positional)]
    if named:
        parameters += ["*", *(f"{name}=None" for name in named)]
    return ", ".join(parameters)


@attrs.frozen(kw_only=True)
class Call:
    """A call to make: how many tokens, and which arguments it needs."""

    interface: Interface
    config: AttentionConfig
    batch: int
    tokens: int
    queries: int
    groups: Mapping[str, int | None]
    has_positions: bool
    generator: torch.Generator

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that the call cannot do without."""
        if self.interface == "cross":
            return self._cross()
        points = self._points(self.tokens)
        arguments: dict[str, Any] = {"x": self._numbers(self.tokens, self.config.hidden_dim)}
        if self.interface == "tokens":
            arguments["token_specs"] = specs_of(self.groups, self.tokens)
        if self.has_positions:
            arguments["positions"] = points
        if self.config.use_rope:
            arguments["freqs"] = frequencies(points, self.config.head_dim)
        return arguments

    def _cross(self) -> dict[str, Any]:
        width = getattr(self.config, "kv_dim", None) or self.config.hidden_dim
        arguments: dict[str, Any] = {
            "q": self._numbers(self.queries, self.config.hidden_dim),
            "kv": self._numbers(self.tokens, width),
        }
        if self.config.use_rope:
            arguments["q_freqs"] = frequencies(self._points(self.queries), self.config.head_dim)
            arguments["k_freqs"] = frequencies(self._points(self.tokens), self.config.head_dim)
        return arguments

    def _numbers(self, tokens: int, width: int) -> Tensor:
        return torch.randn(self.batch, tokens, width, generator=self.generator, dtype=torch.float64)

    def _points(self, tokens: int) -> Tensor:
        """Return points that lie as dense as others, however many they are."""
        coordinates = getattr(self.config, "input_dim", _COORDINATES)
        points = torch.rand(
            self.batch, tokens, coordinates, generator=self.generator, dtype=torch.float64
        )
        return points * float((max(tokens, 1) / _DENSITY) ** (1 / coordinates))


def frequencies(points: Tensor, head_dim: int) -> Any:
    """Return what rotates heads at *points*, by as many of their coordinates as fit into a head."""
    fitting = max(1, min(points.shape[-1], head_dim // 2))
    rotation = RopeFrequency(head_dim, fitting).to(points.device)
    return rotation(points[..., :fitting].float())


def specs_of(groups: Mapping[str, int | None], tokens: int) -> list[TokenSpec]:
    """Return groups of *tokens* in sum: those of a fixed size as far as they fit, the others share
    the rest.
    """
    wanted = groups or GROUPS
    left, sizes = tokens, dict.fromkeys(wanted, 0)
    for name, size in wanted.items():
        if size is not None:
            sizes[name] = min(size, left)
            left -= sizes[name]
    growing = [name for name, size in wanted.items() if size is None] or list(wanted)[-1:]
    for place, name in enumerate(growing):
        share = left // (len(growing) - place)
        sizes[name] += share
        left -= share
    return [TokenSpec(name, size) for name, size in sizes.items()]


def larger_groups(groups: Mapping[str, int | None], steps: int) -> dict[str, int]:
    """Return sizes of groups that are all different, at least two, and all larger the more *steps*."""
    return {name: 2 + number + 2 * steps for number, name in enumerate(groups or GROUPS)}


def optional_value(
    interface: Interface, argument: str, arguments: Arguments, groups: Mapping[str, int | None]
) -> Any:
    """Return a sound value of an argument that *arguments* lack."""
    asking, read = arguments[ASKING[interface]], arguments[READ[interface]]
    return _VALUES[argument](asking, read, groups)


def _pairs(asking: Tensor, read: Tensor, _: object) -> Tensor:
    """Return which keys each query reads: those before it, the first in any case."""
    return torch.ones(asking.shape[1], read.shape[1], dtype=torch.bool, device=read.device).tril()


def _real_tokens(_: object, read: Tensor, __: object) -> Tensor:
    """Return a padding mask that leaves each sample another number of tokens."""
    batch, tokens = read.shape[:2]
    lengths = (tokens - 2 - torch.arange(batch) % max(1, tokens // 2)).clamp_min(1)
    return (torch.arange(tokens) < lengths[:, None]).to(read.device)


def _points_of(tokens: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(*tokens.shape[:2], _COORDINATES, generator=generator, dtype=torch.float64).to(
        tokens
    )


def _frequencies_of(tokens: Tensor) -> Any:
    return frequencies(_points_of(tokens), 2 * _COORDINATES)


def _only_last_answers(
    _: object, read: Tensor, groups: Mapping[str, int | None]
) -> list[AttentionPattern]:
    names = [spec.name for spec in specs_of(groups, read.shape[1])]
    return [AttentionPattern(tuple(names), (names[-1],))]


_VALUES: Mapping[str, Callable[[Tensor, Tensor, Mapping[str, int | None]], Any]] = {
    "attn_mask": _pairs,
    "key_padding_mask": _real_tokens,
    "freqs": lambda asking, *_: _frequencies_of(asking),
    "q_freqs": lambda asking, *_: _frequencies_of(asking),
    "k_freqs": lambda _, read, __: _frequencies_of(read),
    "positions": lambda asking, *_: _points_of(asking),
    "token_specs": lambda _, read, groups: specs_of(groups, read.shape[1]),
    "attention_patterns": _only_last_answers,
    "kv_cache": lambda *_: KVCache(),
}


def each_tensor(function: Callable[[Tensor], Any], arguments: Arguments) -> dict[str, Any]:
    """Return *arguments* with every tensor replaced by what *function* makes of it."""
    return {
        name: _on_tensors(lambda tensor, _: function(tensor), value, name)
        for name, value in arguments.items()
    }


def on_tokens(function: Callable[[Tensor, bool], Any], arguments: Arguments) -> dict[str, Any]:
    """Return *arguments* with every tensor that has a row for each token replaced by what
    *function* makes of it.

    Args:
        function: Takes the tensor, and whether its tokens are those that ask while others are read.
        arguments: The arguments of a call without a mask over pairs.
    """
    return {name: _on_tensors(function, value, name) for name, value in arguments.items()}


def _on_tensors(function: Callable[[Tensor, bool], Any], value: Any, name: str) -> Any:
    if isinstance(value, Tensor):
        return function(value, name in _OF_QUERIES)
    if isinstance(value, tuple) and all(
        isinstance(item, Tensor) for item in value
    ):  # angles of real frequencies
        return tuple(function(item, name in _OF_QUERIES) for item in value)
    return value


def cloned(arguments: Arguments) -> dict[str, Any]:
    """Return *arguments* that share no memory with these, each tensor contiguous."""
    return each_tensor(
        lambda tensor: tensor.clone(memory_format=torch.contiguous_format), arguments
    )


def moved(arguments: Arguments, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return *arguments* on a device, floating tensors in a dtype."""
    return each_tensor(
        lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype),
        arguments,
    )


def samples(arguments: Arguments, chosen: slice) -> dict[str, Any]:
    """Return the call for some samples of the batch."""
    return each_tensor(lambda tensor: tensor[chosen].contiguous(), arguments)


def shortened(arguments: Arguments, tokens: int) -> dict[str, Any]:
    """Return the call with the first *tokens* of those that are read."""
    short = on_tokens(
        lambda tensor, is_asking: tensor if is_asking else tensor[:, :tokens].contiguous(),
        arguments,
    )
    if "token_specs" in short:
        short["token_specs"] = _cut(short["token_specs"], tokens)
    return short


def _cut(specs: Sequence[TokenSpec], tokens: int) -> list[TokenSpec]:
    kept: list[TokenSpec] = []
    for spec in specs:
        size = min(spec.size or 0, tokens)
        kept.append(TokenSpec(spec.name, size))
        tokens -= size
    return kept


def spans_of(specs: Iterable[TokenSpec]) -> dict[str, slice]:
    """Return where each group stands among the tokens."""
    spans: dict[str, slice] = {}
    stop = 0
    for spec in specs:
        start, stop = stop, stop + (spec.size or 0)
        spans[spec.name] = slice(start, stop)
    return spans
