"""The catalogue as a page of documentation."""

from collections.abc import Iterable

from fraisier.nats.catalogue import database, deployment, health, metrics
from fraisier.nats.catalogue.checking import schema_uri
from fraisier.nats.catalogue.lock import fields_of
from fraisier.nats.catalogue.payloads import EventSpec, Payload

_DOMAINS = {"Deployment": deployment, "Health": health, "Database": database, "Metrics": metrics}

_HEAD = """\
# The event catalogue

Written by `make catalogue` from `fraisier.nats.catalogue`; do not edit it. [events.md](events.md) is the guide.

A body's `dataschema` names the type and the version of its payload, such as `{schema}`;
a body without one is of version 1. A known type with an unknown version, or with a field that holds something else than
it says here, is refused when it is published and read as an `InvalidEvent`: no gate counts it, no handler gets it, and
subscribers put it to the dead letters. Every field may be missing or null, and keys of your own may stand beside them.
So may types of your own, within the four domains: their payload is what you make of it.

`to_cdevent(event)` gives the [CDEvents](https://cdevents.dev) 0.5.1 form of those that have one. Which one depends on
the event's `scope`; an event without is a target's. A `deployment.rolled_back` that leaves nothing running on its
target is `dev.cdevents.service.removed.0.3.0`.

## Fields of every payload
"""


def page() -> str:
    """The whole page, in Markdown."""
    parts = [_HEAD.format(schema=schema_uri("deployment.started", 1)), *_field_table(Payload, ())]
    for title, domain in _DOMAINS.items():
        parts += [f"\n## {title}\n", f"{domain.__doc__}\n", *_type_table(domain.SPECS), *_payloads(domain.SPECS)]
    return "\n".join(parts) + "\n"


def _type_table(specs: Iterable[EventSpec]) -> Iterable[str]:
    yield "| type | version | it tells | CDEvents |"
    yield "|---|---|---|---|"
    for spec in specs:
        names = "; ".join(f"{scope}: `{kind}`" for scope, kind in spec.cdevents.items())
        yield f"| `{spec.event_type}` | {spec.version} | {spec.description} | {names} |"


def _payloads(specs: Iterable[EventSpec]) -> Iterable[str]:
    """What the domain's payloads have beside the fields of every payload, a table for those that have the same."""
    types: dict[type[Payload], list[str]] = {}
    for spec in specs:
        types.setdefault(spec.payloads[-1], []).append(f"`{spec.event_type}`")
    for payload, names in types.items():
        if payload is not Payload:
            yield f"\nFields of {', '.join(names)}:\n"
            yield from _field_table(payload, Payload.model_fields)


def _field_table(payload: type[Payload], without: Iterable[str]) -> Iterable[str]:
    kinds, left_out = fields_of(payload), {*without}
    yield "| field | type | what it is |"
    yield "|---|---|---|"
    for name, field in payload.model_fields.items():
        if name not in left_out:
            kind = " or ".join(one for one in kinds[name].split(" | ") if one != "null")
            yield f"| `{name}` | {kind} | {field.description} |"
