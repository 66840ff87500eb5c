"""Documents that tests make: sound ones, mutated ones and noise, each a function of its number.

``document(12_345)`` makes the same one again, whatever was made before it, as long as the same
variants are installed; ``read_through`` goes its whole way from bytes to a config.
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import random
import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import attrs

from noether_core import AttentionConfig, ConfigError, Registry, unstructure
from noether_core.schemas import Schema
from noether_core.structuring.checking import check_configs
from noether_core.structuring.documents import Document, Format, read_from
from noether_core.structuring.documents.writing import write
from noether_core.structuring.paths import DocumentPath
from noether_core.structuring.structure import structure_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from noether_core import Problem

_SEED = 1
_FORMATS: tuple[Format, ...] = get_args(Format)
_LARGEST = 30_000
"""Characters that most documents stay below."""


@attrs.frozen(kw_only=True)
class Experiment(Schema):
    """What the corpus has around its configs."""

    attention: AttentionConfig
    blocks: tuple[AttentionConfig, ...] = ()
    notes: tuple[str, ...] = ()
    learning_rate: float = 1e-3
    seed: int = 0


class Made(NamedTuple):
    """One document of the corpus."""

    number: int
    format: Format
    content: bytes

    target: type[Schema] | DocumentPath
    """What is to be made of it, or where configs stand in it."""

    says: Any
    """The data of a sound document; None for others."""


def document(number: int, seed: int = _SEED) -> Made:
    """Return the document of that number: YAML, TOML and JSON in turn."""
    rng = random.Random(f"{seed}, {number}")
    written_as = _FORMATS[number % len(_FORMATS)]
    kind = rng.choices(("sound", "mutated", "noise"), (2, 5, 2))[0]
    if kind == "noise":
        return Made(number, written_as, _noise(rng, written_as), rng.choice(_TARGETS), None)
    data, target = rng.choice((_config, _config, _experiment, _experiment, _anything))(
        rng, written_as
    )
    if kind == "sound":
        return Made(number, written_as, _spelled(rng, data, written_as).encode(), target, data)
    return Made(number, written_as, _mutated(rng, data, written_as), target, None)


def read_through(made: Made) -> tuple[Document | None, tuple[Problem, ...]]:
    """Read a document, make of it what it is for, and return it with all problems."""
    read = None
    problems: tuple[Problem, ...] = ()
    try:
        read = read_from(io.BytesIO(made.content), made.format, file=f"{made.number}.{made.format}")
        if isinstance(made.target, DocumentPath):
            problems = tuple(
                problem
                for checked in check_configs(read, made.target)
                for problem in checked.problems
            )
            "\n".join(map(str, problems)).encode()
        else:
            structure_document(read, made.target)
    except ConfigError as error:
        problems = error.problems
        str(error).encode()
    json.dumps([problem.as_dict() for problem in problems], allow_nan=False)
    return read, problems


# What sound documents say.

_registry = Registry()


def paths(data: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield what leads to every value in *data*: its keys and positions."""
    yield keys
    items: Any = ()
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    for key, item in items:
        yield from paths(item, (*keys, key))


_EXAMPLES = [
    _registry.get(entry.qualified_name).example_config() for entry in _registry.providers()
]
_OPTIONS = [
    unstructure(config, defaults=defaults) for config in _EXAMPLES for defaults in (True, False)
]
_PLACES = tuple(
    map(DocumentPath, ("attention", "blocks[*]", "blocks[0]", "*.attention", "attention.type"))
)
_TARGETS = (
    AttentionConfig,
    Experiment,
    DocumentPath("blocks[*]"),
    DocumentPath("*"),
    DocumentPath("*.*"),
)
_TEXTS = (
    *(
        "",
        " ",
        "surface",
        "no",
        "true",
        "~",
        "1",
        "1e-3",
        "0o17",
        "1_000",
        "1979-05-27",
        "<<",
        "größe 😀",
        "a\tb",
    ),
    *(
        "lift and drag",
        "a: b # c",
        "- a",
        "it's",
        'say "x"',
        "C:\\runs\\1",
        "{a}",
        "*a",
        "= 1",
        "[t]",
        "'''",
        '"""',
    ),
    *("one\ntwo", "one\ntwo\n", "\n", "a\r\nb", " led", "\u00e9\u2028", "x" * 90),
)


def _config(rng: Random, _: Format) -> tuple[Any, type[Schema]]:
    return _options(rng), AttentionConfig


def _options(rng: Random) -> dict[str, Any]:
    """Return options of an installed variant, in another order and width than in its example."""
    options = rng.choice(_OPTIONS)
    names = rng.sample(list(options), len(options))
    width = options["hidden_dim"] * rng.choice([1, 1, 8, 32])
    varied = {name: copy.copy(options[name]) for name in names} | {"hidden_dim": width}
    if "branches" in varied and rng.random() < 0.2:
        varied["branches"] += [f"branch_{number}" for number in range(_size(rng, 1000))]
    return varied


def _experiment(rng: Random, format: Format) -> tuple[Any, type[Schema] | DocumentPath]:
    data: dict[str, Any] = {
        "attention": _options(rng),
        "blocks": [_options(rng) for _ in range(rng.choice([0, 1, 2, 3, 3, 3, 3, 3, 12, 50]))],
        "notes": [rng.choice(_TEXTS) for _ in range(rng.choice([0, 1, 4, 4, 4, 200]))],
        "learning_rate": rng.choice([1e-3, 2.5e-05, 0.1]),
        "seed": rng.randrange(2**32),
    }
    if rng.random() < 0.5:
        return data, Experiment
    return data | {rng.choice("xyz"): _tree(rng, format, 1)}, rng.choice(_PLACES)


def _anything(rng: Random, format: Format) -> tuple[Any, type[Schema]]:
    data = {_text(rng): _tree(rng, format, 1) for _ in range(rng.choice([1, 2, 3, 3, 3, 3, 100]))}
    return data if format == "toml" or rng.random() < 0.5 else list(data.values()), AttentionConfig


def _tree(rng: Random, format: Format, depth: int) -> Any:
    """Return plain data that the format can hold."""
    size = rng.randrange(4)
    if depth < 4 and rng.random() < 0.3:
        return [_tree(rng, format, depth + 1) for _ in range(size)]
    if depth < 4 and rng.random() < 0.4:
        return {_text(rng): _tree(rng, format, depth + 1) for _ in range(size)}
    return _scalar(rng, format)


def _scalar(rng: Random, format: Format) -> Any:
    whole = rng.randrange(-(10 ** rng.randrange(1, 18)), 10**9)
    more = {"yaml": [None, float("inf")], "toml": [float("-inf")], "json": [None]}[format]
    return rng.choice(
        [True, False, whole, whole / 1000, whole * 1e-20, _text(rng), _text(rng), *more]
    )


def _text(rng: Random) -> str:
    return (
        rng.choice(_TEXTS)
        if rng.random() < 0.5
        else "".join(rng.choices("abno1: #-é", k=rng.randrange(6)))
    )


# How people write it.


def _spelled(rng: Random, data: Any, format: Format) -> str:
    """Return data as text: by the project's own writer, or as people write."""
    hand = {"yaml": _Yaml, "toml": _Toml, "json": _Json}[format]
    text = write(data, format) if rng.random() < 0.3 else hand(rng).document(data)
    text = text.replace(
        "\n", rng.choice(["\n", "\n", "\n", "\r\n", "\n" if format == "toml" else "\r"])
    )
    return "\ufeff" + text if rng.random() < 0.05 else text


class _Yaml:
    """Blocks and flows, four kinds of text, anchors for what comes again, tags and comments."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._anchors: dict[str, str] = {}
        self._names = map("a{}".format, itertools.count())

    def document(self, data: Any) -> str:
        start = self._rng.choice(["", "", "# a run\n\n", "---\n", "%YAML 1.2\n---\n"])
        head, lines = self._node(data)
        return (
            start
            + "\n".join([*filter(None, [head]), *lines])
            + self._rng.choice(["\n", "\n", "\n...\n", "\n# end"])
        )

    def _node(self, value: Any, *, in_flow: bool = False) -> tuple[str, list[str]]:
        """Return what stands behind the key, and the lines below it."""
        written = json.dumps(value)
        if written in self._anchors and self._rng.random() < 0.5:
            return f"*{self._anchors[written]}", []
        head, lines = self._bare_node(value, in_flow=in_flow)
        if self._rng.random() < 0.05:
            self._anchors[written] = next(self._names)
            head = f"&{self._anchors[written]} {head}".rstrip()
        return head, lines

    def _bare_node(self, value: Any, *, in_flow: bool) -> tuple[str, list[str]]:
        if not isinstance(value, (dict, list)):
            head, *lines = self._scalar(value, in_flow=in_flow).split("\n")
            return head, lines
        if in_flow or not value or self._rng.random() < 0.2:
            head, *lines = self._flow(value).split("\n")
            return head, lines
        return "", [*(self._mapping(value) if isinstance(value, dict) else self._list(value))]

    def _mapping(self, value: dict[str, Any]) -> Iterator[str]:
        for key, item in value.items():
            yield from self._comment()
            head, lines = self._node(item)
            name = self._text(key, in_flow=True)
            indent = (
                "" if isinstance(item, list) and not head and self._rng.random() < 0.5 else "  "
            )
            if self._rng.random() < 0.03:
                yield f"? {name}"
                name, indent = "", "  "
            yield (
                f"{name}: {head}".rstrip() if lines or not head else f"{name}: {head}{self._tail()}"
            )
            yield from (indent + line for line in lines)

    def _list(self, value: list[Any]) -> Iterator[str]:
        for item in value:
            yield from self._comment()
            head, lines = self._node(item)
            if lines and not head and self._rng.random() < 0.8:
                head, *lines = lines
            yield f"- {head}".rstrip()
            yield from ("  " + line for line in lines)

    def _flow(self, value: Any) -> str:
        is_mapping = isinstance(value, dict)
        items = value.items() if is_mapping else enumerate(value)
        written = [
            (f"{self._text(key, in_flow=True)}: " if is_mapping else "") + self._inline(it)
            for key, it in items
        ]
        text = self._rng.choice([", ", ", ", " , ", ",\n  "]).join(written)
        return f"{{{text}}}" if is_mapping else f"[{text}]"

    def _inline(self, value: Any) -> str:
        head, lines = self._node(value, in_flow=True)
        return "\n".join([head, *lines])

    def _scalar(self, value: Any, *, in_flow: bool) -> str:
        if isinstance(value, str):
            return self._text(value, in_flow=in_flow)
        if value is None:
            return self._rng.choice(["null", "~", "!!null null", "null" if in_flow else ""])
        if isinstance(value, bool):
            return self._rng.choice(
                [f"{value}", f"{value}".lower(), f"!!bool {value}", f"{value}".upper()]
            )
        if isinstance(value, int):
            others = [f"0x{value:x}", f"0o{value:o}"] if value >= 0 else []
            return self._rng.choice([f"{value}", f"{value:+d}", f"!!int {value}", *others])
        written = repr(value).replace("inf", ".inf")
        return self._rng.choice([written, written, f"!!float {written}"])

    def _text(self, text: str, *, in_flow: bool) -> str:
        ways = [json.dumps(text, ensure_ascii=False).replace("\u2028", "\\L")]
        if re.fullmatch(r"[A-Za-z][\w./-]*(?: [\w./-]+)*", text) and text.lower() not in {
            "true",
            "false",
            "null",
        }:
            ways += [text, text, text, f"!!str {text}"]
        if re.fullmatch(r"[^\n\r\u2028]*", text):
            ways.append("'" + text.replace("'", "''") + "'")
        if (
            not in_flow
            and re.fullmatch(r"[^\s].*(?:\n[^\s].*)*\n?", text)
            and not re.search("[\r\u2028]", text)
        ):
            style = "|" if text.endswith("\n") else "|-"
            ways.append(f"{style}\n{text.removesuffix(chr(10))}".replace("\n", "\n  "))
        return self._rng.choice(ways)

    def _comment(self) -> list[str]:
        return ["# a comment: not: a key"] if self._rng.random() < 0.05 else []

    def _tail(self) -> str:
        return "  # of note" if self._rng.random() < 0.1 else ""


class _Toml:
    """Tables below headers, dotted and inline, four kinds of text, four bases, and comments."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def document(self, data: dict[str, Any]) -> str:
        start = self._rng.choice(["", "", "# a run\n\n", "\n"])
        return start + "\n".join(self._table(data, ())) + self._rng.choice(["", "\n", "\n\n# end"])

    def _table(self, table: dict[str, Any], keys: tuple[str, ...]) -> Iterator[str]:
        """Yield the entries of a table, then the tables in it."""
        below: list[tuple[tuple[str, ...], Any]] = []
        for key, value in table.items():
            if _holds_tables(value) and self._rng.random() < 0.8:
                below.append(((*keys, key), value))
            else:
                yield from self._entry((key,), value)
        for path, value in below:
            mark = "[{}]" if isinstance(value, dict) else "[[{}]]"
            for each in [value] if isinstance(value, dict) else value:
                yield self._rng.choice(["", "", "# a table: [not.one]"])
                yield mark.format(self._path(path)) + self._tail()
                yield from self._table(each, path)

    def _entry(self, path: tuple[str, ...], value: Any) -> Iterator[str]:
        if isinstance(value, dict) and value and self._rng.random() < 0.5:
            for key, item in value.items():
                yield from self._entry((*path, key), item)
        else:
            yield self._rng.choice(["{} = {}", "{}={}", "  {}\t=\t{}"]).format(
                self._path(path), self._value(value)
            )

    def _path(self, keys: tuple[str, ...]) -> str:
        return self._rng.choice([".", ".", " . "]).join(self._key(key) for key in keys)

    def _key(self, key: str) -> str:
        ways = [self._quoted(key)]
        if re.fullmatch("[A-Za-z0-9_-]+", key):
            ways += [key] * 4
        return self._rng.choice(ways)

    def _value(self, value: Any) -> str:
        if isinstance(value, dict):
            entries = [f"{self._key(key)} = {self._value(item)}" for key, item in value.items()]
            return f"{{{', '.join(entries)}}}"
        if isinstance(value, list):
            between, end = self._rng.choice(
                [(", ", ""), (",", ","), (",\n  ", " # of note\n"), (", # one\n", ",\n")]
            )
            return f"[{between.join(map(self._value, value))}{end if value else ''}]"
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            others = [f"0x{value:x}", f"0o{value:o}", f"0b{value:b}"] if value >= 0 else []
            return self._rng.choice([f"{value}", f"{value:+_d}", *others])
        return repr(value).lower()

    def _text(self, text: str) -> str:
        ways = [self._quoted(text)]
        if not re.search("[\n\r\u2028']", text):
            ways.append(f"'{text}'")
        if not re.search("[\\r\u2028'\"\\\\]", text):
            ways += [f'''"""\n{text}"""''', f"'''\n{text}'''"]
        return self._rng.choice(ways)

    def _quoted(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False).replace("\u2028", r"\u2028")

    def _tail(self) -> str:
        return "  # of note" if self._rng.random() < 0.1 else ""


def _holds_tables(value: Any) -> bool:
    """Return whether *value* may stand below a header: a table, or tables and nothing else."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


class _Json:
    """Space where it may stand, and escapes."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._spaces = rng.choice([[""], [" "], ["", " ", "\n", "\t", "  \n"]])

    def document(self, data: Any) -> str:
        return self._space() + self._value(data) + self._space()

    def _value(self, value: Any) -> str:
        if isinstance(value, dict):
            return self._joined(
                "{}",
                [f"{self._text(key)}{self._space()}:{self._value(value[key])}" for key in value],
            )
        if isinstance(value, list):
            return self._joined("[]", [self._value(item) for item in value])
        return self._text(value) if isinstance(value, str) else json.dumps(value)

    def _joined(self, brackets: str, items: list[str]) -> str:
        inside = ",".join(self._space() + item + self._space() for item in items)
        return f"{self._space()}{brackets[0]}{inside}{brackets[1]}"

    def _text(self, text: str) -> str:
        written = json.dumps(text, ensure_ascii=self._rng.random() < 0.2)
        return written.replace("\u2028", r"\u2028")

    def _space(self) -> str:
        return self._rng.choice(self._spaces)


# What becomes of it.

ALPHABET = [
    *"abno019eE_.:-+#?,[]{}&*!|>'\"%@`=<~ \t\n\r\\\0\x07\x7f\x85\u2028\ufeff\ufffeé😀\ud800"
]
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
    ),
    *(
        "*a ",
        "<<: ",
        "<<: *a\n",
        "!!python/name:os.system ",
        "!!map ",
        "!!set {a}",
        "!<tag:yaml.org,2002:int> ",
    ),
    *(
        "0x",
        "1e999",
        "9" * 5000,
        "\n---\n",
        "\n...\n",
        "%YAML 1.2\n",
        "%TAG ! b\n",
        "\\ud800",
        "\\U0010ffff",
        "\\x4",
    ),
    *(
        "\\Uffffffff",
        "1979-05-27",
        "07:32:00",
        " = ",
        "\n[a]\n",
        "\n[[a]]\n",
        "a.b",
        "NaN",
        "-Infinity",
        "null",
        "~",
    ),
    *(
        "[" * 70,
        "- " * 70,
        "{a: " * 70,
        '{"a":' * 70,
        "a." * 70,
        "\r\n",
        "|\n",
        ">-\n ",
        "1e-3",
        "no",
        "0o17",
        "1_000",
    ),
]


def _mutated(rng: Random, data: Any, format: Format) -> bytes:
    """Return data as bytes, once something was done to it, to its text, or to both."""
    is_other = rng.random() < 0.4
    text = _spelled(rng, _disturbed(rng, data, format) if is_other else data, format)
    for _ in range(rng.choice([0, 1, 2]) if is_other else rng.choice([1, 1, 1, 2, 4])):
        text = rng.choice(_MUTATIONS)(rng, text)[:_LARGEST]
    content = text.encode("utf-8", "surrogatepass")
    return rng.choice(_OF_BYTES)(rng, content) if rng.random() < 0.1 else content


def _disturbed(rng: Random, data: Any, format: Format) -> Any:
    """Return data in which some keys and values are others, renamed, added or gone."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        holder = rng.choice([*_holders(data)] or [[None]])
        key = rng.choice([*holder]) if isinstance(holder, dict) else rng.randrange(len(holder))
        change = rng.choice(("rename", "add", "remove", "replace", "replace"))
        if change == "replace" or isinstance(holder, list):
            holder[key] = _tree(rng, format, rng.choice([2, 4]))
        elif change == "add":
            holder[_text(rng)] = _scalar(rng, format)
        elif change == "remove":
            del holder[key]
        else:
            holder[_poke(rng, key).encode("utf-8", "ignore").decode()] = holder.pop(key)
    return data


def _holders(data: Any) -> Iterator[Any]:
    """Yield all mappings and lists that are not empty."""
    if isinstance(data, (dict, list)) and data:
        yield data
        for item in data.values() if isinstance(data, dict) else data:
            yield from _holders(item)


def _span(rng: Random, text: str, longest: int) -> tuple[str, str, str]:
    """Return *text* in three parts, of which the second has at most *longest* characters."""
    start = rng.randrange(len(text) + 1)
    end = start + rng.randrange(longest + 1)
    return text[:start], text[start:end], text[end:]


def _poke(rng: Random, text: str) -> str:
    """Put a character into a text, or in place of some."""
    before, _, after = _span(rng, text, 2)
    return before + rng.choice(ALPHABET) + after


def _drop(rng: Random, text: str) -> str:
    before, _, after = _span(rng, text, 3)
    return before + after


def _put_piece(rng: Random, text: str) -> str:
    before, _, after = _span(rng, text, 3)
    return before + rng.choice(PIECES) + after


def _repeat(rng: Random, text: str) -> str:
    before, part, after = _span(rng, text, 9)
    return before + part * rng.choice([2, 2, 3, 100]) + after


def _change_tokens(rng: Random, text: str) -> str:
    """Swap, repeat or drop words, marks and spaces."""
    return "".join(_change_items(rng, re.findall(r"\w+|\s+|.", text)))


def _change_lines(rng: Random, text: str) -> str:
    """Swap, repeat or drop lines: what repeats a key, and leaves what is below one to another."""
    return "".join(_change_items(rng, re.split(r"(?<=[\n\r])(?!\n)", text)))


def _change_items(rng: Random, items: list[str]) -> list[str]:
    if not items:
        return []
    one, other = (rng.randrange(len(items)) for _ in "12")
    change = rng.choice(("swap", "repeat", "move", "drop"))
    if change == "swap":
        items[one], items[other] = items[other], items[one]
    elif change == "repeat":
        items.insert(one, items[one])
    elif change == "move":
        items.insert(other, items.pop(one))
    else:
        del items[one]
    return items


def _indent(rng: Random, text: str) -> str:
    """Move a line by a space or a tab."""
    lines = re.split(r"(?<=[\n\r])(?!\n)", text)
    number = rng.randrange(len(lines))
    lines[number] = rng.choice(
        [lines[number].removeprefix(" "), " " + lines[number], "\t" + lines[number]]
    )
    return "".join(lines)


def _cut(rng: Random, text: str) -> str:
    """Leave the beginning, the end, or both without the middle."""
    start, end = sorted(rng.randrange(len(text) + 1) for _ in "12")
    return rng.choice([text[:end], text[start:], text[:start] + text[end:]])


def _splice(rng: Random, text: str) -> str:
    """Let another document, of any format, follow in the middle."""
    other = _spelled(rng, _options(rng), rng.choice(_FORMATS))
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other)) :]


_MUTATIONS: tuple[Callable[[Random, str], str], ...] = (
    *(_poke, _poke, _drop, _put_piece, _put_piece, _repeat, _change_tokens, _change_tokens),
    *(_change_lines, _change_lines, _indent, _cut, _splice),
)


def _poke_bytes(rng: Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return (
        content[:at]
        + rng.choice([b"\0", b"\x80", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90"])
        + content[at:]
    )


def _cut_bytes(rng: Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _recode(rng: Random, content: bytes) -> bytes:
    """Return the text as another encoding has it."""
    text = content.decode("utf-8", "ignore")
    return text.encode(
        rng.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-8-sig"]), "replace"
    )


_OF_BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _poke_bytes,
    _poke_bytes,
    _cut_bytes,
    _recode,
)


# What nobody wrote.

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
    ),
    *(
        "\\",
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
    ),
    *(
        "1 ",
        "9e",
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
    ),
    *(
        "\n",
        "\r",
        "\t",
        " ",
        "\x85",
        "\u2028",
        "\ufeff",
        "a: b\n",
        "a=1\n",
        "[a]\n",
        "[[a]]\n",
        "a.a=1\n",
        "- a\n",
    ),
    *("x: &a\n", "a: |\n", "---\n", "...\n", 'a="\n', "a: \n ", "%TAG !a! b\n"),
]
"""What repeats itself in documents that are to take long, behind one of `STARTS`."""

STARTS = ("", "a: ", "- ", "[", "{", '"', 'a = "', 'a = """', "a = [", "a = {", '{"a": [')

_WORDS = [
    *(
        "type",
        "hidden_dim",
        "num_heads",
        "mixed",
        "transolver",
        "a",
        "b",
        "1",
        "0.5",
        "true",
        "no",
        '"text"',
        "'text'",
    ),
    *("\n", "\n", "\n  ", "\n    ", " ", " ", ","),
]
_GRAMMAR: dict[Format, list[str]] = {
    "yaml": [
        "- ",
        "- ",
        "? ",
        ": ",
        ":",
        ": ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "|",
        ">-",
        "!!str ",
        "!!int ",
        "#",
    ],
    "toml": [
        " = ",
        " = ",
        ".",
        "[",
        "]",
        "\n[",
        "]\n",
        "[[",
        "]]\n",
        "{",
        "}",
        '"""',
        "'''",
        "1979-05-27",
        "inf",
        "#",
    ],
    "json": ["[", "]", "{", "}", ":", ": ", '"a":', '"type": ', '"\\u00e9"', "null", "NaN", "1e5"],
}


def _noise(rng: Random, format: Format) -> bytes:
    """Return what never was a config."""
    if rng.random() < 0.01:
        return rng.choice(["#", " ", "a", "é"]).encode() * (2**20 + 1)
    if rng.random() < 0.05:
        return rng.randbytes(_size(rng, 100))
    text = rng.choice((_babble, _repetition, _hazard, _hazard))(rng, format)[:_LARGEST]
    if rng.random() < 0.2:
        text = rng.choice(_MUTATIONS)(rng, text)
    return text.encode("utf-8", "surrogatepass")


def _size(rng: Random, largest: int) -> int:
    """Return a number from 1 to *largest*, mostly a small one."""
    return int(largest ** rng.random())


def _babble(rng: Random, format: Format) -> str:
    """Return words and marks of a grammar, and now and then what belongs to none."""
    tokens = rng.choices(
        _GRAMMAR[format] * 3 + _WORDS * 2 + rng.choices(ALPHABET + PIECES + UNITS, k=3),
        k=_size(rng, 2000),
    )
    return ('{"a": ' if format == "json" and rng.random() < 0.5 else "") + "".join(tokens)


def _repetition(rng: Random, _: Format) -> str:
    return rng.choice(STARTS) + rng.choice(UNITS) * _size(rng, _LARGEST)


def _hazard(rng: Random, format: Format) -> str:
    """Return what is sound in small and refused in large, or has no meaning for a config."""
    return rng.choice(_HAZARDS[format])(max(_size(rng, 3000), _size(rng, 3000)))


_HAZARDS: dict[Format, tuple[Callable[[int], str], ...]] = {
    "yaml": (
        lambda n: "[" * n + "]" * n,
        lambda n: "- " * n + "a",
        lambda n: "{a: " * n + "}" * n,
        lambda n: "".join(" " * i + "a:\n" for i in range(min(n, 200))),
        lambda n: "a: &a {b: 1}\nc:\n" + "- *a\n" * n,
        lambda n: "a: &a {b: [1, 2, 3]}\nc: [" + "*a," * n + "]",
        lambda n: "a: &a0 [x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(n)),
        lambda n: "a: &a [*a]\n" * n,
        lambda n: "a: &a {b: 1}\n" + "".join(f"b{i}:\n  <<: *a\n" for i in range(n)),
        lambda n: "type: mixed\n" * n,
        lambda n: "[" + "{a: 1, a: 2}," * n + "]",
        lambda n: "---\na: 1\n" * n,
        lambda n: "a: 1\n" * (n % 2) + "...\n" * n,
        lambda n: "a: " + "9" * 2 * n,
        lambda n: "a: -0x" + "f" * 2 * n,
        lambda n: f"a: 1e{n}\nb: 0o{n}\nc: 1_{n}\n{n}: no\n",
        lambda n: "%TAG !a! b\n" * n + "--- a",
        lambda n: "a: !!python/object/apply:os.system [x]\n" * n,
        lambda n: "- !!binary aGk=\n- !<tag:a.b,2000:c> x\n- !!int x\n- !!seq {}\n- ! x\n" * n,
        lambda n: (
            "type: transolver\nhidden_dim: 8\n" + "".join(f"num_slice{i}: {i}\n" for i in range(n))
        ),
        lambda n: "blocks:\n" + "- {type: transolvr, hidden_dim: 7}\n" * n,
        lambda n: "blocks: [" + "1," * n + "]",
        lambda n: "attention: &a {type: noether-attention:flar}\nblocks: [" + "*a," * n + "]",
        lambda n: (
            "blocks: [&a {type: flare, "
            + "".join(f"num_slice{i}: 1," for i in range(30))
            + "},"
            + "*a," * n
            + "]"
        ),
        lambda n: '- "\\ud800"\n' * n,
        lambda n: "? [a]\n: b\n? {a: 1}\n: c\n" + f"{n}: d\nnull: e\n",
        lambda n: "- |\n  a\n\n" * n + "- >2-\n  b\n  c\n",
        lambda n: "a" * n + ": b",
        lambda n: "a: b\n" + "#" * n,
    ),
    "toml": (
        lambda n: "a = " + "[" * n + "]" * n,
        lambda n: "a = " + "{b = " * n + "1" + "}" * n,
        lambda n: "a." * n + "a = 1\n",
        lambda n: "[" + "a." * n + "a]\n",
        lambda n: "[a]\n" * n,
        lambda n: "[[a]]\nb = 1\n" * n,
        lambda n: "".join(f"[a{i}.b.c]\nd.e = {i}\n" for i in range(n)),
        lambda n: "[[a]]\n[a.b]\n[[a.b.c]]\n" * n,
        lambda n: "a = 1\n" * n,
        lambda n: "a.b = 1\na.b.c = 2\n" * n,
        lambda n: "a = {b = 1, b = 2}\n" * n,
        lambda n: "a = [" + "{b = 1}," * n + "]\n[[a]]\n",
        lambda n: "a = " + "9" * 2 * n,
        lambda n: "a = 0x" + "f" * 2 * n,
        lambda n: f"a = 1e{n}\nb = 0o7\nc = 1_0\n{n} = nan\n",
        lambda n: "".join(f"a{i} = 1979-05-27T07:32:00Z\nb{i} = 07:32:00\n" for i in range(n)),
        lambda n: 'a = """' + '""\\n' * n,
        lambda n: "a = [" + "1, # one\n" * n + "]",
        lambda n: (
            'type = "transolver"\nhidden_dim = 8\n'
            + "".join(f"num_slice{i} = {i}\n" for i in range(n))
        ),
        lambda n: '[[blocks]]\ntype = "transolvr"\nhidden_dim = 7\n' * n,
        lambda n: "[[blocks]]\n" * n,
        lambda n: "blocks = [" + "1," * n + "]",
        lambda n: f'a = "\\ud800"\nb = {n}\n',
        lambda n: f"a = 1\n{'#' * n}\r\r\n",
    ),
    "json": (
        lambda n: "[" * n + "]" * n,
        lambda n: '{"a":' * n + "1" + "}" * n,
        lambda n: "{" + '"a": 1,' * n + '"b": 2}',
        lambda n: "[" + '{"a": 1, "a": 2},' * n + "1]",
        lambda n: "[" + "NaN,-Infinity,1e999," * n + "1]",
        lambda n: '{"a": ' + "9" * 2 * n + "}",
        lambda n: '{"a": 1}\n' * n,
        lambda n: "[" + "1," * n + "]",
        lambda n: "[" + '"\\ud800",' * n + "1]",
        lambda n: '{"\\ud800": 1, "": {"' + "a" * n + '": 1}}',
        lambda n: '{"' + "a" * n + '": [' + "1," * n + "1]}",
        lambda n: '{"a": "' + "\\n" * n + '"}',
        lambda n: '{"a": "' + "\n" * n + '"}',
        lambda n: "// a\n" * n + "{}",
        lambda n: (
            '{"type": "transolver", "hidden_dim": 8'
            + "".join(f', "num_slice{i}": {i}' for i in range(n))
            + "}"
        ),
        lambda n: '{"blocks": [' + '{"type": "transolvr", "hidden_dim": 7},' * n + "{}]}",
        lambda n: '{"blocks": [' + "{}," * n + "1]}",
        lambda n: " " * n + "{}" + " " * n,
    ),
}
