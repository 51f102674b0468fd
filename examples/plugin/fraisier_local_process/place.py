"""The folder of one service: its releases, what is known about them, and the lock under which both change."""

import fcntl
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import Field

from fraisier.providers.errors import ArtifactRejected, StaleToken
from fraisier.providers.models import FencingToken, Model, Release, ReleaseRef, Step
from fraisier_local_process.process import Process


class Running(Model):
    """What was put in place.

    Attributes:
        release: the release.
        rollout_id: by which rollout.
        since: when.
        process: the process that was started for it.
    """

    release: ReleaseRef
    rollout_id: str
    since: datetime
    process: Process


class State(Model):
    """What the place knows.

    Attributes:
        token: the highest one seen.
        done: what steps did, by their IDs.
        running: what is in place.
        had: the releases that were in place, the newest first.
    """

    token: FencingToken | None = None
    done: dict[str, bool] = Field(default_factory=dict)
    running: Running | None = None
    had: tuple[ReleaseRef, ...] = ()


class Place:
    """The folder.

    Args:
        root: where it is.
        target: the target's name, for errors.
    """

    def __init__(self, root: Path, *, target: str) -> None:
        self.root = root
        self._target = target

    @property
    def log(self) -> Path:
        """What the service wrote."""
        return self.root / "log"

    def folder(self, release: ReleaseRef) -> Path:
        """A release's own folder."""
        return self.root / "releases" / f"{release.version}-{release.digest.removeprefix('sha256:')[:12]}"

    def read(self) -> State:
        """What is known; nothing when nothing was ever done here."""
        file = self.root / "state.json"
        return State.model_validate_json(file.read_bytes()) if file.exists() else State()

    def write(self, state: State) -> None:
        """Replace what is known, at once and for good."""
        new = self.root / "state.json.new"
        with new.open("w") as file:
            file.write(state.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.root / "state.json")

    @contextmanager
    def entered(self, step: Step) -> Iterator[State]:
        """Hold the lock; what is known, with the step's token as the highest.

        The token is compared under the lock that also covers the effect, so what was thought dead cannot act late.

        Raises:
            StaleToken: a newer attempt was here.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            if state.token is not None and state.token.order > step.token.order:
                seen = ".".join(map(str, state.token.order))
                raise StaleToken(
                    f"{self._target}: a newer attempt was here: {seen}", target=self._target, step=step.name
                )
            state = state.model_copy(update={"token": step.token})
            self.write(state)
            yield state

    def unpack(self, release: Release) -> None:
        """Put a release into its folder, which is there whole or not at all."""
        if release.artifact is None:
            raise ArtifactRejected(f"{release.version} has no artifact", target=self._target, step="stage")
        new = self.root / "releases" / ".new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        with tarfile.open(release.artifact, "r:gz") as archive:
            archive.extractall(new, filter="data")
        new.rename(self.folder(release.ref))
