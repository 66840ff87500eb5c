"""Everything that Noether raises on purpose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

import attrs

from noether_core.quoting import is_visible, masked, visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_VALUE = 60
_LONGEST_SOURCE = 160
_LONGEST_LINE = 4096
_LONGEST_KEY = 60
_MOST_BITS = 10_000

MOST_PROBLEMS: Final = 500
"""Problems that one error holds. Checks stop near this number: each takes time and lines."""


def shown(value: object) -> str:
    """Return *value* as a message quotes it: its repr, cut where it is long."""
    try:
        text = visible(repr(value))
    except Exception:  # noqa: BLE001  an int of 10,000 digits has none, and must not hide its problem
        return f"a value of type {type(value).__name__}"
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[: _LONGEST_VALUE - 4]}...{text[-1]}"


def _is_json(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _MOST_BITS  # Python writes no number that is much longer
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def path_text(keys: Iterable[str | int]) -> str:
    """Return *keys* as a reader writes them: ``model.blocks[0].num_heads``.

    Those that are hard to read are quoted in brackets.
    """
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif isinstance(key, str) and not _is_readable(key):
            text += f"[{shown(key)}]"
        else:
            text += f".{key}" if text else str(key)
    return text


def quoted_if_long(text: str) -> str:
    """Return *text* as it was written, or quoted where it is empty, long or not printable."""
    return text if _is_readable(text) else shown(text)


def _is_readable(key: str) -> bool:
    return 0 < len(key) <= _LONGEST_KEY and is_visible(key) and key.strip() == key


@attrs.frozen(kw_only=True)
class Problem:
    """One thing that is wrong with a config, and where."""

    message: str
    """What was expected and what was found."""

    keys: tuple[str | int, ...] = ()
    """Keys and list positions that lead from the top of the config to the value."""

    value: Any = None
    """What was found; None where nothing was."""

    suggestion: str | None = None
    """A way out, where one is truly known."""

    at_key: bool = False
    """The key is at fault, not its value: an unknown or a repeated option."""

    file: str | None = None
    """The document, as its reader named it."""

    line: int | None = None
    """Line in the document, from 1."""

    column: int | None = None
    """Column in the line, from 1, in characters."""

    source: str | None = None
    """The line itself."""

    @property
    def path(self) -> str:
        """Where the value is in the config: ``model.blocks[0].num_heads``; empty for all of it."""
        return path_text(self.keys)

    @property
    def location(self) -> str:
        """Where the value is in its document: ``attention.yaml:4:12``, as far as it is known."""
        known = [part for part in (self.file, self.line, self.column) if part is not None]
        return ":".join(map(str, known))

    def within(self, *keys: str | int) -> Problem:
        """Return the problem as that of a surrounding config, which has this one under *keys*."""
        return attrs.evolve(self, keys=(*keys, *self.keys))

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts as plain data, ready for JSON."""
        return {
            "path": self.path,
            "message": self.message,
            "value": self.value if _is_json(self.value) else None,
            "suggestion": self.suggestion,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "source": self.source if len(self.source or "") <= _LONGEST_LINE else None,
        }

    @property
    def headline(self) -> str:
        """The problem in one line: location, path, message and the way out."""
        head = ": ".join(filter(None, (self.location, self.path, self.message)))
        return visible(f"{head}; {self.suggestion}" if self.suggestion else head)

    def __str__(self) -> str:
        return self.headline + self._excerpt()

    def _excerpt(self) -> str:
        """Return the line of the document, and a caret under the value."""
        if self.source is None or self.line is None:
            return ""
        start = 0
        if len(self.source) > _LONGEST_SOURCE:  # the middle of it is the value
            start = max(0, (self.column or 1) - _LONGEST_SOURCE // 2)
        source = masked(self.source[start : start + _LONGEST_SOURCE])

        number = f"{self.line:4d}"
        excerpt = f"\n{number} | {source}"
        if self.column is None:
            return excerpt
        # tabs stay tabs, so that the caret is below its character however wide they are
        before = source[: self.column - 1 - start]
        indent = "".join("\t" if char == "\t" else " " for char in before)
        return f"{excerpt}\n{' ' * len(number)} | {indent}^"


DifferenceName = Literal[
    "missing", "provider", "version", "commit", "editable", "contract", "schema"
]
"""In what the provider of a type can differ, in the order in which differences are listed."""


class Difference(NamedTuple):
    """One thing in which the provider of a type is another than it was."""

    name: DifferenceName
    """What differs."""

    type: str
    """The type whose provider it is."""

    before: str
    """What it was."""

    here: str
    """What it is here."""

    remedy: str
    """How to have the same again."""

    def message(self, verb: str) -> str:
        """Return the difference in words; *verb* says what was before: ``saved with``, say."""
        text = f"{self.name} of '{self.type}': {verb} {self.before}, here {self.here}"
        return visible(text)

    def headline(self, verb: str) -> str:
        """Return the difference in one line, with the way out."""
        return f"{self.message(verb)}; {visible(self.remedy)}"


class NoetherError(Exception):
    """The root of everything that Noether raises on purpose."""


class ConfigError(NoetherError, ValueError):
    """A config has problems; the error holds all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = _bounded(by_location(problems))
        super().__init__(self.problems)

    def with_problems(self, problems: Iterable[Problem]) -> Self:
        """Return the same error about *problems*, such as its own once their lines are known."""
        return type(self)(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def _bounded(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Return *problems*, or so many as one error holds, and where the rest of them begins."""
    if len(problems) <= MOST_PROBLEMS:
        return problems
    message = f"there are more than {MOST_PROBLEMS} problems; those from here on are left out"
    rest = attrs.evolve(problems[MOST_PROBLEMS], message=message, value=None, suggestion=None)
    return (*problems[:MOST_PROBLEMS], rest)


def by_location(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return *problems* in the order of their documents, those of one location as they were."""

    def position(problem: Problem) -> tuple[str, int, int]:
        file, line, column = problem.file, problem.line, problem.column
        return file or "", line or 0, column or 0

    return tuple(sorted(problems, key=position))


class OutdatedOptionWarning(FutureWarning):
    """Options of a config were read under other names, or left out.

    They are of another version, or of another implementation.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = by_location(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class UnknownTypeError(ConfigError, LookupError):
    """No installed package provides the type that a config names."""

    def __init__(self, type: str, installed: Sequence[str], problems: Iterable[Problem]) -> None:
        super().__init__(problems)
        self.type = type
        self.installed = tuple(installed)
        self.args = (type, self.installed, self.problems)

    def with_problems(self, problems: Iterable[Problem]) -> Self:  # noqa: D102  inherited
        return type(self)(self.type, self.installed, problems)


class AmbiguousTypeError(ConfigError, LookupError):
    """Several installed packages provide the type that a config names."""

    def __init__(self, type: str, providers: Sequence[str], problems: Iterable[Problem]) -> None:
        super().__init__(problems)
        self.type = type
        self.providers = tuple(providers)
        self.args = (type, self.providers, self.problems)

    def with_problems(self, problems: Iterable[Problem]) -> Self:  # noqa: D102  inherited
        return type(self)(self.type, self.providers, problems)


class PluginError(NoetherError, ImportError):
    """A plugin is installed and cannot be used; its cause, where there is one, is chained."""

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(plugin, reason)
        self.plugin = plugin
        self.reason = reason

    def __str__(self) -> str:
        return visible(f"{self.plugin}: {self.reason}")


class MissingExtraError(NoetherError, ImportError):
    """A package is needed that the base install leaves out, and an extra brings."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(purpose, package, extra)
        self.purpose = purpose
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        remedy = f"pip install 'noether-attention[{self.extra}]'"
        return f"{self.purpose} needs {self.package}, which is not installed; {remedy}"


class ShapeError(NoetherError, ValueError):
    """A tensor has another shape, dtype or device than the call needs."""


class TokenGroupError(NoetherError, ValueError):
    """Groups of tokens fit neither each other nor the call that names them."""


class CacheError(ShapeError):
    """Cached keys and values do not fit the call that is to read them."""


class SummaryError(ShapeError):
    """A summary does not fit the module or the call that is to read it, or the other to merge."""


class MaskError(ShapeError):
    """A structured mask is not sound, or does not fit the tokens."""


class DerivativeError(NoetherError, RuntimeError):
    """A module does not have the derivative that is wanted of it."""


class UnsupportedArgumentError(NoetherError, ValueError):
    """A variant was handed an argument that it cannot honour."""

    def __init__(self, variant: str, argument: str, reason: str) -> None:
        super().__init__(variant, argument, reason)
        self.variant = variant
        self.argument = argument
        self.reason = reason

    def __str__(self) -> str:
        text = f"cannot honour the argument '{self.argument}': {self.reason}"
        return visible(f"{self.variant}: {text}")


class UnsupportedBackendError(NoetherError, ValueError):
    """A kernel cannot compute what it is given."""

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(backend, reason)
        self.backend = backend
        self.reason = reason

    def __str__(self) -> str:
        return f"backend '{self.backend}': {self.reason}"


class UnsupportedExportError(NoetherError, RuntimeError):
    """A module computes what the format that it is exported to has no operators for."""


class StateDictError(NoetherError, RuntimeError):
    """Weights of another implementation are none of the module that is to load them."""


class UnsavableModuleError(NoetherError, TypeError):
    """A module cannot be saved: ``build`` did not make it, or it holds what no file can."""


class SavedModuleError(NoetherError, ValueError):
    """A file holds no saved module, a damaged one, or one that does not fit its type."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"{visible(self.file)}: {visible_lines(self.reason)}"


class ProvenanceError(SavedModuleError):
    """What is installed differs from what a module was saved with, and that is refused."""

    def __init__(self, file: str, differences: Iterable[Difference]) -> None:
        self.differences = tuple(differences)
        lines = [difference.headline("saved with") for difference in self.differences]
        super().__init__(file, "\n".join(lines))
        self.args = (file, self.differences)

    def __str__(self) -> str:
        return describe_differences(self.file, self.differences)


class ProvenanceWarning(UserWarning):
    """What is installed differs from what a module was saved with."""


def describe_differences(file: str, differences: Iterable[Difference]) -> str:
    """Return differences from what the module in *file* was saved with, each in a line."""
    name = visible(file)
    return "\n".join(f"{name}: {difference.headline('saved with')}" for difference in differences)
