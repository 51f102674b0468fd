"""Events by themselves: envelope, IDs, subjects."""

import json
import uuid
from datetime import timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraisier.nats import (
    DatabaseEvents,
    DeploymentEvents,
    Event,
    EventInvalid,
    HealthCheckEvents,
    MetricsEvents,
    derived_event_id,
    new_event,
)
from fraisier.nats.subjects import Subject, subject_filter
from fraisier.workflows.evidence import VERB_EVENTS
from fraisier.workflows.gatekeeper import GATE_EVENTS


def event(**changes: object) -> Event:
    made = new_event(
        "health.check_passed", deployment_id="r1", region="eu-west-1", service="api", target="a", step="1.h"
    )
    return made.model_copy(update=changes)


def test_the_types_are_the_guides() -> None:
    assert DeploymentEvents.ROLLED_BACK == "deployment.rolled_back"
    assert str(HealthCheckEvents.CHECK_RETRIED) == "health.check_retried"
    assert DatabaseEvents.MIGRATION_STARTED.value == "database.migration_started"
    assert MetricsEvents.ERROR_RATE == "metrics.error_rate"


def test_every_type_that_workflows_publish_is_in_the_catalogue() -> None:
    known = {member.value for member in DeploymentEvents}
    assert {*VERB_EVENTS.values(), *GATE_EVENTS.values()} <= known


def test_a_body_is_cloudevents_and_reads_back_the_same() -> None:
    made = event(data={"version": "2.0.0", "größe": [1, None]}, traceparent="00-1-2-01")
    body = json.loads(made.to_json())
    assert (body["specversion"], body["type"], body["subject"]) == ("1.0", "dev.fraisier.health.check_passed", "a")
    assert body["time"].endswith("Z")
    assert Event.from_json(made.to_json()) == made
    assert made.time.tzinfo is timezone.utc


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        event().to_json().replace(b'"1.0"', b'"9.0"'),
        event().to_json().replace(b"dev.fraisier.", b"com.example."),
        event().to_json().replace(b"health.check_passed", b"weather.sunny"),
        event().to_json().replace(b'"time":"', b'"time":"x'),
    ],
)
def test_what_is_no_event_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(EventInvalid):
        Event.from_json(body)


@given(
    st.binary(max_size=200)
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_body_whatever_raises_anything_else(body: bytes) -> None:
    with pytest.raises(EventInvalid):
        Event.from_json(body)


def test_a_step_has_one_id_for_ever_and_another_publish_a_new_one() -> None:
    step = {"rollout_id": "r", "region": "eu", "target": "a", "step": "1.h", "event_type": "health.check_passed"}
    assert derived_event_id(**step) == "b630308b-c303-5064-aa6a-69b4ff61e23b"
    assert len({derived_event_id(**{**step, key: "x"}) for key in step} | {derived_event_id(**step)}) == len(step) + 1
    first, second = (new_event("health.check_passed", deployment_id="r", region="eu") for _ in "12")
    assert first.event_id != second.event_id
    assert uuid.UUID(first.event_id).version == uuid.UUID(second.event_id).version == 7


def test_a_subject_reads_back_and_holds_the_region_where_permissions_look() -> None:
    subject = event().subject
    assert subject.startswith("fraisier.health.eu-west-1.api.r1.check_passed.")
    parsed = Subject.parse(subject)
    assert (parsed.event_type, parsed.region, str(parsed)) == ("health.check_passed", "eu-west-1", subject)


@pytest.mark.parametrize("evil", ["", "a.b", "*", ">", "a b", "a\n", "é", "x" * 129])
def test_no_value_reaches_another_subject(evil: str) -> None:
    for field in ("region", "service", "deployment_id", "event_id"):
        with pytest.raises(EventInvalid, match=field):
            _ = event(**{field: evil}).subject
    if evil != "*":
        with pytest.raises(EventInvalid):
            subject_filter("health", service=evil)
