"""``python -m noether_core.cli`` is ``noether``."""

import sys

from noether_core.cli import main

sys.exit(main())
