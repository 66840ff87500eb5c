"""How often something happens in a training: every so many steps, or every so much time."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

_TEXT = re.compile(r"(\d+(?:\.\d+)?) *(step|second|minute|hour)s?")

_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class Interval(NamedTuple):
    """Every so many steps, or every so many seconds: one of the two is None."""

    steps: int | None
    """Steps from one time to the next."""

    seconds: float | None
    """Seconds from one time to the next."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the interval that ``20 steps`` or ``2 minutes`` means; None for other text."""
        found = _TEXT.fullmatch(text.strip())
        if found is None or float(found[1]) == 0:
            return None
        if found[2] != "step":
            return cls(None, float(found[1]) * _SECONDS[found[2]])
        return cls(int(found[1]), None) if found[1].isdigit() else None

    def is_due(self, steps: int, seconds: float) -> bool:
        """Return whether so many steps, or so many seconds, after the last time it is time again.

        Args:
            steps: Steps since the last time.
            seconds: Seconds since the last time.
        """
        if self.steps is not None:
            return steps >= self.steps
        return self.seconds is not None and seconds >= self.seconds
