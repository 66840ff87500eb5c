"""The layers of attention whose queries, keys and values come from the same tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from noether_core.nn.heads import merge_heads
from noether_core.nn.initialisation import init_weights_
from noether_core.nn.norm import RMSNorm
from noether_core.nn.state_dicts import accept_fused_

if TYPE_CHECKING:
    from noether_core.schemas import AttentionConfig


class QKVAttention(nn.Module):
    """The layers of attention over tokens of one width; a variant inherits them and brings its
    forward.

    ``q``, ``k``, ``v`` and ``proj`` are linear layers of ``hidden_dim`` by ``hidden_dim``;
    ``q_norm`` and ``k_norm`` are norms over a head with ``qk_norm``, and None without. Weights that
    were stacked into ``qkv`` load.

    Args:
        config: The concrete config of the variant.
    """

    config: AttentionConfig

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden_dim = config.hidden_dim
        self.num_heads = config.num_heads
        self.head_dim = config.head_dim
        self.use_rope = config.use_rope
        self.dropout = config.dropout

        self.q, self.k, self.v, self.proj = (
            nn.Linear(self.hidden_dim, self.hidden_dim, bias=config.bias) for _ in range(4)
        )
        self.q_norm, self.k_norm = (
            RMSNorm(self.head_dim) if config.qk_norm else None for _ in range(2)
        )
        init_weights_(self, config.init_weights, output=self.proj)
        accept_fused_(self, fused="qkv", parts=("q", "k", "v"))

    def project_output(self, read: Tensor, *, shares: int = 1) -> Tensor:
        """Return what the heads read, ``(batch, heads, tokens, head_dim)``, as tokens ``(batch,
        tokens, hidden_dim)``.

        Tokens that were split into *shares*, as `split_heads` does it, stand in one entry of the
        batch again. In training, features of the result are dropped with the probability
        ``dropout``.
        """
        y: Tensor = self.proj(merge_heads(read, shares=shares))
        return functional.dropout(y, self.dropout) if self.training and self.dropout else y
