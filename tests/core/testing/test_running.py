"""Running checks: from a script, on the command line, one by one."""

from __future__ import annotations

import json
import subprocess
import sys

import attrs
import pytest
import torch

import noether_core.testing
from noether_core import AttentionVariant, Registry, UnknownTypeError
from noether_core.testing import (
    CHECKS,
    CheckFailed,
    NotApplicable,
    Report,
    Subject,
    check_variant,
)
from noether_core.testing.__main__ import main
from noether_core.testing.contract import check
from noether_core.testing.running import report_of, run_check
from tests.core.testing.broken_variants import BROKEN
from tests.core.testing.sample_configs import SOUND, SoundConfig, with_module


@pytest.mark.parametrize("name", noether_core.testing.__all__)
def test_every_public_name_is_there_and_listed(name):
    assert getattr(noether_core.testing, name)


def test_the_public_names_are_sorted():
    assert noether_core.testing.__all__ == sorted(set(noether_core.testing.__all__))


@pytest.mark.parametrize("name", CHECKS)
def test_the_contract_of_a_check_is_one_sentence(name):
    assert CHECKS[name].name == name
    assert name.isidentifier()
    assert name[0].islower()
    assert CHECKS[name].contract.endswith(".")


def test_a_check_returns_raises_or_says_why_it_does_not_apply():
    assert CHECKS["help"](Subject.of(SOUND)) is None
    with pytest.raises(CheckFailed, match="no help under shift; write a string below each field"):
        CHECKS["help"](Subject.of(BROKEN["help"]))
    with pytest.raises(NotApplicable, match="the record does not promise rope"):
        CHECKS["rope"](Subject.of("transolver"))


def test_derivatives_are_right_or_refused():
    exact = Subject.of(with_module("Exact", memory_exponent=2))
    assert CHECKS["second_derivatives"](exact) == CHECKS["forward_mode"](exact) == "right"
    assert CHECKS["forward_mode"](Subject.of(SOUND)).startswith(
        "refused by NotImplementedError: Trying to use forward AD"
    )


def test_exponents_that_are_not_promised_are_measured():
    silent = attrs.evolve(SOUND, time_exponent=None, memory_exponent=None)
    time, memory = check_variant(silent, only=["time_exponent", "memory_exponent"]).outcomes
    assert (time.status, memory.status) == ("passed", "passed")
    assert time.message.startswith("measured 1.9")
    assert time.message.endswith(", not promised")
    assert memory.message.endswith(", not promised")


def test_a_record_of_three_fields_is_whole():
    variant = AttentionVariant(
        config=SoundConfig, module="tests.core.testing.broken_modules:Bare", interface="self"
    )
    report = check_variant(variant, only=["construction", "signature", "capabilities", "result"])
    assert not report.failures, report
    assert Subject.of(variant).given() == dict(variant.example)


def test_a_report_says_who_made_it_and_on_what():
    report = check_variant("transolver", only=["help", "rope"])
    assert isinstance(report, Report)
    assert (report.type, report.distribution) == ("transolver", "noether-attention")
    assert report.torch == str(torch.__version__)
    assert [outcome.status for outcome in report.outcomes] == ["passed", "not applicable"]
    assert all(outcome.contract and outcome.seconds >= 0 for outcome in report.outcomes)


def test_all_failures_are_reported_and_not_the_first():
    both = attrs.evolve(BROKEN["help"], time_exponent=1)
    assert [
        bad.check for bad in check_variant(both, only=["help", "result", "time_exponent"]).failures
    ] == [
        "help",
        "time_exponent",
    ]


def test_a_report_of_some_checks_is_incomplete():
    report = check_variant(SOUND, only=["help"])
    assert not report.is_passed
    implied = {name for name, check in CHECKS.items() if check.is_implied_by(Subject.of(SOUND))}
    assert set(report.missing) == implied - {"help"}


def test_a_check_that_is_promised_and_does_not_apply_fails():
    @check("rope")
    def check_turns(subject):
        """It turns."""
        raise NotApplicable("no reason")

    outcome = run_check(check_turns, Subject.of(SOUND))
    assert outcome.status == "failed"
    assert outcome.message == "the record asks for this check, which does not apply: no reason"


def test_whatever_a_variant_raises_is_an_error_with_its_location():
    @check()
    def check_nothing(subject):
        """It does nothing."""
        raise KeyError("x")

    outcome = run_check(check_nothing, Subject.of(SOUND))
    assert (outcome.check, outcome.status) == ("nothing", "error")
    assert outcome.contract == "It does nothing."
    assert outcome.message.startswith("KeyError: 'x'\nin ")
    assert "test_running.py" in outcome.message
    assert not report_of(Subject.of(SOUND), [outcome]).is_passed


def test_a_variant_whose_module_cannot_be_imported_gives_a_report():
    lost = attrs.evolve(SOUND, module="tests.core.testing.broken_modules:Nobody")
    report = check_variant(lost, only=["help", "construction", "rope"])
    statuses = [outcome.status for outcome in report.outcomes]
    assert statuses == ["passed", "failed", "not applicable"]
    assert "broken_modules:Nobody cannot be imported" in report.outcomes[1].message


def test_a_type_is_looked_up_in_the_registry_that_is_given():
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
        only=CHECKS.keys() - {"compile", "export"},
    )
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.get_default_dtype())


def test_options_of_a_subject_go_before_those_of_the_example():
    subject = Subject.of(SOUND, options={"hidden_dim": 15, "num_heads": 3})
    assert subject.config().head_dim == 5
    assert subject.arguments()["x"].shape == (subject.sizes.batch, subject.sizes.tokens, 15)
    assert not {3, 5, 15} & set(attrs.astuple(subject.sizes))


def test_the_command_prints_and_saves_reports(tmp_path, capsys):
    file = tmp_path / "report.json"
    assert main(["transolver", "flare", "--only", "help", "--json", str(file)]) == 1  # incomplete
    printed = capsys.readouterr().out
    assert "transolver of noether-attention 0.1.0: incomplete: 1 passed" in printed
    assert [report["type"] for report in json.loads(file.read_text())["reports"]] == [
        "transolver",
        "flare",
    ]


def test_the_command_ends_with_zero_where_all_passed(monkeypatch, capsys):
    monkeypatch.setattr("noether_core.testing.running.CHECKS", {"help": CHECKS["help"]})
    assert main(["transolver", "--only", "help"]) == 0
    assert "passed: 1 passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nobody"], "'nobody' is not installed"), (["flare", "--only", "hlp"], "no check 'hlp'")],
)
def test_wrong_usage_of_the_command_ends_with_two(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_reported(capsys):
    assert main(["flare", "--only", "help", "--json", "nowhere/report.json"]) == 2
    assert "nowhere/report.json" in capsys.readouterr().err


def test_the_command_is_a_module():
    command = [sys.executable, "-m", "noether_core.testing", "nobody"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "noether_core.testing: type: 'nobody' is not installed" in done.stderr
