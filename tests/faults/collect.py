"""Collects a round's records from outside: out of the hosts' files, by a plain NATS client, from Temporal."""

import base64
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from nats.js.api import ConsumerConfig, DeliverPolicy
from temporalio.client import Client

from tests.faults.ground import NAMES, REGIONS, Ground
from tests.faults.probe import Probe
from tests.faults.records import Ack, Effect, Host, Message, Rollout, Round, Start, Vitals
from tests.faults.rows import Row, Scene
from tests.faults.stories import Story
from tests.faults.vitals import vitals_of

STREAMS = ("DEPLOYMENT_EVENTS", "HEALTH_EVENTS", "DATABASE_EVENTS", "METRICS_EVENTS")


async def collect(
    ground: Ground,
    scene: Scene,
    probe: Probe,
    row: Row,
    *,
    seed: int,
    before: list[Vitals],
) -> Round:
    """All records of a round that is over."""
    stories = scene.stories
    messages = await _messages(ground)
    rollouts = [await _rollout(ground.temporal, ground, story, row.must_end(story)) for story in stories]
    where = [(name, story.service) for story in stories for name in NAMES]
    seen = Round(
        row=row.name,
        seed=seed,
        faults=scene.told,
        began=scene.began,
        rollouts=rollouts,
        effects=[one for name, service in where for one in _effects(ground, name, service)],
        starts=[one for name, service in where for one in _starts(ground, name, service)],
        messages=messages,
        acks=[Ack.model_validate_json(line) for line in _lines(ground.folder / "acks.jsonl")],
        hosts=[_host(ground, name, service) for name, service in where],
        glimpses=probe.glimpses,
        attempts=scene.attempts,
        crashed=scene.crashed,
        vitals_before=before,
        vitals_after=vitals(ground),
    )
    _search(ground, seen, probe)
    return seen


def vitals(ground: Ground) -> list[Vitals]:
    """How large the workers are."""
    return [vitals_of(child.name, child.process.pid) for child in ground.workers if child.process is not None]


async def _messages(ground: Ground) -> list[Message]:
    async with ground.nats_client() as client:
        return [one for stream in STREAMS for one in await _stream(client.jetstream, stream)]


async def _stream(js: Any, stream: str) -> list[Message]:
    wanted = (await js.stream_info(stream)).state.messages
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    subscription = await js.subscribe("fraisier.>", stream=stream, ordered_consumer=True, config=config)
    found = [_message(stream, await subscription.next_msg(20)) for _ in range(wanted)]
    await subscription.unsubscribe()
    return found


def _message(stream: str, message: Any) -> Message:
    try:
        body = json.loads(message.data)
    except (ValueError, RecursionError):
        body = None
    return Message(
        stream=stream,
        sequence=message.metadata.sequence.stream,
        subject=message.subject,
        id=(message.headers or {}).get("Nats-Msg-Id", ""),
        at=message.metadata.timestamp.timestamp(),
        body=body if isinstance(body, dict) else None,
    )


async def _rollout(client: Client, ground: Ground, story: Story, must_end: list[str]) -> Rollout:
    assert story.handle is not None
    return Rollout(
        service=story.service,
        rollout_id=story.rollout_id,
        story=story.kind,
        place=story.place,
        reached=story.reached,
        waves=[[name] for name in REGIONS],
        targets={region: [ground.target(name) for name in names] for region, names in REGIONS.items()},
        old={ground.target(name): version for name, version in story.old.items()},
        new=story.new,
        new_digest=story.digest,
        must_end=must_end,
        result=story.result,
        histories=await _histories(client, story.handle.id),
        unchanged=story.kind == "again",
    )


async def _histories(client: Client, workflow_id: str) -> dict[str, Any]:
    """A rollout's history and its children's, by workflow and run."""
    found, left = {}, [(workflow_id, "")]
    while left:
        name, run = left.pop()
        history = json.loads((await client.get_workflow_handle(name, run_id=run or None).fetch_history()).to_json())
        found[f"{name} {run}".strip()] = history
        for event in history["events"]:
            child = event.get("childWorkflowExecutionStartedEventAttributes", {}).get("workflowExecution")
            if child:
                left.append((child["workflowId"], child["runId"]))
    return found


def _effects(ground: Ground, name: str, service: str) -> list[Effect]:
    found = []
    for line in filter(None, _lines(ground.root(name, service) / ".fraisier" / "effects")):
        _, token, step, what, release = line.split()
        generation, ordinal, attempt = (int(number) for number in token.split("."))
        found.append(
            Effect(
                host=ground.target(name),
                service=service,
                token=(generation, ordinal, attempt),
                step=unquote(step),
                what=what,
                release=release,
            )
        )
    return found


def _starts(ground: Ground, name: str, service: str) -> list[Start]:
    lines = (line.split() for line in _lines(ground.root(name, service) / "starts"))
    return [Start(host=ground.target(name), service=service, at=float(at), version=version) for at, version in lines]


def _host(ground: Ground, name: str, service: str) -> Host:
    root = ground.root(name, service)
    state = root / ".fraisier"
    uploads = [upload for upload in (state / "incoming").glob("*") if Path(f"/proc/{upload.name}").exists()]
    unsettled = [file for file in state.glob("unsettled") if file.stat().st_size]
    return Host(
        host=ground.target(name),
        service=service,
        current=_text(root / "current" / "version"),
        served=_text(root / "served"),
        locked=_locked(state / "lock"),
        left=[str(file.relative_to(root)) for file in (*uploads, *unsettled)],
        processes=[str(process) for process in Path("/proc").glob("[0-9]*") if _works_in(process, root)],
    )


def _locked(file: Path) -> bool:
    if not file.exists():
        return False
    with file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _works_in(process: Path, root: Path) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(root)
    except OSError:
        return False


def _search(ground: Ground, seen: Round, probe: Probe) -> None:
    """Look for the secret in everything that was collected, in the logs, and in what the hosts keep."""
    secret = ground.secret
    places = {f"event {one.subject}": json.dumps(one.body) for one in seen.messages}
    places |= {f"history {name}": " ".join(_texts(h)) for one in seen.rollouts for name, h in one.histories.items()}
    files = [*ground.folder.glob("*.log"), *ground.hosts_folder.glob("*/home/*/.fraisier/*")]
    places |= {str(file): file.read_text(errors="replace") for file in files if file.is_file()}
    seen.secrets_in = [*(name for name, text in places.items() if secret in text), *probe.told]
    seen.searched = ["events", "histories", "logs", "hosts", "argument lists"]


def _texts(part: Any) -> Iterator[str]:
    """All text in a history, payloads in the clear."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "data" and isinstance(value, str):
                yield base64.b64decode(value).decode(errors="replace")
            else:
                yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
    else:
        yield str(part)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
