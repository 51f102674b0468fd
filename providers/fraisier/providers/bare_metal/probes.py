"""What a health check sees at a bare-metal target: always from the target's own side, with no tool needed there."""

from collections.abc import Callable

import httpcore

from fraisier.providers.bare_metal.channel import HostNetwork
from fraisier.providers.bare_metal.connection import HostConnection
from fraisier.providers.bare_metal.limits import LATE
from fraisier.providers.errors import CommandUnknown, ConnectFailed
from fraisier.providers.health import Probe, Sighting
from fraisier.providers.http_probe import ask
from fraisier.providers.models import HealthCheck

TAIL_SHOWN = 200


def system(*arguments: str) -> list[str]:
    """A question to the system's own manager."""
    return ["systemctl", *arguments]


def probe_of(
    connection: HostConnection, check: HealthCheck, *, version: str, systemctl: Callable[..., list[str]] = system
) -> Probe:
    """The check's probe. A host that cannot be reached is not healthy, and may be again before the deadline.

    Args:
        connection: to the host.
        check: what is looked at.
        version: what must answer.
        systemctl: makes a question to the manager that runs the unit.
    """

    async def http() -> Sighting:
        return await ask(check, version=version, network=HostNetwork(connection))

    async def tcp() -> Sighting:
        host, _, port = (check.tcp or "").rpartition(":")
        try:
            _, writer = await connection.dial(host.strip("[]"), int(port))
        except httpcore.ConnectError as error:
            return Sighting(passed=False, answered=False, detail=str(error))
        writer.close()
        return Sighting(passed=True, detail=f"{check.tcp} accepts connections")

    async def command() -> Sighting:
        argv = check.command or ()
        done = await connection.run_limited(argv, seconds=check.timeout.total_seconds())
        tail = f": {(done.tail or done.output).strip()[-TAIL_SHOWN:]}" if done.exit_status else ""
        return Sighting(
            passed=done.exit_status == 0,
            answered=done.exit_status != LATE,
            detail=f"{argv[0]} ended with {done.exit_status}{tail}",
        )

    async def docker() -> Sighting:
        return Sighting(
            passed=False, detail="a host has no containers of ours: check it by http, tcp, command or systemd"
        )

    if check.docker:
        return docker
    if check.systemd:
        return _forgiving(_unit(connection, check, systemctl))
    return _forgiving(http if check.http else tcp if check.tcp else command)


def _unit(connection: HostConnection, check: HealthCheck, systemctl: Callable[..., list[str]]) -> Probe:
    """Looks whether a unit is active, and was not started again by systemd since the last look."""
    argv = systemctl("show", "--property=LoadState,ActiveState,SubState,NRestarts", check.systemd or "")
    restarts = ""

    async def look() -> Sighting:
        nonlocal restarts
        done = await connection.run_limited(argv, seconds=check.timeout.total_seconds())
        if done.exit_status != 0:
            told = f"systemctl ended with {done.exit_status}: {done.tail[-TAIL_SHOWN:]}"
            return Sighting(passed=False, answered=done.exit_status != LATE, detail=told)
        found = dict(line.split("=", 1) for line in done.output.splitlines() if "=" in line)
        before, restarts = restarts or found.get("NRestarts", ""), found.get("NRestarts", "")
        state, sub = found.get("ActiveState", "unknown"), found.get("SubState", "unknown")
        if found.get("LoadState") != "loaded":
            return Sighting(passed=False, detail=f"the unit {check.systemd} is {found.get('LoadState', 'unknown')}")
        if restarts != before:
            return Sighting(passed=False, detail=f"{check.systemd} died: systemd has started it {restarts} times again")
        starting = state == "activating" and sub != "auto-restart"
        return Sighting(passed=state == "active", answered=not starting, detail=f"{check.systemd} is {state} ({sub})")

    return look


def _forgiving(probe: Probe) -> Probe:
    async def look() -> Sighting:
        try:
            return await probe()
        except (ConnectFailed, CommandUnknown) as error:
            return Sighting(passed=False, answered=False, detail=str(error))

    return look
