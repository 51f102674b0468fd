"""What an engine keeps of a service's releases: bundles, and notes of which one was put in place and when.

Both are containers that are never started. They live as long as the engine's own containers do, and any worker that may
ask the engine finds them by their labels.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from fraisier.providers.compose.bundle import ARTIFACT, RECIPE, Bundle, Recipe
from fraisier.providers.compose.engine import ProjectEngine
from fraisier.providers.docker.claims import NOTHING
from fraisier.providers.docker.containers import (
    DIGEST,
    GENERATION,
    ORDINAL,
    ROLLOUT,
    VERSION,
    Container,
    container_name,
    release_labels,
)
from fraisier.providers.models import ReleaseRef, Step

BUNDLE_KIND, NOTE_KIND = "bundle", "note"
CONTAINERS = "dev.fraisier.containers"

PART = ".part"
"""Ends the name of a bundle until all of it has reached the engine: a worker may die while it puts one there."""


@dataclass(frozen=True)
class Note:
    """That a release, or nothing, was put in place."""

    container: Container

    @property
    def release(self) -> ReleaseRef | None:
        """What was put in place."""
        return self.container.release if VERSION in self.container.labels else None

    @property
    def rollout_id(self) -> str:
        """By which rollout."""
        return self.container.labels[ROLLOUT]

    @property
    def containers(self) -> frozenset[str]:
        """The names of the project's containers then."""
        return frozenset(self.container.labels[CONTAINERS].split())

    @property
    def order(self) -> tuple[int, int]:
        """Which is the later one."""
        return int(self.container.labels[GENERATION]), int(self.container.labels[ORDINAL])


@dataclass(frozen=True)
class Shelf:
    """The shelf of one engine.

    Args:
        engine: the engine.
    """

    engine: ProjectEngine

    async def put(self, step: Step, bundle: Bundle) -> None:
        """Keep a bundle, under this generation; one that is there already is as good."""
        release = bundle.recipe.release
        name = f"{container_name(step, release)}.bundle"
        if name in {one.name for one in await self._bundles(step.service)}:
            return
        container = await self._make(name + PART, release_labels(step, release, kind=BUNDLE_KIND))
        await self.engine.put(container, await asyncio.to_thread(bundle.packed))
        await self.engine.rename(container, name)

    async def own(self, step: Step, release: ReleaseRef) -> Bundle | None:
        """The bundle that this generation staged."""
        mine = [one for one in await self._bundles(step.service) if one.generation == step.token.generation]
        return await self._first(mine, release)

    async def kept(self, service: str, release: ReleaseRef) -> Bundle | None:
        """The newest bundle of a release."""
        return await self._first(await self._bundles(service), release)

    async def note(self, step: Step, release: ReleaseRef | None, *, containers: list[str]) -> None:
        """Note that a release, or nothing, is in place now."""
        labels = release_labels(step, release or ReleaseRef(version="none", digest=""), kind=NOTE_KIND)
        if release is None:
            labels = {key: value for key, value in labels.items() if key not in (VERSION, DIGEST)}
        more = {ORDINAL: str(step.token.ordinal), CONTAINERS: " ".join(sorted(containers))}
        name = f"{step.service}.note.{step.token.generation}.{step.token.ordinal}"
        await self._make(name, {**labels, **more})

    async def notes(self, service: str) -> list[Note]:
        """All notes, the newest first: the first one tells what is in place."""
        notes = [Note(one) for one in await self.engine.containers(service, NOTE_KIND)]
        return sorted(notes, key=lambda note: note.order, reverse=True)

    async def current(self, service: str) -> Note | None:
        """The newest note of a release in place; None when nothing is."""
        notes = await self.notes(service)
        return notes[0] if notes and notes[0].release else None

    async def releases(self, service: str) -> tuple[ReleaseRef, ...]:
        """The releases that were in place and whose bundle is kept, the newest first."""
        bundled = {one.release for one in await self._bundles(service)}
        noted = (note.release for note in await self.notes(service))
        return tuple(dict.fromkeys(release for release in noted if release in bundled and release))

    async def since(self, note: Note) -> datetime:
        """When a release was put in place, by the engine's clock."""
        created = (await self.engine.inspect(note.container.id))["Created"]
        return datetime.fromisoformat(created[:19] + "+00:00")

    async def clear(self, step: Step, keep: tuple[ReleaseRef, ...]) -> bool:
        """Remove what belongs to other releases, and what never had its turn; whether that was anything."""
        newest: set[ReleaseRef] = set()
        gone = [one for one in await self._parts(step.service) if one.generation <= step.token.generation]
        for one in await self._bundles(step.service):
            staged_now = one.generation >= step.token.generation
            if one.release in newest or (one.release not in keep and not staged_now):
                gone.append(one)
            newest.add(one.release)
        old = [note.container for note in (await self.notes(step.service))[1:] if note.release not in keep]
        for one in (*gone, *old):
            await self.engine.remove(one.id)
        return bool(gone)

    async def _parts(self, service: str) -> list[Container]:
        """The bundles of which not all is there."""
        return [one for one in await self.engine.containers(service, BUNDLE_KIND) if one.name.endswith(PART)]

    async def _bundles(self, service: str) -> list[Container]:
        """The bundles that are whole, the newest first."""
        found = [one for one in await self.engine.containers(service, BUNDLE_KIND) if not one.name.endswith(PART)]
        return sorted(found, key=lambda one: (one.generation, one.name), reverse=True)

    async def _first(self, bundles: list[Container], release: ReleaseRef) -> Bundle | None:
        """The first of them whose artifact is the release's to the last byte."""
        for one in bundles:
            if one.release == release and (bundle := await self._take(one.id)):
                return bundle
        return None

    async def _take(self, container: str) -> Bundle | None:
        recipe = await self.engine.get(container, RECIPE)
        if recipe is None:
            return None
        artifact = await self.engine.get(container, ARTIFACT)
        bundle = Bundle(recipe=Recipe.model_validate_json(recipe), artifact=artifact)
        return bundle if await asyncio.to_thread(bundle.is_whole) else None

    async def _make(self, name: str, labels: dict[str, str]) -> str:
        return await self.engine.create(name, {"Image": f"{NOTHING}:1", "Cmd": ["-"], "Labels": labels})
