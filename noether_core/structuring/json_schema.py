"""JSON Schema (draft 2020-12) of configs, for editors and other validators."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from noether_core.plugins.metadata import KINDS, EntryPoint
from noether_core.plugins.registry import RecordRegistry
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
from noether_core.schemas.open_config import OpenConfig, is_open
from noether_core.schemas.schema import Field, Schema, plan_of
from noether_core.schemas.unstructure import unstructure

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_Json = dict[str, Any]


def json_schema(
    source: str | type[Schema] | None = None, *, registry: RecordRegistry[Any] | None = None
) -> dict[str, Any]:
    """Return the JSON Schema of a type, of a config class, or of every installed type.

    Args:
        source: A type, bare or qualified; a config class; or None for all types, told apart by
            ``if`` and ``then``.
        registry: Where types are looked up; the process-wide one where it is None. That of tasks,
            ``registry().tasks``, for a task whose type is that of a variant too, and for all tasks.

    Raises:
        UnknownTypeError: If no installed package provides the type.
        AmbiguousTypeError: If several do.
        PluginError: If a package that does cannot be used.
    """
    known = default_registry() if registry is None else registry
    writer = _Writer(known)
    schema = {"$schema": DIALECT, **writer.root(source)}
    return schema | {"$defs": writer.definitions} if writer.definitions else schema


class _Writer:
    """Writes one schema, in which every class of configs within options is defined once.

    Classes may hold themselves, so options refer to definitions and never repeat them.
    """

    def __init__(self, registry: RecordRegistry[Any]) -> None:
        self._registry = registry
        self.definitions: dict[str, _Json] = {}
        self._references: dict[type[Schema], str] = {}

    def root(self, source: str | type[Schema] | None) -> _Json:
        """Return the schema of a type, of a class, or of all types."""
        if isinstance(source, str):
            known = _registry_of(source, self._registry)
            return self._options(
                known.get(source).config, _spellings(known.provider(source), known)
            )
        cls = self._registry.kind.config_class if source is None else source
        if is_open(cls):
            self._references[cls] = "#"
            return self._every_type(cls)
        if issubclass(cls, OpenConfig):
            return self._options(cls, [str(plan_of(cls).default_of("type"))])
        return self._options(cls, [])

    def _every_type(self, family: type[OpenConfig]) -> _Json:
        """Return one schema that tells the members of a family apart by their type.

        A plugin that cannot be used, or of whose options no schema can be written, is left out: it
        must not take the schema of all others.
        """
        known = self._registry.of(family)
        names: list[str] = []
        branches: list[_Json] = []
        for entry in known.providers():
            before = dict(self.definitions), dict(self._references)
            try:
                config = known.get(entry.qualified_name).config
                schema = self._options(config, _spellings(entry, known))
                json.dumps([schema, self.definitions])
            except Exception:  # noqa: BLE001  a plugin may raise anything
                self.definitions, self._references = before
                continue
            names += schema["properties"]["type"]["enum"]
            chosen = {"properties": {"type": schema["properties"]["type"]}, "required": ["type"]}
            branches.append({"if": chosen, "then": schema})
        return {
            "title": family.__name__,
            "type": "object",
            "required": ["type"],
            "properties": {"type": _described({"enum": names}, help_of(family).get("type"))},
            "allOf": branches,
        }

    def _reference(self, cls: type[Schema]) -> _Json:
        """Return what refers to the definition of a class, which is written where there is none."""
        if cls not in self._references:
            name = cls.__name__
            while name in self.definitions:  # another class, of the same name
                name += "_"
            self._references[cls] = f"#/$defs/{name}"
            self.definitions[name] = {}  # the name is taken while the class is looked at
            if is_open(cls):
                self.definitions[name] = self._every_type(cls)
            else:
                self.definitions[name] = self._options(cls, [])
        return {"$ref": self._references[cls]}

    def _options(self, cls: type[Schema], spellings: list[str]) -> _Json:
        """Return the schema of one class.

        Args:
            cls: The class.
            spellings: What ``type`` may say, where it is one of a family.
        """
        plan = plan_of(cls)
        properties: dict[str, _Json] = {}
        for field in plan.fields:
            if field.option in plan.options:
                properties[field.option] = self._field(cls, field)
        required = [field.option for field in plan.fields if field.option in plan.required]
        if spellings:
            text = properties.pop("type").get("description")
            type_schema = _described({"enum": spellings}, text)
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

    def _field(self, cls: type[Schema], field: Field) -> _Json:
        schema = self._annotation(field.annotation)
        if text := help_of(cls).get(field.option):
            schema = {"description": text} | schema
        if field.option not in plan_of(cls).required:
            schema["default"] = unstructure(field.default_value())
        return schema

    def _annotation(self, annotation: Any) -> _Json:
        bare, metadata = without_metadata(annotation)
        if is_union(bare):
            schema: _Json = {"anyOf": [self._annotation(item) for item in get_args(bare)]}
        else:
            schema = self._kind(bare)
        return _bounded(schema, dict(bounds_of(metadata).terms)) if metadata else schema

    def _kind(self, annotation: Any) -> _Json:  # noqa: PLR0911  one return per kind
        if get_origin(annotation) is Literal:
            return {"enum": list(get_args(annotation))}
        if is_list(annotation):
            return {"type": "array", "items": self._annotation(get_args(annotation)[0])}
        if is_fixed_tuple(annotation):
            items = [self._annotation(item) for item in get_args(annotation)]
            count = len(items)
            return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
        if is_mapping(annotation):
            values = self._annotation(get_args(annotation)[1])
            return {"type": "object", "additionalProperties": values}
        if is_schema(annotation):
            return self._reference(annotation)
        if is_enum(annotation):
            return {"enum": [member.value for member in annotation]}
        # a class may read what it likes by a rule of its own, of which a schema can say nothing
        return dict(_SCALARS.get(annotation, {}))


def _registry_of(type: str, registry: RecordRegistry[Any]) -> RecordRegistry[Any]:
    """Return the registry that has *type*: this one, if it has, or if no other has."""
    for kind in (registry.kind, *KINDS.values()):
        if registry.of_kind(kind).has(type):
            return registry.of_kind(kind)
    return registry


def _spellings(entry: EntryPoint, registry: RecordRegistry[Any]) -> list[str]:
    """Return the names under which configs reach a plugin."""
    if registry.chosen(entry.name) == (entry,):  # then the bare name means this one
        return [entry.name, entry.qualified_name]
    return [entry.qualified_name]


def _described(schema: _Json, text: str | None) -> _Json:
    """Return *schema* with the help of an option; there is none where the source is missing."""
    return schema | {"description": text} if text else schema


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
