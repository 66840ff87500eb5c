"""More broken variants, each for a clause that no other breaks, with what the kit says of it."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
from typing import Annotated, Any

import attrs
import numpy as np
import torch
from annotated_types import Gt
from torch import nn
from torch.nn.attention.flex_attention import flex_attention

from noether_core import AttentionVariant, unstructure
from noether_core.nn import KeyValues, Summary, zero_padding
from noether_core.schemas.rules import Rule
from noether_plugins.attention.mixed.module import MixedAttention
from noether_plugins.attention.perceiver.module import PerceiverAttention
from tests.core.testing.broken_modules import Deaf, PlacedAttention, SoundAttention
from tests.core.testing.broken_variants import GROUPED, PAIRED
from tests.core.testing.sample_configs import (
    PLACED,
    SOUND,
    IgnoredConfig,
    SilentConfig,
    SoundConfig,
    with_module,
)


@attrs.frozen(kw_only=True)
class AnythingConfig(SoundConfig):
    """Has an option that takes anything."""

    shift: Any = 0.0
    """Added to the result."""


@attrs.frozen(kw_only=True)
class UnenforcedConfig(SoundConfig):
    """Has a bound that does not hold."""

    sharpness: Annotated[float, Gt(0)] = 1.0
    """Factor of the logits."""

    @classmethod
    def rule_of(cls, option: str, annotation: Any) -> Rule:
        return SoundConfig.rule_of(option, float if option == "sharpness" else annotation)


class Anything(SoundAttention):
    config_class = AnythingConfig


class Unenforced(SoundAttention):
    config_class = UnenforcedConfig


class Silent(SoundAttention):
    config_class = SilentConfig

    def finished(self, y, x):
        return y if self.config.level < 5 else y * 1.0


class NotEvenSilent(SoundAttention):
    config_class = SilentConfig


class Copying(SoundAttention):
    """Goes through all options in every way that there is, and reads none of them."""

    config_class = SilentConfig

    def __init__(self, config):
        super().__init__(config)
        copied = copy.deepcopy(copy.copy(self.config))
        copied = pickle.loads(pickle.dumps(attrs.evolve(copied)))  # noqa: S301  our own bytes
        assert copied == self.config
        self.key = (hash(copied), copied.fingerprint())
        names = [field.name for field in attrs.fields(SilentConfig)]
        self.options = [
            attrs.asdict(self.config),
            attrs.astuple(self.config),
            unstructure(self.config),
            {name: getattr(self.config, name) for name in names},
            dict(inspect.getmembers(self.config)),
        ]

    def extra_repr(self):
        return str(self.config)

    def finished(self, y, x):
        assert self.extra_repr()
        return y


class Keeping(SoundAttention):
    """Keeps an option where weights are kept, and does not use it."""

    config_class = IgnoredConfig

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("shift", torch.tensor(self.config.shift))


class CatchingAll(SoundAttention):
    def forward(self, x, *, attn_mask=None, key_padding_mask=None, freqs=None, **others):
        return self.attended(x, attn_mask, key_padding_mask, freqs)


class ByPosition(SoundAttention):
    def forward(self, x, attn_mask=None, *, key_padding_mask=None, freqs=None):
        return self.attended(x, attn_mask, key_padding_mask, freqs)


class Narrower(SoundAttention):
    def forward(self, x, *, key_padding_mask=None, freqs=None):
        return self.attended(x, None, key_padding_mask, freqs)


class Returning(SoundAttention):
    def finished(self, y, x):
        return y, x


class Shortening(SoundAttention):
    def finished(self, y, x):
        return y[:, :-1]


class Undefined(SoundAttention):
    def finished(self, y, x):
        return y / (y.shape[1] - 1) if y.shape[1] != 1 else y / torch.zeros_like(y)


class PairsInNumpy(SoundAttention):
    """Does work for every pair of tokens where torch does not see it."""

    def finished(self, y, x):
        places = np.arange(y.shape[1])
        return y + 0.0 * float((places[:, None] - places).max() < 0)


class PairsByClock(Deaf):
    def finished(self, y, x):
        places = np.arange(y.shape[1], dtype=np.float32)
        pairs = np.subtract.outer(places, places)
        return y + 0.0 * float(np.sin(pairs, out=pairs).max() < -1)


class FaintMask(SoundAttention):
    def weighted(self, queries, keys, values, attn_mask, real):
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=queries.dtype).masked_fill(
                ~attn_mask, -9.0
            )
        return super().weighted(queries, keys, values, attn_mask, real)


class RoundedMask(SoundAttention):
    def weighted(self, queries, keys, values, attn_mask, real):
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.round(decimals=0).clamp(max=0)
        return super().weighted(queries, keys, values, attn_mask, real)


class Unpadded(SoundAttention):
    def filled(self, x, freqs, real):
        return x, freqs

    def weighted(self, queries, keys, values, attn_mask, real):
        return super().weighted(queries, keys, values, attn_mask, None)


class Unfilled(SoundAttention):
    def filled(self, x, freqs, real):
        return x, freqs


class FilledLate(SoundAttention):
    """Fills what it made of tokens, which leaves NaN in the gradients of what made it."""

    def filled(self, x, freqs, real):
        self.real = real
        return x, zero_padding(freqs, real)

    def projected(self, x, freqs):
        projected = super().projected(x, freqs)
        if self.real is None:
            return projected
        hidden = ~self.real[:, None, :, None]
        return tuple(heads.masked_fill(hidden, 0) for heads in projected)


class Scaled(SoundAttention):
    def weighted(self, queries, keys, values, attn_mask, real):
        read = super().weighted(queries, keys, values, attn_mask, real)
        return read if real is None else 1.1 * read


class Centred(SoundAttention):
    """Looks at how many tokens there are, padding among them."""

    def finished(self, y, x):
        return y / y.shape[1]


class Unturned(SoundAttention):
    def projected(self, x, freqs):
        return super().projected(x, None)


class Undemanding(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        if freqs is not None:
            super().check(x, attn_mask, key_padding_mask, freqs)


class Unadded(PlacedAttention):
    def grouped(self, keys, values, token_specs):
        if token_specs is None:
            return keys, values
        return keys[:, :, :2], values[:, :, :2]


class Uninformed(PlacedAttention):
    def informed(self, x, context):
        return x


class Welcoming(PlacedAttention):
    def informed(self, x, context):
        return x if self.informing is None else super().informed(x, context)


class Secluded(MixedAttention):
    def forward(
        self,
        x,
        token_specs,
        attention_patterns=None,
        *,
        key_padding_mask=None,
        freqs=None,
        kv_cache=None,
    ):
        stops = np.cumsum([spec.size for spec in token_specs])
        parts = [
            super(Secluded, self).forward(x[:, stop - spec.size : stop], [spec])
            for spec, stop in zip(token_specs, stops, strict=True)
        ]
        return torch.cat(parts, dim=1)


class Uncaching(MixedAttention):
    def forward(
        self,
        x,
        token_specs,
        attention_patterns=None,
        *,
        key_padding_mask=None,
        freqs=None,
        kv_cache=None,
    ):
        return super().forward(
            x, token_specs, attention_patterns, key_padding_mask=key_padding_mask, freqs=freqs
        )


class Accepting(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        super().check(x, attn_mask, key_padding_mask, freqs if self.use_rope else None)

    def projected(self, x, freqs):
        return super().projected(x, freqs if self.use_rope else None)


class Unnamed(SoundAttention):
    def check(self, x, attn_mask, key_padding_mask, freqs):
        if x.dim() != 3:
            raise ValueError("three axes, please")
        super().check(x, attn_mask, key_padding_mask, freqs)


class Frozen(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def finished(self, y, x):
        return y * self.scale


class Detaching(SoundAttention):
    def placed(self, x, positions):
        return x + 0.1 * x.detach().sin()


class Dropping(SoundAttention):
    def finished(self, y, x):
        return nn.functional.dropout(y, self.dropout)


class NeverZeros(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        if self.config.init_weights == "zeros":
            nn.init.ones_(self.q.weight)


class Unregistered(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.gain = torch.rand(())

    def finished(self, y, x):
        return y * self.gain


class Sharing(SoundAttention):
    def __deepcopy__(self, memo):
        return copy.copy(self)


class OnCpu(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.gain = nn.Parameter(torch.ones(1, device="cpu"))


class Fleeting(SoundAttention):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("gain", torch.ones(1), persistent=False)

    def finished(self, y, x):
        return y * self.gain


class Defaulting(SoundAttention):
    def __init__(self, config):
        torch.set_default_dtype(torch.float32)
        super().__init__(config)


class Drawing(SoundAttention):
    def finished(self, y, x):
        return y + 0 * torch.rand_like(y)


class SeedingPython(SoundAttention):
    def finished(self, y, x):
        random.seed(0)
        return y


class FirstComesFirst(PerceiverAttention):
    """Drops by the place that keys have once they are merged."""

    def gather(self, kv, **others):
        summary = super().gather(kv, **others)
        parts = {name: KeyValues(*part[:3]) for name, part in summary.parts.items()}
        return Summary.of(self, kv, parts=parts, seed=summary.seed)


class OtherwiseCompiled(SoundAttention):
    def finished(self, y, x):
        return 1.1 * y if torch.compiler.is_compiling() else y


class Counted(SoundAttention):
    """Counts its calls in Python, and is compiled anew for each."""

    def __init__(self, config):
        super().__init__(config)
        self.calls = 0

    def finished(self, y, x):
        self.calls += not torch.compiler.is_exporting()
        return y


class Looping(SoundAttention):
    """Goes through its tokens one by one, and is compiled for every number of them."""

    def finished(self, y, x):
        if not torch.compiler.is_dynamo_compiling():
            return y
        return torch.stack([y[:, token] for token in range(y.shape[1])], dim=1)


class Stepping(SoundAttention):
    """Takes another way for many tokens than for few."""

    def finished(self, y, x):
        return y.flip(1).flip(1) if torch.compiler.is_dynamo_compiling() and y.shape[1] > 300 else y


class Precompiled(SoundAttention):
    """Is compiled by itself, so that users compile nothing."""

    def __init__(self, config):
        super().__init__(config)
        self.compile(backend="eager")


class Flexible(SoundAttention):
    """Exports an operation that no file keeps."""

    def weighted(self, queries, keys, values, attn_mask, real):
        if torch.compiler.is_exporting():
            return flex_attention(queries.detach(), keys.detach(), values.detach())
        return super().weighted(queries, keys, values, attn_mask, real)


class OddTokensOnly(SoundAttention):
    def finished(self, y, x):
        return y if y.shape[1] % 2 else y.flip(1).flip(1)


def _broken(name: str, variant: AttentionVariant = SOUND, **changes: Any) -> AttentionVariant:
    return with_module(name, variant, of=__name__, **changes)


def _frozen(*names: str) -> Any:
    return attrs.evolve(SOUND, frozen_parameters=names)


MORE = [
    ("config_is_strict", _broken("Anything", config=AnythingConfig), "shift takes anything"),
    (
        "config_round_trip",
        attrs.evolve(SOUND, origins={"acme/sound": f"{__name__}:SOUND"}),
        f"its origin 'acme/sound' cannot be used: {__name__}:SOUND is no Origin",
    ),
    (
        "bounds",
        _broken("Unenforced", config=UnenforcedConfig),
        "sharpness takes 0.0, wanted a number",
    ),
    (
        "options_are_read",
        _broken("NotEvenSilent", config=SilentConfig, silent_options=("level",)),
        "nobody reads the option 'level'",
    ),
    (
        "options_are_read",
        _broken("Copying", config=SilentConfig, silent_options=("level",)),
        "nobody reads the option 'level'",
    ),
    (
        "options_are_read",
        _broken("Keeping", config=IgnoredConfig),
        "other values of 'shift' change neither numbers nor operations nor refusals",
    ),
    (
        "construction",
        _broken("Nobody"),
        "no module of the example can be made: PluginError: 'sound'",
    ),
    ("signature", _broken("CatchingAll"), "forward takes **others, which hides what it"),
    (
        "signature",
        _broken("ByPosition"),
        "wanted (x, *, attn_mask=None, key_padding_mask=None, freqs=None) for the interface 'self'",
    ),
    (
        "capabilities",
        _broken("Narrower"),
        "the record promises 'attn_mask', forward does not declare attn_mask; honour it",
    ),
    (
        "capabilities",
        with_module("SoundAttention", capabilities=("key_padding_mask",)),
        "forward declares freqs, the record does not promise it; add 'rope' to its capabilities",
    ),
    (
        "capabilities",
        attrs.evolve(SOUND, capabilities=(*SOUND.capabilities, "kv_cache")),
        "'kv_cache', and the interface 'self' has no such argument; drop the",
    ),
    (
        "time_exponent",
        attrs.evolve(SOUND, time_exponent=3),
        "time_exponent is 3, and from 1024 to 2048 tokens",
    ),
    (
        "time_exponent",
        _broken("PairsByClock", capabilities=("rope", "deterministic"), time_exponent=1),
        "what is done outside of torch grows faster",
    ),
    ("memory_exponent", attrs.evolve(SOUND, memory_exponent=0.5), "memory_exponent is 0.5"),
    ("memory_exponent", _broken("PairsInNumpy"), "memory grows with exponent 1.9"),
    ("result", _broken("Returning"), "forward returns a tuple, wanted one tensor"),
    ("result", _broken("Shortening"), "has shape (3, 12, 8), and the tokens have (3, 13, 8)"),
    (
        "few_tokens",
        _broken("Undefined"),
        "1 tokens in 3 samples give numbers or gradients that are not finite",
    ),
    ("attn_mask", _broken("FaintMask"), "query 0 attends to tokens that attn_mask hides from it"),
    ("attn_mask", _broken("RoundedMask"), "are not added to the logits"),
    (
        "key_padding_mask",
        _broken("Unpadded"),
        "what stands in padding changes what real tokens get",
    ),
    (
        "key_padding_mask",
        _broken("Unfilled"),
        "NaN in padding reaches real tokens; put zeros there first",
    ),
    (
        "key_padding_mask",
        _broken("FilledLate"),
        "NaN in padding reaches gradients of parameters; put zeros there first",
    ),
    (
        "key_padding_mask",
        _broken("Scaled"),
        "get something else beside padding than without it",
    ),
    (
        "key_padding_mask",
        _broken("Centred"),
        "get something else beside padding than without it",
    ),
    ("rope", _broken("Unturned"), "frequencies do not change the result"),
    ("rope", _broken("Undemanding"), "a call without freqs must be refused; it was accepted"),
    ("rope", _broken("Accepting"), "freqs must be refused where use_rope is false"),
    (
        "rope",
        attrs.evolve(SOUND, example={"hidden_dim": 3, "num_heads": 3}),
        "too narrow to rotate",
    ),
    (
        "token_specs",
        _broken("Unadded", PLACED),
        "token_specs that do not add up to the tokens must be refused",
    ),
    ("context", _broken("Uninformed", PLACED), "another context leaves the result as it is"),
    (
        "context",
        _broken("Welcoming", PLACED),
        "a context must be refused where context_dim is None",
    ),
    (
        "context",
        attrs.evolve(PLACED, example=SOUND.example),
        "the record's example takes no context; give it a context_dim",
    ),
    (
        "attention_patterns",
        _broken("Secluded", GROUPED),
        "'surface_queries' does not attend to 'surface_anchors'",
    ),
    ("kv_cache", _broken("Uncaching", GROUPED), "leaves its kv_cache empty"),
    (
        "summary",
        attrs.evolve(PAIRED, summary_exponent=0),
        "summary_exponent is 0, and the bytes of a summary grow",
    ),
    (
        "summary_draws",
        _broken("FirstComesFirst", PAIRED),
        "merged in another order draw other noise or dropout",
    ),
    (
        "refuses_wrong_shapes",
        _broken("Unnamed"),
        "got ValueError: 'three axes, please', wanted a ShapeError",
    ),
    ("gradients_reach_parameters", _broken("Frozen"), "scale requires no gradient"),
    (
        "gradients_reach_parameters",
        _frozen("q.*"),
        "q.weight is declared frozen and requires a gradient",
    ),
    ("gradients_reach_parameters", _frozen("scale"), "names 'scale', which is no parameter"),
    ("gradients_are_right", _broken("Detaching"), "the gradient of"),
    ("no_dropout_in_evaluation", _broken("Dropping"), "dropout acts in evaluation"),
    ("init_modes", _broken("NeverZeros"), "the weights of linear layers are not all zero"),
    ("layers_are_called", with_module("Reading"), "in the place of v does something else"),
    ("layers_are_called", with_module("Remaking"), "hooks of v are never called"),
    ("state_dict", _broken("Unregistered"), "computes something else"),
    ("copies", _broken("Sharing"), "a deep copy shares the memory of its parameters"),
    ("meta_device", _broken("OnCpu"), "on the meta device gain take memory"),
    ("meta_device", _broken("Fleeting"), "gain stay without memory"),
    ("global_state", _broken("Defaulting"), "a module changes the default dtype"),
    ("global_state", _broken("Drawing"), "evaluation draws from torch's generator"),
    ("global_state", _broken("SeedingPython"), "a module changes Python's generator"),
    ("compile", _broken("OtherwiseCompiled"), "a compiled module computes something else"),
    (
        "compile",
        _broken("Counted"),
        "makes more than 2 graphs for many numbers of tokens: RecompileError",
    ),
    (
        "compile",
        _broken("Looping"),
        "let no branch, loop, layout or attribute depend on how many tokens",
    ),
    (
        "compile",
        _broken("Stepping"),
        "makes more than 2 graphs for many numbers of tokens: RecompileError",
    ),
    ("compile", _broken("Precompiled"), "runs outside of the graph of its compiler"),
    ("export", _broken("Flexible"), "cannot be saved to a file and loaded: SerializeError"),
    ("export", _broken("OddTokensOnly"), "torch.export fails: UserError: Constraints violated"),
]
"""The check, the variant, and what the kit says of it."""

SILENT = attrs.evolve(
    SOUND, config=SilentConfig, module=f"{__name__}:Silent", silent_options=("level",)
)
"""A sound variant with an option that only its module sees."""

FROZEN = attrs.evolve(SOUND, module=f"{__name__}:Frozen", frozen_parameters=("sc*",))
"""A sound variant with a parameter that is never trained."""
