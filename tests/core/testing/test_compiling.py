"""Faults of a backend of torch are told from faults of a variant."""

from __future__ import annotations

import pytest

from noether_core.testing import CheckFailed, Subject, check_variant
from noether_core.testing.checks import compiling
from tests.core.testing.strange_variants import KERNEL


def test_a_backend_that_fails_where_another_is_right_is_named_and_not_the_variant():
    compiled, other = check_variant(KERNEL, only=["compile", "gradients_are_right"]).outcomes[::-1]
    assert (compiled.status, other.status) == ("passed", "passed"), compiled.message
    wanted = "aot_eager_decomp_partition is right where aot_eager is not: torch.compile with"
    assert compiled.message.startswith(wanted)
    assert "view size is not compatible" in compiled.message


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (("it is wrong", "it is wrong"), "kernel: it is wrong"),
        (
            ("it fails", "it is wrong"),
            (
                "kernel: with the backend aot_eager it fails\n"
                "with the backend aot_eager_decomp_partition it is wrong"
            ),
        ),
    ],
)
def test_where_both_backends_find_something_the_message_says_what_each_found(
    found, message, monkeypatch
):
    problems = iter(found)
    subject = Subject.of(KERNEL)

    def fail(*_, **settings):
        raise subject.failure(next(problems))

    monkeypatch.setattr(compiling, "_check_compiled", fail)
    with pytest.raises(CheckFailed) as failure:
        compiling.check_compile(subject)
    assert str(failure.value) == message
