"""Documents that are huge, deep or repeat themselves raise a ConfigError, and soon."""

import subprocess
import sys
import time

import pytest

from noether_core.errors import ConfigError
from noether_core.structuring.documents import parse
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
    assert [text for seconds, text in told if float(seconds) > 10] == []


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
