"""What a check is, how it ends, and which variants it applies to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from noether_core.hookspecs import Capability

if TYPE_CHECKING:
    from noether_core.testing.subject import Subject


class CheckFailed(AssertionError):  # noqa: N818  it speaks of the variant: no error of the kit
    """The variant breaks the contract of a check."""


class NotApplicable(Exception):  # noqa: N818  likewise
    """The check says nothing about this variant, for the reason given."""


@attrs.frozen(kw_only=True, eq=False)
class Check:
    """A check, called with what is under test."""

    name: str
    """What reports and command lines call it."""

    contract: str
    """What a variant must do, in one sentence."""

    function: Callable[[Subject], str | None]

    capabilities: tuple[Capability, ...]
    """Where there are any: the check applies to records that promise one of them."""

    needs_module: bool
    """Whether the check means nothing where no module of the example can be made."""

    def __call__(self, subject: Subject) -> str | None:
        """Return what was measured, if that is of interest.

        Raises:
            CheckFailed: If the variant breaks the contract.
            NotApplicable: If its record promises nothing of the kind, or there is no module.
        """
        if not self.is_implied_by(subject):
            raise NotApplicable(f"the record does not promise {' or '.join(self.capabilities)}")
        try:
            return self.function(subject)
        except Exception as error:
            # Without this, one wrong path in a record would be a failure of every check.
            if self.needs_module and not subject.is_buildable():
                reason = "no module of the example can be made; the check 'construction' says why"
                raise NotApplicable(reason) from error
            raise

    def is_implied_by(self, subject: Subject) -> bool:
        """Return whether the record of *subject* promises what is checked."""
        return not self.capabilities or any(map(subject.honours, self.capabilities))


def check(
    *capabilities: Capability, needs_module: bool = True
) -> Callable[[Callable[[Subject], str | None]], Check]:
    """Make a check of a function named ``check_rope``; its docstring begins with the contract.

    Args:
        *capabilities: The check applies to records that promise any of them; to all without any.
        needs_module: Whether it means nothing where no module can be made.
    """

    def make(function: Callable[[Subject], str | None]) -> Check:
        documentation = inspect.getdoc(function) or ""
        return Check(
            name=function.__name__.removeprefix("check_"),
            contract=documentation.partition("\n")[0],
            function=function,
            capabilities=capabilities,
            needs_module=needs_module,
        )

    return make
