"""A config whose file imports torch."""

from __future__ import annotations

import attrs
import torch

from tests.core.testing.sample_configs import SoundConfig


@attrs.frozen(kw_only=True)
class HeavyConfig(SoundConfig):
    """Needs torch to be made."""

    @property
    def scale(self) -> torch.Tensor:
        return torch.tensor(self.sharpness)
