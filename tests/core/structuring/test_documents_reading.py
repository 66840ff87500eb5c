"""Documents are read from files, and whatever is wrong with a file is a problem that names it."""

import os
import subprocess
import sys
import threading
import time

import pytest

from noether_core.errors import ConfigError
from noether_core.structuring.documents import FORMATS, parse, read
from noether_core.structuring.documents.writing import write

TEXTS = {"yaml": "größe: 1\n", "toml": '"größe" = 1\n', "json": '{"größe": 1}'}


def problem(path, format=None):
    with pytest.raises(ConfigError) as caught:
        read(path, format)
    (found,) = caught.value.problems
    assert found.file == os.fspath(path)
    return found


SUFFIXES = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def test_every_suffix_of_a_document_is_known():
    assert FORMATS == SUFFIXES


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".YAML", ".Json"])
def test_the_suffix_names_the_format(tmp_path, suffix):
    path = tmp_path / f"config{suffix}"
    path.write_text(TEXTS[SUFFIXES[suffix.lower()]], encoding="utf-8")

    assert read(path).data == read(str(path)).data == {"größe": 1}


@pytest.mark.parametrize("format", TEXTS)
def test_the_caller_may_name_the_format(tmp_path, format):
    path = tmp_path / "config.txt"
    path.write_text(TEXTS[format], encoding="utf-8")

    assert read(path, format).data == {"größe": 1}


@pytest.mark.parametrize("format", TEXTS)
def test_a_byte_order_mark_is_passed_over(tmp_path, format):
    path = tmp_path / f"config.{format}"
    path.write_text(TEXTS[format], encoding="utf-8-sig")

    assert read(path).data == {"größe": 1}


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "the suffix '.txt' names no format"), ("yaml", None)]
)
def test_a_suffix_that_names_no_format_is_refused(tmp_path, name, message):
    path = tmp_path / name
    path.write_text("a: 1")

    found = problem(path)

    assert found.message == (message or "the name has no suffix that names a format")
    assert found.suggestion == "use one of .yaml, .yml, .toml, .json"


def test_a_format_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no format 'xml'; expected one of yaml, toml, json"):
        parse("<a/>", "xml")


def test_a_missing_file_is_a_problem(tmp_path):
    assert problem(tmp_path / "no.yaml").message == "cannot be read: No such file or directory"


def test_a_folder_is_a_problem(tmp_path):
    assert problem(tmp_path).message == "cannot be read: Is a directory"


def test_a_file_that_may_not_be_read_is_a_problem(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)

    assert problem(tmp_path / "a.yaml").message == "cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["a\0.yaml", "\ud800.yaml", "a" * 5000])
def test_a_name_that_no_file_can_have_is_a_problem(name):
    assert problem(name).message.startswith("cannot be read: ")


def test_bytes_that_are_not_utf_8_are_refused_where_they_stand(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("a: 1\r\nb: é".encode() + b"\xff x\n")

    found = problem(path)

    assert (found.line, found.column, found.source) == (2, 5, "b: é\ufffd x")
    assert (found.message, found.suggestion) == (
        "the byte 0xff is not UTF-8",
        "save the file as UTF-8",
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_refused(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"ä": 1}'.encode(encoding))

    assert problem(path).line == 1


@pytest.mark.parametrize("format", TEXTS)
@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("\0", "U+0000"),
        ("\x1b", "U+001B"),
        ("\x7f", "U+007F"),
        ("\x9b", "U+009B"),
        ("\uffff", "U+FFFF"),
    ],
)
def test_characters_that_cannot_be_printed_are_refused_where_they_stand(
    tmp_path, format, char, shown
):
    path = tmp_path / f"a.{format}"
    path.write_text(f"# 1\n# é{char}", encoding="utf-8")

    found = problem(path)

    assert (found.line, found.column, found.source) == (2, 4, "# é\ufffd")
    assert found.message == f"the character {shown} cannot stand in a document"


UNSEEN = (
    "\x85\u2028\u2029"  # what only some readers take for the end of a line
    "\xad\u034f\u061c\u115f\u17b4\u180b\u180e\u200b\u200c\u200d\u200e\u202e\u2060\u2066\u2800\u3164"
    "\ufe0f\ufeff\uffa0\ufff9\ufffe\U0001d173\U000e0041\U000e0100"
)


@pytest.mark.parametrize("format", TEXTS)
@pytest.mark.parametrize("char", UNSEEN, ids=ascii)
def test_characters_that_cannot_be_seen_are_refused_and_can_be_written_as_escapes(format, char):
    text = write({"a": f"x{char}y"}, format)
    assert char not in text
    assert parse(text, format).data == {"a": f"x{char}y"}

    code = f"{ord(char):04X}"
    with pytest.raises(ConfigError, match=rf"the character U\+{code} cannot stand in a document"):
        parse(f"x{char}y", format)


@pytest.mark.parametrize(
    "text",
    [
        "\u26a0\ufe0f",
        "1\ufe0f\u20e3",
        "\U0001f469\u200d\U0001f4bb",
        "\u2764\ufe0f\u200d\U0001f525",
        "\u0645\u06cc\u200c\u062e\u0648",
        "\u0915\u094d\u200d\u0937",
        "a\xa0b",
    ],
    ids=ascii,
)
def test_what_joins_and_colours_characters_that_are_seen_may_stand(text):
    assert parse(f"# {text}\na: '{text}'", "yaml").data == {"a": text}


def test_no_line_of_any_reader_hides_in_a_comment():
    for line_break in ("\x85", "\u2028", "\u2029"):
        with pytest.raises(ConfigError, match="<text>:1:13: the character"):
            parse(f"a: 1  # note{line_break}b: 2", "yaml")


@pytest.mark.parametrize("format", TEXTS)
def test_half_a_character_in_a_text_is_refused(format):
    with pytest.raises(
        ConfigError, match=r"<text>:1:4: the character U\+D800 cannot stand in a document"
    ):
        parse("# 1\ud800", format)


@pytest.mark.parametrize("format", TEXTS)
@pytest.mark.parametrize("char", ["x", "😀"])
def test_a_file_of_more_than_a_mebicharacter_is_refused(tmp_path, format, char):
    path = tmp_path / f"a.{format}"
    path.write_text("\ufeff#" + char * 2**20, encoding="utf-8")

    assert problem(path).message == "more than 1048576 characters"


def test_a_file_without_an_end_is_refused():
    assert problem("/dev/zero", "yaml").message == "more than 1048576 characters"


def test_a_file_of_just_a_mebicharacter_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n#" + "😀" * (2**20 - 6), encoding="utf-8")

    assert read(path).data == {"a": 1}


def test_parsers_and_writers_are_imported_when_they_are_used():
    code = (
        "import sys, types\n"
        "package = types.ModuleType('noether_core.structuring')\n"
        "import noether_core\n"
        "package.__path__ = [noether_core.__path__[0] + '/structuring']\n"
        "sys.modules['noether_core.structuring'] = package\n"
        "before = set(sys.modules)\n"
        "import noether_core.structuring.documents\n"
        "print(*{'yaml', 'tomllib', 'tomli_w', 'json'} & (set(sys.modules) - before))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert result.stdout.split() == []


def test_a_byte_that_is_not_utf8_has_its_location_behind_a_byte_order_mark_too(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: \xff")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "a.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.source) == (1, 4, "a: \ufffd")


def test_a_pipe_is_read_if_somebody_writes_into_it_and_never_waited_for(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="cannot be read: it is a pipe that nobody writes into"):
        read(pipe)

    writer = os.open(pipe, os.O_RDWR)
    found = []
    reader = threading.Thread(target=lambda: found.append(read(pipe).data))
    reader.start()
    os.write(writer, b"a: [1,")
    time.sleep(0.05)
    os.write(writer, b" 2]")
    os.close(writer)
    reader.join(10)
    assert found == [{"a": [1, 2]}]
