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


@attrs.frozen(kw_only=True)
class Signature:
    """How modules of an interface are called."""

    required: tuple[str, ...]
    """Arguments that every variant declares, by position."""

    optional: Mapping[str, Capability]
    """Arguments that a variant declares if it honours them, and what its record then promises."""

    also_by_position: tuple[str, ...] = ()
    """Optional arguments that callers need not name."""

    queries: str = "x"
    """The argument whose tokens attend, and get a result."""

    keys: str = "x"
    """The argument whose tokens are attended to, and which a padding mask is about."""

    @property
    def is_of_one_set(self) -> bool:
        """Whether tokens attend to each other, and not to others."""
        return self.queries == self.keys

    def text(self, optional: Iterable[str]) -> str:
        """Return how `forward` declares the required arguments and these optional ones."""
        positional = [*self.required]
        named: list[str] = []
        for name in optional:
            group = positional if name in self.also_by_position else named
            group.append(f"{name}=None")
        return ", ".join([*positional, "*", *named] if named else positional)


SIGNATURES: Mapping[Interface, Signature] = {
    "self": Signature(
        required=("x",),
        optional={
            "attn_mask": "attn_mask",
            "key_padding_mask": "key_padding_mask",
            "freqs": "rope",
            "positions": "positions",
            "token_specs": "token_specs",
            "context": "context",
        },
    ),
    "cross": Signature(
        required=("q", "kv"),
        optional={
            "attn_mask": "attn_mask",
            "key_padding_mask": "key_padding_mask",
            "q_freqs": "rope",
            "k_freqs": "rope",
            "kv_cache": "kv_cache",
            "token_specs": "token_specs",
        },
        queries="q",
        keys="kv",
    ),
    "tokens": Signature(
        required=("x", "token_specs"),
        optional={
            "attention_patterns": "attention_patterns",
            "key_padding_mask": "key_padding_mask",
            "freqs": "rope",
            "kv_cache": "kv_cache",
        },
        also_by_position=("attention_patterns",),
    ),
}

WITHOUT_ARGUMENT: frozenset[Capability] = frozenset({"deterministic", "permutation", "summary"})
"""Capabilities without an argument of `forward`."""

_OF_QUERIES = frozenset({"q", "q_freqs"})
"""Arguments of the interface *cross* that belong to its queries."""

GROUPS: Mapping[str, int | None] = {
    "surface_queries": None,
    "surface_anchors": 4,
    "volume_queries": None,
    "volume_anchors": 4,
}
"""Groups of tokens for a record that names none."""

_OF_NO_TOKEN = frozenset({"context"})
"""Arguments that belong to samples, and to none of their tokens."""

_CONTEXT_TOKENS = 5
"""Tokens of a context."""

_COORDINATES = 3
"""Coordinates of a point, where no option ``input_dim`` says how many."""

_DENSITY = 13
"""Points in the unit cube."""

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
_FEWEST_TOKENS = 13
"""Room for the groups of an example: two that grow and two of four tokens."""


@attrs.frozen
class Sizes:
    """How large a small call is."""

    batch: int
    queries: int
    """Tokens that attend, where they are others than those attended to."""

    tokens: int

    @classmethod
    def unlike(cls, taken: Iterable[object]) -> Sizes:
        """Return primes that are none of *taken*, so that axes which a module mixes up misfit."""
        used = {value for value in taken if isinstance(value, int)}
        batch, queries, *others = (prime for prime in _PRIMES if prime not in used)
        tokens = next(prime for prime in others if prime >= _FEWEST_TOKENS)
        return cls(batch, queries, tokens)


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
            arguments["token_specs"] = self._specs()
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
        if domains_of(self.config) is not None:
            arguments["token_specs"] = specs_of(one_of_each_domain(self.groups), self.queries)
        return arguments

    def _specs(self) -> list[TokenSpec]:
        specs = specs_of(self.groups, self.tokens)
        domains = domains_of(self.config)
        if domains is None or len({spec.domain for spec in specs if spec.size}) == domains:
            return specs
        # Of few tokens, groups of a fixed size may leave none for a domain behind them.
        return specs_of(one_of_each_domain(self.groups), self.tokens)

    def _numbers(self, tokens: int, width: int) -> Tensor:
        return torch.randn(self.batch, tokens, width, generator=self.generator, dtype=torch.float64)

    def _points(self, tokens: int) -> Tensor:
        """Return points that lie as dense as others, however many they are."""
        coordinates = getattr(self.config, "input_dim", _COORDINATES)
        shape = (self.batch, tokens, coordinates)
        points = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return points * float((max(tokens, 1) / _DENSITY) ** (1 / coordinates))


def frequencies(points: Tensor, head_dim: int) -> Any:
    """Return what rotates heads at *points*, by as many of their coordinates as fit into a head."""
    fitting = max(1, min(points.shape[-1], head_dim // 2))
    rotation = RopeFrequency(head_dim, fitting).to(points.device)
    return rotation(points[..., :fitting].float())


def domains_of(config: AttentionConfig) -> int | None:
    """Return how many domains of groups have weights of their own; None where all share them."""
    number: int | None = getattr(config, "num_types", None)
    return number


def groups_for(
    config: AttentionConfig, groups: Mapping[str, int | None]
) -> Mapping[str, int | None]:
    """Return the *groups* of a record, or if it names none, groups of as many domains as needed."""
    domains = domains_of(config)
    if groups or domains in (None, len(one_of_each_domain(GROUPS))):
        return groups or GROUPS
    # All but the last are small, so that each has a token in shorter calls too.
    small = {f"domain{number}_anchors": 1 for number in range(domains - 1)}
    return {**small, f"domain{domains - 1}_queries": None}


def have_domains(config: AttentionConfig, groups: Mapping[str, int | None]) -> bool:
    """Return whether the *groups* of a record are of as many domains as a config wants."""
    domains = domains_of(config)
    return not groups or domains in (None, len(one_of_each_domain(groups)))


def one_of_each_domain(groups: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return a group of each domain that may be of any size; anchors, where there are such."""
    chosen: dict[str, str] = {}
    for name, size in groups.items():
        domain = TokenSpec(name, size).domain
        if domain not in chosen or size is not None:
            chosen[domain] = name
    return dict.fromkeys(chosen.values())


def specs_of(groups: Mapping[str, int | None], tokens: int) -> list[TokenSpec]:
    """Return groups of *tokens* in sum.

    Those of a fixed size as far as they fit, the others share the rest.
    """
    wanted = groups or GROUPS
    left, sizes = tokens, dict.fromkeys(wanted, 0)
    # Those that stay come first, so that few tokens leave nothing for the others.
    for name, size in wanted.items():
        if size is not None:
            sizes[name] = min(size, left)
            left -= sizes[name]

    growing = [name for name, size in wanted.items() if size is None]
    if not growing:
        growing = list(wanted)[-1:]
    for number, name in enumerate(growing):
        equal_part = left // (len(growing) - number)
        sizes[name] += equal_part
        left -= equal_part
    return [TokenSpec(name, size) for name, size in sizes.items()]


def larger_groups(groups: Mapping[str, int | None], steps: int) -> dict[str, int]:
    """Return sizes of groups, all different and at least two, all larger the more *steps*."""
    return {name: 2 + number + 2 * steps for number, name in enumerate(groups or GROUPS)}


def optional_value(
    argument: str, queries: Tensor, keys: Tensor, groups: Mapping[str, int | None]
) -> Any:
    """Return a sound value of an optional argument for a call with these tokens.

    Args:
        argument: Any but frequencies and positions, which a call has where it needs them, and a
            context, which follows from the config.
        queries: Tokens that attend.
        keys: Tokens that are attended to.
        groups: Groups of a smallest call.
    """
    specs = specs_of(groups, queries.shape[1])
    if argument == "attn_mask":
        return _causal_mask(queries, keys)
    if argument == "key_padding_mask":
        return _padding_mask(keys)
    if argument == "token_specs":
        return specs
    if argument == "attention_patterns":
        names = tuple(spec.name for spec in specs)
        return [AttentionPattern(names, names[-1:])]
    if argument == "kv_cache":
        return KVCache()
    raise ValueError(f"there is no value for {argument}")


def context_for(config: AttentionConfig, tokens: Tensor, *, seed: int = 6) -> Tensor | None:
    """Return a context for a call with *tokens*; None for a config that takes none."""
    width = getattr(config, "context_dim", None)
    if width is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    shape = (tokens.shape[0], _CONTEXT_TOKENS, width)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(tokens)


def _causal_mask(queries: Tensor, keys: Tensor) -> Tensor:
    """Return a mask by which a query attends to the keys before it, the first in any case."""
    shape = (queries.shape[1], keys.shape[1])
    return torch.ones(shape, dtype=torch.bool, device=keys.device).tril()


def _padding_mask(keys: Tensor) -> Tensor:
    """Return a padding mask that leaves each sample another number of tokens."""
    batch, tokens = keys.shape[:2]
    lengths = (tokens - 2 - torch.arange(batch) % max(1, tokens // 2)).clamp_min(1)
    return (torch.arange(tokens) < lengths[:, None]).to(keys.device)


def each_tensor(function: Callable[[Tensor], Any], arguments: Arguments) -> dict[str, Any]:
    """Return *arguments* with every tensor replaced by what *function* makes of it."""
    whole = {name: function(arguments[name]) for name in arguments.keys() & _OF_NO_TOKEN}
    return {**on_tokens(lambda tensor, _: function(tensor), arguments), **whole}


def on_tokens(function: Callable[[Tensor, bool], Any], arguments: Arguments) -> dict[str, Any]:
    """Return *arguments* with every tensor that has a row for each token replaced.

    Args:
        function: Takes the tensor, and whether its tokens are queries with other keys.
        arguments: The arguments of a call without a mask over pairs.
    """
    changed = {}
    for name, value in arguments.items():
        is_of_queries = name in _OF_QUERIES
        if name in _OF_NO_TOKEN:
            changed[name] = value
        elif isinstance(value, Tensor):
            changed[name] = function(value, is_of_queries)
        elif isinstance(value, tuple) and all(isinstance(item, Tensor) for item in value):
            # Real frequencies are a pair of tensors, of cosines and of sines.
            changed[name] = tuple(function(item, is_of_queries) for item in value)
        else:
            changed[name] = value
    return changed


def cloned(arguments: Arguments) -> dict[str, Any]:
    """Return *arguments* that share no memory with these, each tensor contiguous."""
    contiguous = torch.contiguous_format
    return each_tensor(lambda tensor: tensor.clone(memory_format=contiguous), arguments)


def moved(arguments: Arguments, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return *arguments* on a device, floating tensors in a dtype."""

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    return each_tensor(move, arguments)


def samples(arguments: Arguments, chosen: slice) -> dict[str, Any]:
    """Return the call for some samples of the batch."""
    return each_tensor(lambda tensor: tensor[chosen].contiguous(), arguments)


def shortened(arguments: Arguments, tokens: int) -> dict[str, Any]:
    """Return the call with the first *tokens* of those that are attended to."""

    def shorten(tensor: Tensor, is_of_queries: bool) -> Tensor:
        return tensor if is_of_queries else tensor[:, :tokens].contiguous()

    short = on_tokens(shorten, arguments)
    if "token_specs" in short and "q" not in short:  # beside queries, these are their groups
        short["token_specs"] = _shortened_groups(short["token_specs"], tokens)
    return short


def _shortened_groups(specs: Sequence[TokenSpec], tokens: int) -> list[TokenSpec]:
    kept: list[TokenSpec] = []
    for spec in specs:
        size = min(spec.size or 0, tokens)
        kept.append(TokenSpec(spec.name, size))
        tokens -= size
    return kept


def spans_of(specs: Iterable[TokenSpec]) -> dict[str, slice]:
    """Return where each group lies among the tokens."""
    spans: dict[str, slice] = {}
    stop = 0
    for spec in specs:
        start, stop = stop, stop + (spec.size or 0)
        spans[spec.name] = slice(start, stop)
    return spans
