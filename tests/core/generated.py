"""Options made up by hypothesis, for any config class: every field by its annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import assume
from hypothesis import strategies as st

from noether_core import AttentionConfig, Registry
from noether_core.schemas.schema import plan_of, problems_of

if TYPE_CHECKING:
    from noether_core.plugins.metadata import EntryPoint

INSTALLED: dict[str, type[AttentionConfig]] = {}
"""Config classes of everything that is installed, by qualified name."""

_registry = Registry()


def _config_of(entry: EntryPoint) -> type[AttentionConfig]:
    return _registry.get(entry.qualified_name).config


INSTALLED.update({entry.qualified_name: _config_of(entry) for entry in _registry.providers()})

EXAMPLES: dict[str, AttentionConfig] = {
    entry.qualified_name: _registry.get(entry.qualified_name).example_config()
    for entry in _registry.providers()
}
"""The smallest config of each, from its record."""


@st.composite
def options_of(draw: st.DrawFn, config: type[AttentionConfig]) -> dict[str, Any]:
    """Draw sound options of a config class, without its type, and perhaps without defaults."""
    num_heads, head_dim = draw(st.integers(1, 16)), draw(st.integers(1, 64))
    options = {"hidden_dim": num_heads * head_dim, "num_heads": num_heads}
    for field in plan_of(config).fields:
        if field.option not in {*options, "type", "head_dim", config.extra_field} and (
            field.option in plan_of(config).required or draw(st.booleans())
        ):
            options[field.option] = draw(st.from_type(field.annotation))
    if draw(st.booleans()):
        options["head_dim"] = draw(st.sampled_from([None, head_dim]))
    assume(
        not problems_of(config, options)
    )  # rules across fields and items, such as that names are distinct
    return options


def configs_of(config: type[AttentionConfig]) -> st.SearchStrategy[AttentionConfig]:
    """Draw configs of a class."""
    return options_of(config).map(lambda options: config(**options))
