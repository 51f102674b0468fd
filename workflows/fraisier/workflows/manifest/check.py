"""Whether the parts of a manifest fit each other, its files and its providers."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fraisier.workflows.manifest.errors import ManifestInvalid, Problem
from fraisier.workflows.manifest.gate_check import gate_problems
from fraisier.workflows.manifest.loader import keys_of, line_of, plain, problems_of, read_tree
from fraisier.workflows.manifest.migration_check import migration_problems
from fraisier.workflows.manifest.models import Manifest, RegionPart
from fraisier.workflows.manifest.region_check import misspelled_provider, option_problems, region_problems
from fraisier.workflows.manifest.release_check import BARE_METAL, release_problems
from fraisier.workflows.manifest.sound import bare_regions, regions_by_wave, sound_parts
from fraisier.workflows.manifest.targets import target_name, target_options
from fraisier.workflows.manifest.window_check import window_problems

OptionsOf = Callable[[str], type[BaseModel]]
"""The options model of a provider by name; raises LookupError for a name that no provider has."""


def check_manifest(path: Path, options_of: OptionsOf) -> Manifest:
    """Read a manifest and check all of it, without touching anything but its own files.

    Where a part is wrong by itself, the others are looked at all the same.

    Raises:
        ManifestInvalid: with every problem found.
    """
    tree = read_tree(path)
    found: list[Problem] = []
    try:
        manifest = Manifest.model_validate(plain(tree))
    except ValidationError as error:
        found += problems_of(error, tree)
        manifest = sound_parts(tree, error)
    found += _located(_problems(manifest, tree, path.parent, options_of), tree)
    if found:
        raise ManifestInvalid(str(path), found)
    return manifest


def _located(problems: Iterator[Problem], tree: Any) -> list[Problem]:
    return [Problem(one.path, one.message, one.line or line_of(tree, keys_of(one.path))) for one in problems]


def _problems(manifest: Manifest, tree: Any, folder: Path, options_of: OptionsOf) -> Iterator[Problem]:
    regions = bare_regions(tree)
    yield from _wave_problems(regions_by_wave(tree), regions)
    for name, region in regions.items():
        yield from _region_problems(name, region, manifest.regions.get(name), tree, options_of)
    yield from gate_problems(manifest.gates)
    yield from _shared_targets(manifest)
    if "release" in manifest.model_fields_set:
        yield from release_problems(manifest, folder)
    if len(manifest.regions) == len(regions):
        yield from migration_problems(manifest, BARE_METAL)


def _wave_problems(waves: Sequence[Sequence[Any]], regions: dict[str, RegionPart]) -> Iterator[Problem]:
    named = [region for wave in waves for region in wave]
    for number, wave in enumerate(waves):
        for place, name in enumerate(wave):
            if isinstance(name, str) and name not in regions:
                yield Problem(f"waves.{number}.regions.{place}", f"unknown region {name}; known: {', '.join(regions)}")
    for name, times in Counter(map(str, named)).items():
        if times > 1:
            yield Problem("waves", f"region {name} stands in {times} places; a region goes once")
    for name in regions if waves else ():
        if name not in named:
            yield Problem(f"regions.{name}", "is in no wave; add it to one or remove it")


def _shared_targets(manifest: Manifest) -> Iterator[Problem]:
    """Targets that stand in two regions: what one region did to them would be taken for the other's."""
    seen: dict[tuple[str, str, str | None], str] = {}
    for name, region in manifest.regions.items():
        for index in range(len(region.targets)):
            options = target_options(region, index)
            target = target_name(options)
            other = seen.setdefault((region.provider, target, options.get("root")), name)
            if other != name:
                why = f"{target} is in region {other} too; a target belongs to one region"
                yield Problem(f"regions.{name}.targets.{index}", why)


def _region_problems(
    name: str, bare: RegionPart, sound: RegionPart | None, tree: Any, options_of: OptionsOf
) -> Iterator[Problem]:
    """What is wrong with a region.

    Args:
        bare: what concerns its provider, not checked yet.
        sound: all of it, when it is right by itself.
    """
    provider = getattr(bare, "provider", None)
    if not isinstance(provider, str):
        yield from misspelled_provider(name, bare)
        return
    try:
        model = options_of(provider)
    except LookupError as error:
        yield Problem(f"regions.{name}.provider", str(error.args[0]))
        return
    yield from option_problems(name, bare, tree, model)
    if sound is not None:
        yield from region_problems(name, sound, model)
        yield from window_problems(name, sound)
