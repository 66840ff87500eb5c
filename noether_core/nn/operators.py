"""Operators of torch of our own, which compilers and exporters take whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch

from noether_core.errors import DerivativeError

if TYPE_CHECKING:
    from collections.abc import Callable


def define_operator(
    name: str,
    schema: str,
    function: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    gradients: Callable[..., Any] | None = None,
    keep: Callable[..., None] | None = None,
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
            returns; as the ``backward`` of `torch.library.register_autograd`. Where it is None, to
            ask for one is a DerivativeError.
        keep: Keeps for it what it needs; as the ``setup_context`` there.
    """

    def refuse(*_: Any) -> NoReturn:
        raise DerivativeError(f"{name}: the operator was defined without gradients")

    torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(name, "default", function)
    torch.library.register_fake(name, fake)
    torch.library.register_autograd(name, gradients or refuse, setup_context=keep)
    namespace, _, short = name.partition("::")
    defined: Callable[..., Any] = getattr(getattr(torch.ops, namespace), short).default
    return defined
