"""What a health check sees at a container."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fraisier.providers.docker.engine import Engine
from fraisier.providers.errors import CommandFailed, CommandUnknown, ConnectFailed
from fraisier.providers.health import Probe, Sighting
from fraisier.providers.http_probe import ask, reach
from fraisier.providers.loopback import is_loopback
from fraisier.providers.models import HealthCheck

ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 (compared, not bound)
TAIL_SHOWN = 200


def probe_of(engine: Engine, container: str, check: HealthCheck, *, version: str) -> Probe:
    """The check's probe. A loopback address means the container's own: its published port, else its own address."""

    async def http() -> Sighting:
        url = urlsplit(check.http or "")
        port = url.port or (443 if url.scheme == "https" else 80)
        host, port = outside(engine.address, await engine.inspect(container), url.hostname or "", port)
        there = urlunsplit((url.scheme, f"{host}:{port}", url.path, url.query, ""))
        return await ask(check.model_copy(update={"http": there}), version=version, network=engine.network)

    async def tcp() -> Sighting:
        named, _, port = (check.tcp or "").rpartition(":")
        host, found = outside(engine.address, await engine.inspect(container), named.strip("[]"), int(port))
        return await reach(host, found, shown=check.tcp or "", network=engine.network)

    async def command() -> Sighting:
        argv = check.command or ()
        status, output = await engine.run_in(container, argv, seconds=check.timeout.total_seconds())
        tail = f": {output[-TAIL_SHOWN:]}" if status else ""
        return Sighting(passed=status == 0, detail=f"{argv[0]} ended with {status}{tail}")

    async def systemd() -> Sighting:
        return Sighting(passed=False, detail="a container has no units: check it by http, tcp or command")

    async def own() -> Sighting:
        return own_health((await engine.inspect(container))["State"])

    if check.systemd:
        return systemd
    return _forgiving(http if check.http else tcp if check.tcp else command if check.command else own)


def own_health(state: dict[str, Any]) -> Sighting:
    """What the engine makes of a container by the container's own health check."""
    health = state.get("Health") or {}
    status = health.get("Status", "none")
    if not state["Running"]:
        return Sighting(passed=False, detail=f"the container ended with status {state['ExitCode']}")
    if status == "none":
        why = "the container has no health check of its own: give it a healthcheck, or check it by http, tcp or command"
        return Sighting(passed=False, detail=why)
    said = [one["Output"].strip() for one in health.get("Log") or ()][-1:]
    tail = f": {said[0][-TAIL_SHOWN:]}" if said and said[0] and status != "healthy" else ""
    passed, starting = status == "healthy", status == "starting"
    return Sighting(passed=passed, answered=not starting, detail=f"the container is {status}{tail}")


def is_its_own(host: str) -> bool:
    """Whether a host in a check means the container itself."""
    return host in ANY_ADDRESS or is_loopback(host)


def outside(engine: str, inspected: dict[str, Any], host: str, port: int) -> tuple[str, int]:
    """Where an address that was written as the container sees it is reached: from the worker, or over SSH."""
    if not is_its_own(host):
        return host, port
    network = inspected["NetworkSettings"]
    for binding in network["Ports"].get(f"{port}/tcp") or ():
        at = binding["HostIp"]
        # The loopback of an engine that is elsewhere is not the worker's own, where something else may answer.
        return (_engine_host(engine) if at in ANY_ADDRESS or is_loopback(at) else at), int(binding["HostPort"])
    addresses = [one["IPAddress"] for one in network["Networks"].values() if one["IPAddress"]]
    return (addresses[0] if addresses else host), port


def _engine_host(engine: str) -> str:
    return (urlsplit(engine).hostname if engine.startswith("tcp://") else None) or "127.0.0.1"


def _forgiving(probe: Probe) -> Probe:
    async def look() -> Sighting:
        try:
            return await probe()
        except (ConnectFailed, CommandUnknown, CommandFailed) as error:
            return Sighting(passed=False, answered=False, detail=str(error))

    return look
