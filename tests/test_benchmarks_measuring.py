"""What benchmarks measure: times in turn, undisturbed rounds, memory in other processes."""

import functools
import math

import pytest
import torch

from tests.benchmarks import timing
from tests.benchmarks.memory import in_child, peak_bytes
from tests.benchmarks.pairs import bound, compare, compare_bytes, curve, growth, seconds
from tests.benchmarks.running import announcing, planning
from tests.benchmarks.timing import Sample, take_turns, undisturbed

MILLION = 10**6


def holding(numbers, *, is_result):
    """Return a step that makes *numbers* float32 and keeps them as its result, or lets them go."""
    there_before = torch.ones(3 * MILLION)

    def step():
        made = torch.ones(numbers)
        made += there_before.sum()
        return made if is_result else None

    return step


def failing():
    raise ZeroDivisionError("of the step")


def threads():
    return torch.get_num_threads()


def never():
    raise AssertionError("measured")


def rows(*busy):
    return [(Sample(1.0, share), Sample(2.0, share)) for share in busy]


def test_things_take_turns_after_one_call_that_does_not_count():
    called = []
    timings = take_turns(
        [lambda: called.append("a"), lambda: called.append("b")], rounds=3, calls=2
    )
    assert "".join(called) == "ab" + "aabb" * 3
    assert [len(column) for column in timings.columns] == [3 - timings.dropped] * 2


def test_no_round_begins_once_the_time_is_over_but_for_the_fewest():
    called = []
    take_turns([lambda: called.append(1)], rounds=1000, longest=0.0, fewest=2)
    assert len(called) == 1 + 2


def test_seconds_are_those_of_one_call(monkeypatch):
    clock = iter([0.0, 1.0, 7.0])  # of all, and of the one round, and its end
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "_processor_seconds", lambda: 0.0)
    assert take_turns([int], rounds=1, calls=3).columns == [[2.0]]


def test_rounds_in_which_others_had_the_machine_are_dropped():
    kept = undisturbed(rows(2.0, 1.99, 1.2, 2.0, 0.4, 1.98))
    assert [row[0].busy for row in kept] == [2.0, 1.99, 2.0, 1.98]


def test_a_round_is_dropped_for_any_of_its_things():
    disturbed = (Sample(1.0, 2.0), Sample(2.0, 1.0))
    assert disturbed not in undisturbed([*rows(2.0, 2.0, 2.0, 2.0), disturbed])


def test_three_rounds_are_kept_however_busy_the_machine():
    assert [row[0].busy for row in undisturbed(rows(2.0, 0.1, 0.3, 0.2, 0.05))] == [2.0, 0.3, 0.2]


def test_what_only_waits_is_no_sign_of_others():
    assert len(undisturbed(rows(0.0, 0.0, 0.0, 0.0))) == 4


def test_planning_names_everything_and_measures_nothing():
    names = []
    with planning(names.append):
        results = [
            compare("times", 0.5, never, never, rounds=3),
            compare_bytes("bytes", math.inf, never, never),
            growth("growth", 1.1, [2, 3], never),
            bound("bound", 7, never),
            curve("family", "line", "fact", [2, 3], never, unit="bytes"),
        ]
        assert seconds(never) == 1.0
        assert peak_bytes(never) == 1
    assert names == ["times", "bytes", "growth", "bound", "line, fact"]
    assert [result.name for result in results] == names


def test_each_measurement_is_told_before_it_is_made():
    announced = []
    with announcing(announced.append):
        bound("number", 7, lambda: (len(announced), "announced already"))
        assert announced == ["number"]


def test_a_bound_may_come_with_a_note():
    assert bound("number", 7, lambda: (3, "of four")).note == "of four"
    assert bound("number", 7, lambda: 8).is_kept is False


@pytest.mark.parametrize("is_result", [True, False])
def test_bytes_are_those_of_a_step_at_its_fullest(is_result):
    assert peak_bytes(holding, 7 * MILLION, is_result=is_result) == pytest.approx(
        4 * 7 * MILLION, rel=0.05
    )


def test_bytes_are_compared_side_by_side():
    claim = compare_bytes(
        "5 / 10",
        0.6,
        functools.partial(holding, 5 * MILLION, is_result=True),
        functools.partial(holding, 10 * MILLION, is_result=False),
        rounds=2,
    )
    assert claim.median == pytest.approx(0.5, rel=0.05)
    assert claim.unit == "bytes"
    assert len(claim.ratios) == 2


def test_a_process_has_as_many_threads_as_this_one():
    assert in_child(threads) == torch.get_num_threads()


def test_a_process_that_fails_is_told_with_its_error():
    with pytest.raises(
        RuntimeError,
        match=r"(?s)failing ends in a process of its own with.*ZeroDivisionError: of the",
    ):
        in_child(failing)
