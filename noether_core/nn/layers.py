"""The linear layers of attention: heads, projections to them, and the four of a whole module."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.utils.module_tracker import ModuleTracker

from noether_core.nn.domains import DomainLinear, DomainRuns, DomainTokens, by_domain
from noether_core.nn.initialisation import init_weights_
from noether_core.nn.noise import Drawing, drop_tokens
from noether_core.nn.norm import RMSNorm
from noether_core.nn.rope import rotate
from noether_core.nn.state_dicts import accept_fused_

if TYPE_CHECKING:
    from collections.abc import Callable

    from noether_core.nn.rope import Frequencies
    from noether_core.schemas import AttentionConfig


def split_heads(x: Tensor, num_heads: int, *, parts: int = 1) -> Tensor:
    """Give every head its own contiguous share of the features.

    Args:
        x: ``(batch, tokens, num_heads * head_dim)``; head ``h`` owns the features from ``h *
            head_dim`` on.
        num_heads: Number of heads; divides the width of *x*.
        parts: Into how many equal parts the tokens fall, one behind the other; each becomes an
            entry of the batch.

    Returns:
        ``(batch * parts, num_heads, tokens / parts, head_dim)``, a view where the layout of *x*
        allows it.
    """
    batch, tokens, width = x.shape
    return x.reshape(batch * parts, tokens // parts, num_heads, width // num_heads).transpose(1, 2)


def merge_heads(x: Tensor, *, parts: int = 1) -> Tensor:
    """Undo `split_heads`.

    Args:
        x: ``(batch * parts, num_heads, tokens / parts, head_dim)``.
        parts: What `split_heads` was given.

    Returns:
        ``(batch, tokens, num_heads * head_dim)``.
    """
    entries, num_heads, tokens, head_dim = x.shape
    return x.transpose(1, 2).reshape(entries // parts, parts * tokens, num_heads * head_dim)


def project_heads(
    x: Tensor | DomainTokens,
    layer: nn.Module,
    num_heads: int,
    *,
    norm: Callable[[Tensor], Tensor] | None = None,
    freqs: Frequencies | None = None,
    parts: int = 1,
) -> Tensor:
    """Return the queries, keys or values of every head: projected, then normalised, then rotated.

    Args:
        x: ``(batch, tokens, width)``, or what else *layer* takes.
        layer: Projects tokens to ``num_heads * head_dim`` features.
        num_heads: Number of heads.
        norm: Normalises each head over ``head_dim``, where it is given.
        freqs: What `RopeFrequency` returned for the tokens, where they are rotated; shared out as
            these are.
        parts: As in `split_heads`.

    Returns:
        ``(batch * parts, num_heads, tokens / parts, head_dim)``.
    """
    heads = split_heads(layer(x), num_heads, parts=parts)
    if norm is not None:
        heads = norm(heads)
    return heads if freqs is None else rotate(heads, freqs)


class Projection(nn.Module):
    """A linear layer as the child ``project``, so that ``q`` is stored as ``q.project.weight``.

    Args:
        in_features: Width of what goes in.
        out_features: Width of what comes out.
        bias: Whether a bias is added.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.project = nn.Linear(in_features, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Project *x*, ``(..., in_features)``, to ``(..., out_features)``."""
        projected: Tensor = self.project(x)
        return projected


def describe(config: AttentionConfig) -> str:
    """Return the type and the sizes in a config, as the repr of its module has them.

    Sizes are the options that are whole numbers, those that were left to choose left out::

        type='flare', hidden_dim=64, num_heads=4, num_latents=16
    """
    sizes = {
        name: value
        for name, value in attrs.asdict(config, recurse=False).items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    return ", ".join([f"type={config.type!r}", *(f"{name}={size}" for name, size in sizes.items())])


def plain_linear(layer: nn.Module) -> nn.Linear | None:
    """Return the linear layer that *layer* is and nothing more, or None where it must be called.

    The weights of such a layer may be read in the place of a call. Whatever somebody put there or
    added to it has to be called to act: an adapter, a quantised layer, one whose weights are
    computed or sharded, hooks.

    Args:
        layer: A linear layer, a `Projection`, or any module that stands in the place of one.
    """
    if type(layer) is Projection:
        if not is_untouched(layer):
            return None
        layer = layer.project
    if type(layer) is not nn.Linear or not is_untouched(layer):
        return None
    has_numbers = _is_plain_tensor(layer, "weight")
    return layer if has_numbers and _is_plain_tensor(layer, "bias", optional=True) else None


def plain_linears(*layers: nn.Module) -> tuple[nn.Linear, ...] | None:
    """Return what `plain_linear` does of each, or None where any of *layers* must be called."""
    plain = [plain_linear(layer) for layer in layers]
    if None in plain:
        return None
    return tuple(cast("list[nn.Linear]", plain))


def takes_what_its_weights_are(layer: nn.Linear) -> bool:
    """Return whether a linear layer needs tokens of the dtype and on the device of its weights.

    One whose weights act by themselves, or before whose `forward` something runs, may bring either
    to the other. Hooks behind it come too late for that.
    """
    if layer._forward_pre_hooks or "forward" in layer.__dict__:  # noqa: SLF001  nothing public tells
        return False
    if torch_module._global_forward_pre_hooks and not _are_trackers():  # noqa: SLF001
        return False
    return _is_plain_tensor(layer, "weight")


def is_untouched(module: nn.Module) -> bool:
    """Return whether a call of *module* runs the `forward` of its class and no hook."""
    has_hooks = (
        module._forward_hooks  # noqa: SLF001  nothing public tells
        or module._forward_pre_hooks  # noqa: SLF001
        or module._backward_hooks  # noqa: SLF001
        or module._backward_pre_hooks  # noqa: SLF001
    )
    if has_hooks or "forward" in module.__dict__:
        return False
    has_global = torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # noqa: SLF001
    return not has_global or _are_trackers()


def _are_trackers() -> bool:
    """Return whether the hooks of all modules only follow which one runs, and change nothing.

    Torch's counter of operations has such.
    """
    hooks: list[object] = []
    for kind in ("forward_pre", "forward", "backward_pre", "backward"):
        hooks += getattr(torch_module, f"_global_{kind}_hooks").values()
    return all(type(getattr(hook, "__self__", None)) is ModuleTracker for hook in hooks)


def _is_plain_tensor(layer: nn.Module, name: str, *, optional: bool = False) -> bool:
    """Return whether a parameter is a tensor of torch's own, and none that acts by itself."""
    # Flattened parameters leave views of themselves among the attributes.
    tensor = layer._parameters.get(name, layer.__dict__.get(name))  # noqa: SLF001
    if tensor is None:
        return optional
    return type(tensor) in _PLAIN_TENSORS


_PLAIN_TENSORS = (nn.Parameter, Tensor, FakeTensor, FunctionalTensor)
"""Tensors whose operations are torch's own; compilers and exporters put the last two there."""


class QKVAttention(nn.Module):
    """The layers of dot-product attention; a variant inherits them and brings its forward.

    ``q``, ``k``, ``v`` and ``proj`` are linear layers to ``hidden_dim`` features; ``q_norm`` and
    ``k_norm`` are norms over a head with ``qk_norm``, and None without. Weights that were stacked
    into ``qkv`` load, or with *kv_dim* those that were stacked into ``kv``.

    With *num_types* each is a `noether_core.nn.domains.DomainLinear`, and takes what
    `noether_core.nn.domains.by_domain` makes of tokens. With a *kv_dim* only ``q`` and ``proj``
    are: domains are those of the queries.

    Args:
        config: The concrete config of the variant.
        kv_dim: Width of the tokens of keys and values, where these are not those of the queries.
        num_types: Domains that have weights of their own; None where all tokens share them.
    """

    config: AttentionConfig

    def __init__(
        self, config: AttentionConfig, *, kv_dim: int | None = None, num_types: int | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.hidden_dim = hidden_dim = config.hidden_dim
        self.num_heads = config.num_heads
        self.head_dim = config.head_dim
        self.use_rope = config.use_rope
        self.dropout = config.dropout

        self.num_types = num_types

        key_width = hidden_dim if kv_dim is None else kv_dim
        key_types = num_types if kv_dim is None else None
        self.q = _linear(hidden_dim, hidden_dim, bias=config.bias, num_types=num_types)
        self.k = _linear(key_width, hidden_dim, bias=config.bias, num_types=key_types)
        self.v = _linear(key_width, hidden_dim, bias=config.bias, num_types=key_types)
        self.proj = _linear(hidden_dim, hidden_dim, bias=config.bias, num_types=num_types)
        self.q_norm = RMSNorm(self.head_dim) if config.qk_norm else None
        self.k_norm: nn.Module | None = RMSNorm(self.head_dim) if config.qk_norm else None
        init_weights_(self, config.init_weights, output=self.proj)

        if kv_dim is None:
            accept_fused_(self, fused="qkv", parts=("q", "k", "v"))
        else:
            accept_fused_(self, fused="kv", parts=("k", "v"))

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

    @property
    def drops(self) -> bool:
        """Whether weights and features are dropped."""
        return self.training and self.dropout > 0

    def project_queries(
        self, x: Tensor | DomainTokens, freqs: Frequencies | None = None, *, parts: int = 1
    ) -> Tensor:
        """Return the queries of *x*, as `project_heads` makes them."""
        return project_heads(x, self.q, self.num_heads, norm=self.q_norm, freqs=freqs, parts=parts)

    def project_keys(
        self, x: Tensor | DomainTokens, freqs: Frequencies | None = None, *, parts: int = 1
    ) -> Tensor:
        """Return the keys of *x*, as `project_heads` makes them."""
        return project_heads(x, self.k, self.num_heads, norm=self.k_norm, freqs=freqs, parts=parts)

    def project_values(self, x: Tensor | DomainTokens, *, parts: int = 1) -> Tensor:
        """Return the values of *x*, which are neither normalised nor rotated."""
        return project_heads(x, self.v, self.num_heads, parts=parts)

    def project_output(
        self,
        heads: Tensor,
        *,
        parts: int = 1,
        runs: DomainRuns | None = None,
        drawing: Drawing | None = None,
    ) -> Tensor:
        """Return the output of tokens from the results of their heads.

        In training, its features are dropped with the probability ``dropout``.

        Args:
            heads: ``(batch * parts, heads, tokens / parts, head_dim)``.
            parts: As in `split_heads`.
            runs: The domains of the tokens, exactly where there are such.
            drawing: Decides what is dropped by the number of a token; by its place in the call
                where it is None.

        Returns:
            ``(batch, tokens, hidden_dim)``.
        """
        merged = merge_heads(heads, parts=parts)
        y: Tensor = self.proj(merged if runs is None else by_domain(merged, runs))
        if not self.drops:
            return y
        if drawing is not None:
            return drop_tokens(y, self.dropout, drawing)
        return functional.dropout(y, self.dropout)


def _linear(
    in_features: int, out_features: int, *, bias: bool, num_types: int | None
) -> nn.Linear | DomainLinear:
    """Return a linear layer for all tokens, or one for each domain."""
    if num_types is None:
        return nn.Linear(in_features, out_features, bias=bias)
    return DomainLinear(in_features, out_features, bias=bias, num_types=num_types)
