"""What is under test: a type or a record, with what the record says for the kit."""

from __future__ import annotations

import attrs
import pytest

from noether_core import AttentionConfig
from noether_core.testing import Subject
from tests.core.testing.sample_configs import SOUND


def test_a_record_names_groups_frozen_parameters_and_silent_options():
    from noether_core import ConfigError

    made = attrs.evolve(SOUND, example_groups={"a": None, "b": 3}, frozen_parameters=("q.*",))
    assert dict(made.example_groups) == {"a": None, "b": 3}
    with pytest.raises(ConfigError, match="silent_options: levle: unknown option of SoundConfig"):
        attrs.evolve(SOUND, silent_options=("levle",))
    with pytest.raises(ConfigError, match="example_groups"):
        attrs.evolve(SOUND, example_groups={"a": -1})


def test_an_open_config_is_no_variant():
    with pytest.raises(TypeError):
        Subject.of(AttentionConfig)
