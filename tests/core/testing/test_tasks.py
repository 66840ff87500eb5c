"""`check_task`: a sound task passes, and each that is broken is found so."""

from __future__ import annotations

import json

import pytest

from noether_core import Registry, UnknownTypeError
from noether_core.plugins.metadata import Index
from noether_core.testing import CheckFailed, check_task, tasks
from tests.core.testing.broken_tasks import BROKEN, record_of


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cloud.json"
    path.write_text(json.dumps({"positions": [[0.25, 0.5], [0.75, 0.125], [0.5, 0.5]]}))
    return path


def test_nothing_is_wrong_with_a_sound_task(file):
    check_task(record_of("Sound"), file=file)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_task_is_found(name, file, monkeypatch):
    if name == "SlowToMake":  # by the clock, and the test is to take no second
        monkeypatch.setattr(tasks, "_LONGEST", 0.02)
    with pytest.raises(CheckFailed) as caught:
        check_task(record_of(name), file=file)
    assert BROKEN[name] in str(caught.value)


def test_everything_that_is_wrong_is_in_one_message():
    with pytest.raises(CheckFailed) as caught:
        check_task(record_of("Misshapen"), options={"n_train": 2})
    places = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert {"train", "test", "draw"} == set(places)
    assert places.count("train") > 2


def test_a_task_whose_samples_are_given_may_be_the_same_for_every_seed():
    check_task(record_of("DeafToItsSeed"), varies=False)


def test_a_task_is_looked_up_by_its_type():
    known = Registry(index=Index((), (), ()))
    known.register(record_of("Sound"))
    for name in ("cloud", "in-process:cloud"):
        check_task(name, registry=known)
    with pytest.raises(UnknownTypeError, match="the task 'clouds' is not installed; did you mean"):
        check_task("clouds", registry=known)
