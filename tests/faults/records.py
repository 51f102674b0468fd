"""What was seen of a round from outside: by the hosts' own logs, a plain NATS client, Temporal's histories, a probe.

The checks read these records and nothing else; a round's are written to one file, and a planted fault is one change
of them.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Base of them all."""

    model_config = ConfigDict(extra="forbid")


class Effect(Record):
    """A line of ``.fraisier/effects``: what a step did to a host."""

    host: str
    service: str
    token: tuple[int, int, int]
    step: str
    what: str
    release: str


class Start(Record):
    """A line of the service's own log: when it was started, and which version."""

    host: str
    service: str
    at: float
    version: str


class Message(Record):
    """A stored message as a plain client reads it.

    Attributes:
        body: as it was sent; None when it is no JSON.
        at: the server's clock when it was stored, in seconds.
    """

    stream: str
    sequence: int
    subject: str
    id: str
    at: float
    body: dict[str, Any] | None

    @property
    def data(self) -> dict[str, Any]:
        """The event's own payload."""
        data = (self.body or {}).get("data")
        return data if isinstance(data, dict) else {}

    @property
    def target(self) -> str:
        return str((self.body or {}).get("subject") or "")

    @property
    def part(self) -> tuple[str, ...]:
        """Domain, region, service, rollout and event, out of the subject."""
        return tuple(self.subject.split(".")[1:6])

    @property
    def type(self) -> str:
        domain, _, _, _, event = self.part
        return f"{domain}.{event}"

    @property
    def region(self) -> str:
        return self.part[1]

    @property
    def rollout_id(self) -> str:
        return self.part[3]


class Ack(Record):
    """What a worker was told when it published."""

    id: str
    stream: str
    sequence: int


class Host(Record):
    """A host's state in the end, for one service.

    Attributes:
        current: the version that `current` points to.
        served: the version that was started last.
        locked: whether somebody holds the host's lock.
        left: files of a step that was not finished: uploads, `.new` files, the note of an unsettled switch.
        processes: commands that still run there.
    """

    host: str
    service: str
    current: str
    served: str
    locked: bool = False
    left: list[str] = Field(default_factory=list)
    processes: list[str] = Field(default_factory=list)


class Glimpse(Record):
    """Something other than one whole release, seen through `current` while a round ran."""

    host: str
    service: str
    at: float
    seen: str


class Attempt(Record):
    """Something that must be refused, and whether it was.

    Attributes:
        marks: the ID of the message, or the word in its body, which no stream may hold.
    """

    what: str
    refused: bool
    marks: str = ""


class Vitals(Record):
    """A process when the round began or ended."""

    process: str
    files: int
    connections: int = 0
    threads: int
    memory_kb: int


class Rollout(Record):
    """One rollout: its plan, how it was to end, and how it did.

    Attributes:
        waves: regions by wave; `targets` by region.
        old: by target, the version that ran there before.
        story: ``good``, ``ill`` in its last region, or taken ``back`` by a signal.
        must_end: the phases that are right for its story under its fault.
        result: as Temporal has it; None when it did not end in time.
        histories: by workflow ID, of the rollout and its children.
        unchanged: whether it rolls out what ran already.
    """

    service: str
    rollout_id: str
    story: str
    place: str
    reached: bool
    waves: list[list[str]]
    targets: dict[str, list[str]]
    old: dict[str, str]
    new: str
    new_digest: str
    must_end: list[str]
    result: dict[str, Any] | None
    histories: dict[str, dict[str, Any]]
    unchanged: bool = False

    def region_ended(self, host: str) -> str:
        """How a host's region ended, as the result says; empty for one that never began."""
        region = next(name for name, hosts in self.targets.items() if host in hosts)
        return str((self.result or {}).get("regions", {}).get(region, ""))


class Round(Record):
    """All of a round.

    Attributes:
        row: which fault.
        seed: what chose its places.
        faults: what was done, in order.
        began: when its rollouts were started, in seconds; what services did before was checked before.
        crashed: whether hosts died with what ran there, so that a start may have been cut off and done again.
        secrets_in: places where a secret's value was found.
        searched: places that were searched for it.
    """

    row: str
    seed: int
    faults: list[str]
    began: float
    crashed: bool = False
    rollouts: list[Rollout]
    effects: list[Effect]
    starts: list[Start]
    messages: list[Message]
    acks: list[Ack]
    hosts: list[Host]
    glimpses: list[Glimpse] = Field(default_factory=list)
    attempts: list[Attempt] = Field(default_factory=list)
    vitals_before: list[Vitals] = Field(default_factory=list)
    vitals_after: list[Vitals] = Field(default_factory=list)
    secrets_in: list[str] = Field(default_factory=list)
    searched: list[str] = Field(default_factory=list)

    def of(self, rollout: Rollout) -> list[Message]:
        """A rollout's events, in the order of their streams."""
        return [one for one in self.messages if one.rollout_id == rollout.rollout_id]

    def effects_at(self, host: str, service: str) -> list[Effect]:
        """A host's effects for a service, in the order in which they took place."""
        return [one for one in self.effects if (one.host, one.service) == (host, service)]
