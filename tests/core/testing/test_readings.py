"""Which options of a config were read, and which were merely copied."""

from __future__ import annotations

import copy
import inspect
import operator
import pickle

import attrs
import pytest

from noether_core import unstructure
from noether_core.testing.checks.options import Readings
from tests.core.testing.sample_configs import SoundConfig

NAMES = [field.name for field in attrs.fields(SoundConfig)]
CONFIG = SoundConfig(hidden_dim=8, num_heads=2)


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        attrs.evolve,
        attrs.asdict,
        attrs.astuple,
        unstructure,
        hash,
        repr,
        inspect.getmembers,
        lambda config: pickle.loads(pickle.dumps(config)) == CONFIG,  # noqa: S301  our own bytes
        lambda config: config == CONFIG,
        lambda config: config.fingerprint(),
        lambda config: {name: getattr(config, name) for name in NAMES},
    ],
)
def test_to_go_through_all_options_is_not_to_read_one(copied):
    readings = Readings()
    config = readings.of(CONFIG)
    assert isinstance(config, SoundConfig)
    assert copied(config)
    assert readings.names == set()


def test_to_read_an_option_is():
    readings = Readings()
    config = readings.of(CONFIG)
    assert config.sharpness == 1
    assert readings.names == {"sharpness"}
    assert getattr(copy.deepcopy(config), "dropout") == 0  # noqa: B009  by name is reading too
    assert readings.names == {"sharpness", "dropout"}


def test_it_is_equal_to_what_it_watches():
    config = Readings().of(CONFIG)
    assert config == CONFIG
    assert operator.eq(CONFIG, config)
    assert hash(config) == hash(CONFIG)
    assert config != attrs.evolve(CONFIG, sharpness=2.0)
    assert type(pickle.loads(pickle.dumps(config))) is SoundConfig  # noqa: S301  likewise
