"""Linear layers: whatever somebody puts in the place of one, or adds to it, is called and acts."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from noether_core.testing.comparing import are_alike
from noether_core.testing.contract import check
from noether_core.testing.subject import Subject

_MANY_TOKENS = 2048
"""Tokens of the larger call, where time does not grow with their square."""

_CHUNK = 4
"""Tokens at once, where a config has a ``chunk_size``: fewer than a small call has."""


@check()
def check_layers_are_called(subject: Subject) -> None:
    """An adapter in the place of a linear layer does what merging it does, and hooks are called.

    With few tokens and, where modules compute them chunk by chunk, with many.
    """
    for module, arguments in _modules_and_calls(subject):
        names = [name for name, layer in module.named_modules() if type(layer) is nn.Linear]
        adapted, merged = _with_adapters(module, names)
        if not are_alike(subject.call(adapted, arguments), subject.call(merged, arguments)):
            raise subject.failure(
                f"an adapter in the place of {_culprit(subject, module, names, arguments)} does "
                "something else than merging it; call layers, and do not read their weights"
            )

    module, called = subject.module(), set[str]()
    names = [name for name, layer in module.named_modules() if type(layer) is nn.Linear]
    for name in names:
        module.get_submodule(name).register_forward_hook(_Noted(called, name))
    for arguments in subject.each_call(module):
        subject.call(module, arguments)
    silent = [name for name in names if name not in called]
    if silent:
        raise subject.failure(
            f"hooks of {', '.join(silent)} are never called; call the layers, and do not read "
            "their weights"
        )


def _modules_and_calls(subject: Subject) -> Iterator[tuple[nn.Module, dict[str, Any]]]:
    """Yield modules with calls: all tokens at once, and those that may be computed in chunks."""
    module = subject.module()
    yield module, subject.arguments(module)
    if subject.is_sound(chunk_size=_CHUNK):
        module = subject.module(chunk_size=_CHUNK)
        yield module, subject.arguments(module)
    elif subject.is_linear and subject.variant.interface != "tokens":
        yield module, subject.arguments(module, tokens=_MANY_TOKENS)


def _culprit(
    subject: Subject, module: nn.Module, names: list[str], arguments: dict[str, Any]
) -> str:
    """Return the layers whose adapters, each by itself, do something else than merging them."""
    wrong = []
    for name in names:
        adapted, merged = _with_adapters(module, [name])
        if not are_alike(subject.call(adapted, arguments), subject.call(merged, arguments)):
            wrong.append(name)
    return ", ".join(wrong or names)


def _with_adapters(module: nn.Module, names: list[str]) -> tuple[nn.Module, nn.Module]:
    """Return copies of *module*: with adapters in the place of layers, and with these merged."""
    adapted, merged = copy.deepcopy(module), copy.deepcopy(module)
    generator = torch.Generator().manual_seed(0)
    for name in names:
        layer, replaced = _linear(merged, name), _linear(adapted, name)
        shape = (layer.out_features, layer.in_features)
        change = torch.randn(shape, generator=generator, dtype=torch.float64)
        change = change.to(layer.weight.device, layer.weight.dtype)

        parent, _, own = name.rpartition(".")
        setattr(adapted.get_submodule(parent), own, _Adapter(replaced, change))
        with torch.no_grad():
            layer.weight.add_(change)
    return adapted, merged


def _linear(module: nn.Module, name: str) -> nn.Linear:
    layer: Any = module.get_submodule(name)
    return layer  # type: ignore[no-any-return]  # its type was looked at


class _Adapter(nn.Linear):
    """A linear layer with another beside it, as those that train few weights are."""

    def __init__(self, base: nn.Linear, change: Tensor) -> None:
        has_bias = base.bias is not None
        super().__init__(base.in_features, base.out_features, bias=has_bias, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.change = nn.Parameter(change)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.change.T


class _Noted:
    """A hook that notes the name of its layer."""

    def __init__(self, called: set[str], name: str) -> None:
        self.called, self.name = called, name

    def __call__(self, *_: object) -> None:
        self.called.add(self.name)
