"""JSON Schema (draft 2020-12) of configs, for editors and other validators."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from noether_core.errors import PluginError
from noether_core.plugins.metadata import EntryPoint
from noether_core.plugins.registry import Registry
from noether_core.plugins.registry import registry as default_registry
from noether_core.schemas.annotations import (
    is_enum,
    is_fixed_tuple,
    is_list,
    is_mapping,
    is_schema,
    is_union,
    without_metadata,
)
from noether_core.schemas.bounds import bounds_of
from noether_core.schemas.help_text import help_of
from noether_core.schemas.modules.attention import AttentionConfig
from noether_core.schemas.schema import Field, Schema, plan_of
from noether_core.schemas.unstructure import unstructure

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_Json = dict[str, Any]


def json_schema(
    source: str | type[Schema] | None = None, *, registry: Registry | None = None
) -> dict[str, Any]:
    """Return the JSON Schema of a type, of a config class, or of every installed type.

    Args:
        source: A type, bare or qualified; a config class; or None for all types, told apart by
            ``if`` and ``then``.
        registry: Where types are looked up; the process-wide one where it is None.

    Raises:
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do.
        PluginError: If a package that does cannot be used.
    """
    known = default_registry() if registry is None else registry
    return {"$schema": DIALECT, **_schema_of(source, known)}


def _schema_of(source: str | type[Schema] | None, registry: Registry) -> _Json:
    if source is None or source is AttentionConfig:
        return _every_type(registry)
    if isinstance(source, str):
        spellings = _spellings(registry.provider(source), registry)
        return _options_schema(registry.get(source).config, spellings, registry)
    if issubclass(source, AttentionConfig):
        return _options_schema(source, [str(plan_of(source).default_of("type"))], registry)
    return _options_schema(source, [], registry)


def _every_type(registry: Registry) -> _Json:
    """Return one schema that tells the variants apart by their type.

    A plugin that cannot be used is left out.
    """
    names: list[str] = []
    branches: list[_Json] = []
    for entry in registry.providers():
        try:
            config = registry.get(entry.qualified_name).config
        except PluginError:  # one broken plugin must not take the schema of all others
            continue
        schema = _options_schema(config, _spellings(entry, registry), registry)
        names += schema["properties"]["type"]["enum"]
        chosen = {"properties": {"type": schema["properties"]["type"]}, "required": ["type"]}
        branches.append({"if": chosen, "then": schema})
    return {
        "title": AttentionConfig.__name__,
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": names, **_description_of(AttentionConfig, "type")}},
        "allOf": branches,
    }


def _spellings(entry: EntryPoint, registry: Registry) -> list[str]:
    """Return the names under which configs reach a plugin."""
    if registry.chosen(entry.name) == (entry,):  # then the bare name means this one
        return [entry.name, entry.qualified_name]
    return [entry.qualified_name]


def _options_schema(cls: type[Schema], spellings: list[str], registry: Registry) -> _Json:
    """Return the schema of one class.

    Args:
        cls: The class.
        spellings: What ``type`` may say, where it is an attention config.
        registry: Where types of configs within it are looked up.
    """
    plan = plan_of(cls)
    properties: dict[str, _Json] = {}
    for field in plan.fields:
        if field.option in plan.options:
            properties[field.option] = _field_schema(cls, field, registry)
    required = [field.option for field in plan.fields if field.option in plan.required]
    if spellings:
        type_schema = {"enum": spellings, **_description_of(cls, "type")}
        del properties["type"]
        properties = {"type": type_schema, **properties}
        required.insert(0, "type")
    ignored = dict.fromkeys(sorted(cls.ignored_options), True)
    schema = {
        "title": cls.__name__,
        "description": inspect.getdoc(cls) or "",
        "type": "object",
        "required": [option for option in required if not plan.old_names_of(option)],
        "properties": properties | ignored | _old_properties(cls, properties),
        "additionalProperties": False,
    }
    if choices := _one_name_each(cls):
        schema["allOf"] = choices
    return schema


def _old_properties(cls: type[Schema], properties: Mapping[str, _Json]) -> _Json:
    """Return the schemas of options that were renamed or dropped, which editors strike out."""
    plan = plan_of(cls)
    schemas: _Json = {}
    for old, new in plan.renamed.items():
        text = {"description": f"Old name of {new}.", "deprecated": True}
        schemas[old] = properties[new] | text
    for old, way_out in plan.dropped.items():
        schemas[old] = {"description": way_out or "No option any more.", "deprecated": True}
    return schemas


def _one_name_each(cls: type[Schema]) -> list[_Json]:
    """Return schemas by which an option is given under one of its names, old ones included."""
    plan = plan_of(cls)
    choices: list[_Json] = []
    for option in dict.fromkeys(plan.renamed.values()):
        given: list[_Json] = [{"required": [name]} for name in (option, *plan.old_names_of(option))]
        if option not in plan.required:
            given.append({"not": {"anyOf": list(given)}})
        choices.append({"oneOf": given})
    return choices


def _field_schema(cls: type[Schema], field: Field, registry: Registry) -> _Json:
    schema = _annotation_schema(field.annotation, registry)
    schema = _description_of(cls, field.option) | schema
    if field.option not in plan_of(cls).required:
        schema["default"] = unstructure(field.default_value())
    return schema


def _description_of(cls: type[Schema], option: str) -> _Json:
    """Return the help of an option, as schemas have it; nothing where there is no source."""
    text = help_of(cls).get(option)
    return {"description": text} if text else {}


def _annotation_schema(annotation: Any, registry: Registry) -> _Json:
    bare, metadata = without_metadata(annotation)
    if is_union(bare):
        schema: _Json = {"anyOf": [_annotation_schema(item, registry) for item in get_args(bare)]}
    else:
        schema = _schema_of_kind(bare, registry)
    return _bounded(schema, dict(bounds_of(metadata).terms)) if metadata else schema


def _schema_of_kind(annotation: Any, registry: Registry) -> _Json:  # noqa: PLR0911  one return per kind
    if get_origin(annotation) is Literal:
        return {"enum": list(get_args(annotation))}
    if is_list(annotation):
        return {"type": "array", "items": _annotation_schema(get_args(annotation)[0], registry)}
    if is_fixed_tuple(annotation):
        items = [_annotation_schema(item, registry) for item in get_args(annotation)]
        count = len(items)
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
    if is_mapping(annotation):
        values = _annotation_schema(get_args(annotation)[1], registry)
        return {"type": "object", "additionalProperties": values}
    if annotation is AttentionConfig:
        return _every_type(registry)
    if is_schema(annotation):
        return _options_schema(annotation, [], registry)
    if is_enum(annotation):
        return {"enum": [member.value for member in annotation]}
    return dict(_SCALARS[annotation])


def _bounded(schema: _Json, bounds: Mapping[str, Any]) -> _Json:
    """Add bounds to a schema, or to each member of a union but null."""
    if schema == _SCALARS[type(None)]:
        return schema
    if "anyOf" in schema:
        return {"anyOf": [_bounded(member, bounds) for member in schema["anyOf"]]}
    keywords = _KEYWORDS | _LENGTHS[schema.get("type", "")]
    return schema | {keywords[name]: limit for name, limit in bounds.items() if name in keywords}


_SCALARS: Mapping[Any, _Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    Any: {},
}

_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}

_LENGTHS: Mapping[str, dict[str, str]] = defaultdict(
    dict,
    array={"min_length": "minItems", "max_length": "maxItems", "distinct": "uniqueItems"},
    object={"min_length": "minProperties", "max_length": "maxProperties"},
    string={"min_length": "minLength", "max_length": "maxLength"},
)
