"""The modules of the anchor family: one module, and three patterns that it runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar

import attrs
from torch import Tensor, nn

from noether_core import AttentionConfig, TokenSpec, structure
from noether_core.errors import UnsupportedArgumentError
from noether_core.nn import Frequencies, KVCache, Summary, check_summary, check_tokens, describe
from noether_plugins.attention.anchor.config import (
    CrossAnchorAttentionConfig,
    JointAnchorAttentionConfig,
    MultiBranchAnchorAttentionConfig,
    SelfAnchorAttentionConfig,
)
from noether_plugins.attention.anchor.patterns import (
    Branches,
    BranchRule,
    MissingAnchorTokenError,
    MissingBranchTokensError,
    UnexpectedTokenError,
    cross_patterns,
    joint_patterns,
    self_patterns,
)
from noether_plugins.attention.mixed.config import MixedAttentionConfig
from noether_plugins.attention.mixed.module import MixedAttention
from noether_plugins.attention.mixed.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CrossAnchorAttention",
    "JointAnchorAttention",
    "MissingAnchorTokenError",
    "MissingBranchTokensError",
    "MultiBranchAnchorAttention",
    "SelfAnchorAttention",
    "UnexpectedTokenError",
]


class MultiBranchAnchorAttention(nn.Module):
    """Mixed attention whose patterns follow from branches: groups of tokens attend to anchors.

    Branch ``b`` has the groups that are named for it, and the anchors ``b + anchor_suffix`` among
    them: few tokens that stand for many. For each set ``T`` of groups and the anchors ``A`` that
    the variant gives it, ``softmax(q[T] k[A]^T / sqrt(d)) v[A]``. Time grows with tokens times
    anchors, so linearly in the tokens where the anchors stay.

    It is no variant itself: a variant names its config and its patterns.

    Alkin et al., AB-UPT, 2025 (arXiv 2502.09692).

    Args:
        config: The config of the variant, or a generic one of its type.

    Raises:
        ConfigError: If *config* is of another type, or an option is wrong.
    """

    rounds = 1
    """Times that `gather` goes over the tokens."""

    variant: ClassVar[str]
    config_class: ClassVar[type[MultiBranchAnchorAttentionConfig]]
    patterns_of: ClassVar[staticmethod[[Branches], tuple[Pattern, ...]]]

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = structure(config, self.config_class)
        self.use_rope = self.config.use_rope
        self.mixed_attention = MixedAttention(_shared_options(self.config))
        # The attention remembers its plans by the rule, so modules of equal options share them.
        self._rule = BranchRule(self.config.branches, self.config.anchor_suffix, self.patterns_of)

    def extra_repr(self) -> str:
        """Return type and sizes, for the repr."""
        return describe(self.config)

    def forward(
        self,
        x: Tensor,
        token_specs: Sequence[TokenSpec],
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        kv_cache: KVCache | None = None,
    ) -> Tensor:
        """Let the tokens of every group attend to the anchors that the variant gives its branch.

        A token all of whose anchors are padding gets zeros.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other.
            token_specs: The groups, in the order of *x*: anchors of every branch, and any others.
                One of size None is not in *x*; its keys and values come from *kv_cache*.
            key_padding_mask: ``(batch, tokens)`` booleans, True for real tokens. No token attends
                to padding; padding still attends, so its own rows of the result mean nothing.
            freqs: What `RopeFrequency` returns for the tokens of *x*; exactly if ``use_rope``.
            kv_cache: Filled with the anchors of *x*; keys and values of anchors that are not in *x*
                are taken from it.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            UnexpectedTokenError: If a group belongs to no branch.
            MissingBranchTokensError: If a branch has no group.
            MissingAnchorTokenError: If a branch has no anchors.
            TokenGroupError: If groups and tokens do not fit each other.
            ShapeError: If a tensor has another shape, dtype or device than it needs, or *freqs* are
                missing.
            CacheError: If the cache does not hold anchors that are attended to, or holds them in a
                form that does not fit.
            UnsupportedArgumentError: If *freqs* are given without ``use_rope``.
        """
        self._check_freqs(freqs)
        y: Tensor = self.mixed_attention(
            x,
            token_specs,
            self._rule,
            key_padding_mask=key_padding_mask,
            freqs=freqs,
            kv_cache=kv_cache,
        )
        return y

    def gather(
        self,
        x: Tensor,
        token_specs: Sequence[TokenSpec],
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        first_token: int = 0,
        seed: Tensor | None = None,
    ) -> Summary:
        """Return the keys and values of the anchors among tokens.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*.
            key_padding_mask: As in `forward`.
            freqs: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.
            seed: Decides what is dropped in training where they are read: the ``seed`` of another
                part's summary. Drawn from torch's generator where it is None.

        Returns:
            Bytes that grow with the number of anchors.

        Raises:
            TokenGroupError: As in `forward`, and its subclasses there.
            ShapeError: As in `forward`.
            UnsupportedArgumentError: As in `forward`.
        """
        self._check_freqs(freqs)
        summary = self.mixed_attention.gather(
            x,
            token_specs,
            self._rule,
            key_padding_mask=key_padding_mask,
            freqs=freqs,
            first_token=first_token,
            seed=seed,
        )
        return summary.owned_by(self)

    def read(
        self,
        x: Tensor,
        summary: Summary,
        token_specs: Sequence[TokenSpec],
        *,
        key_padding_mask: Tensor | None = None,
        freqs: Frequencies | None = None,
        first_token: int = 0,
    ) -> Tensor:
        """Let the tokens of every group attend to the anchors that were gathered.

        Args:
            x: ``(batch, tokens, hidden_dim)``: the groups one behind the other. They attend; what
                they attend to is in *summary* alone.
            summary: What `gather` returned, or those of several parts merged.
            token_specs: The groups, in the order of *x*. One of size None is not in *x*.
            key_padding_mask: As in `forward`.
            freqs: As in `forward`.
            first_token: Number of the first token, where *x* is a part of the tokens.

        Returns:
            ``(batch, tokens, hidden_dim)``.

        Raises:
            TokenGroupError: As in `forward`, and its subclasses there; or if anchors are attended
                to that *summary* does not hold.
            SummaryError: If another module gathered *summary*, or in another batch or dtype, or on
                another device.
            ShapeError: As in `forward`.
            UnsupportedArgumentError: As in `forward`.
        """
        check_tokens(x, self.config.hidden_dim)
        self._check_freqs(freqs)
        check_summary(summary, self, x)
        return self.mixed_attention.read(
            x,
            summary.owned_by(self.mixed_attention),
            token_specs,
            self._rule,
            key_padding_mask=key_padding_mask,
            freqs=freqs,
            first_token=first_token,
        )

    def _check_freqs(self, freqs: Frequencies | None) -> None:
        if freqs is not None and not self.use_rope:
            # The attention below would refuse them too, and name 'mixed'.
            reason = "RoPE usage mismatch: use_rope is false"
            raise UnsupportedArgumentError(self.variant, "freqs", reason)


class SelfAnchorAttention(MultiBranchAnchorAttention):
    """The tokens of a branch attend to the anchors of that branch alone."""

    variant = "self_anchor"
    config_class = SelfAnchorAttentionConfig
    patterns_of = staticmethod(self_patterns)


class CrossAnchorAttention(MultiBranchAnchorAttention):
    """The tokens of a branch attend to the anchors of the other branches, in their order."""

    variant = "cross_anchor"
    config_class = CrossAnchorAttentionConfig
    patterns_of = staticmethod(cross_patterns)


class JointAnchorAttention(MultiBranchAnchorAttention):
    """Every token attends to the anchors of all branches."""

    variant = "joint_anchor"
    config_class = JointAnchorAttentionConfig
    patterns_of = staticmethod(joint_patterns)


@functools.lru_cache(maxsize=64)
def _shared_options(config: MultiBranchAnchorAttentionConfig) -> MixedAttentionConfig:
    """Return the config of the attention below: all options that it has in common with *config*.

    The blocks of a model have equal ones.
    """
    names = _shared_names(type(config))  # type: ignore[arg-type]  # mypy takes the class for its instances
    return MixedAttentionConfig(**{name: getattr(config, name) for name in names})


@functools.cache
def _shared_names(config_class: type[MultiBranchAnchorAttentionConfig]) -> tuple[str, ...]:
    accepted = {field.name for field in attrs.fields(MixedAttentionConfig) if field.init}
    own = {field.name for field in attrs.fields(config_class)}
    # The type is another, the width of a head follows, and a concrete config has nothing extra.
    return tuple(sorted((accepted & own) - {"type", "extra", "_head_dim"}))
