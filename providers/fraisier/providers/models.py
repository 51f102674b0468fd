"""What goes into a provider's steps and what comes out: small frozen models, all safe to store and to show."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fraisier.providers.duration import Duration


class Model(BaseModel):
    """Base of every model here: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReleaseRef(Model):
    """A release by name: what a target runs, ran before, or shall run.

    Attributes:
        version: the version as its makers write it, such as ``2.0.0``.
        digest: ``sha256:<64 hex digits>`` of the artifact, or the image reference where there is no artifact.
    """

    version: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    digest: str


class Release(ReleaseRef):
    """A release that a provider can ship.

    Attributes:
        service: the service that it is a release of.
        artifact: the ``.tar.gz`` on this machine, already verified against `digest`; bare metal needs it.
        image: the image reference, best with ``@sha256:…``; Docker needs it.
        image_archive: a ``docker save`` archive on this machine that holds `image`, loaded instead of a pull.
    """

    service: str
    artifact: Path | None = None
    image: str | None = None
    image_archive: Path | None = None

    @property
    def ref(self) -> ReleaseRef:
        """The release by name alone."""
        return ReleaseRef(version=self.version, digest=self.digest)


class FencingToken(Model):
    """Who may act: a target refuses a token that is lower than the highest one it has seen.

    Attributes:
        generation: minted once for each forward run and once for each rollback, ever growing for a service.
        ordinal: the step's place in its generation, from 1.
        attempt: the attempt at that step, from 1.
    """

    generation: int = Field(ge=0)
    ordinal: int = Field(ge=0)
    attempt: int = Field(ge=0)

    @property
    def order(self) -> tuple[int, int, int]:
        """The three numbers, in the order in which they are compared."""
        return (self.generation, self.ordinal, self.attempt)


class Step(Model):
    """One step of a rollout on one target; the same for every attempt but for the token's last number.

    Attributes:
        rollout_id: the rollout, which is also the events' ``deployment_id``.
        name: ``stage``, ``activate``, ``health``, ``rollback``, … as the events' step.
    """

    rollout_id: str
    service: str
    region: str
    target: str
    name: str
    token: FencingToken

    @property
    def id(self) -> str:
        """The step's identity on its target. It leaves the attempt out, so a retry finds what was recorded."""
        return f"{self.rollout_id}.{self.token.generation}.{self.token.ordinal}.{self.name}"


class TargetState(Model):
    """What a target really runs, as it says itself.

    Attributes:
        release: what runs now, or None when this service was never activated there.
        rollout_id: the rollout that activated it.
        since: when that was, by the target's clock.
        kept: releases that a rollback could return to, newest first.
        token: the highest fencing token that the target has seen for this service.
    """

    release: ReleaseRef | None = None
    rollout_id: str | None = None
    since: datetime | None = None
    kept: tuple[ReleaseRef, ...] = ()
    token: FencingToken | None = None


class StepResult(Model):
    """What a step did.

    Attributes:
        changed: False when the target was already as wanted. A step that had been done before returns what was
            recorded then, so that a lost answer is not lost for good.
        detail: one line for people; never a secret, at most a few hundred characters.
    """

    changed: bool
    detail: str = ""


class HealthResult(Model):
    """The verdict of a health check.

    Attributes:
        healthy: whether it passed often enough in a row before `progress_deadline`.
        timed_out: whether the deadline ended it while it still had no answer or was starting.
        detail: the last thing seen, for people.
        attempts: how many probes were sent.
        duration_s: seconds from the first probe to the verdict.
    """

    healthy: bool
    timed_out: bool = False
    detail: str = ""
    attempts: int = 0
    duration_s: float = 0.0


class HealthCheck(Model):
    """How a target proves that its service is healthy. Exactly one probe is given.

    Attributes:
        http: a URL as seen from the target; a 2xx answer passes.
        tcp: ``host:port`` as seen from the target; an accepted connection passes.
        command: an argument list run on the target; exit status 0 passes.
        expect_version: with `http`, a body that does not hold the release's version fails.
        interval: the wait between two probes.
        timeout: how long one probe may take.
        healthy_after: how many probes in a row must pass.
        progress_deadline: when the check gives up and fails.
    """

    http: str | None = None
    tcp: str | None = None
    command: tuple[str, ...] | None = None
    expect_version: bool = False
    interval: Duration = timedelta(seconds=2)
    timeout: Duration = timedelta(seconds=5)
    healthy_after: int = Field(default=3, ge=1)
    progress_deadline: Duration = timedelta(minutes=2)

    @model_validator(mode="after")
    def _one_probe(self) -> "HealthCheck":
        given = [name for name in ("http", "tcp", "command") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of http, tcp or command, not {' and '.join(given) or 'none'}")
        return self
