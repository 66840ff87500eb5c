"""Adapters of linear layers: one that is a linear layer, one that holds one, and their merger."""

import copy

import torch
from torch import nn


class AdaptedLinear(nn.Linear):
    """A linear layer with a product of two small matrices beside its weight."""

    def __init__(self, base):
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.down = nn.Parameter(0.3 * torch.randn(2, base.in_features).to(base.weight.dtype))
        self.up = nn.Parameter(0.3 * torch.randn(base.out_features, 2).to(base.weight.dtype))

    def forward(self, x):
        return super().forward(x) + (x @ self.down.t()) @ self.up.t()

    def merged(self):
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        layer.weight, layer.bias = nn.Parameter(self.weight + self.up @ self.down), self.bias
        return layer


class Wrapped(nn.Module):
    """The same beside a linear layer that it holds."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.adapter = AdaptedLinear(copy.deepcopy(base))

    def forward(self, x):
        return self.base(x) + (x @ self.adapter.down.t()) @ self.adapter.up.t()

    def merged(self):
        return self.adapter.merged()


def linear_layers(module):
    """Return the names of the linear layers of a module."""
    return [name for name, layer in module.named_modules() if type(layer) is nn.Linear]


def replaced(module, names, function):
    """Return a copy of *module* whose layers of some names are what *function* makes of them."""
    module = copy.deepcopy(module)
    for name in names:
        layer = module.get_submodule(name)
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent) if parent else module, own, function(layer))
    return module
