import subprocess
import sys

SCRIPT = """
import sys
from noether_core import registry, structure

tasks = registry().tasks
for name in ("airfoil", "darcy", "potential"):
    record = tasks.get(name)
    print(record.config(**record.example).type, record.summary)
heavy = {"matplotlib", "numpy", "scipy", "torch"} & set(sys.modules)
assert not heavy, heavy
"""


def test_tasks_are_found_and_their_configs_made_without_numpy():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "airfoil",
        "darcy",
        "potential",
    ]
