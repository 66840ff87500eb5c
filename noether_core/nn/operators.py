"""What operators of our own need: their dtypes, who differentiates them, how torch gets them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor
from torch._decomp import register_decomposition  # the one table that torch.onnx looks into
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from noether_core.errors import DerivativeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager


def is_autocast(device: torch.device) -> bool:
    """Return whether autocast acts on *device*; there is none of the meta device."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast does not act on *device*."""
    if device.type == "meta":  # torch has no autocast for it, and refuses to turn it off
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def exact_product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left right`` in the dtype of both, whatever autocast says, forward and backward.

    Autocast acts on backward passes that are called within it, and casts gradients that float16
    does not hold.
    """
    # Compilers do the backward pass outside of autocast, and what is traced has none.
    if torch.compiler.is_compiling() or torch._C._is_tracing():  # noqa: SLF001  nothing public says
        with without_autocast(left.device):
            return left @ right
    product: Tensor = _ExactProduct.apply(left, right)  # type: ignore[no-untyped-call]
    return product


class _ExactProduct(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> Tensor:
        with without_autocast(left.device):
            return left @ right

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  torch passes both
        """Keep both for derivatives of either kind."""
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,), (left, right) = gradients, ctx.saved_tensors
        return (
            exact_product(gradient, right.mT).sum_to_size(left.shape),
            exact_product(left.mT, gradient).sum_to_size(right.shape),
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (of_left, of_right), (left, right) = tangents, ctx.saved_tensors
        return exact_product(of_left, right) + exact_product(left, of_right)


def dtype_of_results(x: Tensor) -> torch.dtype:
    """Return the dtype in which products of *x* are: its own, or that of autocast."""
    if x.dtype == torch.float64 or not is_autocast(x.device):
        return x.dtype
    return torch.get_autocast_dtype(x.device.type)


def dtype_of_sums(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of long sums of numbers of *dtype*: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def dtype_of_weights(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of weights that add up to 1, by which numbers of *dtype* are summed.

    float32 for float16: weights below 1e-4 have few bits there, and none below 3e-8, and gradients
    divided by a sum of such weights are above its largest number, 65,504. Else *dtype* itself.
    """
    return torch.float32 if dtype == torch.float16 else dtype


def is_transformed() -> bool:
    """Return whether `torch.func` or forward-mode derivatives go through what is computed.

    They do not see into operators of our own, or take them for constants; they get torch's
    operations alone.
    """
    # Nothing public says either.
    has_transforms = torch._C._are_functorch_transforms_active()  # noqa: SLF001
    return has_transforms or forward_ad._current_level >= 0  # noqa: SLF001


def is_recorded(*tensors: Tensor) -> bool:
    """Return whether autograd records what is computed of *tensors*."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def refuse_derivatives(
    gradients: Sequence[Tensor | None], reason: str, *, of: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return *gradients* of a backward pass so that differentiating them raises.

    Without it their derivative would be zero. Backward passes compute numbers under
    ``torch.no_grad()`` and, behind it, return them through this. The ``once_differentiable`` of
    torch takes them for constants where the gradient that came in is one.

    Args:
        gradients: What the backward pass returns; None where nothing is due.
        reason: What the error says.
        of: What they were computed from: the gradient that came in, and the tensors that were saved
            for it.
    """
    sources = [tensor for tensor in of if tensor is not None and tensor.requires_grad]
    if not torch.is_grad_enabled() or not sources:  # nobody wants a graph of the backward pass
        return tuple(gradients)
    return tuple(
        None if gradient is None else _Refusing.apply(gradient, reason, *sources)  # type: ignore[no-untyped-call]
        for gradient in gradients
    )


class _Refusing(torch.autograd.Function):
    """The identity, of which there is no derivative: neither by itself nor by what it came from."""

    @staticmethod
    def forward(x: Tensor, reason: str, *_: Tensor) -> Tensor:  # noqa: ARG004  backward needs it
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  torch passes both
        """Keep what the error says."""
        ctx.reason = inputs[1]

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> NoReturn:
        raise DerivativeError(ctx.reason)


def define_operator(
    name: str,
    schema: str,
    function: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    gradients: Callable[..., Any] | None = None,
    keep: Callable[..., None] | None = None,
    flops: Callable[..., int] | None = None,
    decomposition: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Define an operator of torch for every device, and return it.

    What `torch.library.custom_op` does, without what that imports when it is first called: torch's
    compiler, two seconds and 70 MB, whether anything is compiled or not. What the function returns
    must share no memory with what it is given, which nobody checks.

    Args:
        name: ``"namespace::name"``.
        schema: What it takes and returns, ``"(Tensor x, float scale) -> Tensor"``; it writes to
            nothing it is given.
        function: What it computes; autograd does not look on.
        fake: Takes the same, and returns tensors of the same shapes, strides and dtypes without
            numbers.
        gradients: Returns the gradients of what it takes, from a context and those of what it
            returns; as the ``backward`` of `torch.library.register_autograd`. Where it is None,
            computing one is a DerivativeError.
        keep: Keeps for it what it needs; as the ``setup_context`` there.
        flops: Takes the same as *function* with the shape of each tensor in its place, and returns
            how many operations that is, for `torch.utils.flop_counter`; None for none.
        decomposition: Computes the same by operators of torch. Exporters to formats that know no
            others, ``torch.onnx`` among them, write what it does; compilers and ``torch.export``
            keep the operator.
    """

    def refuse(*_: Any) -> NoReturn:
        raise DerivativeError(f"{name}: the operator was defined without gradients")

    torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(name, "default", function)
    torch.library.register_fake(name, fake)
    torch.library.register_autograd(name, gradients or refuse, setup_context=keep)
    namespace, _, short = name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), short)
    if flops is not None:
        register_flop_formula(packet)(flops)
    defined: Callable[..., Any] = packet.default
    if decomposition is not None:
        register_decomposition(defined, unsafe=True)(decomposition)
        # Else tensors without numbers would be made by it where sizes are symbols.
        register_decomposition(defined, type="meta", unsafe=True)(fake)
    return defined
