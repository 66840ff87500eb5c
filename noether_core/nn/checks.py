"""What a forward was given, checked in its first lines against what it needs.

A check of an argument that is not given costs next to nothing, one of a tensor a microsecond or
two; the code behind them checks nothing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from noether_core.errors import CacheError, MaskError, ShapeError, UnsupportedArgumentError
from noether_core.nn.cache import KVCache
from noether_core.nn.domains import DomainLinear
from noether_core.nn.layers import Projection, takes_what_its_weights_are
from noether_core.nn.masks import Causal, Packed, SlidingWindow
from noether_core.nn.operators import is_autocast

if TYPE_CHECKING:
    from noether_core.nn.masks import StructuredMask
    from noether_core.nn.rope import Frequencies


def check_tokens(
    x: Tensor,
    hidden_dim: int,
    *,
    name: str = "x",
    beside: Tensor | None = None,
    layer: nn.Module | None = None,
) -> None:
    """Check that *x* holds tokens of a width.

    Args:
        x: The tokens.
        hidden_dim: Their width.
        name: What the caller calls them.
        beside: Other tokens of the same call, of which *x* must have the batch and the device.
        layer: The linear layer that *x* meets first, of whose weights it must have the dtype and
            the device. Whatever is no plain layer knows by itself what it takes, and autocast casts
            all but float64.

    Raises:
        ShapeError: If *x* is no dense tensor, or not ``(batch, tokens, hidden_dim)`` of floating
            numbers, or does not fit what stands beside it.
    """
    if not is_dense(x):
        raise not_dense(x, name, f"(batch, tokens, {hidden_dim})")
    if x.shape[2:] != (hidden_dim,):
        raise ShapeError(
            f"{name}: got shape {tuple(x.shape)}, wanted (batch, tokens, {hidden_dim})"
        )
    if not x.is_floating_point():
        raise ShapeError(f"{name}: got {x.dtype}, wanted a floating dtype")
    if beside is not None:
        if x.shape[0] != beside.shape[0]:
            raise ShapeError(
                f"{name}: got a batch of {x.shape[0]}, wanted {beside.shape[0]} as beside it"
            )
        check_device(x, beside, name)
    if layer is not None:
        _check_like_weights(x, layer, name)


def check_positions(positions: Tensor | None, x: Tensor, input_dim: int) -> Tensor:
    """Check that there is a point for each of the tokens *x*, and return the points.

    Raises:
        ShapeError: If *positions* are missing, not ``(batch, tokens, input_dim)`` of floating
            numbers, or on another device.
    """
    wanted = (*x.shape[:2], input_dim)
    if positions is None:
        raise ShapeError(
            f"positions: got None, wanted points of shape (batch, tokens, input_dim) = {wanted}"
        )
    if not is_dense(positions):
        raise not_dense(positions, "positions", f"(batch, tokens, input_dim) = {wanted}")
    if positions.shape != wanted:
        raise ShapeError(
            f"positions: got shape {tuple(positions.shape)}, "
            f"wanted (batch, tokens, input_dim) = {wanted}"
        )
    if not positions.is_floating_point():
        raise ShapeError(f"positions: got {positions.dtype}, wanted a floating dtype")
    check_device(positions, x, "positions")
    return positions


def check_context(
    context: Tensor,
    x: Tensor,
    context_dim: int,
    num_heads: int,
    *,
    layer: nn.Module | None = None,
) -> None:
    """Check that *context* holds tokens that those of *x* may attend to beside each other.

    Args:
        context: The tokens.
        x: The tokens of the call, ``(batch, tokens, hidden_dim)``.
        context_dim: Width of a token of the context.
        num_heads: Number of heads.
        layer: The linear layer that the context meets first, as `check_tokens` takes it.

    Raises:
        ShapeError: If *context* is no dense tensor, neither ``(batch, context tokens,
            context_dim)`` nor ``(batch, num_heads, context tokens, context_dim)`` of floating
            numbers, or on another device.
    """
    batch = x.shape[0]
    wanted = f"(batch, context tokens, context_dim) = ({batch}, ..., {context_dim})"
    if not is_dense(context):
        raise not_dense(context, "context", wanted)

    leading = context.shape[:-2]
    if context.shape[-1:] != (context_dim,) or leading not in ((batch,), (batch, num_heads)):
        raise ShapeError(
            f"context: got shape {tuple(context.shape)}, wanted {wanted}, "
            f"or with {num_heads} heads behind the batch"
        )
    if not context.is_floating_point():
        raise ShapeError(f"context: got {context.dtype}, wanted a floating dtype")
    check_device(context, x, "context")
    if layer is not None:
        _check_like_weights(context, layer, "context")


def check_key_padding_mask(
    mask: Tensor | None, keys: Tensor, *, name: str = "key_padding_mask"
) -> None:
    """Check that *mask* has a boolean for each of *keys*, ``(batch, tokens, width)``.

    Raises:
        ShapeError: If *mask* has another shape than ``(batch, tokens)``, is not boolean or is on
            another device.
    """
    if mask is None:
        return
    if not is_dense(mask):
        raise not_dense(mask, name, f"(batch, tokens) = {tuple(keys.shape[:2])}")
    if mask.shape != keys.shape[:2]:
        raise ShapeError(
            f"{name}: got shape {tuple(mask.shape)}, "
            f"wanted (batch, tokens) = {tuple(keys.shape[:2])}"
        )
    if mask.dtype != torch.bool:
        raise ShapeError(f"{name}: got {mask.dtype}, wanted torch.bool, True for real tokens")
    check_device(mask, keys, name)


def check_attn_mask(
    mask: Tensor | StructuredMask | None, queries: Tensor, keys: Tensor, num_heads: int
) -> None:
    """Check that *mask* fits the logits of *queries* and *keys*, each ``(batch, tokens, ...)``.

    Raises:
        ShapeError: If *mask* does not broadcast to ``(batch, num_heads, queries, keys)``, is
            neither boolean nor floating, or is on another device; a `MaskError` if `Packed` has
            other numbers of queries or keys.
    """
    if mask is None:
        return
    if not isinstance(mask, Tensor):
        _check_structured(mask, queries.shape[1], keys.shape[1])
        return
    wanted = (queries.shape[0], num_heads, queries.shape[1], keys.shape[1])
    if not is_dense(mask):
        raise not_dense(mask, "attn_mask", f"that broadcasts to {wanted}")
    sizes = tuple(mask.shape)
    if not _broadcasts(sizes, wanted):
        raise ShapeError(
            f"attn_mask: got shape {sizes}, wanted one that broadcasts to "
            f"(batch, heads, queries, keys) = {wanted}{_way_out(sizes, wanted)}"
        )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ShapeError(f"attn_mask: got {mask.dtype}, wanted torch.bool or a floating dtype")
    check_device(mask, queries, "attn_mask")


def check_freqs(
    freqs: Frequencies | None,
    x: Tensor,
    head_dim: int,
    *,
    variant: str,
    use_rope: bool,
    name: str = "freqs",
) -> None:
    """Check that rotary frequencies are there exactly with ``use_rope``, and fit the tokens *x*.

    Args:
        freqs: Frequencies, as `noether_core.nn.rotate` takes them.
        x: The tokens they rotate, ``(batch, tokens, hidden_dim)``.
        head_dim: Width of a head.
        variant: Type of the module, for the message.
        use_rope: Option of the config.
        name: What the caller calls *freqs*.

    Raises:
        ShapeError: If they are missing, have another shape or are of another kind.
        UnsupportedArgumentError: If they are given to a module without rotary embeddings.
    """
    if freqs is None:
        if use_rope:
            raise ShapeError(f"{name}: RoPE usage mismatch: use_rope is true and none are given")
        return
    if not use_rope:
        raise UnsupportedArgumentError(variant, name, "RoPE usage mismatch: use_rope is false")
    _check_kind(freqs, name)
    for tensor in (freqs,) if isinstance(freqs, Tensor) else freqs:
        _check_tokens_of(tensor, x, name)
    _check_widths(freqs, head_dim, name)


def check_kv_cache(cache: KVCache | None) -> None:
    """Check that *cache*, where there is one, is a `KVCache`.

    Raises:
        CacheError: If it is anything else.
    """
    if cache is not None and not isinstance(cache, KVCache):
        raise CacheError(
            f"kv_cache: got a {type(cache).__name__}, wanted a noether_core.nn.KVCache"
        )


def is_dense(value: object) -> bool:
    """Return whether *value* is a tensor that is neither sparse nor nested."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_nested


def not_dense(value: object, name: str, wanted: str) -> ShapeError:
    """Return the error for what stands where a dense tensor is wanted."""
    if not isinstance(value, Tensor):
        got = "None" if value is None else f"a {type(value).__name__}"
    elif value.is_nested:
        got = "a nested tensor"
    else:
        got = f"a tensor with the layout {value.layout}"
    return ShapeError(f"{name}: got {got}, wanted a dense tensor {wanted}")


def check_device(tensor: Tensor, beside: Tensor, name: str, *, which: str = "tokens") -> None:
    """Check that *tensor* is where the tokens, or others that *which* names, are *beside* it."""
    if tensor.device != beside.device:
        raise ShapeError(
            f"{name}: got a tensor on {tensor.device}, wanted {beside.device}, where the {which} "
            f"are; pass {name}.to({str(beside.device)!r})"
        )


def _check_like_weights(x: Tensor, layer: nn.Module, name: str) -> None:
    """Check that *x* has the dtype and the device of the weights of *layer*, where it is plain."""
    if type(layer) is DomainLinear:
        for own in layer.children():
            _check_like_weights(x, own, name)
        return
    own = layer.project if type(layer) is Projection else layer
    if type(own) is not nn.Linear:
        return
    weight = own.weight
    if x.dtype == weight.dtype and x.device == weight.device:
        return
    if not takes_what_its_weights_are(own):
        return

    check_device(x, weight, name, which="weights")
    if is_autocast(x.device) and torch.float64 not in (x.dtype, weight.dtype):
        return
    raise ShapeError(
        f"{name}: got {x.dtype}, wanted {weight.dtype}, the dtype of the weights; "
        f"pass {name}.to({weight.dtype})"
    )


def _check_structured(mask: StructuredMask, queries: int, keys: int) -> None:
    """Check that samples are packed into as many tokens as there are.

    Other structured masks fit any number.
    """
    if isinstance(mask, Packed):
        _check_packed(mask.lengths, queries, "queries")
        _check_packed(mask.key_lengths or (), keys, "keys")
    elif not isinstance(mask, (Causal, SlidingWindow)):
        raise MaskError(
            f"attn_mask: got {type(mask).__name__}, wanted a tensor, Causal(), "
            "SlidingWindow(before, after) or Packed(lengths)"
        )


def _check_packed(lengths: tuple[int, ...], tokens: int, name: str) -> None:
    if sum(lengths) != tokens:
        raise MaskError(f"attn_mask: got lengths of {sum(lengths)} {name}, wanted {tokens}")


def _broadcasts(sizes: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether a tensor of *sizes* broadcasts to *wanted*."""
    if len(sizes) > len(wanted):
        return False
    for size, want in zip(sizes[::-1], wanted[::-1], strict=False):
        # `size not in (1, want)` would be wrong in graphs, where a size may stand for any number.
        if size != 1 and size != want:  # noqa: PLR1714
            return False
    return True


def _way_out(sizes: tuple[int, ...], wanted: tuple[int, int, int, int]) -> str:
    """Return what to write instead where the shape shows what was meant."""
    batch, _, queries, keys = wanted
    if sizes == (batch, keys):
        return "; pass a mask of real tokens as key_padding_mask"
    if sizes == (batch, queries, keys):
        return "; pass one mask per batch entry as mask[:, None]"
    return ""


def _check_kind(freqs: Frequencies, name: str) -> None:
    wanted = "complex numbers or a tuple of angles"
    if not isinstance(freqs, (Tensor, tuple, list)):
        raise ShapeError(f"{name}: got a {type(freqs).__name__}, wanted {wanted}")
    for tensor in (freqs,) if isinstance(freqs, Tensor) else freqs:
        if not is_dense(tensor):
            raise not_dense(tensor, name, f"of {wanted}")
    if isinstance(freqs, Tensor):
        if not freqs.is_complex():
            raise ShapeError(f"{name}: got a tensor of {freqs.dtype}, wanted {wanted}")
    elif not freqs or not all(angles.is_floating_point() for angles in freqs):
        raise ShapeError(
            f"{name}: got {[angles.dtype for angles in freqs]}, "
            "wanted floating angles for each coordinate"
        )


def _check_tokens_of(freqs: Tensor, x: Tensor, name: str) -> None:
    """Check that frequencies, ``([batch,] tokens, width)``, are those of the tokens of *x*."""
    batch, tokens = x.shape[:2]
    if freqs.shape[-2:-1] != (tokens,) or freqs.shape[:-2] not in ((), (1,), (batch,)):
        raise ShapeError(
            f"{name}: got shape {tuple(freqs.shape)}, "
            f"wanted (batch, tokens, width) = ({batch}, {tokens}, ...)"
        )
    check_device(freqs, x, name)


def _check_widths(freqs: Frequencies, head_dim: int, name: str) -> None:
    if isinstance(freqs, Tensor):
        if freqs.shape[-1] != head_dim // 2:
            raise ShapeError(
                f"{name}: got {freqs.shape[-1]} complex numbers, "
                f"wanted {head_dim // 2} for heads of width {head_dim}"
            )
        return
    widths = [angles.shape[-1] for angles in freqs]
    are_equal = widths == [widths[0]] * len(widths)
    if not are_equal or widths[0] % 2 or sum(widths) > head_dim:
        raise ShapeError(
            f"{name}: got angles of widths {widths}, "
            f"wanted equal even ones within the head width {head_dim}"
        )
