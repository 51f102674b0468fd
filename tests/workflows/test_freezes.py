"""The freeze of all services: no rollout starts a region until it ends, unless somebody lets one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHandle

from fraisier.nats import read_freeze, set_freeze
from fraisier.nats.freezes import KEY, open_freezes
from fraisier.orchestrator.cli import freeze
from fraisier.orchestrator.errors import ExitCode, Unreachable
from fraisier.workflows.contracts import RolloutPhase, RolloutResult
from fraisier.workflows.plans import Plan
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.cli import Cli
from tests.support.nats import PASSWORD, USER, NatsServer
from tests.workflows.harness import Harness, make_plan


@pytest.fixture
async def frozen(harness: Harness) -> AsyncIterator[Harness]:
    """A harness in a world that is frozen, and no more after the test."""
    await set_freeze(harness.nats, on=True, by="ann", reason="incident 4711")
    try:
        yield harness
    finally:
        await set_freeze(harness.nats, on=False, by="tests")


@pytest.fixture
async def thawing(harness: Harness) -> AsyncIterator[Harness]:
    """A harness in a world that is frozen no more after the test, whatever the test did."""
    try:
        yield harness
    finally:
        await set_freeze(harness.nats, on=False, by="tests")


def heeding(plan: Plan) -> Plan:
    return plan.model_copy(update={"heeds_freeze": True})


async def test_regions_wait_say_who_froze_them_and_start_when_it_ends(frozen: Harness, cli: Cli) -> None:
    plan = heeding(make_plan(["a"], ["b"]))
    handle = await frozen.start(plan)
    await _waits(frozen, plan, handle.id)
    status = await handle.query(RolloutWorkflow.status)
    assert status.waiting_for.startswith("a to be let start: all services are frozen by ann since 20")
    assert status.waiting_for.endswith(" UTC: incident 4711")
    assert frozen.world.activations() == []
    code, out, _ = await cli("freeze", "status")
    assert (code, "all services are frozen, by ann since" in out, ": incident 4711" in out) == (ExitCode.OK, True, True)
    code, _, error = await cli("freeze", "on", "--by", "eve", "--reason", "mine")
    assert (code, "frozen, by ann since" in error, "(fraisier freeze off)" in error) == (ExitCode.REFUSED, True, True)
    code, out, _ = await cli("freeze", "off", "--by", "bob")
    assert (code, "nothing is frozen; the last freeze was lifted by bob at" in out) == (ExitCode.OK, True)
    code, out, _ = await cli("freeze", "off", "--by", "eve")  # there is nothing to lift
    assert (code, "lifted by bob at" in out) == (ExitCode.OK, True)
    assert (await frozen.finish(handle)).phase is RolloutPhase.SUCCEEDED
    last = await read_freeze(frozen.nats)
    assert last is not None
    assert (last.on, last.by) == (False, "bob")


async def test_an_override_lets_one_region_start_and_a_rollback_asks_no_freeze(frozen: Harness) -> None:
    plan = heeding(make_plan(["a"], ["b"]))
    handle = await frozen.start(plan)
    await _waits(frozen, plan, handle.id)
    await handle.signal(RolloutWorkflow.override, {"by": "ops", "reason": "the fix", "regions": ["a"]})
    await frozen.until_region(handle, "a", state="succeeded")
    await _waits(frozen, plan, handle.id, "b")
    await handle.signal(RolloutWorkflow.rollback)
    result = await frozen.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.ROLLED_BACK, {"a": "rolled_back"})


async def test_a_freeze_that_begins_holds_the_next_region_of_a_rollout_under_way(harness: Harness) -> None:
    opened = harness.world.blocked["a1", "health"] = asyncio.Event()
    plan = heeding(make_plan(["a"], ["b"]))
    handle = await harness.start(plan)
    await asyncio.wait_for(harness.world.entered["a1", "health"].wait(), 60)
    await set_freeze(harness.nats, on=True, by="ann", reason="x")
    try:
        opened.set()
        await _waits(harness, plan, handle.id, "b")
        assert harness.world.activations() == ["a1"]
    finally:
        await set_freeze(harness.nats, on=False, by="ann")
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED


async def _frozen_under_way(harness: Harness, plan: Plan) -> WorkflowHandle[RolloutWorkflow, RolloutResult]:
    """A rollout whose first region has one target exchanged, and waits because a freeze has begun meanwhile."""
    opened = harness.world.blocked["a1", "health"] = asyncio.Event()
    handle = await harness.start(plan)
    await asyncio.wait_for(harness.world.entered["a1", "health"].wait(), 60)
    await set_freeze(harness.nats, on=True, by="ann", reason="incident 4711")
    opened.set()
    await _waits(harness, plan, handle.id, verb="go on")
    assert harness.world.activations() == ["a1"]
    return handle


async def test_a_freeze_holds_the_next_batch_of_a_region_under_way_until_it_ends(thawing: Harness) -> None:
    handle = await _frozen_under_way(thawing, heeding(make_plan(["a"], targets=3)))
    await handle.signal(RolloutWorkflow.pause)
    await thawing.until(handle, paused=True)
    await set_freeze(thawing.nats, on=False, by="ann")
    await thawing.until(handle, waiting_for="")
    assert thawing.world.activations() == ["a1"]
    await handle.signal(RolloutWorkflow.resume)
    result = await thawing.finish(handle)
    assert (result.phase, thawing.world.activations()) == (RolloutPhase.SUCCEEDED, ["a1", "a2", "a3"])


async def test_a_freeze_that_begins_while_a_region_is_held_in_another_holds_it_too(thawing: Harness) -> None:
    plan = heeding(make_plan(["a"], targets=2))
    handle = await _frozen_under_way(thawing, plan)
    await handle.signal(RolloutWorkflow.pause)
    await set_freeze(thawing.nats, on=False, by="ann")
    await thawing.until(handle, waiting_for="")
    await set_freeze(thawing.nats, on=True, by="ann", reason="incident 4712")
    await handle.signal(RolloutWorkflow.resume)
    await _waits(thawing, plan, handle.id, verb="go on")
    assert thawing.world.activations() == ["a1"]
    await set_freeze(thawing.nats, on=False, by="ann")
    result = await thawing.finish(handle)
    assert (result.phase, thawing.world.activations()) == (RolloutPhase.SUCCEEDED, ["a1", "a2"])


async def test_an_override_lets_a_region_that_is_frozen_between_batches_go_on_to_its_end(thawing: Harness) -> None:
    plan = heeding(make_plan(["a"], ["b"], targets=3))
    handle = await _frozen_under_way(thawing, plan)
    await handle.signal(RolloutWorkflow.override, {"by": "ops", "reason": "the fix"})
    await _waits(thawing, plan, handle.id, "b")
    assert thawing.world.activations() == ["a1", "a2", "a3"]
    await handle.signal(RolloutWorkflow.rollback)
    result = await thawing.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.ROLLED_BACK, {"a": "rolled_back"})


async def test_a_rollback_of_a_region_that_is_frozen_between_batches_waits_for_no_end_of_it(thawing: Harness) -> None:
    handle = await _frozen_under_way(thawing, heeding(make_plan(["a"], targets=3)))
    await handle.signal(RolloutWorkflow.rollback)
    result = await thawing.finish(handle)
    assert (result.phase, thawing.world.rollbacks()) == (RolloutPhase.ROLLED_BACK, ["a1"])


async def test_a_freeze_that_nobody_can_read_holds_regions_until_it_is_set_anew(thawing: Harness, cli: Cli) -> None:
    opened = thawing.world.blocked["a1", "health"] = asyncio.Event()
    plan = heeding(make_plan(["a"], ["b"], targets=2))
    handle = await thawing.start(plan)
    await asyncio.wait_for(thawing.world.entered["a1", "health"].wait(), 60)
    await _store_no_freeze(thawing)
    opened.set()
    unread = "nobody knows whether all services are frozen: fraisier-freeze holds no freeze under all; set it anew"
    await _waits(thawing, plan, handle.id, verb="go on", why=unread)
    code, _, error = await cli("freeze", "status")
    assert (code, "with fraisier freeze on or off" in error) == (ExitCode.FAILED, True)
    await handle.signal(RolloutWorkflow.override, {"by": "ops", "reason": "the fix", "regions": ["a"]})
    await _waits(thawing, plan, handle.id, "b", why=unread)
    assert thawing.world.activations() == ["a1", "a2"]
    code, out, _ = await cli("freeze", "on", "--by", "ann", "--reason", "incident 4711")
    assert (code, "all services are frozen, by ann" in out) == (ExitCode.OK, True)
    await _store_no_freeze(thawing)
    code, out, _ = await cli("freeze", "off", "--by", "bob")
    assert (code, "lifted by bob" in out) == (ExitCode.OK, True)
    result = await thawing.finish(handle)
    assert (result.phase, thawing.world.rollbacks()) == (RolloutPhase.SUCCEEDED, [])


async def _store_no_freeze(harness: Harness) -> None:
    await (await open_freezes(harness.nats.jetstream)).put(KEY, b"on")


async def test_freezing_ends_where_jetstream_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = f"users: [ {{user: {USER}, password: {PASSWORD}}} ]"  # without JetStream
    server = NatsServer(tmp_path, f"\naccounts: {{ A: {{ {account} }} }}\n")
    server.start()
    for name, value in (("SERVERS", server.url), ("USERNAME", USER), ("PASSWORD", PASSWORD)):
        monkeypatch.setenv(f"NATS_{name}", value)
    monkeypatch.setattr(freeze, "READ_S", 0.5)
    try:
        with pytest.raises(Unreachable, match="did not tell within"):
            await asyncio.wait_for(freeze._set("ann", "incident 4711", on=True), 60)
    finally:
        server.kill()


async def _waits(
    harness: Harness,
    plan: Plan,
    workflow_id: str,
    region: str = "a",
    *,
    verb: str = "start",
    why: str = "all services are frozen",
) -> None:
    """Until a region waits for the end of the freeze."""
    handle = harness.client.get_workflow_handle_for(RolloutWorkflow.run, workflow_id)
    for _ in range(900):
        status = await handle.query(RolloutWorkflow.status)
        if status.waiting_for.startswith(f"{region} to be let {verb}: {why}"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{region} of {plan.service} does not wait: {status}")
