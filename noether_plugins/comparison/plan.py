"""What is compared: a row for each variant and set of options, filled in for the task."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from noether_plugins.comparison.record import Source
from noether_plugins.workbench.experiment import Experiment


@attrs.frozen(kw_only=True)
class Entry:
    """A row that is to be compared: an experiment that is known to be sound."""

    name: str
    """What tells it from the others: its type, with the options of ``--grid`` behind it."""

    experiment: Experiment
    """What is run, with the first of the seeds."""

    sources: Mapping[str, Source] = {}
    """By option of the attention, where its value comes from; those with defaults are left out."""
