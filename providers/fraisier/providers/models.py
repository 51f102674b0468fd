"""What goes into a provider's steps and what comes out: small frozen models, all safe to store and to show."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from fraisier.providers.duration import Duration

UNIT = r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$"
"""How a systemd unit is called."""


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
        room: what the artifact takes while it is unpacked, in bytes; 0 when that is not known.
        image: the image reference, best with ``@sha256:…``; Docker needs it.
        image_archive: a ``docker save`` archive on this machine that holds `image`, loaded instead of a pull.
    """

    service: str
    artifact: Path | None = None
    room: int = 0
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
        drift: what somebody changed by hand since the last rollout, one sentence each.
    """

    release: ReleaseRef | None = None
    rollout_id: str | None = None
    since: datetime | None = None
    kept: tuple[ReleaseRef, ...] = ()
    token: FencingToken | None = None
    drift: tuple[str, ...] = ()


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


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


Status = Annotated[int, Field(ge=100, le=599)]
Statuses = Annotated[
    tuple[Status, ...], BeforeValidator(_one_or_more, json_schema_input_type=Status | tuple[Status, ...])
]
"""HTTP status codes; a single one may be written without a list."""


class Expected(Model):
    """What a text must hold: words that stand in it, or a pattern that is found in it. A plain text means words.

    Attributes:
        text: stands somewhere in it, letter for letter.
        regex: a regular expression of Python's that is found somewhere in it.
    """

    text: str | None = None
    regex: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core)]}

    @model_validator(mode="after")
    def _usable(self) -> "Expected":
        if (self.text is None) == (self.regex is None):
            raise ValueError("give either a text or {regex: a regular expression}")
        try:
            re.compile(self.regex or "")
        except re.error as error:
            raise ValueError(f"{self.regex!r} is no regular expression: {error}") from error
        return self

    def is_in(self, found: str) -> bool:
        """Whether the text is as expected."""
        return re.search(self.regex, found) is not None if self.regex is not None else (self.text or "") in found

    def __str__(self) -> str:
        return repr(self.text) if self.regex is None else f"/{self.regex}/"


class HealthCheck(Model):
    """How a target proves that its service is healthy. Exactly one probe is given.

    Attributes:
        http: a URL as seen from the target; a 2xx answer passes.
        tcp: ``host:port`` as seen from the target; an accepted connection passes.
        command: an argument list run on the target; exit status 0 passes.
        systemd: a unit of the target; it passes while it is active and is not started again by systemd.
        docker: the container's own health check, as the engine reports it; of a Compose project, that of each service.
        expect_version: with `http`, a body that does not hold the release's version fails.
        status: with `http`, the status codes that pass, instead of 2xx.
        body: with `http`, what the body's first 64 KB must hold.
        headers: with `http`, what headers must be there, and what each must hold.
        interval: the wait between two probes.
        timeout: how long one probe may take.
        healthy_after: how many probes in a row must pass.
        min_healthy_time: how long it must then stay so; a single probe that fails meanwhile fails the check.
        progress_deadline: when the check gives up and fails; `min_healthy_time` comes on top.
    """

    http: str | None = None
    tcp: str | None = None
    command: tuple[str, ...] | None = None
    systemd: Annotated[str, Field(pattern=UNIT)] | None = None
    docker: Literal[True] | None = None
    expect_version: bool = False
    status: Statuses = ()
    body: Expected | None = None
    headers: dict[str, Expected] = Field(default_factory=dict)
    interval: Duration = timedelta(seconds=2)
    timeout: Duration = timedelta(seconds=5)
    healthy_after: int = Field(default=3, ge=1)
    min_healthy_time: Duration = timedelta(0)
    progress_deadline: Duration = timedelta(minutes=2)

    @model_validator(mode="after")
    def _one_probe(self) -> "HealthCheck":
        kinds = ("http", "tcp", "command", "systemd", "docker")
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of {', '.join(kinds[:-1])} or {kinds[-1]}, not {' and '.join(given) or 'none'}"
            )
        if self.http is None:
            asked = [name for name in ("expect_version", "status", "body", "headers") if getattr(self, name)]
            if asked:
                raise ValueError(f"{' and '.join(asked)} need http")
        return self
