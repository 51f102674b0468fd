"""What each credential of the production cluster may do; everything else is refused."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from fraisier.nats import (
    ArtifactStore,
    Event,
    EventSubscriberRegistry,
    NatsClient,
    NatsEventBus,
    PermissionDenied,
    mint_generation,
    new_event,
    set_freeze,
)
from fraisier.nats.config import StreamConfig
from fraisier.nats.dead_letters import DeadLetter, DeadLetters
from fraisier.nats.generations import STREAM as GENERATIONS
from fraisier.nats.streams import STREAMS
from fraisier.workflows.jetstream import JetStreamLog
from fraisier.workflows.sent_verbs import VERB_SENT, next_sent
from fraisier.workflows.steps import ListenInput, SentVerb
from fraisier.workflows.verbs import Verb
from tests.support.cluster import Cluster
from tests.support.nats import eventually
from tests.support.production import LONG_S, event, stored, until, until_stored

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_watcher")]

STREAM = STREAMS["health"]
DURABLE = "fraisier-serve"

EU = "fraisier.health.eu-west-1.api.r1.check_passed"
US = "fraisier.health.us-east-1.api.r1.check_passed"
INFO = f"$JS.API.STREAM.INFO.{STREAM}"
GET = f"$JS.API.STREAM.MSG.GET.{STREAM}"
VERB = "fraisier.deployment.global.api.r1.verb_sent"
FREEZE = "$KV.fraisier-freeze.all"
FREEZES = "$JS.API.STREAM.INFO.KV_fraisier-freeze"
CONSUMER = f"$JS.API.CONSUMER.CREATE.{STREAM}.spy.{EU}"

REFUSED = {
    "eu-west-1": [
        US, f"{VERB}.x", "fraisier.deployment.us-east-1.api.r1.verb_sent.x", FREEZE,
        "fraisier.deployment.global.api.r1.started.x", "fraisier.metrics.us-east-1.api.r1.error_rate.x",
        "fraisier.dead.x", "$KV.fraisier-generations.api", "$O.fraisier-artifacts.C.x", CONSUMER,
        f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.spy", f"$JS.API.STREAM.UPDATE.{STREAM}",
        f"$JS.API.STREAM.PURGE.{STREAM}", f"$JS.ACK.{STREAM}.{DURABLE}.1.1.1.1.1", "_INBOX.x",
    ],
    "watchers": [
        EU, US, "fraisier.deployment.global.api.r1.started.x", f"{VERB}.x", FREEZE, "fraisier.dead.x",
        "$KV.fraisier-generations.api", CONSUMER, f"$JS.API.STREAM.DELETE.{STREAM}",
        f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}", "_INBOX.x", "$JS.API.DIRECT.GET.OBJ_fraisier-artifacts",
    ],
    "handlers": [
        EU, f"{VERB}.x", FREEZE, "$KV.fraisier-generations.api", CONSUMER,
        f"$JS.API.CONSUMER.DELETE.{STREAM}.{DURABLE}", f"$JS.API.STREAM.MSG.DELETE.{STREAM}",
        f"$JS.API.STREAM.PURGE.{STREAM}",
    ],
    "orchestrator": [
        FREEZE, CONSUMER, f"$JS.API.STREAM.UPDATE.{STREAM}", f"$JS.API.STREAM.PURGE.{STREAM}",
        f"$JS.API.STREAM.DELETE.{STREAM}", "fraisier.dead.x", f"$JS.ACK.{STREAM}.{DURABLE}.1.1.1.1.1",
    ],
    "approvers": [
        EU, "fraisier.deployment.global.api.r1.started.x", "fraisier.deployment.eu-west-1.api.r1.verb_sent.x",
        f"{VERB}.x.y", "fraisier.health.global.api.r1.verb_sent.x", FREEZE, "$KV.fraisier-generations.api",
        "$O.fraisier-artifacts.C.x", "$JS.API.DIRECT.GET.OBJ_fraisier-artifacts", CONSUMER,
        f"$JS.API.STREAM.UPDATE.{STREAM}", f"$JS.API.STREAM.PURGE.{STREAM}",
        "$JS.API.STREAM.MSG.GET.FRAISIER_DEAD_LETTERS", f"$JS.ACK.{STREAM}.{DURABLE}.1.1.1.1.1", "_INBOX.x",
    ],
    "freezers": [
        EU, f"{VERB}.x", "$KV.fraisier-freeze.other", "$KV.fraisier-generations.api", INFO, GET, CONSUMER,
        "$JS.API.DIRECT.GET.DEPLOYMENT_EVENTS", "$JS.API.DIRECT.GET.OBJ_fraisier-artifacts",
        "$JS.API.STREAM.PURGE.KV_fraisier-freeze", "$JS.API.STREAM.UPDATE.KV_fraisier-freeze",
        "$JS.API.STREAM.MSG.DELETE.KV_fraisier-freeze", "_INBOX.x",
    ],
    "installer": [
        EU, "fraisier.dead.x", GET, f"$JS.API.STREAM.DELETE.{STREAM}", "$KV.fraisier-generations.api", FREEZE,
    ],
}  # fmt: skip


async def test_every_role_can_do_its_work(cluster: Cluster, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        who = ("orchestrator", "eu-west-1", "watchers", "handlers", "admin")
        at = {name: await stack.enter_async_context(cluster.client(name)) for name in who}
        orchestrator, region, watcher, handlers = (NatsEventBus(at[name], StreamConfig()) for name in who[:4])

        replicas = [
            (await at["admin"].jetstream.stream_info(name)).config.num_replicas for name in (STREAM, GENERATIONS)
        ]
        assert replicas == [3, 3]
        first = await mint_generation(at["orchestrator"], "api")
        assert await mint_generation(at["orchestrator"], "api") > first
        (tmp_path / "release").write_bytes(os.urandom(300_000))
        artifact = await ArtifactStore(at["orchestrator"]).put(tmp_path / "release")
        fetched = await ArtifactStore(at["eu-west-1"]).fetch(artifact.digest, tmp_path / "cache")
        assert fetched.read_bytes() == (tmp_path / "release").read_bytes()

        handled: list[str] = []

        async def fail_once(one: Event) -> None:
            handled.append(one.event_id)
            if len(handled) == 1:
                raise ValueError("not today")

        registry = EventSubscriberRegistry()
        registry.register(fail_once, is_async=True)
        await registry.start(handlers, durable=DURABLE)
        try:
            await orchestrator.publish_event(event("global", "work"))
            await eventually(lambda: len(handled) == 1, LONG_S)
            again = [await region.publish_event(event("eu-west-1", "work")) for _ in range(2)]
            assert [one.duplicate for one in again] == [False, True]
            await eventually(lambda: len(handled) == 2, LONG_S)
            letters = await until(partial(_letters, handlers))
            await DeadLetters(handlers).replay(letters[0])
            await eventually(lambda: handled[2:] == handled[:1], LONG_S)
        finally:
            await registry.stop()

        found = await until_stored(watcher, "work", 1)
        assert [one.event_id for one in found] == [event("eu-west-1", "work").event_id]
        assert await watcher.last_sequence("health") >= 1


async def _letters(bus: NatsEventBus) -> list[DeadLetter]:
    return [letter async for letter in DeadLetters(bus).read()]


async def test_everything_else_is_refused_and_named(cluster: Cluster) -> None:
    for who, subjects in REFUSED.items():
        async with cluster.client(who) as client:
            for subject in subjects:
                await client.connection.publish(subject, b"{}")
            for subject in subjects:
                await eventually(lambda client=client, subject=subject: client.refusal(subject), LONG_S)

    async with cluster.client("eu-west-1") as region, cluster.client("watchers") as watcher:
        attempts = (
            NatsEventBus(region).publish_event(event("us-east-1", "forged")),
            NatsEventBus(watcher).publish_event(event("eu-west-1", "forged")),
            mint_generation(region, "api"),
            EventSubscriberRegistry().start(NatsEventBus(watcher), durable="nobody-made-it"),
        )
        errors = await asyncio.wait_for(asyncio.gather(*attempts, return_exceptions=True), LONG_S)
        assert [type(error) for error in errors] == [PermissionDenied] * 4
        assert "fraisier.health.us-east-1." in str(errors[0])
        assert "fraisier events install --durable nobody-made-it" in str(errors[3])
        assert await stored(NatsEventBus(watcher), "forged") == []


async def is_stored(admin: NatsClient, subject: str) -> bool:
    try:
        await admin.jetstream.get_msg(STREAM, subject=subject)
    except NotFoundError:
        return False
    return True


async def forge(client: NatsClient, subject: str) -> None:
    """Have the server's own answers sent to a subject, by naming it where they shall go."""
    own = subject[-8:]
    asked = {f"{EU}.own-{own}": b"mine", INFO: b"", GET: b'{"seq": 1}', f"{VERB}.own-{own}": b"mine", FREEZES: b""}
    for number, (ask, body) in enumerate(asked.items()):
        await client.connection.publish(ask, body, reply=f"{subject}-{number}")
    await client.connection.flush(LONG_S)  # type: ignore[arg-type]


async def test_a_forged_answer_lands_on_no_subject_of_another(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        who = ("eu-west-1", "watchers", "handlers", "approvers", "freezers", "installer", "admin")
        at = {name: await stack.enter_async_context(cluster.client(name)) for name in who}
        await NatsEventBus(at["eu-west-1"]).publish_event(event("eu-west-1", "seen"))
        # The admin comes last, as the control: inside of the account that owns the streams the answers do land.
        for name, client in at.items():
            await forge(client, f"{US}.by-{name}")
        for number in range(5):
            await until(partial(is_stored, at["admin"], f"{US}.by-admin-{number}"))
        each = [(name, f"{US}.by-{name}-{number}") for name in who for number in range(5)]
        landed = {name for name, subject in each if await is_stored(at["admin"], subject)}
        assert landed == {"admin"}


async def test_nobody_reads_the_answers_of_another_account(cluster: Cluster) -> None:
    seen: dict[str, list[str]] = {"watchers": [], "eu-west-1": []}
    one_node = [cluster.nodes["nats-1"].url]  # it hands out an answer to all of its clients at once
    async with AsyncExitStack() as stack:
        for name, subjects in seen.items():
            client = await stack.enter_async_context(cluster.client(name, servers=one_node))
            await client.connection.subscribe("_INBOX.>", cb=_note(subjects))
            await client.connection.flush(LONG_S)  # type: ignore[arg-type]
        region = await stack.enter_async_context(cluster.client("eu-west-1", servers=one_node))

        async def seen_within() -> bool:
            """The control: within one account everybody sees them."""
            await region.jetstream.stream_info(STREAM)
            return len(seen["eu-west-1"]) > 10

        await until(seen_within)
        assert seen["watchers"] == []


def _note(subjects: list[str]):
    async def note(message) -> None:
        subjects.append(message.subject)

    return note


async def send(client: NatsClient, region: str, **data: object) -> None:
    """Ask something of the rollout of the service `api` by an event."""
    sent = new_event("deployment.verb_sent", deployment_id="asked", region=region, service="api", data=dict(data))
    await NatsEventBus(client, StreamConfig()).publish_event(sent)


async def heard(worker: NatsClient, after: int, wanted: Verb) -> SentVerb:
    """What a worker takes as the next verb, as soon as the replica that answers has it."""
    log = JetStreamLog(NatsEventBus(worker, StreamConfig()), worker)
    asked = ListenInput(rollout_id="asked", service="api", digest="", regions=("eu-west-1",), after=after)

    async def next_one() -> SentVerb | None:
        found = log.facts(event_type=VERB_SENT, rollout_id="asked", service="api", after=after, alone=True)
        return next_sent([fact async for fact in found], asked)

    sent = await until(next_one)
    assert sent is not None
    assert sent.verb is wanted
    return sent


async def test_approvers_speak_for_the_rollout_and_a_region_for_itself_only(cluster: Cluster) -> None:
    who = ("orchestrator", "approvers", "eu-west-1")
    async with AsyncExitStack() as stack:
        worker, approver, region = [await stack.enter_async_context(cluster.client(name)) for name in who]
        await send(region, "eu-west-1", verb="approve", gate="sign-off", wave=1, by="ann")
        await send(region, "eu-west-1", verb="pause", by="watchdog")
        held = await heard(worker, 0, Verb.PAUSE)
        await send(approver, "global", verb="resume", by="ops")
        resumed = await heard(worker, held.sequence, Verb.RESUME)
        await send(approver, "global", verb="approve", gate="sign-off", wave=1, by="ann", reason="looks good")
        vote = await heard(worker, resumed.sequence, Verb.APPROVE)
        assert (vote.gate, vote.wave, vote.request.by, vote.request.reason) == ("sign-off", 1, "ann", "looks good")
        seen = await until(partial(_verbs, NatsEventBus(approver, StreamConfig())))
        assert seen == ["approve", "pause", "resume", "approve"]
        attempts = (
            send(region, "global", verb="approve", gate="sign-off", wave=1, by="ann"),
            send(region, "us-east-1", verb="pause"),
            send(approver, "eu-west-1", verb="pause"),
            NatsEventBus(approver, StreamConfig()).publish_event(event("global", "asked")),
        )
        errors = await asyncio.wait_for(asyncio.gather(*attempts, return_exceptions=True), LONG_S)
        assert [type(error) for error in errors] == [PermissionDenied] * 4


async def _verbs(bus: NatsEventBus) -> list[str]:
    """What was asked, once the replica that answers has all four."""
    found = [one async for one in bus.read("deployment", deployment_id="asked") if isinstance(one, Event)]
    return [str(one.data["verb"]) for one in found] if len(found) == 4 else []


async def test_only_freezers_stop_the_line_and_workers_see_it(cluster: Cluster) -> None:
    who = ("orchestrator", "approvers", "eu-west-1", "watchers", "handlers", "freezers")
    async with AsyncExitStack() as stack:
        at = {name: await stack.enter_async_context(cluster.client(name)) for name in who}
        worker = JetStreamLog(NatsEventBus(at["orchestrator"], StreamConfig()), at["orchestrator"])
        told = await freeze(cluster, "freezers", "on", "--reason", "incident 4711", "--by", "ops")
        assert told.startswith("all services are frozen")
        assert "frozen by ops" in await worker.frozen()
        attempts = [set_freeze(at[name], on=False, by="mallory") for name in who[:-1]]
        errors = await asyncio.wait_for(asyncio.gather(*attempts, return_exceptions=True), LONG_S)
        assert [type(error) for error in errors] == [PermissionDenied] * 5
        assert "freezers" in str(errors[0])
        blind = JetStreamLog(NatsEventBus(at["handlers"], StreamConfig()), at["handlers"])
        assert (await blind.frozen()).startswith("nobody knows whether all services are frozen: this NATS user may not")
        assert "incident 4711" in await worker.frozen()
        assert (await freeze(cluster, "freezers", "off", "--by", "ops")).startswith("nothing is frozen")
        assert await worker.frozen() == ""


async def freeze(cluster: Cluster, who: str, *arguments: str) -> str:
    """What ``fraisier freeze`` says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fraisier.orchestrator", "freeze", *arguments,
        cwd=cluster.folder, env=os.environ | cluster.environment(who), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()
