"""Brings the files of a release to where every worker can fetch them."""

import asyncio
from pathlib import Path

from fraisier.nats import Artifact, ArtifactStore
from fraisier.orchestrator.planned import release_of
from fraisier.providers.bare_metal.artifact import unpacked_size
from fraisier.workflows.manifest.models import Manifest
from fraisier.workflows.plans import ReleasePlan, StoredArtifact


async def upload(store: ArtifactStore, manifest: Manifest, folder: Path) -> ReleasePlan:
    """Store what a manifest ships, each file once by its digest, and return the release as it is stored.

    Args:
        folder: the manifest's own, which its paths are relative to.
    """
    release = manifest.release
    artifact = await store.put(folder / release.artifact) if release.artifact else None
    archive = await store.put(folder / release.image_archive) if release.image_archive else None
    unpacked = await asyncio.to_thread(unpacked_size, folder / release.artifact) if release.artifact else 0
    return release_of(manifest, _stored(artifact, unpacked), _stored(archive))


def _stored(artifact: Artifact | None, unpacked: int = 0) -> StoredArtifact | None:
    return StoredArtifact(**artifact.model_dump(), unpacked=unpacked) if artifact else None
