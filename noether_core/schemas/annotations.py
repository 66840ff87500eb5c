"""Which kind of values an annotation stands for; all that read annotations decide by this."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin


def without_metadata(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what stands in ``Annotated``, and the metadata beside it."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    bare, *metadata = get_args(annotation)
    return bare, tuple(metadata)


def is_union(annotation: Any) -> bool:
    """Return whether *annotation* is ``A | B`` or ``Union[A, B]``, which Python tells apart."""
    return get_origin(annotation) in (Union, types.UnionType)


def is_list(annotation: Any) -> bool:
    """Return whether *annotation* is ``tuple[A, ...]`` or ``Sequence[A]``."""
    if get_origin(annotation) is tuple:
        return get_args(annotation)[-1:] == (Ellipsis,)
    return get_origin(annotation) is Sequence and bool(get_args(annotation))


def is_fixed_tuple(annotation: Any) -> bool:
    """Return whether *annotation* is ``tuple[A, B]``."""
    has_items = get_origin(annotation) is tuple and bool(get_args(annotation))
    return has_items and not is_list(annotation)


def is_mapping(annotation: Any) -> bool:
    """Return whether *annotation* is ``Mapping[A, B]``."""
    return get_origin(annotation) is Mapping and bool(get_args(annotation))


def is_enum(annotation: Any) -> bool:
    """Return whether *annotation* is a class of enumerated values."""
    return isinstance(annotation, type) and issubclass(annotation, enum.Enum)


def is_schema(annotation: Any) -> bool:
    """Return whether *annotation* is a class of configs."""
    # not by its base: the module that defines it imports this one
    return isinstance(annotation, type) and hasattr(annotation, "rule_of")


def holds_schema(annotation: Any) -> bool:
    """Return whether values of *annotation* are or hold configs."""
    return is_schema(annotation) or any(holds_schema(argument) for argument in get_args(annotation))


def chooses_config(annotation: Any) -> bool:
    """Return whether values of *annotation* are or hold one of several configs."""
    arguments = get_args(annotation)
    if is_union(annotation) and sum(map(holds_schema, arguments)) > 1:
        return True
    return any(map(chooses_config, arguments))
