"""Weights of other implementations, as modules here load them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from noether_core.building import build
from noether_core.errors import StateDictError, shown
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.structuring.origins import origin_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from noether_core.schemas.origin import Origin


def convert_state_dict(
    state: Mapping[str, Tensor],
    config: AttentionConfig,
    *,
    origin: str,
    prefix: str = "",
    transposed: bool = False,
    registry: Registry | None = None,
) -> dict[str, Tensor]:
    """Return the weights of another implementation as ``build(config)`` loads them.

    Layers get the names that they have here, stacked projections are split into their parts, and
    biases that *origin* lacks are zeros. What ``load_state_dict`` would refuse is refused here::

        state = torch.load("transolver.pt", weights_only=True)
        weights = convert_state_dict(
            state, config, origin="thuml/Transolver", prefix="blocks.0.Attn."
        )
        module = build(config)
        module.load_state_dict(weights)

    Args:
        state: Tensors by name; left as it is.
        config: The config of the module that is to load them.
        origin: Where they were trained: ``"reference"``, or an origin that the variant knows.
        prefix: Start of the names of this attention among those of a whole model.
        transposed: Whether weights of single domains are stored the other way around, as the
            reference framework trains them on domains of equal sizes.
        registry: Where the type is looked up; the process-wide one where it is None.

    Returns:
        Every entry of the module's state dict. Tensors are those of *state*, or parts of them.

    Raises:
        StateDictError: If a tensor is missing, has another shape, or fits none of the module.
        ConfigError: If *config* is wrong.
        ValueError: If the variant knows no such *origin*, or no domain has weights of its own that
            could be *transposed*.
    """
    known = default_registry() if registry is None else registry
    module = build(config, device="meta", registry=known)
    own: AttentionConfig = module.config  # type: ignore[assignment]
    names = origin_of(own.type, origin, known)

    renamed = dict(_renamed(_below(prefix, state), names))
    missing = _take(module, renamed)
    biases = [name for name in missing if _is_one_of(name, names.zeros)]
    if len(biases) < len(missing):
        _take(module, renamed, strict=True)  # which names everything that is wrong

    converted = module.state_dict()
    for name in biases:
        weight = converted[f"{name.removesuffix('bias')}weight"]
        converted[name] = weight.new_zeros(converted[name].shape)
    return {**converted, **_transposed(module, converted)} if transposed else converted


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _below(prefix: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the entries of a module within a model, by their names in that module.

    Raises:
        StateDictError: If there are others alone, or one is no tensor.
    """
    from torch import Tensor

    found = {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    if not found and state:
        first = shown(next(iter(state)))
        raise StateDictError(f"no name starts with {shown(prefix)}; the first is {first}")
    for name, value in found.items():
        if not isinstance(value, Tensor):
            way_out = "hand over the state dict, which may stand within what the file holds"
            raise StateDictError(
                f"{prefix}{name}: expected a tensor, got {shown(value)}; {way_out}"
            )
    return found


def _renamed(state: Mapping[str, Tensor], names: Origin) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor with the name that it has here; the longest name of a layer decides."""
    layers = sorted(names.layers.items(), key=lambda pair: len(pair[0]), reverse=True)
    for name, tensor in state.items():
        found = (
            f"{ours}{name.removeprefix(theirs)}"
            for theirs, ours in layers
            if name.startswith(f"{theirs}.")
        )
        yield next(found, name), tensor


def _transposed(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of single domains in *state*, transposed.

    Raises:
        ValueError: If *module* has no such weights.
    """
    from noether_core.nn.domains import DomainLinear

    layers = [name for name, layer in module.named_modules() if isinstance(layer, DomainLinear)]
    if not layers:
        raise ValueError("transposed: is for the weights of domains, and num_types is None")
    starts = tuple(f"{name}.weight." for name in layers)
    return {name: tensor.mT for name, tensor in state.items() if name.startswith(starts)}


def _take(module: nn.Module, state: Mapping[str, Tensor], *, strict: bool = False) -> list[str]:
    """Let a module on the meta device take tensors as they are; return the names that are missing.

    Raises:
        StateDictError: If a tensor does not fit, or with *strict* if any is missing or left over.
    """
    from noether_core.nn.state_dicts import taking_some_biases

    try:
        with taking_some_biases():
            missing, unexpected = module.load_state_dict(state, strict=strict, assign=True)
    except RuntimeError as error:
        if strict:
            raise StateDictError(_reason(module, str(error))) from None
        return _take(module, state, strict=True)  # whose error has all that is wrong
    if unexpected:
        return _take(module, state, strict=True)
    names: list[str] = missing
    return names


def _reason(module: nn.Module, text: str) -> str:
    """Return what torch says of weights that do not fit, and the way out where there is one."""
    if ".bias" not in text or module.config.bias:  # type: ignore[union-attr]
        return text
    return f"{text}\n\tThe config says bias: false; convert for one with bias: true."
