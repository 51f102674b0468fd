"""Faults of what is said: streams that are full, events that are forged, repeated or garbled, verbs said twice."""

import asyncio
import contextlib
import json
import uuid
from dataclasses import replace
from typing import Any

from nats.js.errors import APIError, NotFoundError
from temporalio.service import RPCError

from fraisier.nats import new_event
from fraisier.orchestrator.errors import Refused
from fraisier.workflows.rollout import RolloutWorkflow
from tests.faults.ground import REGIONS, Ground
from tests.faults.records import Attempt
from tests.faults.rows import Scene, row
from tests.faults.stories import Story

NO_MESSAGE = 10037
"""JetStream's code for a subject without a message, beside that for a stream that is missing."""
LARGE = 900_000


@row("stream-full")
async def stream_full(scene: Scene) -> None:
    """A stream takes no more: what would be told waits until an operator makes room."""
    js = scene.ground.nats.jetstream
    stream = scene.chance.choice(("DEPLOYMENT_EVENTS", "HEALTH_EVENTS"))
    before = (await js.stream_info(stream)).config
    await js.update_stream(replace(before, max_msgs=1))
    scene.say(f"{stream} is full")
    scene.ground.release()
    await scene.down(2, 8)
    await js.update_stream(before)


@row("events-forged")
async def events_forged(scene: Scene) -> None:
    """Whoever may publish says what is not so: under a taken ID, of another release, of an older generation."""
    async with scene.ground.nats_client() as client:
        for story in scene.stories:
            await _repeat(scene, client.jetstream, story)
            for generation, digest in ((0, story.digest), (10**9, story.digest), (1, "sha256:" + "0" * 64)):
                await _forge(scene.ground, client.jetstream, story, generation, digest)
    scene.say("events forged and repeated")
    await asyncio.sleep(1)


@row("events-garbled")
async def events_garbled(scene: Scene) -> None:
    """Under a rollout's subjects lies what no reader can understand, and what is very large."""
    bodies = (b"", b"\xff\xfe", b"[" * 1000, b'{"specversion": "9"}', b'{"data": "' + b"x" * LARGE + b'"}')
    async with scene.ground.nats_client() as client:
        for story in scene.stories:
            for number, body in enumerate(bodies):
                subject = _subject("health", "east", story, f"garbled_{number}")
                await client.jetstream.publish(subject, body)
    scene.say("garbled events stored")
    await asyncio.sleep(1)


@row("asked-twice")
async def asked_twice(scene: Scene) -> None:
    """A second start is refused; verbs that are said more than once take effect once."""
    for story in scene.stories:
        assert story.handle is not None
        refused = False
        try:
            await scene.ground.client.start(story.manifest, actor="somebody else")
        except Refused:
            refused = True
        scene.attempts.append(Attempt(what=f"a second rollout of {story.service}", refused=refused))
        for verb in (RolloutWorkflow.pause, RolloutWorkflow.resume):
            for _ in range(3):
                await story.handle.signal(verb, {"by": "faults", "id": f"{verb.__name__}-1"})
    scene.say("started again, paused and resumed three times")


@row("cancelled", may_end=("cancelled",), instead=True)
async def cancelled(scene: Scene) -> None:
    """The workflow is cancelled wherever it is; a way back is gone to its end."""
    for story in scene.stories:
        assert story.handle is not None
        with contextlib.suppress(RPCError):  # it has ended
            await story.handle.cancel()
    scene.say("workflows cancelled")


@row("taken-back", may_end=("rolled_back",), instead=True)
async def taken_back(scene: Scene) -> None:
    """A rollback is signalled, three times, wherever the rollout is."""
    for story in scene.stories:
        assert story.handle is not None
        for number in range(3):
            with contextlib.suppress(RPCError):  # it has ended
                await story.handle.signal(RolloutWorkflow.rollback, {"by": "faults", "id": f"now-{number}"})
    scene.say("rollback signalled")


async def _repeat(scene: Scene, js: Any, story: Story) -> None:
    """Publish another content under a subject that is taken: the stream must refuse it."""
    subject = f"fraisier.deployment.global.{story.service}.{story.rollout_id}.triggered.*"
    try:
        last = await js.get_last_msg("DEPLOYMENT_EVENTS", subject)
    except NotFoundError as error:
        if error.err_code != NO_MESSAGE:
            raise
        return  # it stands before its first event
    mark = f"forged-{uuid.uuid4()}"
    try:
        await js.publish(last.subject, b"forged", headers={"Nats-Msg-Id": mark})
        refused = False
    except APIError:
        refused = True
    scene.attempts.append(Attempt(what=f"a second event under {last.subject}", refused=refused, marks=mark))


async def _forge(ground: Ground, js: Any, story: Story, generation: int, digest: str) -> None:
    """Say of every target that it is healthy, as its own provider would, but for one thing."""
    for region, names in REGIONS.items():
        for name in names:
            event = new_event(
                "health.check_passed",
                deployment_id=story.rollout_id,
                region=region,
                service=story.service,
                target=ground.target(name),
                data={
                    "service": story.service,
                    "version": story.new,
                    "release_digest": digest,
                    "generation": generation,
                    "scope": "target",
                    "wave": f"forged {uuid.uuid4()}",  # so that the checker takes it for no second telling
                },
            )
            body = json.loads(event.to_json())
            await js.publish(event.subject, json.dumps(body).encode(), headers={"Nats-Msg-Id": event.event_id})


def _subject(domain: str, region: str, story: Story, event: str) -> str:
    return f"fraisier.{domain}.{region}.{story.service}.{story.rollout_id}.{event}.{uuid.uuid4()}"
