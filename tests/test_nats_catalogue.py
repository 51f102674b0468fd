"""The event catalogue: every type, what is refused, what is locked, and what other tools make of it."""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat

from fraisier.nats import (
    DatabaseEvents,
    DeploymentEvents,
    Event,
    EventInvalid,
    HealthCheckEvents,
    InvalidEvent,
    MetricsEvents,
    NatsEventBus,
    new_event,
    to_cdevent,
)
from fraisier.nats.catalogue import CATALOGUE, EventSpec, Payload, __main__, checking, lock
from fraisier.nats.catalogue.health import Checked
from fraisier.nats.catalogue.lock import broken, fields_of, read_lock, snapshot
from fraisier.nats.catalogue.page import page

PAGE = Path(__file__).parents[1] / "docs" / "event-catalogue.md"
DIGEST = "sha256:" + "2" * 64
SAMPLES = {
    "boolean": True,
    'object {"additionalProperties": true}': {"p99": 1.5},
    "string": "x",
    "integer": 3,
    "number": 0.5,
    "array of string": ["x"],
    "array of integer": [3],
}
PASSED = "health.check_passed"


def sample(spec: EventSpec) -> dict[str, Any]:
    """A payload with every field that its version of today has."""
    kinds = {name: kind.replace("null", "").strip(" |") for name, kind in fields_of(spec.payloads[-1]).items()}
    return {name: SAMPLES[kind] for name, kind in kinds.items()}


def event(kind: str = PASSED, **data: Any) -> Event:
    return new_event(kind, deployment_id="r1", region="eu", service="api", target="a", data=data)


def body(dataschema: object, **data: Any) -> bytes:
    """A stored body with another ``dataschema``; None for one that has none."""
    raw = {**json.loads(event().to_json()), "data": data, "dataschema": dataschema}
    return json.dumps({key: value for key, value in raw.items() if value is not None}).encode()


def test_the_catalogue_has_the_types_that_have_names_and_no_others() -> None:
    groups = (DeploymentEvents, HealthCheckEvents, DatabaseEvents, MetricsEvents)
    assert [*CATALOGUE] == [str(member) for group in groups for member in group]


async def test_the_official_sdk_reads_every_type_as_it_is_stored_and_so_do_we(bus: NatsEventBus) -> None:
    for kind, spec in CATALOGUE.items():
        made = event(kind, **sample(spec), own={"key": [1]})
        stored = await bus.publish_event(made)
        raw = (await bus.client.jetstream.get_msg(stored.stream, seq=stored.sequence)).data or b""
        read = JSONFormat().read(None, raw)
        assert (read.get_id(), read.get_type(), read.get_subject()) == (made.event_id, f"dev.fraisier.{kind}", "a")
        assert (read.get_dataschema(), read.get_time()) == (f"urn:fraisier:event:{kind}:1", made.time)
        assert read.get_data() == made.data
        assert Event.from_json(raw) == made


@pytest.mark.parametrize(
    ("dataschema", "data", "why"),
    [
        (f"urn:fraisier:event:{PASSED}:2", {}, f"payload version 2 of {PASSED} is not understood"),
        (f"urn:fraisier:event:{PASSED}:1", {"attempts": "3"}, "attempts: Input should be a valid integer"),
        (None, {"attempts": "3"}, "attempts: Input should be a valid integer"),
        (None, {"duration_s": float("nan")}, "duration_s: Input should be a finite number"),
        ("urn:fraisier:event:health.check_failed:1", {}, "not understood"),
        (f"urn:fraisier:event:{PASSED}:01", {}, "not understood"),
        ("https://example.com/schema", {}, "not understood"),
        (7, {}, "not understood"),
        ({"of": "another kind"}, {}, "not a CloudEvents body"),
    ],
)
async def test_what_is_not_as_the_catalogue_says_is_no_event(
    bus: NatsEventBus, dataschema: object, data: dict[str, Any], why: str
) -> None:
    await bus.ensure_streams()
    raw = body(dataschema, **data)
    await bus.client.jetstream.publish(f"fraisier.health.eu.api.r1.check_passed.{json.loads(raw)['id']}", raw)
    (found,) = [one async for one in bus.read("health")]
    assert isinstance(found, InvalidEvent)
    assert why in found.reason


def test_a_body_without_a_schema_is_of_version_1() -> None:
    assert Event.from_json(body(None, attempts=3, own="key")).data_version == 1


async def test_a_broken_payload_is_refused_before_it_is_stored_and_no_value_is_told(bus: NatsEventBus) -> None:
    with pytest.raises(EventInvalid, match="version: Input should be a valid string") as refused:
        await bus.publish_event(event(version={"password": "hush"}))
    assert "hush" not in f"{refused.value!r}{refused.value.__cause__!r}"
    with pytest.raises(EventInvalid, match="payload version 2"):
        await bus.publish_event(event().model_copy(update={"data_version": 2}))
    assert await bus.last_sequence("health") == 0


def test_a_raised_version_is_what_is_published_and_the_one_before_is_still_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stricter(Checked):
        attempts: int

    catalogue = {PASSED: replace(CATALOGUE[PASSED], payloads=(Checked, Stricter))}
    monkeypatch.setattr(checking, "CATALOGUE", catalogue)
    assert json.loads(event(attempts=1).to_json())["dataschema"] == f"urn:fraisier:event:{PASSED}:2"
    assert Event.from_json(body(f"urn:fraisier:event:{PASSED}:1")).data_version == 1
    with pytest.raises(EventInvalid, match="attempts: Field required"):
        event().check_payload()
    with pytest.raises(EventInvalid, match="only 1 to 2"):
        Event.from_json(body(f"urn:fraisier:event:{PASSED}:3"))


async def test_a_type_of_ones_own_is_published_and_told_of_once(
    bus: NatsEventBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=checking.__name__)
    for version in (7, "seven"):
        await bus.publish_event(event("health.smoke_test", version=version))
    assert [one.data["version"] async for one in bus.read("health") if isinstance(one, Event)] == [7, "seven"]
    assert caplog.text.count("health.smoke_test is not in the event catalogue") == 1


def test_the_page_and_the_lock_are_those_of_today() -> None:
    assert PAGE.read_text() == page(), "make catalogue"
    assert broken(read_lock(), snapshot(CATALOGUE)) == [], "stored events have these: raise the version"
    assert read_lock() == snapshot(CATALOGUE), "make catalogue"


class Before(Payload):
    kept: int | None = None
    gone: str | None = None


class Removed(Payload):
    kept: int | None = None


class Narrowed(Before):
    kept: int  # type: ignore[assignment]
    gone: None = None


class Added(Before):
    kept: float | str | None = None
    more: list[str] | None = None


class Demanding(Before):
    more: int


@pytest.mark.parametrize(
    ("payloads", "sentences"),
    [
        ((Removed,), ["health.x, version 1: gone was removed"]),
        (
            (Narrowed,),
            [
                "health.x, version 1: gone may be null | string no longer, only null",
                "health.x, version 1: kept may be integer | null no longer, only integer (required)",
            ],
        ),
        ((Demanding,), ["health.x, version 1: more is new and required"]),
        ((), ["health.x, version 1: is gone"]),
        ((Added,), []),
        ((Before, Removed), []),
    ],
)
def test_the_lock_catches_what_would_break_and_lets_what_is_added_pass(
    payloads: tuple[type[Payload], ...], sentences: list[str]
) -> None:
    locked = snapshot({"health.x": EventSpec("health.x", "", (Before,))})
    assert broken(locked, snapshot({"health.x": EventSpec("health.x", "", payloads)})) == sentences


def run(monkeypatch: pytest.MonkeyPatch, catalogue: Mapping[str, EventSpec], *arguments: str) -> int:
    monkeypatch.setattr(__main__, "CATALOGUE", catalogue)
    monkeypatch.setattr(sys, "argv", ["catalogue", *arguments])
    return __main__.main()


def test_the_command_locks_what_is_new_and_refuses_what_breaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock.json")
    (tmp_path / "lock.json").write_text("{}")
    assert run(monkeypatch, CATALOGUE, str(tmp_path / "page.md")) == 0
    assert (read_lock(), (tmp_path / "page.md").read_text()) == (snapshot(CATALOGUE), page())
    without = {name: spec for name, spec in CATALOGUE.items() if name != PASSED}
    assert run(monkeypatch, without, str(tmp_path / "page.md")) == 1
    assert f"{PASSED}, version 1: is gone" in capsys.readouterr().err
    assert read_lock() == snapshot(CATALOGUE)
    assert run(monkeypatch, CATALOGUE) == 0
    assert capsys.readouterr().out == page()


RELEASE = {"version": "2.0.0", "release_digest": DIGEST, "generation": 7}
PURL = f"pkg:generic/api@2.0.0?checksum={DIGEST}"
SERVICE = {"environment": {"id": "eu"}, "artifactId": PURL}
INCIDENT = {**SERVICE, "service": {"id": "eu/a/api"}, "description": "503"}
TASK = {"taskName": "eu", "pipelineRun": {"id": "r1"}}
CDEVENTS: list[tuple[str, dict[str, Any], str, str, dict[str, Any]]] = [
    ("deployment.triggered", {"scope": "rollout"}, "pipelinerun.queued", "r1", {"pipelineName": "api"}),
    ("deployment.started", {**RELEASE, "scope": "region"}, "taskrun.started", "r1/eu/7", TASK),
    (
        "deployment.failed",
        {**RELEASE, "scope": "region", "detail": "a: 503"},
        "taskrun.finished",
        "r1/eu/7",
        {**TASK, "outcome": "failure", "errors": "a: 503"},
    ),
    ("deployment.completed", {**RELEASE, "scope": "target"}, "service.deployed", "eu/a/api", SERVICE),
    ("deployment.completed", RELEASE, "service.deployed", "eu/a/api", SERVICE),
    (
        "deployment.completed",
        {"release_digest": f"registry.example:5000/team/Api:2@{DIGEST}"},
        "service.deployed",
        "eu/a/api",
        {
            "environment": {"id": "eu"},
            "artifactId": f"pkg:oci/api@{DIGEST.replace(':', '%3A')}?repository_url=registry.example:5000/team/Api",
        },
    ),
    ("deployment.rolled_back", {**RELEASE, "scope": "target"}, "service.rolledback", "eu/a/api", SERVICE),
    ("deployment.rolled_back", {"version": None}, "service.removed", "eu/a/api", {"environment": {"id": "eu"}}),
    (
        "deployment.completed",
        {"scope": "rollout", "reason": ""},
        "pipelinerun.finished",
        "r1",
        {"pipelineName": "api", "outcome": "success"},
    ),
    (
        "deployment.cancelled",
        {"scope": "rollout", "reason": "late"},
        "pipelinerun.finished",
        "r1",
        {"pipelineName": "api", "outcome": "cancel", "errors": "late"},
    ),
    ("health.check_timeout", {**RELEASE, "detail": "503"}, "incident.detected", "", INCIDENT),
]


@pytest.mark.parametrize(("kind", "data", "name", "subject", "content"), CDEVENTS)
def test_cdevents_are_as_their_specification_has_them(
    kind: str, data: dict[str, Any], name: str, subject: str, content: dict[str, Any]
) -> None:
    made = event(kind, **data)
    read = JSONFormat().read(None, to_cdevent(made) or b"")
    subject = subject or made.event_id
    assert (read.get_id(), read.get_source(), read.get_subject()) == (made.event_id, "fraisier", subject)
    told = read.get_data()
    assert isinstance(told, dict)
    assert told == {
        "context": {
            "specversion": "0.5.1",
            "id": made.event_id,
            "source": "fraisier",
            "type": f"dev.cdevents.{name}.0.3.0",
            "timestamp": json.loads(made.to_json())["time"],
        },
        "subject": {"id": subject, "content": content},
        "customData": data,
        "customDataContentType": "application/json",
    }
    assert read.get_type() == told["context"]["type"]


def test_what_has_no_word_in_cdevents_gives_none() -> None:
    assert [to_cdevent(event(kind)) for kind in (PASSED, "deployment.started", "health.smoke_test")] == [None] * 3


def test_every_cdevents_type_of_the_catalogue_has_its_example() -> None:
    named = {kind for spec in CATALOGUE.values() for kind in spec.cdevents.values()}
    shown = {f"dev.cdevents.{name}.0.3.0" for _, _, name, _, _ in CDEVENTS}
    assert shown - {"dev.cdevents.service.removed.0.3.0"} == named
