"""No text, however hostile, does more than raise a ConfigError, and none takes long."""

import random
import subprocess
import sys
import time

import pytest

from noether_core.errors import ConfigError, Problem
from noether_core.structuring.documents import parse, yaml_reader
from noether_core.structuring.documents.writing import write

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
    result = subprocess.run(command, input="\n".join(HUGE), capture_output=True, text=True, timeout=300, check=False)

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

    assert (result.stderr, result.stdout) == ("", "nested too deep for what is left of Python's stack\n")


UNITS = [
    *(
        "[",
        "{",
        "[{",
        "{a: ",
        '{"a":',
        "&a 1,",
        "*a,",
        "&a ",
        "!a ",
        "!!str ",
        "!<a> ",
        '"',
        "'",
        '"""',
        "'''",
        '\\"',
        "\\",
    ),
    *(
        "#",
        "-",
        ".",
        ",",
        ":",
        "?",
        "=",
        "|",
        ">",
        "%",
        "@",
        "`",
        "<",
        "!",
        "&",
        "*",
        "<<: ",
        "a.",
        "a,",
        "1,",
        "1 ",
        "9e",
    ),
    *(
        "0x1",
        "é",
        "😀",
        "[1],",
        "{},",
        "[],",
        '="',
        "='",
        "[[",
        "]]",
        '"a".',
        "- ",
        "? ",
        ": ",
        '"":',
        "\n",
        "\r",
        "\t",
        " ",
    ),
    *(
        "\x85",
        "\u2028",
        "\ufeff",
        "a: b\n",
        "a=1\n",
        "[a]\n",
        "[[a]]\n",
        "a.a=1\n",
        "- a\n",
        "x: &a\n",
        "a: |\n",
        "---\n",
    ),
    *("...\n", 'a="\n', "a: \n ", "%TAG !a! b\n"),
]
STARTS = ("", "a: ", "- ", "[", "{", '"', 'a = "', 'a = """', "a = [", "a = {", '{"a": [')


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


ALPHABET = [*"abno019eE_.:-+#?,[]{}&*!|>'\"%@`=<~ \t\n\r\\\0\x07\x7f\x85\u2028\ufeff\ufffeé😀\ud800"]
PIECES = [
    *(
        "\n  ",
        "\n- ",
        "- ",
        "? ",
        ": ",
        '"""',
        "'''",
        "[[",
        "]]",
        "{",
        "}",
        "!!str ",
        "!!int ",
        "!a ",
        "&a ",
        "*a",
        "*a ",
        "<<: ",
    ),
    *(
        "0x",
        "1e999",
        "9" * 5000,
        "\n---\n",
        "\n...\n",
        "%YAML 1.2\n",
        "\\ud800",
        "\\U0010ffff",
        "\\Uffffffff",
        "\\x4",
        "1979-05-27",
    ),
    *(" = ", "\n[a]\n", "\n[[a]]\n", "a.b", "NaN", "-Infinity", "null", "[" * 70, "- " * 70, "\r\n", "|\n", ">-\n "),
]


def scalar(rng):
    whole, text = rng.randrange(-(10**9), 10**9), "".join(rng.choices("abno1: #-é", k=rng.randrange(6)))
    return rng.choice([True, whole, whole / 1000, text, text])


def document(rng, depth=0):
    size = rng.randrange(4)
    if depth < 3 and rng.random() < 0.3:
        return [document(rng, depth + 1) for _ in range(size)]
    if depth == 0 or (depth < 3 and rng.random() < 0.4):
        return {"".join(rng.choices("abc_.1", k=rng.randrange(4))): document(rng, depth + 1) for _ in range(size)}
    return scalar(rng)


def mutated(rng, text):
    for _ in range(rng.randrange(1, 5)):
        start = rng.randrange(len(text) + 1)
        end = start + rng.choice([0, 0, 1, 3])
        new = rng.choice([rng.choice(ALPHABET), rng.choice(PIECES), text[start : start + 9] * 2])
        text = text[:start] + new + text[end:]
    return text


def paths(data, keys=()):
    yield keys
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, item in items:
        yield from paths(item, (*keys, key))


def outcome(text, format):
    """Return the document and no problems, or no document and its problems, at least one."""
    try:
        return parse(text, format), ()
    except ConfigError as error:
        str(error)
        return None, error.problems


@pytest.mark.parametrize(
    ("format", "parser"), [("yaml", "_events_of"), ("yaml", "_slow_events_of"), ("toml", None), ("json", None)]
)
def test_mutated_documents_are_read_or_refused_in_their_place(format, parser, monkeypatch):
    if parser:
        monkeypatch.setattr(yaml_reader, "_events_of", getattr(yaml_reader, parser))
    rng = random.Random(7)
    read = 0
    for _ in range(2_000):
        found, problems = outcome(mutated(rng, write({"a": document(rng), "b": scalar(rng)}, format)), format)
        read += found is not None
        for problem in problems or [found.locate(Problem(message="wrong", keys=keys)) for keys in paths(found.data)]:
            assert problem.line is not None
            assert problem.source is not None
            assert 1 <= problem.column <= len(problem.source) + 1

    assert 30 < read < 1_970
