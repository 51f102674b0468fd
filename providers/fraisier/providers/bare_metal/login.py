"""The way into a host: by its jump hosts, strictly at each, and with patience for an sshd that has no room."""

import asyncio
import random
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import asyncssh

from fraisier.providers.bare_metal.handshakes import handshakes
from fraisier.providers.errors import AuthenticationFailed, ConnectFailed, HostKeyRejected, SshConfigInvalid
from fraisier.providers.ssh_options import SSH_CONFIG, SshHop, SshOptions

CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
"""The fastest first: asyncssh's own first choice moves a twentieth of it."""

KEEPALIVE_S = 5
KEEPALIVES_LOST = 3

PAUSES_S = (0.1, 2.0)
"""The first wait after a dropped handshake and the longest, in seconds; each is twice the one before, or less."""

JUMP = re.compile(r"(?:ssh://)?(?:(?P<username>.+)@)?(?P<host>\[[^][]+\]|[^][:/]+)(?::(?P<port>\d+))?/?")
"""One jump host in `ssh_config`."""

DROPPED = (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError)
"""How a handshake ends that an sshd had no room for: without a word."""


async def enter(options: SshOptions, *, target: str) -> asyncssh.SSHClientConnection:
    """Open a connection to a host, by way of its jump hosts; closing it closes theirs.

    Raises:
        ConnectFailed: one of them does not answer in time, or refuses.
        HostKeyRejected: the key of one of them is unknown or has changed.
        AuthenticationFailed: no key opened one of them.
        SshConfigInvalid: `ssh_config` is not there or cannot be read.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.connect_timeout.total_seconds()
    pause, longest = PAUSES_S
    while True:
        try:
            return await _pass(_hops(options, target), target)
        except ConnectFailed as error:
            if not isinstance(error.__cause__, DROPPED) or loop.time() + pause > deadline:
                raise
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (no secret: so that not all come back at once)
        pause = min(2 * pause, longest)


async def _pass(hops: list[SshHop], target: str) -> asyncssh.SSHClientConnection:
    """From host to host to the last one."""
    reached: asyncssh.SSHClientConnection | None = None
    for hop in hops:
        try:
            further = await _open(hop, reached, target)
        except BaseException:
            if reached is not None:
                reached.abort()
            raise
        if reached is not None:
            further.set_tunnel(reached)
        reached = further
    assert reached is not None  # noqa: S101 (the host itself is the last hop)
    return reached


async def _open(hop: SshHop, tunnel: asyncssh.SSHClientConnection | None, target: str) -> asyncssh.SSHClientConnection:
    where = _address(hop)
    try:
        async with handshakes().room(where):
            return await asyncssh.connect(**_arguments(hop, target), tunnel=tunnel)
    except asyncssh.HostKeyNotVerifiable as error:
        scanned = f"-p {hop.port} {hop.host}" if hop.port else hop.host
        raise HostKeyRejected(
            f"{where}: its host key is not in {hop.known_hosts}, or is another one there: {said(error)}. "
            f"If the host is new, look at its key (ssh-keyscan {scanned}), compare it with "
            "the host's own and add it; if it is not, find out why its key changed",
            target=target,
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise AuthenticationFailed(
            f"{where}: {hop.key_path or 'a key in ~/.ssh'} cannot be used: {said(error)}; give a key_path without a "
            "passphrase, or load the key into an agent and give agent: true",
            target=target,
        ) from error
    except asyncssh.PermissionDenied as error:
        user, key = hop.username or "this user", hop.key_path or "the keys in ~/.ssh"
        root = ", or log in as another user if sshd lets no root in (PermitRootLogin)" if user == "root" else ""
        raise AuthenticationFailed(
            f"{where}: {user} is not let in with {key}: {said(error)}; put its public key into that user's "
            f"~/.ssh/authorized_keys there, or give another key_path or username{root}",
            target=target,
        ) from error
    except asyncssh.ConfigParseError as error:
        raise SshConfigInvalid(f"{target}: {hop.ssh_config} cannot be read: {error}", target=target) from error
    except (asyncssh.Error, OSError, asyncio.TimeoutError, TimeoutError) as error:
        raise ConnectFailed(f"{where}: cannot be reached: {said(error)}", target=target) from error


def _hops(options: SshOptions, target: str) -> list[SshHop]:
    """The hosts on the way, the last one being the host itself.

    The first one that is named may have a way of its own in `ssh_config`, and so on; those behind it are reached by it.
    """
    hops: list[SshHop] = [*options.jump, options]
    passed: list[str] = []
    while further := _proxy_jump(hops[0], target):
        passed.append(hops[0].host)
        if further[0].host in passed:
            raise SshConfigInvalid(
                f"{target}: ProxyJump in {hops[0].ssh_config} leads from {further[0].host} back to it: "
                "give it ProxyJump none",
                target=target,
            )
        hops = [*further, *hops]
    return hops


def _proxy_jump(hop: SshHop, target: str) -> list[SshHop]:
    """The jump hosts that `ssh_config` names for a host."""
    config = _config(hop, target)
    if not config:
        return []
    port = hop.port or ()
    try:
        found = asyncssh.SSHClientConnectionOptions(
            config=config, host=hop.host, port=port, client_keys=None, agent_path=None, known_hosts=None
        ).tunnel
    except asyncssh.ConfigParseError as error:
        raise SshConfigInvalid(f"{target}: {hop.ssh_config} cannot be read: {error}", target=target) from error
    if not isinstance(found, str) or found.lower() == "none":
        return []
    taken_over = hop.model_dump(include={"agent", "known_hosts", "ssh_config", "connect_timeout"})
    try:
        return [SshHop(**taken_over, **_named(one)) for one in found.split(",")]
    except ValueError as error:
        raise SshConfigInvalid(
            f"{target}: ProxyJump {found} in {hop.ssh_config} cannot be read: write user@host:port, and an address of "
            "IPv6 in brackets",
            target=target,
        ) from error


def _named(jump: str) -> dict[str, Any]:
    """The parts of one jump host as OpenSSH writes it.

    >>> _named("ops@bastion.example:2222")
    {'username': 'ops', 'host': 'bastion.example', 'port': '2222'}
    >>> _named("ssh://[::1]")
    {'host': '::1'}

    Raises:
        ValueError: it is written in no such way.
    """
    found = JUMP.fullmatch(jump.strip())
    if found is None:
        raise ValueError(jump)
    parts = {name: part for name, part in found.groupdict().items() if part}
    return {**parts, "host": parts["host"].strip("[]")}


def _arguments(hop: SshHop, target: str) -> dict[str, Any]:
    seconds = hop.connect_timeout.total_seconds()
    arguments: dict[str, Any] = {
        "host": hop.host,
        "known_hosts": _known_hosts(hop, target),
        "config": _config(hop, target),
        "encryption_algs": CIPHERS,
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVES_LOST,
        "connect_timeout": seconds,
        "login_timeout": seconds,
    }
    if not hop.agent:
        arguments["agent_path"] = None
    if hop.port is not None:
        arguments["port"] = hop.port
    if hop.username is not None:
        arguments["username"] = hop.username
    if hop.key_path is not None:
        key = _file(hop.key_path, AuthenticationFailed, "no key to log in with", target)
        arguments["client_keys"] = [str(key)]
    return arguments


def _known_hosts(hop: SshHop, target: str) -> asyncssh.SSHKnownHosts:
    unknown = "the host's key cannot be known"
    path = _file(hop.known_hosts, HostKeyRejected, unknown, target)
    try:
        now = path.stat()
        return _read_known_hosts(path, now.st_ino, now.st_size, now.st_ctime_ns)
    except (PermissionError, ValueError) as error:
        raise HostKeyRejected(f"{target}: {path} cannot be read, so {unknown}: {error}", target=target) from error


# A file that names a thousand hosts would be read a thousand times, by each of them. No tool sets that time back.
@lru_cache(maxsize=8)
def _read_known_hosts(path: Path, _inode: int, _size: int, _changed_ns: int) -> asyncssh.SSHKnownHosts:
    return asyncssh.read_known_hosts(str(path))


def _config(hop: SshHop, target: str) -> list[str] | None:
    if hop.ssh_config is None or (hop.ssh_config == SSH_CONFIG and not SSH_CONFIG.expanduser().is_file()):
        return None
    return [str(_file(hop.ssh_config, SshConfigInvalid, "nothing can be looked up in it", target))]


def _file(
    path: Path, error: type[HostKeyRejected | AuthenticationFailed | SshConfigInvalid], why: str, target: str
) -> Path:
    found = path.expanduser().absolute()
    if not found.is_file():
        raise error(f"{target}: there is no file {found} where the worker runs, so {why}", target=target)
    return found


def _address(hop: SshHop) -> str:
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    return f"{host}:{hop.port}" if hop.port else host


def said(error: BaseException) -> str:
    """What an error of the library says, or what it is called."""
    return str(error) or type(error).__name__
