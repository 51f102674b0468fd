"""What a manifest would do, told before it is done: its plan, and what that would change at which target."""

import hashlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from fraisier.providers.models import ReleaseRef, TargetState
from fraisier.workflows.manifest.models import Manifest
from fraisier.workflows.plans import Plan, ReleasePlan, StoredArtifact
from fraisier.workflows.steps import RegionLook


class Change(str, Enum):
    """What a rollout would do to a target."""

    NONE = "none"
    DEPLOY = "deploy"
    DRIFT = "drift"
    UNKNOWN = "unknown"


class TargetChange(BaseModel):
    """A target beside the plan.

    Attributes:
        wave: when it would change, from 1.
        now: what it runs; None when that is nothing, or not known.
        then: what it would run.
        change: ``none``; ``deploy``, another release; ``drift``, the same one, which somebody changed by hand; or
            ``unknown``, since it could not be asked.
        why: what was changed by hand, that it is another release of the same version, or why it could not be asked.
    """

    wave: int
    region: str
    target: str
    now: ReleaseRef | None = None
    then: ReleaseRef
    change: Change
    why: str = ""


def release_of(manifest: Manifest, artifact: StoredArtifact | None, archive: StoredArtifact | None) -> ReleasePlan:
    """The manifest's release, with the files that belong to it."""
    release = manifest.release
    return ReleasePlan(
        service=manifest.service,
        version=release.version,
        digest=artifact.digest if artifact else (release.image or "").rpartition("@")[2],
        artifact=artifact,
        image=release.image,
        image_archive=archive,
    )


def local_release(manifest: Manifest, folder: Path) -> ReleasePlan:
    """The same, with files that stay where they are. This blocks."""
    release = manifest.release
    return release_of(
        manifest,
        _looked_at(folder / release.artifact) if release.artifact else None,
        _looked_at(folder / release.image_archive) if release.image_archive else None,
    )


def changes(plan: Plan, looks: tuple[RegionLook, ...]) -> Iterator[TargetChange]:
    """What a plan would change, target by target, in the order of the waves."""
    found = {look.region: look for look in looks}
    for wave in plan.waves:
        for name in wave.regions:
            look = found[name]
            for target in plan.regions[name].targets:
                state = look.states.get(target.name)
                about = {"wave": wave.number, "region": name, "target": target.name, "then": plan.release.ref}
                if state is None:
                    yield TargetChange(**about, change=Change.UNKNOWN, why=look.silent.get(target.name, ""))
                else:
                    change, why = _change(state, plan.release.ref), _why(state, plan.release.ref)
                    yield TargetChange(**about, now=state.release, change=change, why=why)


def _why(state: TargetState, then: ReleaseRef) -> str:
    now = state.release
    if now is None or now == then or now.version != then.version:
        return "; ".join(state.drift)
    return "; ".join((f"another {then.version}: {_short(now.digest)} → {_short(then.digest)}", *state.drift))


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:8]


def _change(state: TargetState, then: ReleaseRef) -> Change:
    if state.release != then:
        return Change.DEPLOY
    return Change.DRIFT if state.drift else Change.NONE


def _looked_at(path: Path) -> StoredArtifact:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return StoredArtifact(digest=f"sha256:{digest.hexdigest()}", size=path.stat().st_size, name=path.name)
