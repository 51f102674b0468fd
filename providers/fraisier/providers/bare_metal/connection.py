"""One SSH connection to one host: opened strictly, and never taken for success when it is lost."""

import asyncio
import math
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncssh
import httpcore

from fraisier.providers.bare_metal.commands import NOTHING, Completed, Stdin
from fraisier.providers.bare_metal.limits import GRACE_S, limited
from fraisier.providers.bare_metal.login import KEEPALIVE_S, enter, said
from fraisier.providers.errors import CommandUnknown, ConnectFailed
from fraisier.providers.local_command import Heard
from fraisier.providers.masking import Masking
from fraisier.providers.ssh_options import SshOptions

CHUNK = 256 * 1024
OUTPUT_LIMIT = 1024 * 1024
"""How much of a command's output is kept, in bytes: its beginning on stdout."""
TAIL_LIMIT = 4096
"""How much of its error output is kept, in bytes: its end."""
END_S = 15.0
"""How long a host may take to end a command that ends with its stdin, in seconds."""


class HostConnection:
    """A connection that is opened once and used for every step.

    Args:
        options: where and as whom.
        target: the target's name, for errors.
    """

    def __init__(self, options: SshOptions, *, target: str) -> None:
        self._options = options
        self._target = target
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to be dead."""
        return self._ssh is not None and not self._ssh.is_closed()

    async def open(self) -> asyncssh.SSHClientConnection:
        """The connection, opened if there is none.

        Raises:
            ConnectFailed: no answer in time, or refused.
            HostKeyRejected: the host's key is unknown or has changed.
            AuthenticationFailed: no key opened the host.
            SshConfigInvalid: `ssh_config` is not there or cannot be read.
        """
        async with self._opening:
            if self._ssh is None or self._ssh.is_closed():
                self._ssh = await enter(self._options, target=self._target)
            return self._ssh

    async def close(self) -> None:
        """Close the connection, politely if the host still answers."""
        ssh, self._ssh = self._ssh, None
        if ssh is None:
            return
        ssh.close()
        try:
            await asyncio.wait_for(ssh.wait_closed(), KEEPALIVE_S)
        except (asyncio.TimeoutError, TimeoutError):
            ssh.abort()

    async def run(
        self,
        command: str,
        *,
        name: str,
        timeout_s: float,
        stdin: Stdin = NOTHING,
        heard: Heard | None = None,
        hidden: tuple[str, ...] = (),
    ) -> Completed:
        """Run a command on the host to its end.

        Args:
            command: one string, quoted by `shlex.join`.
            name: what it is called in errors.
            timeout_s: how long it may take, in seconds.
            stdin: what it reads.
            heard: hears the end of its error output while it runs.
            hidden: secrets that it may write there.

        Raises:
            ConnectFailed: it could not be started.
            CommandUnknown: the connection was lost or the time was over before it told how it ended.
        """
        ssh = await self.open()
        try:
            process = await asyncio.wait_for(ssh.create_process(command, encoding=None), timeout_s)
        except (asyncssh.Error, OSError, asyncio.TimeoutError, TimeoutError) as error:
            raise ConnectFailed(
                f"{self._target}: {name} could not be started: {said(error)}", target=self._target, step=name
            ) from error
        try:
            return await asyncio.wait_for(self._follow(process, name, stdin, heard, Masking(hidden)), timeout_s)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise self._unknown(name, f"did not end within {timeout_s:.0f} s") from error
        except (asyncssh.Error, OSError) as error:
            raise self._unknown(name, f"lost its connection: {said(error)}") from error
        except asyncio.CancelledError:
            if stdin.held:
                await _let_end(process)
            raise
        finally:
            process.close()

    async def run_limited(self, argv: Sequence[str], *, seconds: float) -> Completed:
        """Run a command that the host ends when its time is over, with all that it has started; raises as `run`.

        Args:
            argv: the argument list.
            seconds: how long it may take; the status of one that did not end by itself is `LATE`.
        """
        patience = math.ceil(seconds) + 2 * GRACE_S + KEEPALIVE_S
        return await self.run(shlex.join(limited(argv, seconds)), name=argv[0], timeout_s=patience)

    async def _follow(
        self,
        process: asyncssh.SSHClientProcess[bytes],
        name: str,
        stdin: Stdin,
        heard: Heard | None,
        masking: Masking,
    ) -> Completed:
        output, tail = bytearray(), bytearray()
        cued = asyncio.Event()
        reading = asyncio.gather(
            _read_start(process, output, stdin.cue, cued), _read_tail(process, tail, heard, masking)
        )
        try:
            await _write(process, stdin.opening)
            if stdin.cue:
                await cued.wait()
                if stdin.cue in output.splitlines():
                    await _send(process, stdin.payload)
            if not stdin.held:
                process.stdin.write_eof()
            await reading
            await process.wait_closed()
        finally:
            reading.cancel()
        status = process.exit_status
        if status is None or process.exit_signal is not None:
            raise self._unknown(name, "ended without a status: its connection was lost or it was killed")
        return Completed(status, output.decode(errors="replace"), tail.decode(errors="replace").strip())

    async def dial(self, host: str, port: int) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        """Open an address as seen from the host.

        Raises:
            httpcore.ConnectError: it does not accept connections; the message says why.
            ConnectFailed: there is no connection to the host.
        """
        ssh = await self.open()
        with self._dialled(f"{host}:{port}", "AllowTcpForwarding or PermitOpen"):
            return await ssh.open_connection(host, port)

    async def dial_socket(self, path: str) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        """Open a unix socket of the host; raises as `dial`."""
        ssh = await self.open()
        with self._dialled(path, "AllowStreamLocalForwarding"):
            return await ssh.open_unix_connection(path)

    @contextmanager
    def _dialled(self, address: str, setting: str) -> Iterator[None]:
        try:
            yield
        except asyncssh.ChannelOpenError as error:
            if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                raise httpcore.ConnectError(f"the host's sshd forbids it: allow {address} with {setting}") from error
            raise httpcore.ConnectError(f"nothing accepts connections at {address}") from error
        except (asyncssh.Error, OSError) as error:
            raise ConnectFailed(f"{self._target}: {said(error)}", target=self._target) from error

    def _unknown(self, name: str, why: str) -> CommandUnknown:
        return CommandUnknown(
            f"{self._target}: {name} {why}; whether it took effect is not known",
            target=self._target,
            step=name,
            command=name,
            exit_status=None,
        )


async def _let_end(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Close a command's stdin, and wait until it has ended for that."""
    if not process.stdin.is_closing():
        process.stdin.write_eof()
    with suppress(asyncio.TimeoutError, TimeoutError):
        await asyncio.wait_for(process.wait_closed(), END_S)


async def _send(process: asyncssh.SSHClientProcess[bytes], payload: Path | None) -> None:
    """Stream a file to a command's stdin; a line that says no more than that we are there when there is none."""
    if payload is None:
        await _write(process, b"\n")
        return
    with await asyncio.to_thread(payload.open, "rb", buffering=0) as file:
        sent = 0
        while chunk := await _read(file.fileno(), sent):
            if not await _write(process, chunk):
                return
            sent += len(chunk)


async def _read(file: int, at: int) -> bytes:
    """Read on in a file: what many hosts are sent is in memory, where a change of threads costs more."""
    part = bytearray(CHUNK)
    try:
        return bytes(part[: os.preadv(file, [part], at, os.RWF_NOWAIT)])
    except (OSError, AttributeError):  # it is not in memory, or nobody here can tell
        return await asyncio.to_thread(os.pread, file, CHUNK, at)


async def _write(process: asyncssh.SSHClientProcess[bytes], part: bytes) -> bool:
    """Write to a command's stdin; whether it takes more. One that has ended tells why by its status."""
    if process.stdin.is_closing():
        return False
    process.stdin.write(part)
    try:
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


async def _read_start(
    process: asyncssh.SSHClientProcess[bytes], into: bytearray, cue: bytes, cued: asyncio.Event
) -> None:
    """Keep the start of the output and forget the rest; tell when the cue came, or the end."""
    try:
        while part := await process.stdout.read(CHUNK):
            into += part[: OUTPUT_LIMIT - len(into)]
            if cue and cue + b"\n" in into:
                cued.set()
    finally:
        cued.set()


async def _read_tail(
    process: asyncssh.SSHClientProcess[bytes], into: bytearray, heard: Heard | None, masking: Masking
) -> None:
    while part := await process.stderr.read(CHUNK):
        into += masking.part(part)
        del into[:-TAIL_LIMIT]
        if heard is not None:
            heard(into.decode(errors="replace").strip())
    into += masking.rest()
    del into[:-TAIL_LIMIT]
