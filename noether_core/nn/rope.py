"""How heads are rotated by position, for points in any number of dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from noether_core.nn.streaming import is_exported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Frequencies: TypeAlias = Tensor | tuple[Tensor, ...]
"""What `RopeFrequency` returns and `rotate` takes: complex numbers, or a tuple of angles, one
tensor per coordinate.
"""

RopeImplementation = Literal["complex", "real"]
"""Which features a rotation pairs: neighbours, or the halves of a block. The two are not
interchangeable.
"""


class RopeFrequency(nn.Module):
    """Frequencies that rotate the heads of a token at a point.

    Every coordinate turns ``e / 2`` pairs of features, ``e`` the largest even number for which all
    coordinates fit into a head: pair ``i`` by ``coordinate * max_wavelength^(-2 i / e)``. What is
    left of the head stays as it is.

    Su et al., RoFormer, 2021 (arXiv 2104.09864), section 3.2, for each coordinate by itself.

    Args:
        hidden_dim: Width of a head.
        input_dim: Number of coordinates of a point.
        max_wavelength: Ratio of the slowest to the fastest rotation, in the limit of wide heads.
        implementation: ``"complex"`` pairs neighbouring features, ``"real"`` the halves of a
            coordinate's block.

    Raises:
        ValueError: If the head is too narrow for the coordinates, or another argument is out of
            range.
    """

    omega: Tensor

    def __init__(
        self,
        hidden_dim: int,
        input_dim: int,
        max_wavelength: float = 10000,
        implementation: RopeImplementation = "complex",
    ) -> None:
        super().__init__()
        if input_dim < 1 or hidden_dim < 2 * input_dim:
            raise ValueError(
                f"hidden_dim {hidden_dim} has no two features for each of the coordinates "
                f"of input_dim {input_dim}"
            )
        if implementation not in ("complex", "real"):
            raise ValueError(f"implementation: got {implementation!r}, wanted 'complex' or 'real'")
        if not max_wavelength > 0:
            raise ValueError(f"max_wavelength: got {max_wavelength}, wanted a number above 0")
        self.hidden_dim = hidden_dim
        self.input_dim = input_dim
        self.max_wavelength = max_wavelength
        self.implementation = implementation

        self.register_buffer("omega", self._made_omega(None))

    def reset_parameters(self) -> None:
        """Compute the frequencies anew, where they are: they follow from the arguments."""
        self.omega = self._made_omega(self.omega.device)

    def _made_omega(self, device: torch.device | None) -> Tensor:
        width = self.hidden_dim // self.input_dim // 2 * 2
        omega = [self.max_wavelength ** (-i / width) for i in range(0, width, 2)]
        return torch.tensor(omega, dtype=torch.float32, device=device)

    def forward(self, coordinates: Tensor) -> Frequencies:
        """Return the frequencies at points.

        Args:
            coordinates: ``(..., tokens, input_dim)``, floating.

        Returns:
            *complex*: unit numbers ``(..., tokens, hidden_dim // 2)``. *real*: a tuple of
            ``input_dim`` tensors of angles ``(..., tokens, e)``, each angle twice. Both from angles
            in float32, whatever autocast says.

        Raises:
            ValueError: If *coordinates* have another width or are not floating.
        """
        if coordinates.shape[-1:] != (self.input_dim,) or not coordinates.is_floating_point():
            raise ValueError(
                f"coordinates: got {coordinates.dtype} of shape {tuple(coordinates.shape)}, "
                f"wanted floating numbers (..., {self.input_dim})"
            )
        angles = coordinates.float().unsqueeze(-1) * self.omega
        if self.implementation == "real":
            return tuple(torch.cat((angle, angle), dim=-1) for angle in angles.unbind(-2))

        angles = angles.flatten(-2)
        angles = functional.pad(angles, (0, self.hidden_dim // 2 - angles.shape[-1]))
        return torch.polar(torch.ones_like(angles), angles)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"hidden_dim={self.hidden_dim}, input_dim={self.input_dim}, "
            f"max_wavelength={self.max_wavelength}, implementation={self.implementation!r}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the model, and stay exact when it is cast or emptied.

        Angles in bfloat16 are wrong by whole turns.
        """
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.reset_parameters()
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Check what is loaded as torch does, and take no number of it.

        A checkpoint in bfloat16 holds rounded frequencies.
        """
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.reset_parameters()


def rotate(x: Tensor, freqs: Frequencies) -> Tensor:
    """Rotate queries or keys, in float32 and for float64 in float64.

    Args:
        x: ``(batch, heads, tokens, head_dim)``.
        freqs: What `RopeFrequency` returned for the same tokens: complex ``(batch, tokens, head_dim
            // 2)`` turns the features ``2 j`` and ``2 j + 1`` by number ``j``; a tuple of angles
            ``(batch, tokens, e)`` cuts a head into blocks of ``e`` and turns the halves of each.
            The batch may be 1 or missing.

    Returns:
        The same shape and dtype as *x*.
    """
    working = torch.float64 if x.dtype == torch.float64 else torch.float32
    if isinstance(freqs, Tensor):
        turned = _turn_neighbours(x.to(working), freqs)
    else:
        turned = _turn_halves(x.to(working), torch.stack(tuple(freqs), dim=-2).to(working))
    turned = turned.to(x.dtype)

    width = turned.shape[-1]
    return turned if width == x.shape[-1] else torch.cat((turned, x[..., width:]), dim=-1)


def _turn_neighbours(x: Tensor, freqs: Tensor) -> Tensor:
    """Multiply pairs of neighbours, read as complex numbers, by *freqs*."""
    pairs = x[..., : 2 * freqs.shape[-1]]
    if is_exported():  # few formats have complex numbers
        return _turn_pairs(pairs, torch.view_as_real(freqs))
    if not _can_be_read_as_complex(pairs):
        pairs = pairs.contiguous()
    numbers = torch.view_as_complex(pairs.reshape(*pairs.shape[:-1], freqs.shape[-1], 2))
    return torch.view_as_real(numbers * freqs.unsqueeze(-3)).flatten(-2)


def _turn_pairs(pairs: Tensor, turns: Tensor) -> Tensor:
    """Turn pairs of neighbours by cosine and sine, ``(..., tokens, pairs, 2)``."""
    cos, sin = turns.unsqueeze(-4).unbind(-1)
    a, b = pairs[..., 0::2], pairs[..., 1::2]
    turned = torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1)
    return turned.flatten(-2)


def _can_be_read_as_complex(x: Tensor) -> bool:
    """Return whether pairs of neighbours all begin at even offsets, as complex numbers must.

    With odd head widths they do not.
    """
    # From the right: the stride of the batch holds the number of tokens, on whose parity no graph
    # should depend.
    if any(stride % 2 for stride in reversed(x.stride()[:-1])):
        return False
    # Graphs cannot depend on the offset.
    return torch.compiler.is_compiling() or x.storage_offset() % 2 == 0


def _turn_halves(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the halves ``(a, b)`` of each block by *angles*, ``(..., tokens, blocks, width)``."""
    count, width = angles.shape[-2:]
    blocks = x[..., : count * width].reshape(*x.shape[:-1], count, width)
    angles = angles.unsqueeze(-4)
    a, b = blocks.chunk(2, dim=-1)
    turned = blocks * angles.cos() + torch.cat((-b, a), dim=-1) * angles.sin()
    return turned.flatten(-2)
