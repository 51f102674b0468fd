"""Rollouts are found by service, version, region and state, in any namespace that a worker has seen."""

import asyncio
import time
import uuid
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from fraisier.orchestrator.errors import Refused
from fraisier.orchestrator.searching import register_search_attributes
from fraisier.orchestrator.stack import LocalStack
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.search import SEARCH_ATTRIBUTES
from tests.workflows.harness import Harness, make_plan

SOON_S = 20


@pytest.fixture
async def bare(temporal_client: Client, local_stack: LocalStack) -> Client:
    """A client of a new namespace that knows no attribute of ours."""
    namespace = f"search-{uuid.uuid4().hex[:8]}"
    asked = RegisterNamespaceRequest(namespace=namespace)
    asked.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await temporal_client.workflow_service.register_namespace(asked)
    return await Client.connect(temporal_client.service_client.config.target_host, namespace=namespace)


async def found(client: Client, query: str) -> set[str]:
    return {run.id async for run in client.list_workflows(query)}


async def until_found(client: Client, query: str, wanted: set[str]) -> None:
    """Visibility follows the workflow a little later."""
    end = time.monotonic() + SOON_S
    while (now := await found(client, query)) != wanted:
        assert time.monotonic() < end, (query, now)
        await asyncio.sleep(0.1)


async def test_a_rollout_is_found_by_its_state_and_its_regions(harness: Harness):
    plan = make_plan(["a"], ["b"], final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    state = f"WorkflowId = '{handle.id}' AND FraisierState"
    await until_found(harness.client, f"{state} = 'soaking'", {handle.id})
    await handle.signal("pause")
    await until_found(harness.client, f"{state} = 'paused'", {handle.id})
    await handle.signal("cancel")
    await harness.finish(handle)
    await until_found(harness.client, f"{state} = 'cancelled'", {handle.id})
    await until_found(
        harness.client,
        f"FraisierService = '{plan.service}' AND FraisierVersion = '2.0.0' AND FraisierRegion = 'b'",
        {f"{handle.id}:{(await handle.result()).rollout_id}:b"},
    )


async def test_a_worker_makes_a_namespace_searchable_once_and_again(bare: Client):
    with pytest.raises(Exception, match="FraisierService"):
        await found(bare, "FraisierService = 'none'")
    await asyncio.gather(register_search_attributes(bare), register_search_attributes(bare))
    await register_search_attributes(bare)
    for key in SEARCH_ATTRIBUTES:
        assert await found(bare, f"{key.name} = 'none'") == set()


async def test_an_attribute_of_another_type_is_refused_with_the_way_out(bare: Client):
    number = IndexedValueType.INDEXED_VALUE_TYPE_INT
    await bare.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=bare.namespace, search_attributes={"FraisierState": number})
    )
    with pytest.raises(Refused, match=f"namespace {bare.namespace} .*FraisierState.*another type.*search-attribute"):
        await register_search_attributes(bare)
