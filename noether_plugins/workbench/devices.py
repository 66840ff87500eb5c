"""Where to compute: what the name of a device means here."""

from __future__ import annotations

import torch

from noether_core import NoetherError


class DeviceError(NoetherError, RuntimeError):
    """The device that was named is not there."""


def device_named(wanted: str, option: str) -> torch.device:
    """Return the device of a name.

    Args:
        wanted: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.
        option: What errors call the option that names it.

    Raises:
        DeviceError: If there is no GPU and one is wanted.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise DeviceError(f"{option}: 'cuda' is not available here; write 'auto' or 'cpu'")
    return torch.device("cpu")
