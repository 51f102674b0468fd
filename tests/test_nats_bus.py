"""The bus on a real server: once for ever, read back, and what a server that dies costs."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fraisier.nats import (
    ArtifactError,
    ArtifactStore,
    Event,
    EventConflict,
    EventInvalid,
    InvalidEvent,
    NatsClient,
    NatsEventBus,
    PermissionDenied,
    StreamDrift,
    StreamLimitExceeded,
    mint_generation,
    new_event,
)
from fraisier.nats.config import StreamConfig
from fraisier.nats.reading import BATCH
from fraisier.nats.streams import wanted_streams
from tests.support.nats import NatsServer, eventually


def passed(number: int = 1, *, step: str | None = "1.health", **data: Any) -> Event:
    return new_event(
        "health.check_passed",
        deployment_id="r1",
        region="eu-west-1",
        service="api",
        target=f"host-{number}",
        step=step,
        data={"version": "2.0.0", **data},
    )


async def stored(bus: NatsEventBus, domain: str = "health", **which: Any) -> list[Event | InvalidEvent]:
    return [event async for event in bus.read(domain, **which)]


async def test_the_four_streams_are_made_once_and_refuse_to_drop(bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    await NatsEventBus(bus.client).ensure_streams()
    infos = {info.config.name: info.config for info in await bus.client.jetstream.streams_info()}
    assert set(infos) == {"DEPLOYMENT_EVENTS", "HEALTH_EVENTS", "DATABASE_EVENTS", "METRICS_EVENTS"}
    assert {config.discard for config in infos.values()} == {"new"}
    assert [infos[f"{name}_EVENTS"].max_msgs_per_subject for name in ("DEPLOYMENT", "HEALTH", "METRICS")] == [1, 1, -1]
    assert infos["DEPLOYMENT_EVENTS"].max_age == 720 * 3600


async def test_a_changed_retention_updates_the_stream_and_loses_nothing(bus: NatsEventBus) -> None:
    await bus.publish_event(passed())
    await NatsEventBus(bus.client, StreamConfig(health_events_retention_hours=2)).ensure_streams()
    info = await bus.client.jetstream.stream_info("HEALTH_EVENTS")
    assert (info.config.max_age, info.state.messages) == (7200, 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"storage": "memory"}, "storage is memory, not file"),
        ({"discard": "old", "discard_new_per_subject": False}, "discard is old, not new"),
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject is 5, not 1"),
        ({"subjects": ["fraisier.health.eu.>"]}, "subjects is ['fraisier.health.eu.>'], not ['fraisier.health.>']"),
        ({"max_msgs": 10}, "max_msgs is 10, not None"),
        ({"allow_direct": False}, "allow_direct is None, not True"),
        ({"no_ack": True}, "no_ack is True, not None"),
        ({"allow_rollup_hdrs": True}, "allow_rollup_hdrs is True, not None"),
        ({"allow_msg_ttl": True}, "allow_msg_ttl is True, not None"),
    ],
)
async def test_a_stream_that_was_changed_by_hand_is_named_and_left_alone(
    bus: NatsEventBus, change: dict[str, Any], named: str
) -> None:
    wanted = next(one for one in wanted_streams(StreamConfig()) if one.name == "HEALTH_EVENTS")
    await bus.client.jetstream.add_stream(replace(wanted, **change))
    before = (await bus.client.jetstream.stream_info("HEALTH_EVENTS")).config
    with pytest.raises(StreamDrift, match=rf"{re.escape(named)}.*nats stream info HEALTH_EVENTS"):
        await bus.ensure_streams()
    with pytest.raises(StreamDrift):
        await bus.publish_event(passed())
    assert (await bus.client.jetstream.stream_info("HEALTH_EVENTS")).config == before


async def test_a_stream_that_was_removed_is_named_when_it_is_made_anew(
    bus: NatsEventBus, caplog: pytest.LogCaptureFixture
) -> None:
    await bus.ensure_streams()
    assert "was gone" not in caplog.text
    await bus.client.jetstream.delete_stream("HEALTH_EVENTS")
    await NatsEventBus(bus.client).ensure_streams()
    assert "HEALTH_EVENTS was gone, and was made anew, empty: what it held is lost" in caplog.text


async def test_what_an_operator_added_to_a_stream_stays_when_its_age_changes(bus: NatsEventBus) -> None:
    wanted = next(one for one in wanted_streams(StreamConfig()) if one.name == "HEALTH_EVENTS")
    own = {"description": "for the auditors", "deny_purge": True, "max_msg_size": 5000}
    await bus.client.jetstream.add_stream(replace(wanted, **own))
    await NatsEventBus(bus.client, StreamConfig(health_events_retention_hours=3)).ensure_streams()
    config = (await bus.client.jetstream.stream_info("HEALTH_EVENTS")).config
    assert config.max_age == 3 * 3600
    assert {key: getattr(config, key) for key in own} == own


async def test_a_step_is_stored_once_however_often_it_is_published(bus: NatsEventBus) -> None:
    first = await bus.publish_event(passed(duration_s=1.0))
    again = await bus.publish_event(passed(duration_s=2.5, detail="slower"))
    assert (again.sequence, again.duplicate, first.duplicate) == (first.sequence, True, False)
    assert len(await stored(bus)) == 1


async def test_without_the_duplicate_window_the_subject_still_refuses_a_second_one(bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    first = await bus.publish_event(passed())
    # As after the window: the same event, no message ID that the server could recognise.
    body = passed().to_json()
    with pytest.raises(Exception, match="per subject"):
        await bus.client.jetstream.publish(passed().subject, body)
    assert [event.sequence for event in await stored(bus)] == [first.sequence]


async def test_another_content_under_the_same_id_is_a_conflict(bus: NatsEventBus) -> None:
    await bus.publish_event(passed())
    with pytest.raises(EventConflict, match="another content"):
        await bus.publish_event(passed(release_digest="sha256:other"))


async def test_find_gives_the_stored_event_or_none(bus: NatsEventBus) -> None:
    assert await bus.find(passed()) is None
    await bus.publish_event(passed(detail="as it was"))
    found = await bus.find(passed(detail="as it is"))
    assert found is not None
    assert (found.data["detail"], found.sequence) == ("as it was", 1)


async def test_reading_filters_and_starts_where_it_is_told(bus: NatsEventBus) -> None:
    for number in range(5):
        await bus.publish_event(passed(number))
    await bus.publish_event(new_event("health.check_failed", deployment_id="r2", region="us", service="api"))
    assert [event.target for event in await stored(bus, deployment_id="r1", start_sequence=3)] == [  # type: ignore[union-attr]
        "host-2",
        "host-3",
        "host-4",
    ]
    assert len(await stored(bus, region="us", event="check_failed")) == 1
    assert await bus.last_sequence("health") == 6
    assert await bus.last_sequence("database") == 0


async def test_a_body_that_is_not_what_its_subject_says_is_shown_as_invalid(bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    js = bus.client.jetstream
    forged = passed(1).to_json()
    await js.publish(passed(2).subject, forged)
    await js.publish(passed(3).subject, b"not json")
    await js.publish(passed(4).subject, json.dumps({**json.loads(forged), "specversion": "2.0"}).encode())
    reasons = [event.reason for event in await stored(bus) if isinstance(event, InvalidEvent)]
    assert len(reasons) == 3
    assert "belongs to" in reasons[0]
    assert "2.0 is not understood" in reasons[2]


async def test_a_full_stream_refuses_with_the_way_out_and_drops_nothing(bus: NatsEventBus) -> None:
    small = NatsEventBus(bus.client, StreamConfig(max_size=1 << 16))

    async def fill() -> None:
        for number in range(200):
            await small.publish_event(passed(number, padding="x" * 1000))

    with pytest.raises(StreamLimitExceeded, match=r"stream limit exceeded: HEALTH_EVENTS.*nats stream purge") as full:
        await fill()
    assert full.value.stream == "HEALTH_EVENTS"
    events = await stored(small)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    await bus.client.jetstream.purge_stream("HEALTH_EVENTS")
    await small.publish_event(passed(999))


async def test_a_user_of_a_region_cannot_publish_anothers(nats_server: NatsServer, bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    async with nats_server.client("eu", "eu") as eu:
        await NatsEventBus(eu).publish_event(passed())
        other = passed().model_copy(update={"region": "us-east-1"})
        with pytest.raises(PermissionDenied, match=r"may not publish to fraisier\.health\.us-east-1"):
            await asyncio.wait_for(NatsEventBus(eu).publish_event(other), 60)


async def test_a_killed_server_costs_no_acknowledged_event_and_makes_none_twice(
    nats_server: NatsServer, bus: NatsEventBus
) -> None:
    acknowledged: list[int] = []

    async def publish(number: int) -> None:
        acknowledged.append((await bus.publish_event(passed(number))).sequence)

    load = asyncio.gather(*(publish(number) for number in range(300)))
    for _ in range(2):
        await asyncio.sleep(0.15)
        nats_server.kill()
        await asyncio.sleep(0.2)
        nats_server.start()
    await asyncio.wait_for(load, 60)
    events = await stored(bus)
    assert sorted(event.target or "" for event in events if isinstance(event, Event)) == sorted(
        f"host-{number}" for number in range(300)
    )
    assert sorted(acknowledged) == [event.sequence for event in events]


async def test_thousands_at_once_wait_for_each_other_and_not_for_a_timeout(
    bus: NatsEventBus, caplog: pytest.LogCaptureFixture
) -> None:
    results = await asyncio.gather(*(bus.publish_event(passed(number)) for number in range(3000)))
    assert sorted(result.sequence for result in results) == list(range(1, 3001))
    assert not any(result.duplicate for result in results)
    assert "waits for NATS" not in caplog.text


async def test_many_are_published_in_a_window_and_answered_in_order(bus: NatsEventBus) -> None:
    taken = 0

    def source() -> Iterator[Event]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield passed(number)

    ahead, sequences = 0, []
    async for stored_event in bus.publish_events(source(), window=20):
        sequences.append(stored_event.sequence)
        ahead = max(ahead, taken - len(sequences))
    assert sorted(sequences) == list(range(1, 501))
    assert [event.sequence for event in await stored(bus)] == sorted(sequences)
    assert ahead < 20
    again = [one async for one in bus.publish_events(source())]
    assert [one.sequence for one in again] == sequences
    assert all(one.duplicate for one in again)


async def test_the_first_of_many_that_cannot_be_stored_ends_the_rest(bus: NatsEventBus) -> None:
    await bus.publish_event(passed(3))
    wrong = [passed(1), passed(2), passed(3, version="9.9.9"), *(passed(number) for number in range(4, 400))]
    results = bus.publish_events(wrong, window=4)
    assert {(await results.__anext__()).duplicate for _ in range(2)} == {False}
    with pytest.raises(EventConflict):
        await results.__anext__()
    assert len(await stored(bus)) < 10


async def test_a_stopped_server_makes_the_publish_wait_and_reading_goes_on_after_it(
    nats_server: NatsServer, bus: NatsEventBus
) -> None:
    await bus.publish_event(passed(1))
    nats_server.freeze()
    waiting = asyncio.create_task(bus.publish_event(passed(2)))
    reading = asyncio.create_task(stored(bus))
    await asyncio.sleep(3)
    assert not waiting.done()
    nats_server.thaw()
    await asyncio.wait_for(waiting, 60)
    assert len(await asyncio.wait_for(reading, 60)) >= 1
    assert len(await stored(bus)) == 2


async def test_a_long_read_goes_on_in_order_over_the_death_of_the_server(
    nats_server: NatsServer, bus: NatsEventBus
) -> None:
    await asyncio.gather(*(bus.publish_event(passed(number)) for number in range(3 * BATCH)))
    seen: list[int | None] = []
    async for event in bus.read("health"):
        seen.append(event.sequence)
        if len(seen) == BATCH:
            nats_server.kill()
            nats_server.start()
    assert seen == list(range(1, 3 * BATCH + 1))


async def test_reading_since_a_time_gives_what_was_stored_from_then_on(bus: NatsEventBus) -> None:
    for number in range(3):
        await bus.publish_event(passed(number))
    raw = await bus.client.jetstream.get_msg("HEALTH_EVENTS", seq=2)
    assert raw.time is not None
    assert [event.sequence for event in await stored(bus, since=raw.time)] == [2, 3]
    assert await stored(bus, since=raw.time + timedelta(days=1)) == []


async def test_hints_come_for_every_publish_and_only_as_hints(bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    async with bus.hints("fraisier.health.*.api.r1.>") as hint:
        assert not hint.is_set()
        await bus.publish_event(passed())
        await asyncio.wait_for(hint.wait(), 60)


async def test_generations_grow_over_services_and_connections(nats_server: NatsServer, bus: NatsEventBus) -> None:
    minted = [await mint_generation(bus.client, service) for service in ("api", "web", "api")]
    async with nats_server.client() as other:
        minted.append(await mint_generation(other, "api", note="later"))
    assert minted == sorted(set(minted))


async def test_an_upload_waits_for_a_server_that_is_away(
    nats_server: NatsServer, bus: NatsEventBus, tmp_path: Any
) -> None:
    (tmp_path / "api.tar.gz").write_bytes(b"x" * 3_000_000)
    store = ArtifactStore(bus.client)
    nats_server.kill()
    await eventually(lambda: not bus.client.is_connected)
    upload = asyncio.create_task(store.put(tmp_path / "api.tar.gz"))
    nats_server.start()
    stored = await asyncio.wait_for(upload, 60)
    assert (await store.fetch(stored.digest, tmp_path / "cache")).read_bytes() == b"x" * 3_000_000


async def test_artifacts_travel_by_digest(bus: NatsEventBus, tmp_path: Any) -> None:
    source = tmp_path / "app.tar.gz"
    source.write_bytes(b"release " * 100_000)
    store = ArtifactStore(bus.client)
    artifact = await store.put(source)
    assert await store.put(source) == artifact
    fetched = await asyncio.gather(*(store.fetch(artifact.digest, tmp_path / "cache") for _ in range(3)))
    assert len({*fetched}) == 1
    assert fetched[0].read_bytes() == source.read_bytes()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [artifact.digest.replace(":", "-")]
    with pytest.raises(ArtifactError, match="is not in the store"):
        await store.fetch("sha256:" + "0" * 64, tmp_path / "cache")


async def test_typed_publishes_take_only_their_own_domain(bus: NatsEventBus) -> None:
    event = await bus.publish_deployment_event("deployment.started", "d1", {"service": "api"}, "us-east-1")
    assert event.stream == "DEPLOYMENT_EVENTS"
    await bus.publish_health_event("health.check_passed", "d1")
    await bus.publish_database_event("database.migration_started", "d1")
    await bus.publish_metrics_event("metrics.error_rate", "d1", {"value": 0.01})
    with pytest.raises(EventInvalid, match="not a metrics event"):
        await bus.publish_metrics_event("health.check_passed", "d1")


@pytest.mark.parametrize("what", ["nobody there", "wrong password"])
async def test_failing_to_connect_names_the_address_and_the_way_out(nats_server: NatsServer, what: str) -> None:
    client = nats_server.client(password="secret-guess", max_reconnect_attempts=1)
    if what == "nobody there":
        nats_server.kill()
    with pytest.raises(ConnectionError, match=r"Failed to connect to NATS at nats://127\.0\.0\.1") as failed:
        await client.connect()
    assert "secret-guess" not in f"{failed.value!r}{failed.value.__cause__!r}"


async def test_use_before_connect_says_what_to_do() -> None:
    with pytest.raises(ConnectionError, match=r"await client\.connect"):
        await NatsEventBus(NatsClient()).publish_event(passed())
