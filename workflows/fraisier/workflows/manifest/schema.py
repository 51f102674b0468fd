"""The manifest's JSON Schema, for editors: generated from the models, with every installed provider's options."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fraisier.workflows.manifest.loader import PARTS
from fraisier.workflows.manifest.models import Manifest, RegionPart

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ATTRIBUTES = "\n\nAttributes:\n"
_ATTRIBUTE = re.compile(r"^    (\w+): (.+?)(?=^    \w+: |\Z)", re.MULTILINE | re.DOTALL)


def manifest_schema(options: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The schema of a manifest.

    What the keys of a region may be depends on its provider; an option that stands at the region need not stand at
    its targets, so no option is required there.

    Args:
        options: the options model of every provider, by the provider's name.
    """
    models: list[type[BaseModel]] = [Manifest, *options.values()]
    refs, schema = models_json_schema([(model, "validation") for model in models], by_alias=True)
    parts: dict[str, Any] = schema["$defs"]
    for part in parts.values():
        text = inspect.cleandoc(part.get("description", ""))
        part["description"] = text.partition(_ATTRIBUTES)[0]
        _describe(part, text)
    for model in (*PARTS, *models):
        for base in model.__mro__:
            _describe(parts[model.__name__], inspect.getdoc(base) or "")
    waves = parts[Manifest.__name__]["properties"]["waves"]
    waves |= dict(zip(("else", "then"), waves.pop("oneOf"), strict=True)) | {"if": {"type": "object"}}
    region = parts[RegionPart.__name__]
    del region["additionalProperties"]
    region["unevaluatedProperties"] = False
    region["properties"]["provider"]["examples"] = sorted(options)
    region["allOf"] = [_case(name, refs[model, "validation"], parts) for name, model in sorted(options.items())]
    return {"$schema": DIALECT, "title": "Fraisier manifest", **refs[Manifest, "validation"], "$defs": parts}


def _case(provider: str, ref: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    part = parts[_name(ref)]
    part.pop("required", None)
    return {
        "if": {"properties": {"provider": {"const": provider}}},
        "then": {"properties": {"targets": {"items": ref}, **part["properties"]}},
    }


def _name(ref: dict[str, Any]) -> str:
    name: str = ref["$ref"].rpartition("/")[2]
    return name


def _describe(part: dict[str, Any], docstring: str) -> None:
    """Put what a docstring says of a model's attributes where editors show it."""
    properties = part.get("properties", {})
    for name, said in _ATTRIBUTE.findall(docstring.partition(_ATTRIBUTES)[2]):
        key = name if name in properties else name.rstrip("_")
        if key in properties:
            properties[key].setdefault("description", " ".join(said.split()))
