"""A target's options and its name, out of its region. Pure: a plan is made of them, and plans are made in workflows."""

from typing import Any

from fraisier.workflows.manifest.models import RegionPart


def target_options(region: RegionPart, index: int) -> dict[str, Any]:
    """A target's provider options: the region's, overridden by its own; its label for `spread` is none of them."""
    options = {**region.options, **region.targets[index]}
    return {key: value for key, value in options.items() if key != region.spread}


def target_name(options: dict[str, Any]) -> str:
    """The name of a target out of its options: its own ``name``, else its host with its port, else its engine."""
    if "host" in options:
        return f"{options['host']}:{options['port']}" if "port" in options else str(options["host"])
    return str(options.get("name") or options.get("engine") or "default")
