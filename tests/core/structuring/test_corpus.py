"""Whatever bytes a file holds, they are read or refused where they stand, at a bounded cost."""

import functools
import json
import re
import resource
import subprocess
import sys
import time
import traceback
import zlib

import pytest

from noether_core.errors import Problem
from noether_core.structuring.documents import yaml
from tests.core.structuring.corpus import Experiment, document, paths, read_through
from tests.fresh_environment import ROOT

LIBYAML, ITS_DOUBLE = "_events_of", "_slow_events_of"
CORPORA = {
    "libyaml": (LIBYAML, range(8_000)),
    "its_double": (ITS_DOUBLE, range(0, 1_200, 3)),  # YAML alone, which every third one is
    "all_of_it": (LIBYAML, range(8_000, 20_000)),
}
"""The parser of YAML and the documents that it reads, in a process for each corpus."""

SECONDS = 10 * 0.05
"""Of the processor's time for 10 kB: ten times what the benchmark ``documents`` grants, for
machines of all kinds.
"""

MEGABYTES = 64
"""Of memory that a process may take to read them all, on top of what it has when it starts."""

MOST_MEMORY = 2**30
"""Bytes that the process may ask for, so that what grows without end ends there."""

UNPLACED = "more than 1048576 characters"
OF_ALL = {
    "duplicate keys": "^given twice, first on line",
    "depth": "stand more than 64 deep in each other",
    "size": UNPLACED,
    "what is not UTF-8": "is not UTF-8",
    "NUL": r"the character U\+0000 cannot stand",
    "digits": "a whole number of more than 4300 digits",
    "unknown types": "is not installed",
    "unknown options": "^unknown option of",
    "missing options": "^missing: ",
    "options of another kind": "^expected .*, got ",
    "nothing at a place": "nothing stands here",
}
REFUSALS = {
    "yaml": OF_ALL
    | {
        "what is no YAML": "a ':' cannot stand here",
        "several documents": "a second document starts here",
        "tags of objects": r"the tag '!!python/object/apply:os\.system' is not allowed",
        "tags that do not fit": "the tag !!int does not fit",
        "many tags": "more than 100 %TAG directives",
        "merge keys": "expected a mapping to merge",
        "aliases in what they repeat": "stands inside what it repeats",
        "aliases of nothing": "has no anchor before it",
        "alias growth": "aliases repeat more than 10000 values",
        "keys that are no text": "expected text for a key",
    },
    "toml": OF_ALL
    | {"what is no TOML": "^not valid TOML", "dates": "dates and times are not options"},
    "json": OF_ALL
    | {
        "what is no JSON": "^not valid JSON",
        "several documents": "the document has ended before this",
        "constants": "JSON has no NaN",
        "large fractions": "a number too large for Python to hold",
        "halves of characters": "half of a character",
    },
}


def tell(corpus):
    """Print what becomes of each document, a line each, then the kilobytes that all took."""
    parser, numbers = CORPORA[corpus]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    yaml._events_of = getattr(yaml, parser)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        print(json.dumps(outcome(document(number))), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def outcome(made):
    facts = {
        "number": made.number,
        "format": made.format,
        "bytes": len(made.content),
        "crc": zlib.crc32(made.content),
    }
    start = time.process_time()
    try:
        read, problems = read_through(made)
    except Exception:  # noqa: BLE001  told, so that the test names all documents that raise one
        return facts | {"raised": traceback.format_exc()}
    return facts | {
        "seconds": time.process_time() - start,
        "is_read": read is not None,
        "is_sound": not problems,
        "is_misread": is_misread(made, read, problems),
        "refusals": [
            name
            for name, part in REFUSALS[made.format].items()
            if any(re.search(part, each.message) for each in problems)
        ],
        "misplaced": misplaced(made, [*problems, *located(read, at_key=made.number % 2 == 1)]),
    }


def is_misread(made, read, problems):
    """Return whether a sound document is refused, read as something else, or makes no config."""
    if made.says is None:
        return False
    is_config = made.target is Experiment or "type" in made.says
    return read is None or not alike(read.data, made.says) or (is_config and len(problems) > 0)


def alike(data, other):
    """Return whether data are equal, kinds of numbers included."""
    return json.dumps(data, sort_keys=True) == json.dumps(other, sort_keys=True)


def located(read, *, at_key):
    """Return a problem for every value, or every key, of what was read, if anything was."""
    found = [] if read is None else paths(read.data)
    return [read.locate(Problem(message="wrong", keys=keys, at_key=at_key)) for keys in found]


def misplaced(made, problems):
    """Return the problems that are at no character, nor the end, of a line of the document."""
    lines = re.split("\r\n|\n|\r", made.content.decode(errors="replace").removeprefix("\ufeff"))
    return [
        str(problem)
        for problem in problems
        if problem.message != UNPLACED and not is_placed(problem, lines)
    ]


def is_placed(problem, lines):
    if problem.line is None or problem.line > len(lines):
        return False
    line = lines[problem.line - 1]
    is_shown = problem.source == line or (
        "\ufffd" in problem.source and len(problem.source) == len(line)
    )
    return is_shown and 1 <= problem.column <= len(line) + 1


@functools.cache
def finished(corpus):
    """Return what came of a process of its own: exit status, errors, and lines of output."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        f"from {__name__} import tell; tell({corpus!r})",
    ]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    return (
        process.returncode,
        process.stderr,
        [json.loads(line) for line in process.stdout.splitlines()],
    )


def told(corpus):
    """Return what became of each document, and the memory that all took."""
    status, errors, lines = finished(corpus)
    assert (status, errors) == (0, ""), f"after document {lines[-1]['number'] if lines else 'none'}"
    return lines[:-1], lines[-1]


def outcomes(corpus):
    return [each for each in told(corpus)[0] if "raised" not in each]


with_every_corpus = pytest.mark.parametrize(
    "corpus",
    ["libyaml", "its_double", pytest.param("all_of_it", marks=pytest.mark.nightly)],
)


@with_every_corpus
def test_no_document_raises_anything_but_a_config_error(corpus):
    lines, _ = told(corpus)

    assert [each["number"] for each in lines] == [*CORPORA[corpus][1]]
    assert {each["number"]: each["raised"] for each in lines if "raised" in each} == {}


@with_every_corpus
def test_every_problem_and_every_value_has_a_location_in_the_document(corpus):
    assert [problem for each in outcomes(corpus) for problem in each["misplaced"]] == []


@with_every_corpus
def test_sound_documents_are_read_as_what_they_say(corpus):
    assert [each["number"] for each in outcomes(corpus) if each["is_misread"]] == []


@with_every_corpus
def test_no_document_takes_long(corpus):
    cost = {
        each["number"]: each["seconds"] / max(1, each["bytes"] / 10_000)
        for each in outcomes(corpus)
    }

    assert {number: seconds for number, seconds in cost.items() if seconds > SECONDS} == {}


@with_every_corpus
def test_no_document_takes_much_memory(corpus):
    _, kilobytes = told(corpus)

    assert kilobytes < MEGABYTES * 1000


@pytest.mark.parametrize("format", ["yaml", "toml", "json"])
def test_a_fair_share_is_read_and_a_fair_share_refused(format):
    of_format = [each for each in outcomes("libyaml") if each["format"] == format]

    assert 0.2 < sum(each["is_read"] for each in of_format) / len(of_format) < 0.8
    assert 0.1 < sum(each["is_sound"] for each in of_format) / len(of_format) < 0.8
    assert sum(each["bytes"] < 20 for each in of_format) > 30
    assert sum(each["bytes"] > 10_000 and each["is_read"] for each in of_format) > 30


@pytest.mark.parametrize(
    ("format", "refusal"), [(of, name) for of in REFUSALS for name in REFUSALS[of]]
)
def test_every_kind_of_refusal_occurs(format, refusal):
    assert any(
        refusal in each["refusals"] for each in outcomes("libyaml") if each["format"] == format
    )


def test_a_document_is_made_again_from_its_number_alone():
    made_before = outcomes("libyaml")[::-199]

    assert [zlib.crc32(document(each["number"]).content) for each in made_before] == [
        each["crc"] for each in made_before
    ]
