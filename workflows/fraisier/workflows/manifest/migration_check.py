"""Whether a manifest's migrations make sense."""

import difflib
from collections import Counter
from collections.abc import Iterator

from fraisier.workflows.manifest.errors import Problem
from fraisier.workflows.manifest.models import Manifest


def migration_problems(manifest: Manifest, host_provider: str) -> Iterator[Problem]:
    """What is wrong with the migrations.

    Args:
        manifest: the whole of it.
        host_provider: the provider whose targets are hosts.
    """
    for name, times in Counter(one.database for one in manifest.migrations).items():
        if times > 1:
            yield Problem("migrations", f"database {name} stands in {times} places; give its commands in one")
    for number, migration in enumerate(manifest.migrations):
        region = manifest.regions.get(migration.region) if migration.region is not None else None
        here = f"migrations.{number}.region"
        if migration.region is not None and region is None:
            near = difflib.get_close_matches(migration.region, manifest.regions, n=1)
            meant = f"did you mean {near[0]}?" if near else f"known: {', '.join(manifest.regions)}"
            yield Problem(here, f"unknown region {migration.region}; {meant}")
        elif migration.on == "host" and region is not None and region.provider != host_provider:
            yield Problem(
                here, f"{migration.region} is {region.provider}, which has no hosts: name a {host_provider} region"
            )
