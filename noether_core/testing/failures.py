"""How a check ends that does not just return."""

from __future__ import annotations


class CheckFailed(AssertionError):  # noqa: N818  it tells of the variant, and is no error of the kit
    """The variant breaks the contract of a check."""


class NotApplicable(Exception):  # noqa: N818  likewise
    """The check says nothing about this variant, for the reason given."""
