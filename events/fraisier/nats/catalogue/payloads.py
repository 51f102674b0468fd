"""What every event may carry; each domain's module adds its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Payload(BaseModel):
    """What any event may carry. Keys of the publisher's own may stand beside these.

    Values are taken as JSON has them: no ``"7"`` for a 7, and no NaN, which no other reader of JSON knows.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    service: Annotated[str | None, Field(description="the service, as in the envelope")] = None
    version: Annotated[str | None, Field(description="the release's version")] = None
    release_digest: Annotated[str | None, Field(description="the release's digest, or its image")] = None
    generation: Annotated[int | None, Field(description="the fencing generation of the step")] = None
    scope: Annotated[str | None, Field(description="`rollout`, `region` or `target`: what it is about")] = None
    status: Annotated[str | None, Field(description="how things stand, in the publisher's words")] = None
    detail: Annotated[str | None, Field(description="what was seen, for people")] = None
    duration_s: Annotated[float | None, Field(description="how long it took, in seconds")] = None
    timestamp: Annotated[str | None, Field(description="when it happened, as the publisher writes it")] = None


class Outcome(Payload):
    """How something ended."""

    reason: Annotated[str | None, Field(description="why it ended so, for people")] = None
    error: Annotated[str | None, Field(description="what went wrong, for people")] = None


@dataclass(frozen=True)
class EventSpec:
    """A type of the catalogue.

    Attributes:
        event_type: such as ``deployment.started``.
        description: one sentence: what it tells.
        payloads: the payload's models, version 1 first; the last one is what is published now, all can be read.
        cdevents: the CDEvents type that says the same, by scope. An event without a scope is a target's.
    """

    event_type: str
    description: str
    payloads: tuple[type[Payload], ...]
    cdevents: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The payload's version that is published now."""
        return len(self.payloads)
