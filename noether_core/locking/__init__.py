"""Which providers configs need, written down in a lock file, and whether those that are installed
are the same.
"""

LOCK_FILE = "noether.lock"
"""Name of a lock file where none is given."""

SUFFIX = ".lock"
"""How the names of lock files end, by which they are told from configs."""
