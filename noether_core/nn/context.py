"""The layers of attention to a context: tokens of another kind that inform those of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from noether_core.errors import UnsupportedArgumentError
from noether_core.nn.checks import check_context

if TYPE_CHECKING:
    from noether_core.schemas import Backend

    class ContextConfig(Protocol):
        """What the config of a variant with a context says."""

        @property
        def type(self) -> str:
            """Its type."""

        @property
        def num_heads(self) -> int:
            """Number of heads."""

        @property
        def head_dim(self) -> int:
            """Width of a head."""

        @property
        def bias(self) -> bool:
            """Whether layers have a bias."""

        @property
        def context_dim(self) -> int | None:
            """Width of the tokens of a context; None for a module that takes none."""

        @property
        def mixing(self) -> str:
            """``"weighted"`` by one number, or ``"concat_project"`` by a layer."""


class ProjectedContext(NamedTuple):
    """What heads attend to of a context."""

    keys: Tensor
    """``(batch, heads, context tokens, head_dim)``."""

    values: Tensor
    """The same shape."""


class ContextLayers(nn.Module):
    """The layers by which heads attend to a context; a variant inherits them and brings its own.

    ``cross_q`` makes queries of what heads have, and ``cross_k`` and ``cross_v`` keys and values of
    the context; heads share them. What comes of it is mixed with what heads have of their tokens:
    by the sigmoid of one number, ``state_mixing``, which is the share of the latter, or by a layer
    over both, ``concat_project``. All are None in a module that takes no context.

    Adams et al., GeoTransolver, 2025 (arXiv 2512.20399).

    Args:
        config: The concrete config of the variant.
    """

    config: ContextConfig
    dropout: float
    backend: Backend

    def __init__(self, config: ContextConfig) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_heads
        self.context_dim = config.context_dim
        self.cross_q: nn.Linear | None = None
        self.cross_k: nn.Linear | None = None
        self.cross_v: nn.Linear | None = None
        self.state_mixing: nn.Parameter | None = None
        self.concat_project: nn.Sequential | None = None
        if self.context_dim is None:
            return

        width, bias = config.head_dim, config.bias
        self.cross_q = nn.Linear(width, width, bias=bias)
        self.cross_k = nn.Linear(self.context_dim, width, bias=bias)
        self.cross_v = nn.Linear(self.context_dim, width, bias=bias)
        if config.mixing == "weighted":
            self.state_mixing = nn.Parameter(torch.empty(()))
            self.reset_mixing()
        else:
            layer = nn.Linear(2 * width, width, bias=bias)
            self.concat_project = nn.Sequential(layer, nn.GELU())

    def reset_mixing(self) -> None:
        """Mix in equal shares, as at first; layers have a function of their own."""
        if self.state_mixing is not None and not self.state_mixing.is_meta:
            nn.init.zeros_(self.state_mixing)

    def project_context(self, context: Tensor | None, x: Tensor) -> ProjectedContext | None:
        """Return the keys and values of a context, or None without one.

        Args:
            context: ``(batch, context tokens, context_dim)``, or with the heads behind the batch,
                each of which then has its own.
            x: The tokens of the call, ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If *context* has another shape, dtype or device than it needs.
            UnsupportedArgumentError: If the module takes none.
        """
        if context is None:
            return None
        if self.context_dim is None or self.cross_k is None or self.cross_v is None:
            reason = "the config has no context_dim; say how wide its tokens are"
            raise UnsupportedArgumentError(self.config.type, "context", reason)
        check_context(context, x, self.context_dim, self.num_heads, layer=self.cross_k)

        by_head = context.unsqueeze(1) if context.dim() == x.dim() else context
        keys, values = self.cross_k(by_head), self.cross_v(by_head)
        heads = (-1, self.num_heads, -1, -1)
        return ProjectedContext(keys.expand(heads), values.expand(heads))

    def make_queries(self, rows: Tensor) -> Tensor:
        """Return the queries of what heads have, both ``(batch, heads, rows, head_dim)``."""
        assert self.cross_q is not None  # noqa: S101  there is a context
        queries: Tensor = self.cross_q(rows)
        return queries

    def mix_with_context(self, own: Tensor, crossed: Tensor) -> Tensor:
        """Return what heads have of their tokens, mixed with what they have of the context.

        Args:
            own: ``(batch, heads, rows, head_dim)``.
            crossed: The same shape.
        """
        if self.concat_project is not None:
            mixed: Tensor = self.concat_project(torch.cat([own, crossed], dim=-1))
            return mixed
        assert self.state_mixing is not None  # noqa: S101  one of both there is
        share = self.state_mixing.sigmoid().to(own.dtype)
        return torch.lerp(crossed, own, share)
