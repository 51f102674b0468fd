"""The demo's SSH hosts end with all that they run."""

import asyncio
from pathlib import Path

import asyncssh

from fraisier.orchestrator.demo.ssh_host import SshHost, make_key

COMMANDS = 8


async def test_a_host_that_has_stopped_has_seen_the_end_of_its_commands(tmp_path: Path):
    """Whoever closes the event loop after it must find no process there that nobody has waited for."""
    key = make_key(tmp_path / "key")
    before = asyncio.all_tasks()
    async with SshHost(tmp_path / "host", client_key=key) as host:
        known = asyncssh.import_known_hosts(host.known_hosts_line)
        connection = await asyncssh.connect(
            host.host, host.port, username=host.username, client_keys=[str(key)], known_hosts=known, config=None
        )
        for _ in range(COMMANDS):
            command = await connection.create_process("echo up; trap '' HUP; while :; do sleep 0.05; done")
            assert await command.stdout.readline() == "up\n"
        connection.abort()
        await connection.wait_closed()
    assert asyncio.all_tasks() == before
