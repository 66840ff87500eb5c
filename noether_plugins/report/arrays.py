"""Arrays in few bytes: 16 bits a number, between the least and the greatest, each array once."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 2**16 - 2
"""Steps between least and greatest; the code behind the last stands for what is no number."""

_NO_NUMBER = 2**16 - 1


class Arrays:
    """The arrays of a report, numbered; what several runs have in common is there once."""

    def __init__(self) -> None:
        self.packed: list[dict[str, Any]] = []
        self._numbers: dict[bytes, int] = {}
        self._count = 0

    @property
    def numbers(self) -> int:
        """How many numbers all arrays hold."""
        return self._count

    def add(self, values: NDArray[np.float32]) -> list[int]:
        """Return the numbers of the columns of *values*, ``(points, width)``."""
        return [self._add_column(column) for column in np.ascontiguousarray(values.T)]

    def _add_column(self, values: NDArray[np.float32]) -> int:
        digest = hashlib.sha256(values.tobytes()).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self.packed)
            self.packed.append(packed(values))
            self._count += len(values)
        return self._numbers[digest]


def packed(values: NDArray[np.float32]) -> dict[str, Any]:
    """Return an array as JSON: ``low``, ``high``, and little-endian codes between them.

    A number is off by at most half of ``(high - low) / 65534``.
    """
    doubles = values.astype(np.float64)
    is_number = np.isfinite(doubles)
    known = doubles[is_number]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    scale = _STEPS / (high - low) if high > low else 0.0
    codes = np.full(doubles.shape, _NO_NUMBER, dtype="<u2")
    codes[is_number] = np.round((known - low) * scale).astype("<u2")
    data = base64.b64encode(codes.tobytes()).decode("ascii")
    return {"low": float(f"{low:.7g}"), "high": float(f"{high:.7g}"), "data": data}
