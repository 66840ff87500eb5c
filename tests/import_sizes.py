"""What imports of core bring in: modules and bytes of source, counts that no machine changes.

``python -m tests.import_sizes`` writes down what they are now.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

RECORD = Path(__file__).parent / "core" / "import_sizes.json"

IMPORTS = {
    "noether_core": "import noether_core",
    "noether_core.schemas": "import noether_core.schemas",
    "noether_core.cli": "import noether_core.cli",
    "all that noether_core offers without torch": (
        "import noether_core as core\n"
        "for name in set(core.__all__) - {'AnyAttention'}: getattr(core, name)"
    ),
}

MOST_GROWTH = 1.25
"""How far a count may exceed the recorded one."""

_COUNT = """
import sys
before = set(sys.modules)
{code}
import json
from pathlib import Path
before.add("json")
new = {{name: module for name, module in sys.modules.items() if name not in before}}
own = [module for name, module in new.items() if name.partition(".")[0] == "noether_core"]
print(json.dumps({{
    "modules of ours": len(own),
    "bytes of ours": sum(Path(module.__file__).stat().st_size for module in own),
    "modules of others": len(new) - len(own),
}}))
"""

Counts = Mapping[str, int]


def counts_of(code: str) -> Counts:
    """Return how much *code* imports in a new process: modules, and bytes of ours."""
    done = subprocess.run(
        [sys.executable, "-c", _COUNT.format(code=code)], check=True, capture_output=True, text=True
    )
    found: Counts = json.loads(done.stdout)
    return found


def growths(recorded: Counts, found: Counts) -> Iterator[str]:
    """Yield each count that grew by more than a quarter."""
    for what, count in found.items():
        if count > MOST_GROWTH * recorded[what]:
            yield f"{what}: {recorded[what]:,} -> {count:,}"


def recorded() -> Mapping[str, Counts]:
    """Return the counts that were written down."""
    found: Mapping[str, Counts] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    RECORD.write_text(
        json.dumps({name: counts_of(code) for name, code in IMPORTS.items()}, indent=2) + "\n"
    )
