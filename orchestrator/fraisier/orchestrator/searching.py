"""Letting a Temporal namespace know what rollouts are searched by."""

import asyncio
import time

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from fraisier.orchestrator.errors import Refused
from fraisier.workflows.search import SEARCH_ATTRIBUTES

USABLE_S = 60.0
"""A new attribute can be used once every server has read the namespace anew, some seconds later."""

ASK_EVERY_S = 0.5
KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


async def register_search_attributes(client: Client) -> None:
    """Add the search attributes that the namespace lacks, and wait until they can be used.

    Raises:
        Refused: this client may not add them, or their names are taken by another type.
    """
    known = (
        await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
    ).custom_attributes
    other = [key.name for key in SEARCH_ATTRIBUTES if known.get(key.name, KEYWORD) != KEYWORD]
    if other:
        raise Refused(_way_out(client, other, "they are there with another type; remove them first"))
    missing = [key.name for key in SEARCH_ATTRIBUTES if key.name not in known]
    if not missing:
        return
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(missing, KEYWORD))
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:  # another worker was quicker
            raise Refused(_way_out(client, missing, error.message)) from error
    await _usable(client, missing)


async def _usable(client: Client, names: list[str]) -> None:
    query = " AND ".join(f"{name} = 'none'" for name in names)
    end = time.monotonic() + USABLE_S
    while True:
        try:
            await client.count_workflows(query)
        except RPCError as error:
            if time.monotonic() > end:
                raise Refused(_way_out(client, names, error.message)) from error
            await asyncio.sleep(ASK_EVERY_S)
        else:
            return


def _way_out(client: Client, names: list[str], why: str) -> str:
    options = " ".join(f"--name {name} --type Keyword" for name in names)
    return (
        f"the Temporal namespace {client.namespace} cannot search by {', '.join(names)}: {why}. Let its operator run: "
        f"temporal operator search-attribute create --namespace {client.namespace} {options}"
    )
