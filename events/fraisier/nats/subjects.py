"""Subjects: ``fraisier.<domain>.<region>.<service>.<rollout id>.<event>.<event id>``.

The domain picks the stream, the region the permission, the ID makes each event's subject its own.
"""

import functools
import re
from typing import NamedTuple

from fraisier.nats.errors import EventInvalid

ROOT = "fraisier"
DOMAINS = ("deployment", "health", "database", "metrics")

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PARTS = 7
_SUBJECT = re.compile(rf"{ROOT}\.(?:{'|'.join(DOMAINS)})(?:\.{_TOKEN.pattern}){{{_PARTS - 2}}}")


def check_token(name: str, value: str) -> str:
    """A value that may stand in a subject.

    Raises:
        EventInvalid: it holds anything but letters, digits, ``_`` and ``-``, so that it could reach another subject.
    """
    if not _TOKEN.fullmatch(value):
        raise EventInvalid(f"{name} {value!r} cannot stand in a subject: use 1 to 128 letters, digits, - or _")
    return value


@functools.lru_cache(maxsize=256)
def split_type(event_type: str) -> tuple[str, str]:
    """``health.check_passed`` as its domain and its event.

    Raises:
        EventInvalid: the type is not of one of the four domains.
    """
    domain, _, event = event_type.partition(".")
    if domain not in DOMAINS:
        raise EventInvalid(f"event type {event_type!r} is of none of the domains {', '.join(DOMAINS)}")
    return domain, check_token("event", event)


class Subject(NamedTuple):
    """A subject's parts."""

    domain: str
    region: str
    service: str
    deployment_id: str
    event: str
    event_id: str

    def __str__(self) -> str:
        """The subject.

        Raises:
            EventInvalid: a part cannot stand in one; it is named.
        """
        subject = ".".join((ROOT, *self))
        if not _SUBJECT.fullmatch(subject):
            for name, value in self._asdict().items():
                check_token(name, value)
        return subject

    @property
    def event_type(self) -> str:
        """``<domain>.<event>``."""
        return f"{self.domain}.{self.event}"

    @classmethod
    def parse(cls, subject: str) -> "Subject":
        """Read a subject.

        Raises:
            EventInvalid: it is not one of ours.
        """
        parts = subject.split(".")
        if len(parts) != _PARTS or parts[0] != ROOT or parts[1] not in DOMAINS:
            raise EventInvalid(f"{subject!r} is not a subject of an event")
        return cls(*parts[1:])


def subject_filter(
    domain: str, *, region: str = "*", service: str = "*", deployment_id: str = "*", event: str = "*"
) -> str:
    """The filter over a domain's subjects; ``*`` stands for any."""
    given = {"region": region, "service": service, "deployment_id": deployment_id, "event": event}
    for name, value in given.items():
        if value != "*":
            check_token(name, value)
    if domain not in DOMAINS:
        raise EventInvalid(f"{domain!r} is none of the domains {', '.join(DOMAINS)}")
    return f"{ROOT}.{domain}.{region}.{service}.{deployment_id}.{event}.*"
