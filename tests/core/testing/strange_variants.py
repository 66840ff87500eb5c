"""Variants that are right in a strange way, or so wrong that most checks cannot say anything."""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import nn

from noether_core import AttentionConfig, AttentionVariant, structure
from noether_core.nn import check_tokens
from tests.core.testing.broken_modules import SoundAttention
from tests.core.testing.sample_configs import SOUND, with_module


@attrs.frozen(kw_only=True)
class KernelConfig(AttentionConfig):
    """Options of linear attention."""

    type: Literal["kernel"] = "kernel"
    """Tokens meet in a sum over keys and values."""


class KernelAttention(nn.Module):
    """Linear attention as Katharopoulos et al. write it: features are elu + 1."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, KernelConfig)
        width = self.config.hidden_dim
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        check_tokens(x, self.config.hidden_dim)
        values = self.heads(self.v(x))
        # Its strides are those of the transposed view, and `aot_eager` takes a view of it.
        queries, keys = (nn.functional.elu(self.heads(layer(x))) + 1 for layer in (self.q, self.k))

        sums = queries @ (keys.transpose(-1, -2) @ values)
        masses = (queries * keys.sum(dim=2, keepdim=True)).sum(dim=-1, keepdim=True)
        # no token, no mass
        return self.proj((sums / masses).transpose(1, 2).reshape(x.shape))

    def heads(self, tokens):
        width = self.config.head_dim
        return tokens.view(*tokens.shape[:2], self.config.num_heads, width).transpose(1, 2)


KERNEL = AttentionVariant(
    config=KernelConfig,
    module=f"{__name__}:KernelAttention",
    interface="self",
    capabilities=("deterministic", "permutation"),
    time_exponent=1,
    memory_exponent=1,
    example={"hidden_dim": 8, "num_heads": 2},
    api_version=1,
)
"""Right in eager mode and under inductor, and nothing for ``aot_eager``."""


class Raising(SoundAttention):
    def __init__(self, config):
        raise ValueError("no weights today")


class Refusing(SoundAttention):
    def finished(self, y, x):
        raise ValueError("no tokens today")


class Listing(SoundAttention):
    def finished(self, y, x):
        return [y]


class Boundless(SoundAttention):
    def finished(self, y, x):
        return y / 0


class Crossing(SoundAttention):
    def forward(self, q, kv, *, attn_mask=None):
        return self.attended(q)


class _OneWay(torch.autograd.Function):
    @staticmethod
    def forward(_, y):
        return y.clone()

    @staticmethod
    def backward(_, grad_y):
        raise RuntimeError("no way back")


class OneWay(SoundAttention):
    def finished(self, y, x):
        return _OneWay.apply(y)


@attrs.frozen(kw_only=True)
class LostConfig(AttentionConfig):
    """Options of a variant whose record names a module that is not there."""

    type: Literal["lost"] = "lost"
    """There is none."""


LOST = with_module("Nobody", of=__name__, config=LostConfig)
"""A record with a wrong path in it."""


def _hopeless(name: str) -> AttentionVariant:
    return with_module(name, of=__name__)


HOPELESS = {
    "no such class": (
        LOST,
        "construction",
        "no module of the example can be made: PluginError: 'lost'",
    ),
    "no module": (
        attrs.evolve(SOUND, module="torch.nn:Identity"),
        "construction",
        "no module of the example can be made: ",
    ),
    "a constructor that raises": (
        _hopeless("Raising"),
        "construction",
        "ValueError: no weights today",
    ),
    "another interface": (_hopeless("Crossing"), "signature", "forward "),
    "a forward that raises": (
        _hopeless("Refusing"),
        "result",
        "a call with what it requires alone fails: ValueError: no tokens today",
    ),
    "a list": (_hopeless("Listing"), "result", "forward returns a list, wanted one tensor"),
    "infinite numbers": (_hopeless("Boundless"), "result", "alone is not finite"),
    "a backward that raises": (_hopeless("OneWay"), "gradients_are_right", "no way back"),
}
"""The variant, the one check that fails, and what it says."""
