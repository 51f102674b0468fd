"""Whether the parts of a region fit each other and its provider."""

from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from fraisier.workflows.manifest.errors import Problem
from fraisier.workflows.manifest.gate_check import gate_problems
from fraisier.workflows.manifest.loader import keys_of, line_of, problems_of
from fraisier.workflows.manifest.models import RegionPart, Strategy
from fraisier.workflows.manifest.release_check import BARE_METAL, ENGINES
from fraisier.workflows.manifest.targets import target_name, target_options
from fraisier.workflows.manifest.words import unknown_key


def region_problems(name: str, region: RegionPart, model: type[BaseModel]) -> list[Problem]:
    """What is wrong with a region that is right by itself.

    Args:
        model: the options of its provider.
    """
    names = [target_name(target_options(region, index)) for index in range(len(region.targets))]
    return [
        *_health_problems(name, region),
        *_traffic_problems(name, region, names),
        *_hook_problems(name, region),
        *_spread_problems(name, region, model),
        *_strategy_problems(name, region),
        *(
            Problem(f"regions.{name}.targets.{index}", f"is {target} again; a target stands in a region once")
            for index, target in enumerate(names)
            if target in names[:index]
        ),
    ]


def option_problems(name: str, region: RegionPart, tree: Any, model: type[BaseModel]) -> list[Problem]:
    """What is wrong with the provider's options, given at the region or at its targets.

    Args:
        region: with its provider, targets and options; the rest of it may be wrong.
        tree: the file, which holds the lines.
        model: the options.
    """
    found = []
    for index, own in enumerate(region.targets or ({},)):
        try:
            model.model_validate(target_options(region, index) if region.targets else region.options)
        except ValidationError as error:
            here = ("regions", name, "targets", index)
            for problem in problems_of(error, tree, below=here, model=model):
                key = keys_of(problem.path)[len(here) :]
                if key and key[0] not in own and key[0] in region.options:
                    found.append(_moved(problem, name, key, tree, model))
                elif region.targets:
                    found.append(problem)
    return list(dict.fromkeys(found))


def misspelled_provider(name: str, region: RegionPart) -> Iterator[Problem]:
    """The key that was meant to be the provider; no other one can be known without it."""
    for key in get_close_matches("provider", region.options, n=1):
        yield Problem(f"regions.{name}.{key}", unknown_key(key, ["provider"]))


def _moved(problem: Problem, name: str, key: tuple[int | str, ...], tree: Any, model: type[BaseModel]) -> Problem:
    """A problem of every target told once, of the region where the option stands."""
    unknown = problem.message.startswith("unknown key") and len(key) == 1
    known = sorted({field.alias or one for one, field in (model.model_fields | RegionPart.model_fields).items()})
    return Problem(
        ".".join(map(str, ("regions", name, *key))),
        unknown_key(str(key[0]), known) if unknown else problem.message,
        line_of(tree, ("regions", name, *key)),
    )


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
