"""Running checks: from a script, on the command line, one by one."""

from __future__ import annotations

import json
import subprocess
import sys

import attrs
import pytest
import torch

import noether_core.testing
from noether_core import Registry, UnknownTypeError
from noether_core.testing import (
    CHECKS,
    CheckFailed,
    NotApplicable,
    Report,
    Subject,
    check_forward_mode,
    check_help,
    check_rope,
    check_second_derivatives,
    check_variant,
)
from noether_core.testing.__main__ import main
from noether_core.testing.contract import implied_by, name_of, sentence_of
from noether_core.testing.promises import promise
from noether_core.testing.running import report_of, run_check
from tests.core.testing.kit_configs import SOUND, with_module
from tests.core.testing.kit_mutants import MUTANTS


@pytest.mark.parametrize("name", noether_core.testing.__all__)
def test_every_public_name_is_there_and_listed(name):
    assert getattr(noether_core.testing, name)


def test_the_public_names_are_sorted_and_name_every_check():
    assert noether_core.testing.__all__ == sorted(set(noether_core.testing.__all__))
    assert set(noether_core.testing.__all__) >= {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_the_contract_of_a_check_is_one_sentence(check):
    assert sentence_of(check).endswith(".")
    assert name_of(check)[0].islower()


def test_a_check_returns_raises_or_says_why_it_does_not_apply():
    assert check_help(Subject.of(SOUND)) is None
    with pytest.raises(CheckFailed, match="no help under shift; write a string below each field"):
        check_help(Subject.of(MUTANTS["help"]))
    with pytest.raises(NotApplicable, match="the record does not declare rope"):
        check_rope(Subject.of("transolver"))


def test_derivatives_that_are_there_are_told_from_those_that_are_refused():
    exact = Subject.of(with_module("Exact", memory_exponent=2))
    assert (check_second_derivatives(exact), check_forward_mode(exact)) == ("right", "right")
    assert check_forward_mode(Subject.of(SOUND)).startswith(
        "refused by NotImplementedError: Trying to use forward AD"
    )


def test_a_report_says_who_made_it_and_on_what():
    report = check_variant("transolver", only=["help", "rope"])
    assert isinstance(report, Report)
    assert (report.type, report.distribution) == ("transolver", "noether-attention")
    assert report.torch == str(torch.__version__)
    assert [outcome.status for outcome in report.outcomes] == ["passed", "not applicable"]
    assert all(outcome.contract and outcome.seconds >= 0 for outcome in report.outcomes)


def test_all_failures_are_told_and_not_the_first():
    both = attrs.evolve(MUTANTS["help"], time_exponent=1)
    assert [
        bad.check for bad in check_variant(both, only=["help", "result", "time_exponent"]).failures
    ] == [
        "help",
        "time_exponent",
    ]


def test_a_report_of_some_checks_is_incomplete():
    report = check_variant(SOUND, only=["help"])
    assert not report.is_passed
    assert set(report.missing) == {name_of(check) for check in implied_by(SOUND)} - {"help"}


def test_a_check_that_is_promised_and_does_not_apply_fails():
    @promise("rope")
    def check_turns(subject):
        """It turns."""
        raise NotApplicable("no reason")

    outcome = run_check(check_turns, Subject.of(SOUND))
    assert outcome.status == "failed"
    assert (
        outcome.message
        == "the record asks for this check, which says that it does not apply: no reason"
    )


def test_whatever_a_variant_raises_is_an_error_with_its_place():
    def check_nothing(subject):
        """It does nothing."""
        raise KeyError("x")

    outcome = run_check(check_nothing, Subject.of(SOUND))
    assert (outcome.check, outcome.contract, outcome.status) == (
        "nothing",
        "It does nothing.",
        "error",
    )
    assert outcome.message.startswith("KeyError: 'x'\nin ")
    assert "test_running.py" in outcome.message
    assert not report_of(Subject.of(SOUND), [outcome]).is_passed


def test_a_variant_whose_module_cannot_be_imported_gives_a_report():
    lost = attrs.evolve(SOUND, module="tests.core.testing.kit_modules:Nobody")
    report = check_variant(lost, only=["help", "result", "rope"])
    assert [outcome.status for outcome in report.outcomes] == ["passed", "error", "error"]
    assert "tests.core.testing.kit_modules:Nobody cannot be imported" in report.outcomes[1].message


def test_a_type_is_looked_up_where_it_is_asked_for():
    registry = Registry()
    registry.register(SOUND)
    assert check_variant("sound", registry=registry, only=["help"]).distribution == "in-process"
    with pytest.raises(UnknownTypeError):
        check_variant("sound", only=["help"])
    with pytest.raises(
        ValueError, match="there is no check 'hlp'; the checks are config_round_trip"
    ):
        check_variant(SOUND, only=["hlp"])


def test_checks_leave_torch_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    check_variant(
        SOUND,
        only=[name_of(check) for check in CHECKS if name_of(check) not in {"compile", "export"}],
    )
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.get_default_dtype())


def test_options_of_a_subject_go_before_those_of_the_example():
    subject = Subject.of(SOUND, options={"hidden_dim": 15, "num_heads": 3})
    assert subject.config().head_dim == 5
    assert subject.arguments()["x"].shape == (subject.sizes.batch, subject.sizes.tokens, 15)
    assert not {3, 5, 15} & set(subject.sizes)


def test_the_command_prints_and_saves_reports(tmp_path, capsys):
    file = tmp_path / "report.json"
    assert main(["transolver", "flare", "--only", "help", "--json", str(file)]) == 1  # incomplete
    printed = capsys.readouterr().out
    assert "transolver of noether-attention 0.1.0: incomplete: 1 passed" in printed
    assert [told["type"] for told in json.loads(file.read_text())["reports"]] == [
        "transolver",
        "flare",
    ]


def test_the_command_ends_with_zero_where_all_passed(monkeypatch, capsys):
    monkeypatch.setattr("noether_core.testing.running.implied_by", lambda variant: (check_help,))
    assert main(["transolver", "--only", "help"]) == 0
    assert "passed: 1 passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nobody"], "'nobody' is not installed"), (["flare", "--only", "hlp"], "no check 'hlp'")],
)
def test_wrong_usage_of_the_command_ends_with_two(arguments, told, capsys):
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told(capsys):
    assert main(["flare", "--only", "help", "--json", "nowhere/report.json"]) == 2
    assert "nowhere/report.json" in capsys.readouterr().err


def test_the_command_is_a_module():
    command = [sys.executable, "-m", "noether_core.testing", "nobody"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "noether_core.testing: type: 'nobody' is not installed" in done.stderr
