"""What a target costs in histories and payloads: bounds that large rollouts live by (see benchmarks/scale.py)."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest
from temporalio.client import Client

from fraisier.workflows.contracts import RolloutInput, RolloutPhase, TargetOutcome, TargetReport
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.details import region_details
from fraisier.workflows.plans import TargetPlan
from fraisier.workflows.rollout_desk import RolloutDesk
from fraisier.workflows.status import RegionStatus, what_keeps
from tests.workflows.harness import Harness, make_plan

REGIONS = tuple(f"r{number}" for number in range(4))
TARGETS = 8
EVENTS_A_TARGET = 15
TEMPORALS_MOST = 2 * 1024 * 1024


async def lengths(client: Client, service: str, expected: int) -> list[int]:
    """How long the histories of a rollout's workflows are; the server lists them a little late."""
    query = f"WorkflowId STARTS_WITH 'rollout:{service}' AND ExecutionStatus != 'Running'"
    for _ in range(300):
        found = [run.history_length async for run in client.list_workflows(query)]
        if len(found) == expected:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{len(found)} of {expected} workflows are listed")


async def test_a_target_costs_few_events(harness: Harness):
    plan = make_plan(REGIONS, targets=TARGETS, max_parallel=2)
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.SUCCEEDED
    found = await lengths(harness.client, plan.service, len(REGIONS) + 1)
    assert sum(found) / (len(REGIONS) * TARGETS) <= EVENTS_A_TARGET


async def test_a_plan_of_ten_thousand_hosts_is_a_small_payload():
    plan = make_plan(*([f"r{number}"] for number in range(10)))
    options = {"username": "deploy", "key_path": "~/.ssh/id_ed25519", "root": "/opt/api", "service_unit": "api.service"}
    regions = {
        name: region.model_copy(
            update={
                "targets": tuple(
                    TargetPlan(name=host, provider="bare_metal", options={"host": host, "sudo": True, **options})
                    for host in (f"host-{number}.{name}.example" for number in range(1000))
                )
            }
        )
        for name, region in plan.regions.items()
    }
    order = RolloutInput(rollout_id="r-1", plan=plan.model_copy(update={"regions": regions}))
    (payload,) = await DATA_CONVERTER.encode([order])
    assert payload.ByteSize() < TEMPORALS_MOST / 4
    assert (await DATA_CONVERTER.decode([payload], [RolloutInput]))[0] == order


async def test_a_thousand_regions_that_change_at_once_are_one_page(monkeypatch: pytest.MonkeyPatch):
    pages: list[str] = []
    desk = "fraisier.workflows.rollout_desk"
    monkeypatch.setattr(f"{desk}.workflow.now", lambda: datetime.now(timezone.utc))
    monkeypatch.setattr(f"{desk}.workflow.set_current_details", pages.append)
    monkeypatch.setattr(f"{desk}.tell_state", lambda state: None)
    names = [f"r{number}" for number in range(1000)]
    plan = make_plan(*(names[at : at + 100] for at in range(0, 1000, 100)))
    told = RolloutDesk(RolloutInput(rollout_id="r-1", plan=plan))
    for name in names[:100]:
        told._state.region(name, *(("failed", "no route to host") if name == "r99" else ("running",)))
        told._show()
    assert pages == []
    await asyncio.sleep(0)
    (page,) = pages
    rows = page.splitlines()
    assert "Regions: 99 running (r0, r1, r2, r3, r4, …), 1 failed (r99), 900 waiting." in rows
    assert "| 1 (waiting) | r99 | ✘ failed | no route to host |" in rows
    assert "| 1 (waiting) | 50 more | ● running | |" in rows
    assert "| 10 (waiting) | 100 more | ○ waiting | |" in rows
    assert len(page) < 5000
    told._show()
    await asyncio.sleep(0)
    assert len(pages) == 2


def test_regions_that_wait_for_the_same_are_told_of_together():
    frozen = [RegionStatus(name=f"r{number}", waiting_for="all services are frozen") for number in range(100)]
    ends = datetime(2026, 1, 31, 9, 30, tzinfo=timezone.utc)
    canaries = [
        RegionStatus(name=name, state="canary", waiting_for="promote", until=ends + timedelta(seconds=later))
        for later, name in enumerate("ab")
    ]
    soaking = RegionStatus(name="c", state="succeeded", waiting_for="the soak", until=ends)
    first = ", ".join(f"r{number}" for number in range(20))
    told = (
        f"{first} and 80 regions more to be let start: all services are frozen; "
        "a, b to be promoted: promote, the first until 2026-01-31 09:30:00 UTC; "
        "the soak of c, until 2026-01-31 09:30:00 UTC"
    )
    assert what_keeps([*frozen, *canaries, soaking, RegionStatus(name="d")]) == told
    assert what_keeps([RegionStatus(name="b")]) == ""


def test_of_many_targets_those_that_failed_are_shown_first():
    reports = [TargetReport(target=f"t{number}", outcome=TargetOutcome.SUCCEEDED) for number in range(1000)]
    reports[700] = TargetReport(target="t700", outcome=TargetOutcome.FAILED, error="no route to host")
    rows = region_details("eu", "batch 4", reports).splitlines()
    assert rows[4] == "| t700 | ✘ failed | no route to host |"
    assert rows[-1] == "… and 950 more"
