"""What of a manifest is right by itself, where not all of it is: so that whatever else is wrong is told at once."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fraisier.workflows.manifest.loader import in_tree, plain
from fraisier.workflows.manifest.models import Manifest, RegionPart


def sound_parts(tree: Any, error: ValidationError) -> Manifest:
    """A manifest of those parts that fit once the keys that nobody knows are out; any other part is not there.

    Args:
        tree: the file's YAML tree.
        error: what is wrong with it.
    """
    content = plain(tree)
    for one in error.errors():
        if one["type"] == "extra_forbidden":
            _take_out(content, in_tree(one["loc"]))
    annotations = {name: field.rebuild_annotation() for name, field in Manifest.model_fields.items()}
    regions = _mapping(content.get("regions"))
    content["regions"] = {name: one for name, one in regions.items() if _fits(annotations["regions"], {name: one})}
    found = {
        name: TypeAdapter(annotation).validate_python(content[name])
        for name, annotation in annotations.items()
        if name in content and _fits(annotation, content[name])
    }
    return Manifest.model_construct(**{"regions": {}} | found)


def bare_regions(tree: Any) -> dict[str, RegionPart]:
    """Every region with its provider, targets and options, not checked; without targets where they are none."""
    return {name: _bare(_mapping(one)) for name, one in _mapping(plain(tree).get("regions")).items()}


def _bare(region: dict[str, Any]) -> RegionPart:
    targets = region.get("targets")
    if not isinstance(targets, list) or not all(isinstance(target, dict) for target in targets):
        targets = []
    return RegionPart.model_construct(**region | {"targets": tuple(targets)})


def regions_by_wave(tree: Any) -> list[Sequence[Any]]:
    """The regions that each wave names, in a list of waves; nothing when they grow."""
    waves = plain(tree).get("waves")
    named = [_mapping(wave).get("regions") for wave in waves] if isinstance(waves, list) else []
    return [regions if isinstance(regions, list) else [] for regions in named]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _fits(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def _take_out(content: Any, location: Sequence[int | str]) -> None:
    try:
        for key in location[:-1]:
            content = content[key]
        del content[location[-1]]
    except (LookupError, TypeError):
        return  # it stands where no key of the file leads: its part is unsound
