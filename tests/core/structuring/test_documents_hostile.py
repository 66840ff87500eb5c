"""Documents that are huge, deep or repeat themselves raise a ConfigError, and soon."""

import gc
import subprocess
import sys
import time

import pytest

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.checking import check_configs
from noether_core.structuring.documents import parse
from noether_core.structuring.paths import DocumentPath
from tests.core.structuring.corpus import STARTS, UNITS

FORMATS = ("yaml", "toml", "json")

IN_A_PROCESS = """
import sys, time
from noether_core.errors import ConfigError
from noether_core.structuring.documents import parse

for line in sys.stdin:
    text = eval(line)
    start = time.perf_counter()
    try:
        parse(text, sys.argv[1])
    except ConfigError as error:
        str(error)
    print(time.perf_counter() - start, line.strip(), flush=True)
"""

HUGE = [
    "'[' * 30_000",
    "'[' * 500_000 + ']' * 500_000",
    "'{' * 500_000",
    "'- ' * 500_000",
    "'? ' * 500_000",
    "'[{' * 500_000",
    "'a: {' * 200_000",
    "'a: [' * 200_000",
    "'&a [' * 200_000",
    "'!!seq [' * 100_000",
    "'\\n'.join(' ' * i + '-' for i in range(1_400))",
    "'a: &a {b: 1}\\n' + '- *a\\n' * 100_000",
    "'[' + '&a 1,' * 200_000",
    "'[&a 1' + ',*a' * 300_000 + ']'",
    "'a: &a0 [x]\\n' + ''.join(f'b{i}: &a{i + 1} [*a{i}, *a{i}]\\n' for i in range(60))",
    "'[' * 60 + ']' * 60 + '\\n' * 1_000_000",
    "'%TAG !a! b\\n' * 90_000 + '--- a'",
    "''.join(f'%TAG !a{i}! b\\n' for i in range(50_000)) + '--- a'",
    "'-' * 1_000_000",
    "'a' * 1_000_000 + ': b'",
    "'\"' + '\\\\\\\\' * 500_000",
    "'\"' * 1_000_000",
    "'a = ' + '[' * 1_000_000",
    "'a = ' + '{b = ' * 200_000",
    "'a.' * 500_000 + 'a = 1'",
    "'[' + 'a.' * 500_000 + 'a]'",
    '\'a = """\' + \'""\\n\' * 300_000',
    "'a = ' + '1' * 1_000_000",
    "'a = 0x' + 'f' * 1_000_000",
    "'a: ' + '1' * 1_000_000",
    "'a: 0x' + 'f' * 1_000_000",
    "'[' + '1' * 1_000_000 + ']'",
    "'{\"a\":' * 150_000",
    "'[' + '\"' + '\\\\\"' * 500_000",
    "'#' * 1_000_000",
    "' ' * 1_000_000",
    "'\\r' * 1_000_000",
]


@pytest.mark.parametrize("format", FORMATS)
def test_huge_documents_neither_crash_the_process_nor_take_long(format):
    command = [sys.executable, "-c", IN_A_PROCESS, format]
    result = subprocess.run(
        command, input="\n".join(HUGE), capture_output=True, text=True, timeout=300, check=False
    )

    assert (result.returncode, result.stderr) == (0, "")
    told = [line.split(" ", 1) for line in result.stdout.splitlines()]
    assert [text for _, text in told] == HUGE
    assert [text for seconds, text in told if float(seconds) > 4] == []


def repeated(start, unit, end, count):
    return start + unit * count + end


LARGE = {
    "toml": ["".join(f"a.b{i} = 1\n" for i in range(32_000)), repeated("", "[[a]]\n", "", 32_000)],
    "yaml": [
        repeated("", "- " * 60 + "1\n", "", 530),
        "".join(f"a{i}: {{b: {{c: []}}}}\n" for i in range(10_000)),
    ],
    "json": [
        repeated("[", "[],", "1]", 32_000),
        repeated("[", f"{'[' * 60}{']' * 60},", "1]", 530),
    ],
}
"""What takes longest of all that is within the bounds."""


@pytest.mark.parametrize("format", FORMATS)
def test_the_largest_documents_are_read_checked_and_located_within_two_seconds(format):
    for text in LARGE[format]:
        gc.collect()
        begun = time.process_time()
        document = parse(text, format)
        check_configs(document, DocumentPath("*[*]" if format == "toml" else "[*]"))
        document.locate(Problem(message="wrong"))
        assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("toml", repeated("a = [", "1,", "]", 2**15 - 2), None),
        ("toml", repeated("a = [", "1,", "]", 2**15 - 1), "more than 32768 values"),
        ("toml", "".join(f"a{i}.b = 1\n" for i in range(2**14)), "more than 32768 values"),
        ("toml", "a.b.c.d = 1\n" * 2**14 + "a = 1", "more than 65536 names in keys"),
        ("yaml", repeated("[", "1,", "]", 2**15 - 1), None),
        ("yaml", repeated("[", "1,", "]", 2**15), "more than 32768 values"),
        ("yaml", repeated("[", "a: 1,", "]", 2**14), "more than 32768 values"),
        ("yaml", "".join(f"a{i}: 1\n" for i in range(2**15 - 1)), None),
        ("json", repeated("[", "1,", "1]", 2**15 - 2), None),
        ("json", repeated("[", "1,", "1]", 2**15 - 1), "more than 32768 values"),
        ("json", repeated("[", '{"a":1},', "1]", 2**14), "more than 32768 values"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_more_values_than_a_document_may_hold_are_refused_where_they_begin(format, text, message):
    if message is None:
        parse(text, format)
        return
    with pytest.raises(ConfigError) as caught:
        parse(text, format)
    (problem,) = caught.value.problems
    assert problem.message == message
    assert problem.line is not None


LITTLE_STACK = """
import sys
from noether_core.errors import ConfigError
from noether_core.structuring.documents import parse

parse('{"a": 1}', sys.argv[1]) if sys.argv[1] != "toml" else parse("a = 1", "toml")
text = "[" * 60 + "]" * 60 if sys.argv[1] != "toml" else "a = " + "[" * 60 + "]" * 60
sys.setrecursionlimit(45)
try:
    parse(text, sys.argv[1])
except ConfigError as error:
    message = error.problems[0].message
sys.setrecursionlimit(1000)
print(message)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_a_document_too_deep_for_a_stack_that_is_nearly_full_is_refused(format):
    command = [sys.executable, "-c", LITTLE_STACK, format]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (result.stderr, result.stdout) == (
        "",
        "nested too deep for what is left of Python's stack\n",
    )


@pytest.mark.parametrize("format", FORMATS)
def test_what_repeats_itself_takes_little_time(format):
    slowest = 0.0
    for unit in UNITS:
        for start in STARTS:
            text = (start + unit * 4_000)[:4_000]
            begun = time.process_time()
            try:
                parse(text, format)
            except ConfigError as error:
                str(error)
            slowest = max(slowest, time.process_time() - begun)

    assert slowest < 0.5  # on a quiet machine 0.02
