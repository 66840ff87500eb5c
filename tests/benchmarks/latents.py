"""What attention through latents or sums costs over bare operations; what streaming holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, gelu, layer_norm, linear, scaled_dot_product_attention

from noether_core import build
from tests.benchmarks.pairs import Bound, Claim, bound, compare, device, peak_bytes
from tests.benchmarks.workloads import fact_of

_HEADS = 8
_WIDTH = 256
_LATENTS = 64
_READ = 1024
"""Tokens that the queries of perceiver read, or a context."""

_MEBIBYTES = 48
"""Of working memory beyond tokens and result, whatever their number."""

Function = Callable[..., Tensor]


def claims(*, quick: bool) -> list[Claim | Bound]:
    """Measure few and many tokens, forward and backward, and the memory of streaming."""
    sizes = [16, 512] if quick else [16, 4_096, 65_536]
    ratios = [
        _compare(name, tokens, backward=backward, quick=quick)
        for name in _BARE
        for tokens in sizes
        for backward in (False, True)
    ]
    sizes = [8_192] if quick else [16_384, 65_536, 262_144]
    return ratios + [_bound(name, tokens) for name in _STEPS for tokens in sizes]


def _compare(name: str, tokens: int, *, backward: bool, quick: bool) -> Claim:
    torch.manual_seed(0)
    module = build(name, **_OPTIONS[name], init_weights="xavier").to(device())
    tensors = [
        torch.randn(1, count, _WIDTH, device=device())
        for count in (tokens, _READ)[: _TENSORS[name]]
    ]
    tensors[0].requires_grad_()
    step = _forward_and_backward if backward else _forward
    few = tokens < 100
    return compare(
        f"{name} / bare operations, {tokens:,} tokens, {fact_of(backward)}",
        _budget(name, few=few),
        step(_called(name, module), tensors),
        step(_BARE[name](module), tensors),
        rounds=3 if quick else 81 if few else 15,
        calls=1 if quick or not few else 30,
        longest=3 if few else 5,
    )


def _budget(name: str, *, few: bool) -> float:
    """Return the most that ours may take over the bare operations."""
    if not few:
        return 1.05
    return 1.25 if name in _WITH_CONTEXT else 1.15  # a context is checked and handed on too


def _called(name: str, module: nn.Module) -> Function:
    """Return the call of a variant; a second tensor is the context of those that take one."""
    if name not in _WITH_CONTEXT:
        return module
    return lambda x, context: module(x, context=context)


def _forward(function: Function, tensors: list[Tensor]) -> Callable[[], None]:
    def step() -> None:
        with torch.no_grad():
            function(*tensors)

    return step


def _forward_and_backward(function: Function, tensors: list[Tensor]) -> Callable[[], None]:
    def step() -> None:
        function(*tensors).sum().backward()

    return step


def _bare_flare(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""
    latents = module.latent_q.view(1, _HEADS, _LATENTS, -1)

    def forward(x: Tensor) -> Tensor:
        keys, values = (
            _heads(_residual_mlp(module.k_proj, x)),
            _heads(_residual_mlp(module.v_proj, x)),
        )
        gathered = scaled_dot_product_attention(latents, keys, values, scale=1.0)
        return _merged(
            scaled_dot_product_attention(keys, latents, gathered, scale=1.0), module.out_proj
        )

    return forward


def _residual_mlp(mlp: nn.Module, x: Tensor) -> Tensor:
    z = gelu(linear(x, mlp.fc1.weight, mlp.fc1.bias)) + x
    for layer in mlp.fcs:
        z = z + gelu(linear(z, layer.weight, layer.bias))
    return linear(z, mlp.fc2.weight, mlp.fc2.bias) + z


def _bare_flare_plusplus(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""
    width = (_WIDTH // _HEADS,)
    attend = scaled_dot_product_attention

    def forward(x: Tensor) -> Tensor:
        first_keys, keys, values = (
            _heads(linear(x, layer.weight, layer.bias))
            for layer in (module.k0_proj, module.k_proj, module.v_proj)
        )
        first_keys = layer_norm(first_keys, width)
        keys = layer_norm(keys, width, module.k_norm.weight, module.k_norm.bias)

        first = layer_norm(module.latent_q0, width, module.q0_norm.weight, module.q0_norm.bias)
        dynamic = attend(first.unsqueeze(0), first_keys, first_keys)
        gate = module.gate_logit.sigmoid()[:, None, None]
        queries = layer_norm(module.latent_q_fixed, width) + gate * dynamic

        return _merged(attend(keys, queries, attend(queries, keys, values)), module.out_proj)

    return forward


def _bare_gale_flare(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""
    latents, attend = module.q_global, scaled_dot_product_attention

    def forward(x: Tensor, context: Tensor) -> Tensor:
        states = linear(x, module.in_project_x.weight, module.in_project_x.bias)
        keys, values, queries = (
            linear(states.unflatten(-1, (_HEADS, -1)), layer.weight, layer.bias).transpose(1, 2)
            for layer in (module.self_k, module.self_v, module.cross_q)
        )
        gathered = attend(latents, keys, values, scale=1.0)
        own = attend(keys, latents, gathered, scale=1.0)

        context_keys, context_values = (
            linear(context, layer.weight, layer.bias).unsqueeze(1).expand(-1, _HEADS, -1, -1)
            for layer in (module.cross_k, module.cross_v)
        )
        crossed = attend(queries, context_keys, context_values, scale=1.0)
        mixed = torch.lerp(crossed, own, module.state_mixing.sigmoid())
        return _merged(mixed, module.out_linear)

    return forward


def _bare_perceiver(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""

    def forward(q: Tensor, kv: Tensor) -> Tensor:
        queries, keys, values = (
            _heads(linear(x, layer.weight, layer.bias))
            for x, layer in ((q, module.q), (kv, module.k), (kv, module.v))
        )
        return _merged(scaled_dot_product_attention(queries, keys, values), module.proj)

    return forward


def _bare_linear(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""

    def forward(x: Tensor) -> Tensor:
        queries, keys, values = _projected(module, x)
        queries, keys = elu(queries) + 1, elu(keys) + 1
        totals = queries @ keys.sum(dim=2).unsqueeze(-1)
        return _merged(queries @ (keys.transpose(-2, -1) @ values) / totals, module.proj)

    return forward


def _bare_galerkin(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""

    def normed(heads: Tensor, norm: nn.Module) -> Tensor:
        normed = layer_norm(heads, heads.shape[-1:])
        return torch.addcmul(norm.bias.unsqueeze(1), normed, norm.weight.unsqueeze(1))

    def forward(x: Tensor) -> Tensor:
        queries, keys, values = _projected(module, x)
        keys, values = normed(keys, module.k_norm), normed(values, module.v_norm)
        means = keys.transpose(-2, -1) @ values / x.shape[1]
        return _merged(queries @ means, module.proj)

    return forward


def _bare_induced_set(module: nn.Module) -> Function:
    """Return the formula over the same parameters, with nothing checked."""
    gather, scatter = module.get_submodule("gather"), module.get_submodule("scatter")

    def attended(layers: nn.Module, read: Tensor, x: Tensor) -> Tensor:
        queries = _heads(linear(read, layers.q.weight, layers.q.bias))
        keys = _heads(linear(x, layers.k.weight, layers.k.bias))
        values = _heads(linear(x, layers.v.weight, layers.v.bias))
        return _merged(scaled_dot_product_attention(queries, keys, values), layers.proj)

    def forward(x: Tensor) -> Tensor:
        points = attended(gather, module.latents.unsqueeze(0), x)
        return attended(scatter, x, points)

    return forward


def _projected(module: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """Yield queries, keys and values."""
    for layer in (module.q, module.k, module.v):
        yield _heads(linear(x, layer.weight, layer.bias))


def _heads(x: Tensor) -> Tensor:
    return x.view(*x.shape[:2], _HEADS, -1).transpose(1, 2)


def _merged(x: Tensor, layer: nn.Module) -> Tensor:
    return linear(x.transpose(1, 2).flatten(2), layer.weight, layer.bias)


def _bound(name: str, tokens: int) -> Bound:
    def measure() -> float:
        beyond = peak_bytes(_streaming, name, tokens) - _STEPS[name](tokens)[0][1] * _WIDTH * 4
        return beyond / 2**20

    return bound(
        f"{name}, MiB beyond tokens and result, {tokens:,} tokens, no gradient", _MEBIBYTES, measure
    )


def _streaming(name: str, tokens: int) -> Callable[[], object]:
    """Return a forward pass without gradients."""
    torch.manual_seed(0)
    variant = name.partition(",")[0]
    module = build(variant, **_OPTIONS[variant]).eval().to(device())
    tensors = [torch.randn(shape, device=device()) for shape in _STEPS[name](tokens)]
    module.requires_grad_(requires_grad=False)
    call = _called(variant, module)
    return lambda: call(*tensors)


_TENSORS = {
    "flare": 1,
    "flare_plusplus": 1,
    "gale_flare": 2,
    "perceiver": 2,
    "linear": 1,
    "galerkin": 1,
    "induced_set": 1,
}

_WITH_CONTEXT = {"gale_flare"}

_BARE: dict[str, Callable[[nn.Module], Function]] = {
    "flare": _bare_flare,
    "flare_plusplus": _bare_flare_plusplus,
    "gale_flare": _bare_gale_flare,
    "perceiver": _bare_perceiver,
    "linear": _bare_linear,
    "galerkin": _bare_galerkin,
    "induced_set": _bare_induced_set,
}

_OPTIONS: dict[str, dict[str, Any]] = {
    "flare": {"hidden_dim": _WIDTH, "num_heads": _HEADS, "num_latents": _LATENTS},
    "flare_plusplus": {"hidden_dim": _WIDTH, "num_heads": _HEADS, "num_latents": _LATENTS},
    "gale_flare": {
        "hidden_dim": _WIDTH,
        "num_heads": _HEADS,
        "num_latents": _LATENTS,
        "context_dim": _WIDTH,
    },
    "perceiver": {"hidden_dim": _WIDTH, "num_heads": _HEADS},
    "linear": {"hidden_dim": _WIDTH, "num_heads": _HEADS},
    "galerkin": {"hidden_dim": _WIDTH, "num_heads": _HEADS},
    "induced_set": {"hidden_dim": _WIDTH, "num_heads": _HEADS, "num_latents": _LATENTS},
}

_STEPS: dict[str, Callable[[int], list[tuple[int, ...]]]] = {
    "flare": lambda tokens: [(1, tokens, _WIDTH)],
    "flare_plusplus": lambda tokens: [(1, tokens, _WIDTH)],
    "gale_flare": lambda tokens: [(1, tokens, _WIDTH), (1, _READ, _WIDTH)],
    "perceiver, many queries": lambda tokens: [(1, tokens, _WIDTH), (1, _READ, _WIDTH)],
    "perceiver, many keys": lambda tokens: [(1, _READ, _WIDTH), (1, tokens, _WIDTH)],
    "linear": lambda tokens: [(1, tokens, _WIDTH)],
    "galerkin": lambda tokens: [(1, tokens, _WIDTH)],
    "induced_set": lambda tokens: [(1, tokens, _WIDTH)],
}
"""Shapes of what the modules are given; the result has the first."""
