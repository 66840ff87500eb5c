"""From a config to its module."""

import pickle
import sys
from typing import Literal

import attrs
import pytest
import torch
from torch import nn

from noether_core import (
    AmbiguousTypeError,
    AttentionConfig,
    AttentionVariant,
    ConfigError,
    PluginError,
    Problem,
    Registry,
    ShapeError,
    UnknownTypeError,
    build,
    provenance_of,
    registry,
    structure,
)
from noether_core.errors import UnsupportedBackendError
from noether_core.plugins.metadata import Index

OPTIONS = {"hidden_dim": 8, "num_heads": 2}


@attrs.frozen(kw_only=True)
class PlainConfig(AttentionConfig):
    """Of modules that only tests know."""

    type: Literal["plain"] = "plain"


class Keeps(nn.Module):
    """Keeps its config."""

    def __init__(self, config):
        super().__init__()
        self.config = config


class KeepsToo(Keeps):
    """Keeps its config as well."""


class Forgets(nn.Module):
    """Keeps nothing."""

    def __init__(self, config):
        super().__init__()


class Changes(nn.Module):
    """Keeps another config than it was given."""

    def __init__(self, config):
        super().__init__()
        self.config = attrs.evolve(config, bias=not config.bias)


def failing(error):
    """Return a class of modules that raise *error* when they are made."""

    class Fails(nn.Module):
        def __init__(self, config):
            torch.set_default_dtype(torch.float64)
            raise error

    return Fails


class Reseeds(Keeps):
    """Begins the numbers of chance anew."""

    def __init__(self, config):
        super().__init__(config)
        torch.manual_seed(17)
        self.weight = nn.Parameter(torch.randn(3))


class Draws(Keeps):
    """Draws its weights, as a module should."""

    def __init__(self, config):
        super().__init__(config)
        self.weight = nn.Parameter(torch.randn(3))


class ChangesTwo(Keeps):
    """Changes two settings."""

    def __init__(self, config):
        super().__init__(config)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)


def changing(change):
    """Return a class of modules that make *change* when they are made."""

    class ChangesOne(Keeps):
        def __init__(self, config):
            super().__init__(config)
            change()

    return ChangesOne


def settings():
    """Return the settings of torch that `build` leaves as they are."""
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.initial_seed(),
    )


def no_class(config):
    """Is no class."""


def with_module(path):
    """Return a registry of one variant, whose module is at *path*."""
    known = Registry(index=Index((), (), ()))
    known.register(
        AttentionVariant(
            config=PlainConfig,
            module=path,
            interface="self",
            time_exponent=1,
            memory_exponent=1,
            summary="Only tests know it.",
            example=OPTIONS,
            api_version=1,
        )
    )
    return known


@pytest.mark.parametrize("type", registry().types())
def test_config_mapping_and_type_build_the_same_module(type):
    options = {**registry().get(type).example}
    config = structure({"type": type, **options})
    for module in (build(config), build({"type": type, **options}), build(type, **options)):
        assert isinstance(module, nn.Module)
        assert module.config == config
        assert module.training


@pytest.mark.parametrize("type", registry().types())
def test_a_generic_config_builds_any_variant(type):
    generic = AttentionConfig(type=type, **registry().get(type).example)
    assert build(generic).config == structure(generic)


@pytest.mark.parametrize("type", registry().types())
def test_a_module_class_takes_its_config_and_nothing_else(type):
    variant = registry().get(type)
    generic = AttentionConfig(type=type, **variant.example)
    module = build(type, **variant.example)
    assert module.__class__(structure(generic)).config == module.config
    assert module.__class__(generic).config == module.config
    with pytest.raises(TypeError):
        module.__class__(generic, 3)


@pytest.mark.parametrize("type", registry().types())
def test_a_module_is_made_on_its_device_and_in_its_dtype_with_the_numbers_of_a_later_move(type):
    example = registry().get(type).example
    torch.manual_seed(0)
    direct = build(type, **example, device="cpu", dtype=torch.bfloat16)
    torch.manual_seed(0)
    moved = build(type, **example).to(torch.bfloat16)
    for (name, got), wanted in zip(
        direct.state_dict().items(), moved.state_dict().values(), strict=True
    ):
        assert (got.dtype, got.device) == (wanted.dtype, wanted.device), name
        assert torch.equal(got, wanted), name
    assert provenance_of(direct) == provenance_of(moved)

    weightless = build(type, **example, device="meta", dtype=torch.float64)
    assert weightless.config == direct.config
    assert {(each.is_meta, each.dtype) for each in weightless.state_dict().values()} == {
        (True, torch.float64)
    }


def test_a_device_or_dtype_that_is_none_is_no_fault_of_the_plugin():
    with pytest.raises(
        TypeError, match=r"dtype: expected .* floating-point numbers, got torch.int"
    ):
        build("flare", **OPTIONS, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="nowhere"):
        build("flare", **OPTIONS, device="nowhere")
    assert build("flare", **OPTIONS).latent_q.dtype == torch.get_default_dtype()


def test_the_very_config_is_kept():
    config = structure({"type": "transolver", **OPTIONS})
    assert build(config).config is config


def test_options_go_before_those_of_the_source():
    config = structure({"type": "transolver", **OPTIONS, "num_slices": 7})
    assert build(config, num_slices=5).config.num_slices == 5
    assert build({"type": "transolver", **OPTIONS}, num_slices=5).config.num_slices == 5


def test_a_misspelt_option_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError) as caught:
        build("transolver", **OPTIONS, num_slice=5)
    (problem,) = caught.value.problems
    assert problem.message == "unknown option of 'transolver'"
    assert problem.suggestion == "did you mean 'num_slices'?"


@pytest.mark.parametrize(
    ("option", "owners"),
    [
        ("use_gumbel_softmax", "transolver_plusplus"),
        ("kv_dim", "perceiver"),
        ("branches", "cross_anchor, "),
    ],
)
def test_an_option_of_another_variant_is_refused_with_its_owners(option, owners):
    with pytest.raises(ConfigError) as caught:
        build("flare", registry=Registry(), **{"hidden_dim": 8, "num_heads": 2, option: 5})
    (problem,) = caught.value.problems
    assert problem.message == "unknown option of 'flare'"
    assert problem.suggestion.startswith(f"{option!r} is an option of {owners}")


def test_an_unknown_type_is_reported():
    with pytest.raises(UnknownTypeError) as caught:
        build("transolvr", **OPTIONS)
    assert caught.value.type == "transolvr"
    assert "transolver" in caught.value.installed


def test_a_module_can_be_pickled_with_its_config():
    module = build("transolver", **OPTIONS)
    copy = pickle.loads(pickle.dumps(module))  # noqa: S301  our own
    assert copy.config == module.config
    x = torch.randn(2, 5, 8)
    assert copy.eval()(x).equal(module.eval()(x))


def test_a_variant_of_this_process_is_built():
    assert isinstance(build("plain", **OPTIONS, registry=with_module(f"{__name__}:Keeps")), Keeps)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{__name__}:no_class", "is no subclass of torch.nn.Module"),
        (f"{__name__}:PlainConfig", "is no subclass of torch.nn.Module"),
        (
            f"{__name__}:Missing",
            f"cannot be imported: AttributeError: module '{__name__}' has no attribute 'Missing'",
        ),
        (
            "nowhere_at_all:Module",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        (f"{__name__}:Forgets", "does not keep the config that it is made from as 'config'"),
        (f"{__name__}:Changes", "does not keep the config that it is made from as 'config'"),
    ],
)
def test_a_module_that_breaks_the_contract_is_reported_by_name(path, message):
    with pytest.raises(PluginError) as caught:
        build("plain", **OPTIONS, registry=with_module(path))
    assert caught.value.plugin == "'plain' of in-process"
    assert caught.value.reason == f"{path} {message}"


@pytest.fixture
def made_by(monkeypatch):
    """Return what builds a module of a class."""

    def make(cls):
        monkeypatch.setattr(sys.modules[__name__], "Made", cls, raising=False)
        return build("plain", **OPTIONS, registry=with_module(f"{__name__}:Made"))

    return make


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("of one"), "ZeroDivisionError: of one"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit: "),
        (MemoryError("full"), "MemoryError: full"),
        (TypeError("of another"), "TypeError: of another"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_constructor_raises_is_the_plugins_failure_with_its_cause(
    made_by, error, message
):
    before = settings()
    with pytest.raises(PluginError) as caught:
        made_by(failing(error))
    assert str(caught.value) == f"'plain' of in-process: {__name__}:Made cannot be made: {message}"
    assert caught.value.__cause__ is error
    assert settings() == before


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        ConfigError([Problem(keys=("window",), message="wider than the width")]),
        UnsupportedBackendError("flex", "it needs a GPU"),
        PluginError("'inner' of acme 1.0", "acme cannot be imported"),
        ShapeError("branches: got 3"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_ctrl_c_and_errors_of_noether_pass_through_a_constructor(made_by, error):
    before = settings()
    with pytest.raises(type(error)) as caught:
        made_by(failing(error))
    assert caught.value is error
    assert settings() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "the default dtype to torch.float64"),
        (lambda: torch.set_default_device("meta"), "the default device to meta"),
        (lambda: torch.set_grad_enabled(False), "whether gradients are computed to False"),
        (lambda: torch.set_num_threads(7), "the number of threads to 7"),
        (lambda: torch.manual_seed(17), "the seed to 17"),
        (lambda: torch.default_generator.manual_seed(18), "the seed to 18"),
    ],
    ids=["dtype", "device", "gradients", "threads", "seed", "generator"],
)
def test_a_setting_of_torch_that_a_constructor_changes_is_put_back_with_a_warning(
    made_by, change, message
):
    before = settings()
    with pytest.warns(UserWarning, match="it was put back") as caught:
        made_by(changing(change))
    (warning,) = caught
    assert str(warning.message) == (
        f"'plain' of in-process: {__name__}:Made changes {message} when it is made; it was put back"
    )
    assert settings() == before


def test_every_setting_that_changed_is_named(made_by):
    with pytest.warns(UserWarning, match=r"dtype to torch\.float64 and whether gradients are"):
        made_by(ChangesTwo)


def test_settings_that_are_as_they_were_bring_no_warning(made_by):
    with torch.no_grad():
        made_by(changing(lambda: torch.set_grad_enabled(False)))
    with torch.device("meta"):
        assert made_by(Draws).weight.is_meta
    torch.set_default_device("meta")
    try:
        assert made_by(Draws).weight.is_meta
        with pytest.warns(UserWarning, match="the default device to cpu"):
            made_by(changing(lambda: torch.set_default_device("cpu")))
        assert torch.get_default_device() == torch.device("meta")
    finally:
        torch.set_default_device(None)


def test_a_constructor_draws_from_the_global_generator_and_may_not_begin_it_anew(made_by):
    torch.manual_seed(5)
    weight = made_by(Draws).weight
    then = torch.randn(3)
    torch.manual_seed(5)
    assert torch.equal(weight, torch.randn(3))
    assert torch.equal(then, torch.randn(3))

    torch.manual_seed(5)
    with pytest.warns(UserWarning, match="the seed to 17"):
        made_by(Reseeds)
    assert torch.initial_seed() == 5
    assert torch.equal(torch.randn(3), weight)


def test_a_config_keeps_its_class_when_options_are_added_though_others_have_its_type(site):
    files = {"acme_modules.py": f"from {__name__} import Keeps\n"}
    for distribution in ("acme-attn", "best-attn"):
        site.install_variant("flow", distribution, module="acme_modules:Keeps")
    site.install("acme-modules", files=files)
    known = site.registry()
    variant = known.get("best-attn:flow")
    config = variant.config(**OPTIONS)
    for module in (build(config, registry=known), build(config, registry=known, window=3)):
        assert type(module.config) is variant.config
        assert module.config.type == "flow"
    assert build(config, registry=known, type="acme-attn:flow").config.type == "acme-attn:flow"


def test_another_type_may_be_chosen_with_the_options_of_a_config():
    config = structure({"type": "dot_product", **OPTIONS, "dropout": 0.25})
    built = build(config, type="transolver").config
    assert (built.type, built.dropout) == ("transolver", 0.25)
    with pytest.raises(ConfigError, match="num_slices: unknown option of 'dot_product'"):
        build(structure({"type": "transolver", **OPTIONS}), type="dot_product")


@pytest.mark.parametrize("source", [None, 3, ["transolver"], {("type", "transolver")}])
@pytest.mark.parametrize("options", [{}, {"num_slices": 3}])
def test_what_describes_no_config_is_a_problem_and_no_other_error(source, options):
    with pytest.raises(ConfigError, match="expected a mapping of options, got"):
        build(source, **options)


def test_a_provider_that_comes_later_leaves_a_config_its_provider_and_makes_the_type_ambiguous(
    site,
):
    site.install_variant("flow", "acme-attn", module=f"{__name__}:Keeps")
    known = site.registry()
    variant = known.get("flow")
    config = variant.config(**OPTIONS)
    generic = AttentionConfig(type="flow", **OPTIONS)
    for source in (config, generic):
        assert provenance_of(build(source, registry=known)).distribution == "acme-attn"
        assert known.provider_of(source).distribution == "acme-attn"

    known.register(variant)
    assert provenance_of(build(config, registry=known)).distribution == "acme-attn"
    with pytest.raises(AmbiguousTypeError):
        known.provider_of(generic)


def test_a_variant_that_is_registered_again_is_built_from_its_new_module():
    known = with_module(f"{__name__}:Keeps")
    config = PlainConfig(**OPTIONS)
    assert type(build(config, registry=known)) is Keeps
    known.register(attrs.evolve(known.get("plain"), module=f"{__name__}:KeepsToo"))
    assert type(build(config, registry=known)) is KeepsToo


def test_preferences_decide_anew_for_a_config_that_was_built_before(site):
    for distribution in ("acme-attn", "best-attn"):
        site.install_variant("flow", distribution, module=f"{__name__}:Keeps")
    known = site.registry()
    generic = AttentionConfig(type="flow", **OPTIONS)
    for distribution in ("acme-attn", "best-attn", "acme-attn"):
        preferring = known.with_preference([f"{distribution}:flow"])
        for _ in range(2):
            assert preferring.provider_of(generic).distribution == distribution
    with pytest.raises(AmbiguousTypeError):
        known.provider_of(generic)


def test_a_generic_config_takes_options_that_only_the_variant_knows():
    generic = AttentionConfig(type="transolver", **OPTIONS, num_slices=7)
    assert build(generic, num_slices=5).config.num_slices == 5
    assert build(generic, dropout=0.5).config.num_slices == 7


def test_the_type_may_be_qualified():
    assert (
        build("noether-attention:transolver", **OPTIONS).config.type
        == "noether-attention:transolver"
    )


def test_a_module_that_fails_at_import_is_reported_with_its_cause(site):
    site.install("acme", files={"acme_fails.py": "raise SystemExit(3)"})
    with pytest.raises(
        PluginError, match="acme_fails:Module cannot be imported: SystemExit: 3"
    ) as caught:
        build("plain", **OPTIONS, registry=with_module("acme_fails:Module"))
    assert isinstance(caught.value.__cause__, SystemExit)


@pytest.mark.parametrize("type", registry().types())
def test_the_repr_of_a_module_says_its_type_and_sizes(type):
    module = build(type, **registry().get(type).example)
    second_line = repr(module).splitlines()[1]
    assert second_line.strip().startswith(f"type={type!r}, hidden_dim=8, num_heads=2")
    sizes = {"transolver": "num_slices=4", "flare": "num_latents=4", "irregular_nat": "input_dim=3"}
    assert sizes.get(type, "") in second_line
