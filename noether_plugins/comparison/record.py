"""What a comparison found: the schema of ``compare.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
from annotated_types import Ge

from noether_core.schemas import Schema

FILE = "compare.json"
"""Name of the file, in the folder of a comparison."""

Status = Literal["complete", "failed", "unfinished"]

Source = Literal["file", "attention_options", "grid", "task", "example", "budget"]
"""Where the value of an option comes from, if it is not the default: the experiment's own
attention, its ``attention_options``, ``--grid``, the points of the task, the example of the
variant's record scaled to the file's sizes, or ``--budget``."""


@attrs.frozen(kw_only=True)
class Timing(Schema):
    """Times of one thing, measured in rounds with those of all other rows."""

    median: float | None
    """Seconds; None, as the quartiles, where all samples were dropped."""

    lower: float | None
    """First quartile."""

    upper: float | None
    """Third quartile."""

    samples: Annotated[int, Ge(0)]
    """How many were kept."""

    dropped: Annotated[int, Ge(0)]
    """How many were dropped, since the machine was busy with something else."""


@attrs.frozen(kw_only=True)
class Scaling(Schema):
    """Time and memory of the model over the number of tokens, a step of the training each."""

    tokens: tuple[int, ...]
    """In one sample of random points."""

    seconds: tuple[float | None, ...]
    """Median time of forward and backward for each; None where all samples were dropped."""

    bytes: tuple[int, ...]
    """Most that these hold beyond the parameters."""

    time_exponent: float | None
    """Exponent of the tokens in the seconds, fitted where they grow; None with too few sizes."""

    memory_exponent: float | None
    """Exponent of the tokens in the bytes, likewise."""

    dropped: Annotated[int, Ge(0)] = 0
    """Samples of the time that were dropped, since the machine was busy."""


@attrs.frozen(kw_only=True)
class Row(Schema):
    """One variant with one set of options."""

    name: str
    """What tells it from the other rows: its type, with the options of ``--grid`` behind it."""

    type: str

    provider: str
    """Distribution that provides the type."""

    version: str
    """Version of the distribution."""

    status: Status

    error: str = ""
    """Why it failed."""

    attention: Mapping[str, Any]
    """Its config, defaults written out."""

    sources: Mapping[str, Source]
    """By option, where its value comes from; options that have their defaults are left out."""

    notes: tuple[str, ...] = ()
    """What else there is to say of its options, such as one of the file that the type refuses."""

    varied: Mapping[str, Any] = {}
    """By path of the experiment, the values that ``--grid`` gave it."""

    runs: tuple[str, ...]
    """Folder of the run of each seed, relative to that of the comparison."""

    steps: Annotated[int, Ge(0)] | None = None
    """Updates of the weights in each run."""

    errors: Mapping[str, tuple[float | None, ...]] = {}
    """By field, ``group.field``, the relative error on held-out samples from each seed, in their
    order; None where its run did not end, or the truth is 0 everywhere."""

    errors_of_mean: Mapping[str, float | None] = {}
    """By field, that of predicting the mean of the training samples, averaged over the seeds."""

    ratios: Mapping[str, tuple[float | None, ...]] = {}
    """By field and for each seed, likewise, the error over that of predicting the mean."""

    score: float | None = None
    """Mean over fields and seeds of the ratios."""

    interval: tuple[float, float] | None = None
    """Bootstrap interval of the score over seeds, 95 %."""

    rank: Annotated[int, Ge(1)] | None = None
    """1 and the number of rows that are better by more than the spread over seeds."""

    tied_with: tuple[str, ...] = ()
    """Names of rows whose difference is smaller than that."""

    same_as: tuple[str, ...] = ()
    """Names of rows that are one computation in this model: equal weights give equal outputs."""

    seconds_per_step: float | None = None
    """Median time of a step of the training; its mean in the runs where none was measured, and None
    where all samples were dropped."""

    step: Timing | None = None
    """More of that time."""

    step_memory_bytes: Annotated[int, Ge(0)] | None = None
    """Most bytes that a step holds beyond parameters and data."""

    parameters: Annotated[int, Ge(0)] | None = None
    """Numbers that the model learns."""

    tokens_per_second: float | None = None
    """Tokens of a batch over the seconds of a step."""

    scaling: Scaling | None = None

    @property
    def provided_by(self) -> str:
        """Distribution and version; what a process registered itself has none."""
        return f"{self.provider} {self.version}".strip()


@attrs.frozen(kw_only=True)
class Comparison(Schema):
    """All that ``compare.json`` says."""

    format: Literal[1] = 1

    command: str
    """The command line that made it."""

    created: str
    """When it began, in UTC."""

    noether: str
    """Version of the package."""

    torch: str

    machine: Mapping[str, Any]
    """Processor, cores, memory in bytes, system, device, threads and jobs."""

    experiment: Mapping[str, Any]
    """The experiment of the file, defaults written out."""

    seeds: tuple[int, ...]

    budget: str | None
    """What ``--budget`` said."""

    rows: tuple[Row, ...]
    """In the order of their ranks, those without one last."""
