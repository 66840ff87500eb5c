"""The help of each field: the string literal under it in the source."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import weakref
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from noether_core.schemas.schema import Schema, plan_of

_LITERAL = "``(.+?)``"
_ROLE = "(?::[a-z:]+:)?`~?([^`]+)`"
_EMPHASIS = r"(?<![*\w])\*{1,2}(\w[^*]*?)\*{1,2}(?![*\w])"

_texts: weakref.WeakKeyDictionary[type, Mapping[str, str]] = weakref.WeakKeyDictionary()


def help_of(cls: type[Schema]) -> Mapping[str, str]:
    """Return the help of every option of *cls*, those of its bases included.

    An option whose class has no source at hand (one typed at a plain prompt) has no help.
    """
    texts = _texts.get(cls)
    if texts is None:
        texts = _texts[cls] = MappingProxyType(_read_texts(cls))
    return texts


def plain_text(help: str) -> str:
    """Return *help* without the marks of reStructuredText around names and words."""
    text = help
    for mark in (_LITERAL, _ROLE, _EMPHASIS):
        text = re.sub(mark, r"\1", text)
    return text


def _read_texts(cls: type[Schema]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):  # so that help of a subclass replaces that of its base
        if issubclass(base, Schema):
            texts.update(_texts_under_fields(base))
    return {field.option: texts[field.name] for field in plan_of(cls).fields if field.name in texts}


def _texts_under_fields(cls: type[Schema]) -> Iterator[tuple[str, str]]:
    import textwrap  # few commands show help: it is no part of every start

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return
    (definition,) = tree.body
    body = getattr(definition, "body", [])
    for statement, follower in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = _text_of(follower)
            if text is not None:
                yield statement.target.id, text


def _text_of(statement: ast.stmt) -> str | None:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return None
    value = statement.value.value
    return inspect.cleandoc(value) if isinstance(value, str) else None
