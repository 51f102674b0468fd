"""Connecting to Temporal and NATS, with errors that name the address and the way out."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dotenv import dotenv_values
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from fraisier.nats import NatsClient, NatsEventBus, get_nats_config
from fraisier.nats.config import DOTENV, NatsConfig
from fraisier.orchestrator.errors import Unreachable
from fraisier.orchestrator.settings import key_ring, temporal_options
from fraisier.workflows.converter import data_converter

CONNECT_S = 10.0


@dataclass(frozen=True)
class Connections:
    """Both connections, and the bus over one of them."""

    temporal: Client
    nats: NatsClient
    bus: NatsEventBus
    config: NatsConfig


async def connect_temporal() -> Client:
    """Connect to Temporal.

    Raises:
        Invalid: the keys of the payloads cannot be read.
        Unreachable: nobody answers, it is refused, or the namespace is not there.
    """
    options, ring = temporal_options(), key_ring()
    try:
        client = await asyncio.wait_for(Client.connect(**options, data_converter=data_converter(ring)), CONNECT_S)
    except (RuntimeError, RPCError, OSError, asyncio.TimeoutError) as error:
        raise Unreachable(
            f"Temporal does not answer at {options['target_host']}: {_short(error)}. Start a local stack with "
            f"`fraisier up`, or set TEMPORAL_ADDRESS (and TEMPORAL_NAMESPACE).{_origin('TEMPORAL_ADDRESS')}"
        ) from error
    await _find_namespace(client, options["target_host"])
    return client


async def _find_namespace(client: Client, address: str) -> None:
    """Whether the namespace is there; without it every rollout would look as if it had never been."""
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            return  # whoever may not ask about a namespace may well work in it
        raise Unreachable(
            f"Temporal at {address} has no namespace {client.namespace}: set TEMPORAL_NAMESPACE to one that is there, "
            f"or make it (temporal operator namespace create --address {address} --namespace {client.namespace})"
        ) from error


async def connect_nats(*, patient: bool = False) -> tuple[NatsClient, NatsConfig]:
    """Connect to NATS.

    Args:
        patient: go on reconnecting for ever, unless NATS_MAX_RECONNECT_ATTEMPTS says otherwise: a worker outlives
            a server's night.

    Raises:
        Unreachable: nobody answers, or it is refused.
    """
    config = get_nats_config()
    options = config.connection.to_nats_client_kwargs()
    if patient and "max_reconnect_attempts" not in config.connection.model_fields_set:
        options["max_reconnect_attempts"] = -1
    client = NatsClient(**options)
    try:
        await client.connect()
    except ConnectionError as error:
        raise Unreachable(f"{error} A local stack starts with `fraisier up`.{_origin('NATS_SERVERS')}") from error
    return client, config


@asynccontextmanager
async def connections(*, patient: bool = False) -> AsyncIterator[Connections]:
    """Both connections for as long as the block runs."""
    nats, config = await connect_nats(patient=patient)
    try:
        yield Connections(await connect_temporal(), nats, NatsEventBus(nats, config.streams), config)
    finally:
        await nats.disconnect()


def _origin(variable: str) -> str:
    """That a variable comes from ``.env``, where that file may be the reason."""
    value = dotenv_values(DOTENV).get(variable)
    if value is None or os.environ.get(variable) != value:
        return ""
    return (
        f" {variable}={value} comes from .env in this folder, which Docker Compose reads too: outside of containers "
        "its servers are at localhost, and the stack of `fraisier up` is found where .env does not set it."
    )


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    said = re.search(r'(?:message|error): "([^"]+)"', text)  # the operating system's words, deep in the client's
    return said[1] if said else text.splitlines()[0][:200]
