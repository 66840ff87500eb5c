"""A sound module, and siblings of which each breaks one promise."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from noether_core import structure
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import (
    QKVAttention,
    attend,
    check_attn_mask,
    check_context,
    check_freqs,
    check_key_padding_mask,
    check_positions,
    check_tokens,
    combine_masks,
    group_sizes,
    init_weights_,
    layout_of,
    project_heads,
    zero_padding,
)
from noether_core.nn.groups import select_groups, split_groups
from noether_plugins.attention.mixed.module import MixedAttention
from noether_plugins.attention.transolver.module import TransolverAttention
from tests.core.testing.sample_configs import (
    IgnoredConfig,
    LaxConfig,
    PlacedConfig,
    RoundedConfig,
    SoundConfig,
    UnboundedConfig,
    UnexplainedConfig,
)
from tests.core.testing.torch_config import HeavyConfig

if TYPE_CHECKING:
    from noether_core import AttentionConfig


class SoundAttention(QKVAttention):
    """Every token attends to every other."""

    config_class: ClassVar[type[SoundConfig]] = SoundConfig

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__(structure(config, self.config_class))

    def forward(self, x, *, attn_mask=None, key_padding_mask=None, freqs=None) -> Tensor:
        return self.attended(x, attn_mask, key_padding_mask, freqs)

    def attended(  # noqa: PLR0917  the arguments that siblings honour, all that there are
        self,
        x,
        attn_mask=None,
        key_padding_mask=None,
        freqs=None,
        positions=None,
        token_specs=None,
    ) -> Tensor:
        self.check(x, attn_mask, key_padding_mask, freqs)
        x, freqs = self.filled(x, freqs, key_padding_mask)
        x = self.placed(x, positions)
        queries, keys, values = self.projected(x, freqs)
        keys, values = self.grouped(keys, values, token_specs)
        queries = queries * self.config.sharpness
        mixed = self.weighted(queries, keys, values, attn_mask, key_padding_mask)
        return self.finished(self.project_output(mixed), x)

    def check(self, x, attn_mask, key_padding_mask, freqs):
        check_tokens(x, self.hidden_dim)
        check_attn_mask(attn_mask, x, x, self.num_heads)
        check_key_padding_mask(key_padding_mask, x)
        check_freqs(freqs, x, self.head_dim, variant="sound", use_rope=self.use_rope)

    def filled(self, x, freqs, real):
        return zero_padding(x, real), zero_padding(freqs, real)

    def placed(self, x, positions):
        return x

    def projected(self, x, freqs):
        queries = project_heads(x, self.q, self.num_heads, norm=self.q_norm, freqs=freqs)
        keys = project_heads(x, self.k, self.num_heads, norm=self.k_norm, freqs=freqs)
        return queries, keys, project_heads(x, self.v, self.num_heads)

    def grouped(self, keys, values, token_specs):
        return keys, values

    def weighted(self, queries, keys, values, attn_mask, real):
        dropout = self.dropout if self.training else 0.0
        return attend(
            queries, keys, values, attn_mask=attn_mask, key_padding_mask=real, dropout=dropout
        )

    def finished(self, y, x):
        return y


class Bare(SoundAttention):
    """Takes tokens and nothing else."""

    def forward(self, x) -> Tensor:
        return self.attended(x)


class PlacedAttention(SoundAttention):
    """Tokens attend to the anchors of their groups, after positions and context were added."""

    config_class = PlacedConfig

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__(config)
        width = self.config.context_dim
        self.informing = None if width is None else nn.Linear(width, self.hidden_dim)
        init_weights_(self, self.config.init_weights, output=self.proj)

    def forward(self, x, *, positions=None, token_specs=None, context=None) -> Tensor:
        if context is not None:
            x = self.informed(x, context)
        return self.attended(x, positions=positions, token_specs=token_specs)

    def informed(self, x, context):
        if self.informing is None:
            raise UnsupportedArgumentError("sound", "context", "there is no context_dim")
        check_tokens(x, self.hidden_dim)
        check_context(context, x, self.config.context_dim, self.num_heads)
        return x + self.informing(context).flatten(1, -2).mean(dim=1, keepdim=True)

    def check(self, x, attn_mask, key_padding_mask, freqs):
        check_tokens(x, self.hidden_dim)

    def placed(self, x, positions):
        return (
            x if positions is None else x + check_positions(positions, x, 3).mean(-1, keepdim=True)
        )

    def grouped(self, keys, values, token_specs):
        if token_specs is None:
            return keys, values
        sizes = group_sizes(layout_of(token_specs), keys.shape[2])
        anchors = split_groups(sizes, [[name for name in sizes if name.endswith("anchors")]])
        return (select_groups(tensor, anchors, dim=2) for tensor in (keys, values))


# Configs that are broken; their modules are sound.


class Rounded(SoundAttention):
    config_class = RoundedConfig


class Lax(SoundAttention):
    config_class = LaxConfig


class Unbounded(SoundAttention):
    config_class = UnboundedConfig

    def finished(self, y, x):
        return y * (self.config.sharpness / self.config.sharpness)


class Unexplained(SoundAttention):
    config_class = UnexplainedConfig

    def finished(self, y, x):
        return y + self.config.shift


class Heavy(SoundAttention):
    config_class = HeavyConfig


class Ignoring(SoundAttention):
    config_class = IgnoredConfig

    def __init__(self, config):
        super().__init__(config)
        self.shift = self.config.shift


# How it is made and called.


class Unstructured(SoundAttention):
    def __init__(self, config):
        QKVAttention.__init__(self, config)


class Wider(SoundAttention):
    def forward(self, x, *, attn_mask=None, key_padding_mask=None, freqs=None, scale=1.0):
        return scale * self.attended(x, attn_mask, key_padding_mask, freqs)


class InNameOnly(SoundAttention):
    def forward(self, x, *, attn_mask=None, key_padding_mask=None, freqs=None, positions=None):
        return self.attended(x, attn_mask, key_padding_mask, freqs)


# What a call returns.


class Widening(SoundAttention):
    def finished(self, y, x):
        return y.float() if y.dtype == torch.bfloat16 else y


class AtHome(SoundAttention):
    def finished(self, y, x):
        return y + torch.zeros(y.shape[1], 1, dtype=y.dtype)


class Squeezing(SoundAttention):
    def finished(self, y, x):
        return y.squeeze(1)


class Viewing(SoundAttention):
    def placed(self, x, positions):
        x.view(-1)
        return x


class InPlace(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        super().check(x, attn_mask, key_padding_mask, freqs)
        if key_padding_mask is not None and not x.requires_grad:
            x.masked_fill_(~key_padding_mask[..., None], 0.0)


class Halving(SoundAttention):
    def finished(self, y, x):
        return (
            y.half().float()
            if y.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            else y
        )


class Cancelling(SoundAttention):
    def finished(self, y, x):
        return (y + 64) - 64 if self.proj.weight.dtype == torch.bfloat16 else y


class Mixing(SoundAttention):
    def finished(self, y, x):
        rows = torch.arange(y.shape[1], device=y.device)
        return torch.zeros_like(x).index_add_(1, rows, y)


# Who sees whom.


class Gossiping(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        super().check(x, attn_mask, key_padding_mask, freqs)
        self.real = key_padding_mask

    def finished(self, y, x):
        real = x if self.real is None else x.masked_fill(~self.real[..., None], 0.0)
        return y * (1 + 1e-3 * real.sum(0, keepdim=True))


class Counting(SoundAttention):
    def finished(self, y, x):
        return y * (1 + 1e-2 * torch.arange(y.shape[1], device=y.device, dtype=y.dtype)[:, None])


# Arguments that are honoured.


class BooleanMasksAlone(SoundAttention):
    def weighted(self, queries, keys, values, attn_mask, real):
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask > float("-inf")
        return super().weighted(queries, keys, values, attn_mask, real)


class FaintPadding(SoundAttention):
    def weighted(self, queries, keys, values, attn_mask, real):
        if real is None:
            return super().weighted(queries, keys, values, attn_mask, real)
        faint = torch.zeros_like(real, dtype=queries.dtype).masked_fill(~real, -10.0)
        return super().weighted(queries, keys, values, faint[:, None, None, :], None)


class ByHand(SoundAttention):
    def weighted(self, queries, keys, values, attn_mask, real):
        mask = combine_masks(attn_mask, real)
        if mask is None:
            return super().weighted(queries, keys, values, None, None)
        logits = queries @ keys.transpose(-2, -1) / self.head_dim**0.5
        logits = (
            logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
        )
        return logits.softmax(-1) @ values


class HalfTurned(SoundAttention):
    def projected(self, x, freqs):
        queries, _, values = super().projected(x, freqs)
        return queries, project_heads(x, self.k, self.num_heads, norm=self.k_norm), values


class Placeless(PlacedAttention):
    def placed(self, x, positions):
        check_positions(positions, x, 3)
        return x


class Sequenced(PlacedAttention):
    def informed(self, x, context):
        return super().informed(x, context[..., :1, :])


class Groupless(PlacedAttention):
    def grouped(self, keys, values, token_specs):
        return keys, values


class Patternless(MixedAttention):
    def forward(
        self,
        x,
        token_specs,
        attention_patterns=None,
        *,
        key_padding_mask=None,
        freqs=None,
        kv_cache=None,
    ) -> Tensor:
        return super().forward(
            x, token_specs, key_padding_mask=key_padding_mask, freqs=freqs, kv_cache=kv_cache
        )


class Forgetful(MixedAttention):
    def forward(
        self,
        x,
        token_specs,
        attention_patterns=None,
        *,
        key_padding_mask=None,
        freqs=None,
        kv_cache=None,
    ) -> Tensor:
        y = super().forward(
            x,
            token_specs,
            attention_patterns,
            key_padding_mask=key_padding_mask,
            freqs=freqs,
            kv_cache=kv_cache,
        )
        is_from_cache = any(spec.size is None for spec in token_specs)
        return y + 1e-3 * y.mean(-1, keepdim=True) if is_from_cache else y


class Louder(TransolverAttention):
    """Reads more than there is."""

    def read(self, x, summary, *, key_padding_mask=None, first_token=0) -> Tensor:
        options = {"key_padding_mask": key_padding_mask, "first_token": first_token}
        return 1.01 * super().read(x, summary, **options)


class Recounting(TransolverAttention):
    """Counts the tokens of each part anew."""

    def read(self, x, summary, *, key_padding_mask=None, first_token=0) -> Tensor:
        return super().read(x, summary, key_padding_mask=key_padding_mask)


class Deaf(SoundAttention):
    """Tokens attend to themselves alone; queries and keys weigh their values."""

    def forward(self, x, *, freqs=None) -> Tensor:
        return self.attended(x, freqs=freqs)

    def weighted(self, queries, keys, values, attn_mask, real):
        return values * (queries * keys).sum(-1, keepdim=True)


# What is refused.


class Broadcasting(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        if key_padding_mask is not None and key_padding_mask.shape[:1] == (1,):
            key_padding_mask = key_padding_mask.expand(x.shape[0], -1)
        super().check(x, attn_mask, key_padding_mask, freqs)


class Casting(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        real = None if key_padding_mask is None else key_padding_mask.bool()
        super().check(x, attn_mask, real, freqs)

    def weighted(self, queries, keys, values, attn_mask, real):
        real = None if real is None else real.bool()
        return super().weighted(queries, keys, values, attn_mask, real)


# Training and evaluation.


class Idle(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.spare = nn.Parameter(torch.ones(3))


class _Steeper(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.view_as(y)

    @staticmethod
    def backward(ctx, gradient):
        return 1.01 * gradient


class Steeper(SoundAttention):
    def finished(self, y, x):
        return _Steeper.apply(y)


class _Bending(torch.autograd.Function):
    """Adds a square, whose gradient takes its input for a constant."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return y + 0.1 * y.square()

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 + 0.2 * y.detach())


class Exact(SoundAttention):
    """Reads by the kernel that has every derivative."""

    def weighted(self, queries, keys, values, attn_mask, real):
        dropout = self.dropout if self.training else 0.0
        masks = {"attn_mask": attn_mask, "key_padding_mask": real}
        return attend(queries, keys, values, **masks, dropout=dropout, backend="math")


class Bending(Exact):
    def finished(self, y, x):
        return _Bending.apply(y)


@torch.library.custom_op("kit::opposite", mutates_args=())
def _opposite(y: Tensor) -> Tensor:
    return -y


_opposite.register_fake(torch.empty_like)
_opposite.register_autograd(lambda ctx, gradient: -gradient)


class Opposite(Exact):
    """Goes through an operation that knows no tangents, and says so to nobody."""

    def finished(self, y, x):
        return _opposite(y)


class Shrinking(SoundAttention):
    def finished(self, y, x):
        return y if self.training else y * (1 - self.dropout)


class Drifting(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("calls", torch.zeros(()))

    def finished(self, y, x):
        if self.training:
            return y
        self.calls.add_(1)
        return y * (1 + 1e-13 * self.calls)


class Salted(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.salt = 1e-13 * int.from_bytes(os.urandom(2), "big")

    def finished(self, y, x):
        return y * (1 + self.salt) if self.training else y


class NeverIdentity(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        if self.config.init_weights == "truncnormal002-identity":
            init_weights_(self, "truncnormal002", output=self.proj)


# What outlives a call.


class Rounding(SoundAttention):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "q.weight"] = self.q.weight.detach().bfloat16().to(self.q.weight.dtype)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        state = super().state_dict(*args, **kwargs)
        return {name: tensor.bfloat16().to(tensor.dtype) for name, tensor in state.items()}


class Unpicklable(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.activation = lambda y: y

    def finished(self, y, x):
        return self.activation(y)


class Looking(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.largest = float(self.q.weight.detach().abs().max())


class Seeding(SoundAttention):
    def __init__(self, config):
        torch.manual_seed(0)
        super().__init__(config)


# Linear layers.


class Reading(SoundAttention):
    def projected(self, x, freqs):
        queries, keys, _ = super().projected(x, freqs)
        values = torch.nn.functional.linear(x, self.v.weight, self.v.bias)
        return queries, keys, values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Remaking(SoundAttention):
    """Heeds adapters, and calls no hook of a layer."""

    def projected(self, x, freqs):
        queries = project_heads(x, self.q, self.num_heads, norm=self.q_norm, freqs=freqs)
        keys = project_heads(x, self.k, self.num_heads, norm=self.k_norm, freqs=freqs)
        return queries, keys, project_heads(x, self.v.forward, self.num_heads)


# Whole graphs.


class Logging(SoundAttention):
    def finished(self, y, x):
        logging.getLogger(__name__).debug("attended")
        return y


class FewTokensOnly(SoundAttention):
    def finished(self, y, x):
        return y if y.shape[1] < 10_000 else y.clone()
