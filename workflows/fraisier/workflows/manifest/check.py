"""Whether the parts of a manifest fit each other, its files and its providers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fraisier.workflows.manifest.errors import ManifestInvalid, Problem
from fraisier.workflows.manifest.gate_check import gate_problems
from fraisier.workflows.manifest.loader import line_of, load_manifest, problems_of, read_tree
from fraisier.workflows.manifest.migration_check import migration_problems
from fraisier.workflows.manifest.models import Manifest, RegionPart, Strategy
from fraisier.workflows.manifest.release_check import BARE_METAL, ENGINES, release_problems
from fraisier.workflows.manifest.targets import target_name, target_options
from fraisier.workflows.manifest.wave_parts import GrowingWavesPart
from fraisier.workflows.manifest.window_check import window_problems

OptionsOf = Callable[[str], type[BaseModel]]
"""The options model of a provider by name; raises LookupError for a name that no provider has."""


def check_manifest(path: Path, options_of: OptionsOf) -> Manifest:
    """Read a manifest and check all of it, without touching anything but its own files.

    Raises:
        ManifestInvalid: with every problem found.
    """
    manifest = load_manifest(path)
    tree = read_tree(path)
    found = [
        *_wave_problems(manifest),
        *gate_problems(manifest.gates),
        *release_problems(manifest, path.parent),
        *(problem for name in manifest.regions for problem in _region_problems(manifest, name, tree, options_of)),
        *(problem for name, one in manifest.regions.items() for problem in window_problems(name, one)),
        *_shared_targets(manifest),
        *migration_problems(manifest, BARE_METAL),
    ]
    located = [Problem(one.path, one.message, one.line or line_of(tree, _keys(one.path))) for one in found]
    if located:
        raise ManifestInvalid(str(path), located)
    return manifest


def _keys(path: str) -> tuple[int | str, ...]:
    return tuple(int(key) if key.isdigit() else key for key in path.split("."))


def _wave_problems(manifest: Manifest) -> list[Problem]:
    if isinstance(manifest.waves, GrowingWavesPart):
        return []
    named = [region for wave in manifest.waves for region in wave.regions]
    found = [
        Problem(f"waves.{number}.regions.{place}", f"unknown region {name}; known: {', '.join(manifest.regions)}")
        for number, wave in enumerate(manifest.waves)
        for place, name in enumerate(wave.regions)
        if name not in manifest.regions
    ]
    found += [
        Problem("waves", f"region {name} stands in {times} places; a region goes once")
        for name, times in Counter(named).items()
        if times > 1
    ]
    found += [
        Problem(f"regions.{name}", "is in no wave; add it to one or remove it")
        for name in manifest.regions
        if name not in named
    ]
    return found


def _shared_targets(manifest: Manifest) -> list[Problem]:
    """Targets that stand in two regions: what one region did to them would be taken for the other's."""
    found = []
    seen: dict[tuple[str, str, str | None], str] = {}
    for name, region in manifest.regions.items():
        for index in range(len(region.targets)):
            options = target_options(region, index)
            target = target_name(options)
            other = seen.setdefault((region.provider, target, options.get("root")), name)
            if other != name:
                why = f"{target} is in region {other} too; a target belongs to one region"
                found.append(Problem(f"regions.{name}.targets.{index}", why))
    return found


def _health_problems(name: str, region: RegionPart) -> list[Problem]:
    if region.provider in ENGINES and region.health.systemd is not None:
        why = "a container has no units: check it by http, tcp, command or docker"
        return [Problem(f"regions.{name}.health.systemd", why)]
    if region.provider == BARE_METAL and region.health.docker is not None:
        why = "a host has no containers of ours: check it by http, tcp, command or systemd"
        return [Problem(f"regions.{name}.health.docker", why)]
    return []


def _traffic_problems(name: str, region: RegionPart, targets: list[str]) -> list[Problem]:
    traffic = region.traffic
    if traffic is None:
        return []
    found = [
        Problem(f"regions.{name}.traffic.servers", f"there is no target {one} here; known: {', '.join(targets)}")
        for one in traffic.servers
        if one not in targets
    ]
    called = Counter(traffic.server(one) for one in targets)
    found += [
        Problem(f"regions.{name}.traffic.servers", f"two targets are {server}")
        for server, times in called.items()
        if times > 1
    ]
    return found


def _hook_problems(name: str, region: RegionPart) -> list[Problem]:
    hooks = region.hooks.all() if region.hooks is not None else ()
    if region.provider in ENGINES and any(hook.on == "host" for hook in hooks):
        return [Problem(f"regions.{name}.hooks", "a hook cannot run on a Docker engine: give it `on: worker`")]
    return []


def _spread_problems(name: str, region: RegionPart, model: type[BaseModel]) -> list[Problem]:
    label = region.spread
    if label is None:
        return []
    if label in model.model_fields:
        why = f"{label} is an option of {region.provider}; name a key of your own, such as zone, and give it to targets"
        return [Problem(f"regions.{name}.spread", why)]
    return [
        Problem(f"regions.{name}.targets.{index}", f"has no {label}, which `spread` goes by")
        for index, target in enumerate(region.targets)
        if label not in target
    ]


def _strategy_problems(name: str, region: RegionPart) -> list[Problem]:
    promotion, total = region.promotion, len(region.targets)
    if region.strategy is not Strategy.CANARY:
        why = f"belongs to `strategy: canary`, not to {region.strategy.value}"
        return [Problem(f"regions.{name}.promotion", why)] if promotion else []
    if total <= max(1, region.batch.canary if region.batch else 1):
        return [Problem(f"regions.{name}.strategy", f"a canary needs targets that follow it; there are {total}")]
    gates = promotion.gates if promotion else ()
    here = f"regions.{name}.promotion.gates"
    found = [
        Problem(f"{here}.{number}.approval", "people let a canary be followed by promote; give no gate for it")
        for number, gate in enumerate(gates)
        if gate.approval is not None
    ]
    return [*found, *gate_problems(gates, here)]


def _region_problems(manifest: Manifest, name: str, tree: Any, options_of: OptionsOf) -> list[Problem]:
    region = manifest.regions[name]
    try:
        model = options_of(region.provider)
    except LookupError as error:
        return [Problem(f"regions.{name}.provider", str(error.args[0]))]
    names = [target_name(target_options(region, index)) for index in range(len(region.targets))]
    found = [
        *_health_problems(name, region),
        *_traffic_problems(name, region, names),
        *_hook_problems(name, region),
        *_spread_problems(name, region, model),
        *_strategy_problems(name, region),
    ]
    found += [
        Problem(f"regions.{name}.targets.{index}", f"is {target} again; a target stands in a region once")
        for index, target in enumerate(names)
        if target in names[:index]
    ]
    for index, own in enumerate(region.targets):
        try:
            model.model_validate(target_options(region, index))
        except ValidationError as error:
            here = ("regions", name, "targets", index)
            for problem in problems_of(error, tree, below=here, model=model):
                key = _keys(problem.path)[len(here) :]
                if key and key[0] not in own and key[0] in region.options:
                    path = ".".join(map(str, ("regions", name, *key)))
                    problem = Problem(path, problem.message, line_of(tree, ("regions", name, *key)))  # noqa: PLW2901
                found.append(problem)
    return list(dict.fromkeys(found))
