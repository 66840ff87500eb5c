"""The module of FLARE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core import AttentionConfig, TokenGroupError, TokenSpec, structure
from noether_core.nn import (
    Frequencies,
    RMSNorm,
    attend,
    check_key_padding_mask,
    check_tokens,
    group_spans,
    init_weights_,
    merge_heads,
    project_heads,
    refuse_arguments,
    take_tokens,
)
from noether_plugins.attention.flare.config import FLAREAttentionConfig
from noether_plugins.attention.flare.residual_mlp import residual_mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFUSED = {
    "attn_mask": "tokens meet in latents, never in pairs; key_padding_mask hides tokens",
    "freqs": "latents have no position to rotate by",
    "positions": "it does not look at points",
}


class FLAREAttention(nn.Module):
    """Tokens exchange information through latents: each head's latents read the tokens, and the tokens read them.

    ``z = softmax(s l k^T) v`` gathers the tokens in the latents ``l``, and ``y = softmax(s k l^T) z`` hands them out
    again by the same keys, with ``s`` the ``attn_scale``; together an attention of rank ``num_latents``, whose time
    and memory grow with the number of tokens and not with its square. Keys and values are residual MLPs of the tokens.

    Puri et al., FLARE, 2025 (arXiv 2508.12594).

    Args:
        config: Its own config, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = own = structure(config, FLAREAttentionConfig)
        self.hidden_dim, self.num_heads, self.num_latents = own.hidden_dim, own.num_heads, own.num_latents
        self.attn_scale, self.anchor_suffix, self.dropout = own.attn_scale, own.anchor_suffix, own.dropout

        self.latent_q = nn.Parameter(torch.empty(self.hidden_dim, self.num_latents))
        nn.init.normal_(self.latent_q, std=own.latent_init_std)
        self.k_proj, self.v_proj = (
            residual_mlp(self.hidden_dim, ratio=ratio, num_layers=layers, activation=own.activation, bias=own.bias)
            for ratio, layers in (
                (own.k_proj_mlp_ratio, own.num_layers_k_proj),
                (own.v_proj_mlp_ratio, own.num_layers_v_proj),
            )
        )
        norm = RMSNorm if own.rmsnorm else nn.LayerNorm
        self.q_norm, self.k_norm = (norm(own.head_dim) if own.qk_norm else None for _ in range(2))
        self.out_proj = nn.Linear(self.hidden_dim, self.hidden_dim, bias=own.bias)
        init_weights_(self, own.init_weights, output=self.out_proj)

    def forward(
        self,
        x: Tensor,
        *,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        positions: Tensor | None = None,
        token_specs: Sequence[TokenSpec] | None = None,
    ) -> Tensor:
        """Exchange information between tokens through latents.

        Args:
            x: ``(batch, tokens, hidden_dim)``.
            attn_mask: Refused.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. Padding is read by no latent; it still
                reads the latents, so its own rows of the result mean nothing.
            freqs: Refused.
            positions: Refused.
            token_specs: Groups of the tokens, one behind the other. Where one or more end in ``anchor_suffix``, the
                latents read those alone; all tokens read the latents.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            ShapeError: If a tensor has another shape, dtype or device than it needs.
            TokenGroupError: If the groups do not add up to the tokens, or one is of size None.
            UnsupportedArgumentError: If an argument cannot be honoured.
        """
        refuse_arguments("flare", _REFUSED, attn_mask=attn_mask, freqs=freqs, positions=positions)
        check_tokens(x, self.hidden_dim)
        check_key_padding_mask(key_padding_mask, x)
        read = self._read_spans(token_specs, x.shape[1])
        dropout = self.dropout if self.training else 0.0

        latents = self.latent_q.reshape(1, self.num_heads, self.num_latents, -1)
        latents = latents if self.q_norm is None else self.q_norm(latents)
        latents = latents.expand(x.shape[0], -1, -1, -1)
        keys = project_heads(x, self.k_proj, self.num_heads, norm=self.k_norm)
        values = project_heads(take_tokens(x, read, dim=1), self.v_proj, self.num_heads)

        gathered = attend(
            latents,
            take_tokens(keys, read, dim=2),
            values,
            key_padding_mask=None if key_padding_mask is None else take_tokens(key_padding_mask, read, dim=1),
            dropout=dropout,
            scale=self.attn_scale,
        )
        handed_out = attend(keys, latents, gathered, dropout=dropout, scale=self.attn_scale)

        y: Tensor = self.out_proj(merge_heads(handed_out))
        return functional.dropout(y, dropout) if dropout else y

    def _read_spans(self, token_specs: Sequence[TokenSpec] | None, tokens: int) -> list[slice]:
        """Return where the tokens stand that the latents read."""
        everything = slice(0, tokens)
        if token_specs is None:
            return [everything]
        spans = group_spans(token_specs, tokens)
        for name, span in spans.items():
            if span is None:
                raise TokenGroupError(f"token_specs: {name!r} is of size None, and flare keeps no keys in a cache")
        anchors = [span for name, span in spans.items() if span is not None and name.endswith(self.anchor_suffix)]
        return anchors or [everything]
