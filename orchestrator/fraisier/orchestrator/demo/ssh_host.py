"""A host to deploy to where there is none: an SSH server on loopback that runs real commands in a folder of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import asyncssh
from typing_extensions import Self

ADDRESS = "127.0.0.1"
LOCAL = (ADDRESS, "localhost")
CHUNK = 64 * 1024
ENDED_WITHIN_S = 5
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

REAPER = (sys.executable, "-IS", str(Path(__file__).with_name("reaper.py")))


def make_key(path: Path) -> Path:
    """Write a new private key, readable by nobody else, with its ``.pub`` beside it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    path.with_name(path.name + ".pub").write_bytes(key.export_public_key())
    return path


class SshHost:
    """An SSH server whose commands run for real, with a folder as their home, and end with it.

    It lets in one key, forwards connections to 127.0.0.1 only, and lives on a port of its own. Whatever its
    commands leave behind in their sessions is killed with it, also when this process is killed.

    Args:
        folder: the host's home and working folder; made if it is not there.
        client_key: the private key that it lets in, see `make_key`; only its public part is read.
        username: who may log in.
        environment: more variables for its commands, such as ``PORT``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        client_key: Path,
        username: str = "deploy",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.client_key = client_key
        self.username = username
        self.host = ADDRESS
        self.port = 0
        self.environment = {"PATH": SYSTEM_PATH, "HOME": str(folder), "USER": username, **(environment or {})}
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._server: asyncssh.SSHAcceptor | None = None
        self._reaper: asyncio.subprocess.Process | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def known_hosts_line(self) -> str:
        """The line that makes this host known, for a ``known_hosts`` file; it is started by then."""
        public = self._host_key.export_public_key().decode().strip()
        return f"[{self.host}]:{self.port} {public}\n"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port and with the same key as before if it was started before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._reaper is None:
            self._reaper = await asyncio.create_subprocess_exec(
                *REAPER, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        self._server = await asyncssh.create_server(
            lambda: _Door(self._connections),
            self.host,
            self.port,
            server_host_keys=[self._host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(
                self.client_key.with_name(self.client_key.name + ".pub").read_text()
            ),
            process_factory=self._run,
            encoding=None,
        )
        self.port = self._server.get_port()

    async def stop(self) -> None:
        """Stop listening, cut every connection and kill all that runs here."""
        await self.disappear()
        reaper, self._reaper = self._reaper, None
        if reaper is not None:
            await reaper.communicate(b"")  # the end of its stdin
        if self._running:  # killed by now; a stranger may hold their pipes for ever
            await asyncio.wait(self._running, timeout=ENDED_WITHIN_S)

    async def disappear(self) -> None:
        """Stop listening and cut every connection, as a broken network does: what runs goes on running."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()  # first: from Python 3.12 on, a server is closed only when its connections are
        if server is not None:
            await server.wait_closed()

    def cut(self) -> None:
        """Cut the connections that are open now."""
        for connection in tuple(self._connections):
            connection.abort()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command as sshd does: by the shell, and to its end even when the connection is lost."""
        reaper = self._reaper
        if reaper is None or reaper.stdin is None or process.command is None:
            process.exit(1)
            return
        run = asyncio.create_task(self._command(process, process.command, reaper.stdin))
        self._running.add(run)
        run.add_done_callback(self._running.discard)
        await run

    async def _command(
        self, process: asyncssh.SSHServerProcess[bytes], command: str, reaper: asyncio.StreamWriter
    ) -> None:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if reaper.is_closing():  # it came while the host was stopping
            os.killpg(child.pid, signal.SIGKILL)
        reaper.write(b"%d\n" % child.pid)
        feeding = asyncio.create_task(_feed(process, child))
        await asyncio.gather(_relay(child.stdout, process.stdout), _relay(child.stderr, process.stderr))
        status = await child.wait()
        reaper.write(b"%d\n" % -child.pid)
        feeding.cancel()
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)


class _Door(asyncssh.SSHServer):
    """Forwards to loopback only, and keeps count of its connections."""

    def __init__(self, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._all = connections
        self._own: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count it."""
        self._own = conn
        self._all.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the library's argument)
        """Count it no more."""
        if self._own is not None:
            self._all.discard(self._own)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:  # noqa: ARG002
        """Let a forwarded connection go to loopback only."""
        if dest_host not in LOCAL:
            # The code that OpenSSH gives, so that clients can tell a refusal from a closed port.
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "only loopback is forwarded to")
        return True


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Hand on what the client sends; the end of it, or of the connection, is the end of the command's stdin."""
    assert child.stdin is not None  # noqa: S101 (a pipe was asked for)
    try:
        with contextlib.suppress(asyncssh.Error):
            while part := await process.stdin.read(CHUNK):
                child.stdin.write(part)
                await child.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # the command wants no more
    finally:
        child.stdin.close()


async def _relay(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Hand on what the command writes; with the connection gone it is read and lost, so that the command goes on."""
    assert source is not None  # noqa: S101 (a pipe was asked for)
    while part := await source.read(CHUNK):
        with contextlib.suppress(OSError, asyncssh.Error):
            sink.write(part)
            await sink.drain()
