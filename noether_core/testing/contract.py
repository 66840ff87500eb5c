"""What a check is, how it ends, and which variants it applies to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from noether_core.hookspecs import Capability

if TYPE_CHECKING:
    from noether_core.testing.obstacles import Need
    from noether_core.testing.subject import Subject


class CheckFailed(AssertionError):  # noqa: N818  it speaks of the variant: no error of the kit
    """The variant breaks the contract of a check."""


class NotApplicable(Exception):  # noqa: N818  likewise
    """The check says nothing about this variant, for the reason given."""


class Kept(NotApplicable):
    """The variant lacks what the check needs, which another check reports."""


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

    needs: Need
    """Without which the check means nothing."""

    def __call__(self, subject: Subject) -> str | None:
        """Return what was measured, if that is of interest.

        Raises:
            CheckFailed: If the variant breaks the contract.
            NotApplicable: If its record promises nothing of the kind.
            Kept: If the variant lacks what the check needs.
        """
        if not self.is_implied_by(subject):
            raise NotApplicable(f"the record does not promise {' or '.join(self.capabilities)}")
        # Without this, one wrong path in a record would be a failure of every check.
        obstacle = None if self.needs == "nothing" else subject.obstacle
        if obstacle is not None and obstacle.keeps(self.needs):
            raise Kept(obstacle.reason)
        return self.function(subject)

    def is_implied_by(self, subject: Subject) -> bool:
        """Return whether the record of *subject* promises what is checked."""
        return not self.capabilities or any(map(subject.honours, self.capabilities))


def check(
    *capabilities: Capability, needs: Need = "call"
) -> Callable[[Callable[[Subject], str | None]], Check]:
    """Make a check of a function named ``check_rope``; its docstring begins with the contract.

    Args:
        *capabilities: The check applies to records that promise any of them; to all without any.
        needs: Without which it means nothing.
    """

    def make(function: Callable[[Subject], str | None]) -> Check:
        documentation = inspect.getdoc(function) or ""
        return Check(
            name=function.__name__.removeprefix("check_"),
            contract=documentation.partition("\n")[0],
            function=function,
            capabilities=capabilities,
            needs=needs,
        )

    return make
