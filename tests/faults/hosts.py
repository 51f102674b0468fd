"""SSH hosts in a process of their own, which can be killed, and told to misbehave by lines on its stdin.

``python -m tests.faults.hosts FOLDER NAME...`` prints ``ready`` once all listen. A line is a word and a host's name:
``cut`` its connections, ``disappear``, ``start`` it again, or ``impostor``: start it again with another key, or
``revoke``: let in another key than ours.
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import asyncssh

from fraisier.orchestrator.demo.ssh_host import SshHost, make_key
from fraisier.orchestrator.stack.ports import free_ports


class Fleet:
    """Hosts by name, the same after every start: their keys and ports stand in the folder.

    Args:
        folder: with ``client_key``; each host's home is ``<name>/home``.
        names: the hosts.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.hosts = {name: self._host(name) for name in names}

    def _host(self, name: str) -> SshHost:
        own = self.folder / name
        host = SshHost(own / "home", client_key=self.folder / "client_key")
        host._host_key = asyncssh.read_private_key(own / "host_key")
        host.port = json.loads((self.folder / "ports.json").read_text())[name]
        return host

    async def obey(self, word: str, name: str) -> None:
        """Do what a line says."""
        host = self.hosts[name]
        if word == "cut":
            host.cut()
        elif word == "disappear":
            await host.disappear()
        elif word == "start":
            host._host_key = asyncssh.read_private_key(self.folder / name / "host_key")
            host.client_key = self.folder / "client_key"
            await host.start()
        elif word == "impostor":
            await host.disappear()
            host._host_key = asyncssh.generate_private_key("ssh-ed25519")
            await host.start()
        elif word == "revoke":
            await host.disappear()
            host.client_key = self.folder / name / "host_key"
            await host.start()
        print(f"done {word} {name}", flush=True)


def prepare(folder: Path, names: list[str]) -> None:
    """Make keys and choose ports, and write the ``known_hosts`` of those who shall know the hosts."""
    make_key(folder / "client_key")
    ports = free_ports(dict.fromkeys(names, 0))
    (folder / "ports.json").write_text(json.dumps(ports))
    lines = []
    for name in names:
        (folder / name).mkdir()
        make_key(folder / name / "host_key")
        kind, key = (folder / name / "host_key.pub").read_text().split()[:2]
        lines.append(f"[127.0.0.1]:{ports[name]} {kind} {key}\n")
    (folder / "known_hosts").write_text("".join(lines))


async def serve(folder: Path, names: list[str]) -> None:
    """Serve until stdin ends."""
    fleet = Fleet(folder, names)
    async with contextlib.AsyncExitStack() as stack:
        for host in fleet.hosts.values():
            await stack.enter_async_context(host)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await fleet.obey(*line.split())


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2:]))
