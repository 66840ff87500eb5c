"""Which kernels compute attention, by backend; FlexAttention has a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from noether_core.errors import UnsupportedBackendError
from noether_core.nn.streaming import is_exported

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kernel(Protocol):
    """Computes ``softmax(scale * queries keys^T) values``, called as torch's function is."""

    def __call__(  # noqa: PLR0917  torch's function takes as many
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
    ) -> Tensor:
        """Return ``(batch, heads, queries, head_dim)``."""
        ...


def attend_by_math(  # noqa: PLR0917  called as torch's function is
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Tensor:
    """Attend by torch's math kernel.

    It has derivatives of every order and kind, and holds queries times keys.
    """
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        # The kernel would add a boolean mask as 0 and 1.
        added = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = added.masked_fill(~attn_mask, float("-inf"))

    # The public way to choose it is a setting of the whole process.
    kernel = torch._scaled_dot_product_attention_math  # noqa: SLF001
    return kernel(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)[0]


KERNELS: Final[Mapping[str, Kernel]] = {
    "auto": functional.scaled_dot_product_attention,
    "sdpa": functional.scaled_dot_product_attention,
    "math": attend_by_math,
}
"""Kernels by backend, but for ``"flex"``, which takes masks in another form."""


def kernel_of(backend: str) -> Kernel:
    """Return the kernel of a backend.

    Raises:
        UnsupportedBackendError: If there is none of that name.
    """
    if backend not in KERNELS:
        raise UnsupportedBackendError(
            backend, f"there is none of this name; choose of {', '.join(KERNELS)}, flex"
        )
    kernel = KERNELS[backend]
    return _with_zeros(kernel) if is_exported() else kernel


def _with_zeros(kernel: Kernel) -> Kernel:
    """Return *kernel* for graphs in which queries without keys get zeros whoever computes them.

    Those of torch do it by themselves; ONNX has NaN or the mean of all values there.
    """

    def attend(  # noqa: PLR0917  torch's function takes as many
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
    ) -> Tensor:
        attended = kernel(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
        if attn_mask is None:
            return attended
        is_allowed = attn_mask if attn_mask.dtype == torch.bool else attn_mask > float("-inf")
        return attended.masked_fill(~is_allowed.any(dim=-1, keepdim=True), 0.0)

    return attend


def has_tangents(*tensors: Tensor) -> bool:
    """Return whether derivatives in forward mode go through *tensors*; in graphs none do."""
    if torch.compiler.is_compiling():
        return False
    return any(
        forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]  # torch's own
        for tensor in tensors
    )
