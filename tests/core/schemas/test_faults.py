"""Classes that cannot serve as configs say why."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import pytest
from annotated_types import Ge

from noether_core.errors import ConfigError, Problem
from noether_core.schemas import AttentionConfig, Schema, TokenSpec, invariant
from noether_core.schemas.faults import faults_of


@attrs.frozen(kw_only=True)
class Sound(AttentionConfig):
    type: Literal["sound"] = "sound"


class Undecorated(AttentionConfig):
    type: Literal["sound"] = "sound"


@dataclasses.dataclass(kw_only=True)
class Dataclass(AttentionConfig):
    type: Literal["sound"] = "sound"


@attrs.define(kw_only=True)
class Thawed(AttentionConfig):
    type: Literal["sound"] = "sound"


Thawed.__setattr__ = (
    object.__setattr__
)  # attrs itself refuses every way to thaw a subclass of a frozen class


@attrs.frozen(kw_only=True, slots=False)
class Unslotted(AttentionConfig):
    type: Literal["sound"] = "sound"


@attrs.frozen
class Positional(AttentionConfig):
    type: Literal["sound"] = "sound"
    window: int = 3


@attrs.frozen(kw_only=True)
class Mutable(AttentionConfig):
    type: Literal["sound"] = "sound"
    sizes: list[int] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Unresolvable(AttentionConfig):
    type: Literal["sound"] = "sound"
    window: Missing = 3  # noqa: F821  that is the fault


@attrs.frozen(kw_only=True)
class Unannotated(AttentionConfig):
    window = attrs.field(default=3)


@attrs.frozen(kw_only=True)
class Derived(AttentionConfig):
    window: int = attrs.field()

    @window.default
    def _as_wide_as_a_token(self) -> int:
        return self.hidden_dim


@attrs.frozen(kw_only=True)
class Validated(AttentionConfig):
    window: int = attrs.field(default=3, validator=attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class Confused(AttentionConfig):
    @invariant
    @staticmethod
    def slices_fit(num_slices: int) -> Problem | None:
        return None


@attrs.frozen(kw_only=True)
class Overbounded(AttentionConfig):
    mode: Annotated[Literal[1, 2], Ge(2)] = 2


@attrs.frozen(kw_only=True)
class Unchecked(AttentionConfig):
    def __attrs_post_init__(self) -> None:
        pass


@attrs.frozen(kw_only=True)
class Masking(AttentionConfig):
    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "dropout", 0.5)
        super().__attrs_post_init__()


@attrs.frozen(kw_only=True)
class Hasty(AttentionConfig):
    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "dropout", self.dropout / 2)
        super().__attrs_post_init__()


@attrs.frozen(kw_only=True)
class Swallowing(AttentionConfig):
    def __attrs_post_init__(self) -> None:
        with contextlib.suppress(ConfigError):
            super().__attrs_post_init__()


@attrs.frozen(kw_only=True)
class Converted(AttentionConfig):
    window: int = attrs.field(default=3, converter=int)


@attrs.frozen(kw_only=True)
class Uncompared(AttentionConfig):
    note: str = attrs.field(default="", eq=False)


@attrs.frozen(kw_only=True)
class Keyed(AttentionConfig):
    note: str = attrs.field(default="", eq=str.lower)


@attrs.frozen(kw_only=True, eq=False)
class Incomparable(AttentionConfig):
    window: int = 3


@attrs.frozen(kw_only=True)
class SelfComparing(AttentionConfig):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


@attrs.frozen(kw_only=True)
class Extra(AttentionConfig):
    extra: int = 3


@attrs.frozen(kw_only=True)
class Fingerprint(AttentionConfig):
    fingerprint: str = ""


@attrs.frozen(kw_only=True)
class Alias(AttentionConfig):
    print_of: str = attrs.field(default="", alias="fingerprint")


@attrs.frozen(kw_only=True)
class Declaring(AttentionConfig):
    heads_divide_width: str = ""


class Shape(enum.Enum):
    BALL = (1, 2)


class Whole(enum.Enum):
    PI = math.nan


class Sides(enum.Flag):
    LEFT = 1
    RIGHT = 2


class Number(enum.IntEnum):
    ONE = 1


class Nothing(enum.Enum):
    pass


def of_choice(annotation: Any) -> type[AttentionConfig]:
    return attrs.make_class(
        "Choosing",
        {"choice": attrs.field(default=None, type=annotation | None)},
        bases=(AttentionConfig,),
        frozen=True,
        kw_only=True,
        slots=True,
    )


def holding(inner: Any) -> type[AttentionConfig]:
    return of_choice(tuple[inner, ...])


FIRST = "begin __attrs_post_init__ with super().__attrs_post_init__()"

FAULTS = [
    (
        Unchecked,
        "Unchecked does not check bias, dropout, extra, head_dim, hidden_dim, init_weights",
    ),
    (Masking, f"Masking does not check dropout; {FIRST}"),
    (Hasty, f"Hasty raises TypeError before its options are checked; {FIRST}"),
    (Swallowing, "Swallowing does not check bias, dropout"),
    (Converted, "field 'window' of Converted: it has a converter of attrs"),
    (Uncompared, "field 'note' of Uncompared is left out of comparisons"),
    (Keyed, "field 'note' of Keyed is left out of comparisons, or compared by a key"),
    (Incomparable, "Incomparable compares or hashes in its own way"),
    (SelfComparing, "SelfComparing compares or hashes in its own way"),
    (Extra, "field 'extra' of Extra: every AttentionConfig has a member 'extra'"),
    (Fingerprint, "every AttentionConfig has a member 'fingerprint'; give it another name"),
    (Alias, "field 'fingerprint' of Alias: every AttentionConfig has a member 'fingerprint'"),
    (Declaring, "every AttentionConfig has a member 'heads_divide_width'"),
    (of_choice(Shape), "field 'choice' of Choosing: no document can hold (1, 2)"),
    (of_choice(Whole), "no document can hold nan"),
    (of_choice(Literal[b"x"]), "no document can hold b'x'"),
    (of_choice(Literal[Number.ONE]), "no document can hold <Number.ONE: 1>"),
    (of_choice(Literal["\ud800"]), "no document can hold"),
    (of_choice(Sides), "combine to values that are none of its own"),
    (of_choice(Nothing), "has no members"),
    (holding(Unchecked), "Unchecked does not check bias"),
    (holding(Uncompared), "field 'note' of Uncompared is left out of comparisons"),
    (holding(Undecorated), "Undecorated is not decorated"),
    (of_choice(Mapping[str, Undecorated | TokenSpec]), "Undecorated is not decorated"),
    (Undecorated, "Undecorated is not decorated; put @attrs.frozen(kw_only=True) above it"),
    (Dataclass, "Dataclass is not decorated; put @attrs.frozen(kw_only=True) above it"),
    (Thawed, "Thawed is not frozen; decorate it with @attrs.frozen(kw_only=True)"),
    (Unslotted, "Unslotted is not slotted; drop slots=False"),
    (Positional, "Positional is not keyword-only in type, window; say kw_only=True"),
    (Mutable, "field 'sizes' of Mutable: no rule for the annotation list[int]; use bool"),
    (
        Unresolvable,
        (
            "an annotation of Unresolvable cannot be resolved at run time: name 'Missing' is "
            "not defined"
        ),
    ),
    (Unannotated, "field 'window' of Unannotated: it has no annotation"),
    (
        Derived,
        (
            "field 'window' of Derived: its default is made from other fields; use None for "
            "one that follows"
        ),
    ),
    (Validated, "field 'window' of Validated: it has a validator of attrs"),
    (Confused, "the invariant Confused.slices_fit reads num_slices, which is no option"),
    (Overbounded, "field 'mode' of Overbounded: typing.Literal[1, 2] takes no bounds"),
    (int, "<class 'int'> is no subclass of Schema"),
    (Sound(hidden_dim=4, num_heads=2), "is no subclass of Schema"),
    (None, "None is no subclass of Schema"),
    ("Sound", "'Sound' is no subclass of Schema"),
]


@attrs.frozen(kw_only=True)
class Unasked(AttentionConfig):
    type: Literal["sound"] = "sound"
    size: int = attrs.field(default=1, init=False)


FAULTS.append((Unasked, "'size' of Unasked is written and cannot be given; drop init=False"))


@pytest.mark.parametrize(("cls", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_class_that_cannot_serve_says_why(cls, fault):
    (only,) = faults_of(cls)
    assert fault in only


@pytest.mark.parametrize(
    "cls",
    [
        Schema,
        AttentionConfig,
        Sound,
        of_choice(Number),
        holding(TokenSpec),
        of_choice(Literal[1] | None),
    ],
)
def test_a_class_that_can_serve_has_no_fault(cls):
    assert list(faults_of(cls)) == []


def test_every_fault_of_a_class_is_reported():
    @attrs.define(slots=False)
    class Worst(AttentionConfig):
        type: Literal["worst"] = "worst"
        sizes: list[int] = attrs.field(factory=list)

    Worst.__setattr__ = object.__setattr__
    assert [fault.partition(" is not ")[2].partition(" ")[0] for fault in faults_of(Worst)] == [
        "frozen;",
        "slotted;",
        "keyword-only",
        "",
    ]
