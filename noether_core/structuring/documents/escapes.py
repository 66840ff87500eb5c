"""Characters that no document holds as themselves, as the escape that all three formats share."""

from __future__ import annotations

import re
from typing import Final

_RISKY: Final = (
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What is not printable, and what some reader takes for the end of a line or the mark of an
encoding.
"""


def escaped(text: str) -> str:
    r"""Return *text* with its risky characters, which stand in double quotes, written as
    ``\u0085``.
    """
    return re.sub(_RISKY, lambda found: f"\\u{ord(found.group()):04x}", text)
