"""The floor: bare asyncssh, one connection and one command a host, with the artifact on its stdin."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

import asyncssh
from steps import order

AT_ONCE = 16  # measured to be the fastest on two cores, of 8, 16, 32 and all


def options(told: dict[str, Any]) -> asyncssh.SSHClientConnectionOptions:
    return asyncssh.SSHClientConnectionOptions(
        username=told["username"],
        client_keys=[told["key"]],
        known_hosts=asyncssh.read_known_hosts(told["known_hosts"]),
        server_host_key_algs=["ssh-ed25519"],
        kex_algs=["curve25519-sha256"],
        encryption_algs=["aes128-gcm@openssh.com"],
        compression_algs=["none"],
        config=None,
        agent_path=None,
        connect_timeout=60,
        login_timeout=60,
    )


async def main() -> None:
    told, room = order(), asyncio.Semaphore(AT_ONCE)
    artifact, shared = await asyncio.to_thread(Path(told["artifact"]).read_bytes), options(told)

    async def one(address: str, root: str) -> None:
        command = shlex.join(["sh", "-c", told["script"], "job", root, told["version"], told["digest"]])
        async with room, asyncssh.connect(address, told["port"], options=shared) as connection:
            process = await connection.create_process(command, encoding=None)
            first = await process.stdout.readline()
            if first == b"send\n":
                process.stdin.write(artifact)
            process.stdin.write_eof()
            done = await process.wait()
            assert done.exit_status == 0, f"{address}: {done.stderr!r}"

    await asyncio.gather(*(one(*host) for host in told["hosts"].items()))


asyncio.run(main())
