"""The demo's SSH hosts end with all that they run."""

import asyncio
import os
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


LEAVE = """\
import os, time
if os.fork() == 0:
    os.setpgid(0, 0)
    print(os.getpid(), flush=True)
    time.sleep(600)
"""


async def test_what_a_command_has_left_ends_with_the_host_whatever_its_process_group(tmp_path: Path):
    key = make_key(tmp_path / "key")
    async with SshHost(tmp_path / "host", client_key=key) as host:
        known = asyncssh.import_known_hosts(host.known_hosts_line)
        async with asyncssh.connect(
            host.host, host.port, username=host.username, client_keys=[str(key)], known_hosts=known, config=None
        ) as connection:
            command = await connection.create_process(f"python3 -c '{LEAVE}' 2>/dev/null & wait")
            left = int(await command.stdout.readline())
            os.kill(left, 0)
    while alive(left):  # noqa: ASYNC110 (nobody here is its parent)
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process is there; one that is dead and that nobody has waited for is not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
