"""Configs from checkpoints, pickles, attrs.asdict and sweeps: read, or refused with a message."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Annotated, Any, ClassVar, Literal

import attrs
import numpy as np
import pytest
import torch
from annotated_types import Ge

from noether_core import AttentionConfig, ConfigError, TokenSpec, registry, structure
from noether_core.schemas import FrozenMapping, Schema

EXAMPLES = [registry().get(name).example_config() for name in registry().types()]


@attrs.frozen(kw_only=True)
class Grown(AttentionConfig):
    """A class as a later version has it; states below are of earlier ones."""

    renamed_options: ClassVar = {"win": "window"}
    dropped_options: ClassVar = {"verbose": ""}

    type: Literal["grown"] = "grown"
    window: Annotated[int, Ge(1)]
    stride: int = 2
    groups: tuple[TokenSpec, ...] = attrs.field(factory=tuple)
    ratio: float = 0.5
    is_on: bool = False
    mode: Literal["a", 1] = "a"
    name: str = ""


GROWN = Grown(hidden_dim=8, num_heads=2, window=3, groups=(TokenSpec("a", 1),))


@pytest.mark.parametrize("config", [*EXAMPLES, GROWN], ids=lambda config: config.type)
def test_a_checkpoint_with_configs_is_loaded_once_their_classes_are_allowed(config):
    config = attrs.evolve(config, extra={"note": [1, {"by": "me"}]})
    file = io.BytesIO()
    torch.save({"config": config, "weight": torch.zeros(3)}, file)
    classes = [type(config), FrozenMapping, TokenSpec]
    # What is allowed already stays so: torch forgets all that a context allowed, even before it.
    allowed = [each for each in classes if each not in torch.serialization.get_safe_globals()]
    file.seek(0)
    with torch.serialization.safe_globals(allowed):
        loaded = torch.load(file, weights_only=True)["config"]
    assert loaded == config
    assert (hash(loaded), loaded.fingerprint()) == (hash(config), config.fingerprint())


def pickled_with(**state: Any) -> Any:
    """Return what becomes of a pickle of a version whose fields had this state."""
    made = Grown.__new__(Grown)
    made.__setstate__(state)
    return made


STATE = {name: value for name, value in GROWN.__getstate__().items() if name != "stride"}


def test_a_config_pickled_by_an_older_version_gets_the_defaults_of_new_options():
    assert pickled_with(**STATE) == GROWN
    assert repr(pickled_with(**STATE)) == repr(GROWN)
    older = {name: value for name, value in STATE.items() if name != "window"}
    assert pickled_with(**older, win=3, verbose=True) == GROWN


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"window": None}, "window", "expected an integer of at least 1, got None"),
        ({"unheard": 1}, "unheard", "unknown option of Grown"),
        ({"window": ...}, "window", "missing: it was pickled by a version of its class"),
    ],
)
def test_what_makes_no_config_of_this_version_is_refused(changes, path, message):
    state = {name: value for name, value in {**STATE, **changes}.items() if value is not ...}
    with pytest.raises(ConfigError) as caught:
        pickled_with(**state)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message[: len(message)]) == (path, message)


@pytest.mark.parametrize("config", [*EXAMPLES, GROWN, TokenSpec("a", None)], ids=repr)
def test_copies_and_pickles_are_equal(config):
    pickled = pickle.loads(pickle.dumps(config))  # noqa: S301  our own bytes
    assert copy.copy(config) == copy.deepcopy(config) == pickled == config


@pytest.mark.parametrize("config", [*EXAMPLES, GROWN], ids=lambda config: config.type)
def test_what_asdict_makes_of_a_config_is_that_config(config):
    cls = type(config)
    assert structure(attrs.asdict(config), cls) == config
    kept = attrs.evolve(config, extra={"note": 1})
    assert structure(attrs.asdict(kept), cls) == kept
    written = {**attrs.asdict(kept), "more": 2}
    assert structure(written, cls, unknown="keep").extra == FrozenMapping({"note": 1, "more": 2})


@pytest.mark.parametrize(
    ("option", "value", "plain"),
    [
        ("window", np.int64(7), 7),
        ("window", np.uint8(7), 7),
        ("window", torch.tensor(7), 7),
        ("ratio", np.float64(0.25), 0.25),
        ("ratio", np.float32(0.25), 0.25),
        ("ratio", np.int32(2), 2.0),
        ("ratio", torch.tensor(0.25), 0.25),
        ("is_on", np.bool_(True), True),
        ("is_on", torch.tensor(True), True),
        ("mode", np.int64(1), 1),
        ("mode", np.str_("a"), "a"),
        ("name", np.str_("b"), "b"),
        ("dropout", np.float64(0.5), 0.5),
    ],
    ids=str,
)
def test_scalars_of_numpy_and_torch_are_the_numbers_that_they_are(option, value, plain):
    config = attrs.evolve(GROWN, **{option: value})
    found = getattr(config, option)
    assert (found, type(found)) == (plain, type(plain))
    assert type(attrs.evolve(GROWN, extra={"note": value}).extra["note"]) in (bool, int, float, str)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("window", np.float64(7.0)),
        ("window", np.bool_(True)),
        ("window", np.array([7])),
        ("window", torch.tensor([7])),
        ("window", torch.tensor(7, device="meta")),
        ("window", np.int64(0)),
        ("ratio", np.float64("nan")),
        ("ratio", np.bool_(True)),
        ("ratio", np.complex128(1)),
        ("ratio", np.ma.masked),
        ("window", np.timedelta64(7)),
        ("is_on", np.int64(1)),
        ("mode", np.bool_(True)),
        ("name", np.int64(1)),
    ],
    ids=str,
)
def test_scalars_of_another_kind_are_refused(option, value):
    with pytest.raises(ConfigError, match=f"^{option}: expected"):
        attrs.evolve(GROWN, **{option: value})


def test_a_schema_may_bring_a_state_of_its_own():
    @attrs.frozen(kw_only=True)
    class Own(Schema):
        size: int = 3

        def __setstate__(self, state):
            object.__setattr__(self, "size", state["size"] + 1)

    assert copy.copy(Own()).size == 4
