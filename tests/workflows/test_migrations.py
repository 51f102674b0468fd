"""Databases in a rollout: expanded before its first batch, contracted after its last soak; and then the way back."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import WorkflowUpdateFailedError

from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.errors import Refused
from fraisier.providers.migrations.models import Migration
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import OnFailure, Plan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.providers.by_hand import until
from tests.support.postgres import PASSWORD, Database
from tests.workflows.harness import Harness, make_plan
from tests.workflows.test_placement import placed, regional_worker

DSN = "FRAISIER_TEST_DSN"
SQL = 'psql "$ORDERS" -q -v ON_ERROR_STOP=1 -c "$0"'
EXPAND = "CREATE TABLE fresh (id int)"
BACK = "DROP TABLE fresh"
CONTRACT = "ALTER TABLE fresh ADD PRIMARY KEY (id)"


@pytest.fixture
def orders(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv(DSN, database.dsn)
    return database


def sql(text: str) -> tuple[str, ...]:
    return ("sh", "-c", SQL, text)


def migration(**more: object) -> Migration:
    secret = {"secret": f"env:{DSN}"}
    return Migration.model_validate({"database": "orders", "postgres": secret, "env": {"ORDERS": secret}, **more})


def on_host(*argv: str, **more: object) -> Migration:
    return Migration.model_validate({"database": "stock", "on": "host", "region": "a", "expand": argv, **more})


def tables(database: Database) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'fraisier_migrations'"
    return [name for (name,) in database.ask(query)]


async def story(harness: Harness, plan: Plan) -> list[str]:
    """What was told of databases, in order."""
    return [
        f"{event.event_type.removeprefix('database.migration_')} {event.data['phase']} {event.data['database']}"
        for event in await harness.events("database", plan)
    ]


async def test_a_database_is_expanded_before_the_first_batch_and_contracted_after_the_last_soak(
    harness: Harness, orders: Database
):
    one = migration(expand=sql(EXPAND), contract=sql(CONTRACT), rollback=sql(BACK))
    harness.world.blocked["a1", "stage"] = asyncio.Event()
    plan = make_plan(["a"], ["b"], final_soak=1, migrations=[one])
    handle = await harness.start(plan)
    await asyncio.wait_for(harness.world.entered["a1", "stage"].wait(), 60)
    assert (tables(orders), orders.records()) == (["fresh"], {"expand": "done"})
    harness.world.blocked.pop(("a1", "stage")).set()
    status = await harness.until(handle, phase=RolloutPhase.SOAKING)
    assert [(one.database, one.phase, one.state) for one in status.migrations] == [("orders", "expand", "done")]
    result = await harness.finish(handle)
    assert (result.phase, result.undo is None) == (RolloutPhase.SUCCEEDED, False)
    assert orders.records() == {"expand": "done", "contract": "done"}
    assert await story(harness, plan) == [
        f"{what} {phase} orders" for phase in ("expand", "contract") for what in ("started", "completed")
    ]
    assert result.one_way == "the contract of orders cannot be taken back"
    assert PASSWORD not in str(await handle.fetch_history())


async def test_a_failing_one_leaves_the_old_release_serving_and_tells_its_last_words(
    harness: Harness, orders: Database
):
    failing = migration(expand=sql("CREATE TABLE fresh (id nonsense)"))
    plan = make_plan(["a"], migrations=[on_host("true"), failing, migration(database="later", expand=("true",))])
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.FAILED
    assert "the expand of orders failed: orders: expand: sh ended with 1: ERROR" in result.reason
    assert 'type "nonsense" does not exist' in result.reason
    assert "no target was changed" in result.reason
    assert harness.world.versions() == {"a1": "1.0.0"}
    assert harness.world.activations() == []
    assert (tables(orders), orders.records()) == ([], {"expand": "failed"})
    told = await story(harness, plan)
    assert told[-1] == "failed expand orders"
    assert len(told) == 4


async def test_a_rollback_takes_the_regions_back_and_then_the_expand(harness: Harness, orders: Database):
    plan = make_plan(["a"], ["b"], final_soak=600, migrations=[migration(expand=sql(EXPAND), rollback=sql(BACK))])
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback)
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert (tables(orders), orders.records()) == ([], {"expand": "rolled_back", "rollback": "done"})
    assert set(harness.world.versions().values()) == {"1.0.0"}
    assert (await story(harness, plan))[-1] == "rolled_back rollback orders"


async def test_without_a_rollback_command_the_expanded_schema_stays(harness: Harness, orders: Database):
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a"], migrations=[migration(expand=sql(EXPAND))])
    result = await harness.finish(await harness.start(plan))
    assert (result.phase, result.regions, result.undo) == (RolloutPhase.FAILED, {"a": "rolled_back"}, None)
    assert tables(orders) == ["fresh"]


async def test_one_that_cannot_be_taken_back_refuses_rollback_without_an_override(
    harness: Harness, orders: Database, rollouts: FraisierClient
):
    plan = make_plan(["a"], ["b"], final_soak=600, migrations=[migration(expand=sql(EXPAND), irreversible=True)])
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback, {"by": "ops"})
    with pytest.raises(Refused, match=r"the expand of orders cannot be taken back.*pause holds the rollout"):
        await rollouts.send(plan.service, Verb.ROLLBACK, VerbRequest(by="ops"))
    with pytest.raises(Refused, match="an override needs a reason"):
        await rollouts.send(plan.service, Verb.ROLLBACK, VerbRequest(by="ops", override=True))
    status = await rollouts.status(plan.service)
    assert (status.phase, status.one_way) == (RolloutPhase.SOAKING, "the expand of orders cannot be taken back")
    await handle.signal(RolloutWorkflow.rollback, {"by": "ops", "reason": "it is on fire", "override": True})
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}
    (asked,) = [e for e in await harness.events("deployment", plan) if e.event_type.endswith("rollback_requested")]
    assert (asked.data["override"], asked.data["reason"]) == (True, "it is on fire")


async def test_after_its_end_it_refuses_too(harness: Harness, orders: Database, rollouts: FraisierClient):
    plan = make_plan(["a"], migrations=[migration(expand=sql(EXPAND), contract=sql(CONTRACT), rollback=sql(BACK))])
    await harness.finish(await harness.start(plan))
    with pytest.raises(Refused, match="the contract of orders cannot be taken back"):
        await rollouts.send(plan.service, Verb.ROLLBACK, VerbRequest(by="ops"))
    await rollouts.send(plan.service, Verb.ROLLBACK, VerbRequest(by="ops", reason="all the same", override=True))
    result = await rollouts.result(plan.service)
    assert (result.phase, result.regions) == (RolloutPhase.ROLLED_BACK, {"a": "rolled_back"})
    assert tables(orders) == ["fresh"]


async def test_after_its_end_an_expand_goes_back_with_its_regions(
    harness: Harness, orders: Database, rollouts: FraisierClient
):
    plan = make_plan(["a"], migrations=[migration(expand=sql(EXPAND), rollback=sql(BACK))])
    await harness.finish(await harness.start(plan))
    await rollouts.send(plan.service, Verb.ROLLBACK, VerbRequest(by="ops"))
    assert (await rollouts.result(plan.service)).phase is RolloutPhase.ROLLED_BACK
    assert tables(orders) == []


@pytest.mark.parametrize("on_failure", [OnFailure.ROLLBACK_REGION, OnFailure.ROLLBACK_ALL])
async def test_a_failure_past_the_point_of_no_return_waits_for_people(
    harness: Harness, orders: Database, on_failure: OnFailure
):
    harness.world.unhealthy.add(("b1", "2.0.0"))
    one = migration(expand=sql(EXPAND), irreversible=True)
    plan = make_plan(["a"], ["b"], migrations=[one], on_failure=on_failure, decision_timeout=600)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.DECISION)
    assert set(harness.world.versions().values()) == {"2.0.0"}
    harness.world.unhealthy.clear()
    await handle.signal(RolloutWorkflow.retry)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED


async def test_a_contract_that_fails_waits_for_a_decision_and_is_tried_again(
    harness: Harness, orders: Database, tmp_path: Path
):
    argv = ("sh", "-c", f"[ -e {tmp_path}/mended ] || exit 3")
    plan = make_plan(["a"], migrations=[migration(contract=argv)], decision_timeout=600)
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "the contract of orders failed: orders: contract: sh ended with 3" in status.reason
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(RolloutWorkflow.verb, args=[Verb.ROLLBACK, VerbRequest()])
    (tmp_path / "mended").touch()
    await handle.signal(RolloutWorkflow.retry)
    result = await harness.finish(handle)
    assert (result.phase, result.reason) == (RolloutPhase.SUCCEEDED, "")
    assert harness.world.versions() == {"a1": "2.0.0"}


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.ROLLBACK])
async def test_asked_to_end_it_ends_the_command_and_the_database_takes_it_back(
    harness: Harness, orders: Database, verb: Verb
):
    plan = make_plan(["a"], migrations=[migration(expand=sql(f"BEGIN; {EXPAND}; SELECT pg_sleep(600); COMMIT"))])
    handle = await harness.start(plan)
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'BEGIN; CREATE%' AND datname = current_database()"
    await asyncio.wait_for(until(lambda: bool(orders.ask(sleeping))), 60)
    await handle.signal(verb.value, {"by": "ops"})
    result = await harness.finish(handle)
    wanted = RolloutPhase.CANCELLED if verb is Verb.CANCEL else RolloutPhase.ROLLED_BACK
    assert (result.phase, harness.world.activations()) == (wanted, [])
    await asyncio.wait_for(until(lambda: not orders.ask(sleeping)), 60)
    assert tables(orders) == []
    assert await story(harness, plan) == ["started expand orders", "failed expand orders"]


async def test_what_could_not_run_is_found_before_anything_is_touched(harness: Harness, database: Database):
    with_gap = migration(expand=("no-such-program",))
    plan = make_plan(["a"], migrations=[with_gap])
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.FAILED
    assert "preflight of the databases, nothing was changed" in result.reason
    assert "the worker has no program no-such-program" in result.reason
    assert f"its DSN (env:{DSN}) is not there: the worker's environment has no {DSN}" in result.reason
    assert harness.world.effects == []


async def test_a_host_runs_one_after_the_release_was_brought_there(harness: Harness):
    plan = make_plan(["a"], targets=2, migrations=[on_host("bin/migrate", contract=["bin/migrate", "contract"])])
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.SUCCEEDED
    assert [effect[:2] for effect in harness.world.effects][:2] == [("a1", "stage"), ("a1", "expand")]
    assert harness.world.effects[-1][:2] == ("a1", "contract")
    assert await story(harness, plan) == [
        f"{what} {phase} stock" for phase in ("expand", "contract") for what in ("started", "completed")
    ]


async def test_no_contract_takes_away_what_a_region_that_stayed_behind_needs(harness: Harness, orders: Database):
    harness.world.unhealthy.add(("a1", "2.0.0"))
    one = migration(expand=sql(EXPAND), contract=sql(CONTRACT))
    plan = make_plan(["a"], ["b"], migrations=[one], on_failure=OnFailure.CONTINUE, decision_timeout=600)
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "the release before may still run in a, and would lose what contract takes away" in status.reason
    assert orders.records() == {"expand": "done"}
    await handle.signal(RolloutWorkflow.skip)
    result = await harness.finish(handle)
    assert (result.phase, result.one_way) == (RolloutPhase.SUCCEEDED, "")
    assert orders.records() == {"expand": "done"}


async def test_a_region_of_its_own_workers_migrates_there(harness: Harness):
    plan = placed(make_plan(["a"], ["b"], migrations=[on_host("true", region="b")]), "b")
    async with regional_worker(harness, "b") as world:
        result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.SUCCEEDED
    assert ("b1", "expand") in [effect[:2] for effect in world.effects]
    assert [effect[1] for effect in harness.world.effects].count("expand") == 0
