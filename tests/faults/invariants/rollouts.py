"""What holds for a rollout: it ends, as it should, and everybody agrees on how; no wave before its gate."""

import asyncio
import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from temporalio.client import WorkflowHistory

from tests.faults.records import Message, Rollout, Round
from tests.workflows.harness import strict_replayer

LAST_EVENT = {
    "succeeded": "deployment.completed",
    "rolled_back": "deployment.rolled_back",
    "failed": "deployment.failed",
    "cancelled": "deployment.cancelled",
}
NEWS_CAME_MEANWHILE = "WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND"
"""The one failure of a workflow task that is none: something arrived as it would have ended, and it is asked again."""


def no_wave_before_its_gate(seen: Round) -> Iterator[str]:
    """I5: a region starts only after every target of the wave before it was stored as healthy."""
    for rollout in seen.rollouts:
        for before, after in pairwise(rollout.waves):
            started = [
                one.at
                for region in after
                for one in seen.starts
                if one.service == rollout.service and one.version == rollout.new and one.host in rollout.targets[region]
            ]
            if started and not rollout.unchanged:
                yield from _not_healthy_by(min(started), seen, rollout, before)


def _not_healthy_by(moment: float, seen: Round, rollout: Rollout, regions: list[str]) -> Iterator[str]:
    generations = _generations(seen, rollout)
    healthy = {one.target: one.at for one in seen.of(rollout) if _opens(one, rollout, generations)}
    for target in (target for region in regions for target in rollout.targets[region]):
        if healthy.get(target, float("inf")) > moment:
            yield f"{rollout.service}: the next wave began at {moment:.3f}, and {target} was not healthy by then"


def gates_open_on_their_own_events_only(seen: Round) -> Iterator[str]:
    """I6: what a gate passed on is stored, and is this rollout's, this release's, and a target's own."""
    stored = {(one.stream, one.sequence): one for one in seen.messages}
    for rollout in seen.rollouts:
        generations = _generations(seen, rollout)
        for sequence in _evidence(rollout):
            found = stored.get(("HEALTH_EVENTS", sequence))
            if found is None or found.rollout_id != rollout.rollout_id or not _opens(found, rollout, generations):
                yield f"{rollout.service}: a gate passed on {found.subject if found else f'nothing at {sequence}'}"


def everybody_agrees_on_the_end(seen: Round) -> Iterator[str]:
    """I8: the result, the last event and what the hosts run say the same."""
    for rollout in seen.rollouts:
        if rollout.result is None:
            continue
        phase = rollout.result["phase"]
        whole = [one.type for one in seen.of(rollout) if one.data.get("scope") == "rollout" and one.region == "global"]
        ends = [kind for kind in whole if kind in LAST_EVENT.values()]
        if ends != [LAST_EVENT[phase]]:
            yield f"{rollout.service}: it ended {phase}, and its events say {ends}"
        runs = {(one.host, one.current) for one in seen.hosts if one.service == rollout.service}
        wanted = {"succeeded": dict.fromkeys(rollout.old, rollout.new), "rolled_back": rollout.old}.get(phase, {})
        wrong = sorted((host, version) for host, version in runs if wanted and version != wanted[host])
        if wrong:
            yield f"{rollout.service}: it ended {phase}, and {wrong} do not run {wanted}"


def every_rollout_ends_as_its_story_says(seen: Round) -> Iterator[str]:
    """I10: it ends, in a way that is right for it, with no workflow task that failed."""
    for rollout in seen.rollouts:
        if rollout.result is None:
            yield f"{rollout.service}: it did not end"
        elif rollout.result["phase"] not in rollout.must_end:
            yield f"{rollout.service} ({rollout.story}): it ended {_said(rollout.result)}, and not {rollout.must_end}"
        for name, history in rollout.histories.items():
            failures = [event.get("workflowTaskFailedEventAttributes") for event in history["events"]]
            defects = [one for one in failures if one is not None and one.get("cause") != NEWS_CAME_MEANWHILE]
            if defects:
                yield f"{name}: {len(defects)} workflow tasks failed: {defects}"


def _said(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what says nothing."""
    told = {name: _said(value) if isinstance(value, dict) else value for name, value in result.items()}
    return {name: value for name, value in told.items() if value not in ("", None, [], {})}


def a_region_that_went_back_is_back(seen: Round) -> Iterator[str]:
    """I12: no region that was taken back keeps the new release, and what is served is what `current` says."""
    for rollout in seen.rollouts:
        for one in seen.hosts:
            if one.service != rollout.service:
                continue
            ended = rollout.region_ended(one.host)
            if ended == "rolled_back" and one.current != rollout.old[one.host]:
                yield f"{one.host} {rollout.service}: its region went back, and it runs {one.current}"
            if ended in ("rolled_back", "succeeded") and one.served != one.current:
                yield f"{one.host} {rollout.service}: {one.current} is current, and {one.served} was started"


def histories_replay(seen: Round) -> Iterator[str]:
    """I17: the workflows of today do again what they did."""
    return iter(asyncio.run(_replay(seen)))


async def _replay(seen: Round) -> list[str]:
    replayer = strict_replayer()
    found = []
    for rollout in seen.rollouts:
        for name, history in rollout.histories.items():
            run = await replayer.replay_workflow(
                WorkflowHistory.from_json(name, history), raise_on_replay_failure=False
            )
            if run.replay_failure is not None:
                found.append(f"{name}: {run.replay_failure}")
    return found


def _opens(one: Message, rollout: Rollout, generations: set[int]) -> bool:
    """Whether an event says of a target of the rollout that the release is healthy there, in one of its waves."""
    known = any(one.target in hosts for hosts in rollout.targets.values())
    mine = one.data.get("release_digest") == rollout.new_digest and one.data.get("generation") in generations
    return one.type == "health.check_passed" and mine and known


def _generations(seen: Round, rollout: Rollout) -> set[int]:
    return {one.data["generation"] for one in seen.of(rollout) if one.type == "deployment.wave_started"}


def _evidence(rollout: Rollout) -> Iterator[int]:
    """The sequences that gates passed on, out of the rollout's history."""
    for history in rollout.histories.values():
        for event in history["events"]:
            payloads = event.get("activityTaskCompletedEventAttributes", {}).get("result", {}).get("payloads", [])
            for report in (_decoded(payload) for payload in payloads):
                if isinstance(report, dict) and report.get("verdict") == "pass":
                    yield from report.get("evidence", [])


def _decoded(payload: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(payload["data"])) if payload.get("data") else None
