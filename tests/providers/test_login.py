"""The way into a host, to OpenSSH's own server: aliases, jump hosts, authorities, certificates, agents, storms."""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from fraisier.providers.bare_metal import handshakes
from fraisier.providers.bare_metal.connection import HostConnection
from fraisier.providers.errors import AuthenticationFailed, ConnectFailed, HostKeyRejected, SshConfigInvalid
from fraisier.providers.ssh_options import SshOptions
from tests.support.sshd import ADDRESS, Sshd, keygen, running_sshd

AT_ONCE = 60


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("bastion")) as server:
        yield server


def options(server: Sshd, folder: Path, *known: str, **changed: object) -> SshOptions:
    known_hosts = folder / "known_hosts"
    known_hosts.write_text("".join(known or (server.known_hosts_line,)))
    usual = {
        "host": ADDRESS,
        "port": server.port,
        "username": server.username,
        "key_path": server.folder / "client_key",
        "known_hosts": known_hosts,
        "ssh_config": None,
    }
    return SshOptions.model_validate({**usual, **changed})


async def enter(given: SshOptions) -> str:
    """What a command there sees of the connection: the port that it came from, and the one that it came to."""
    connection = HostConnection(given, target="t1")
    try:
        return (await connection.run("echo $SSH_CONNECTION", name="echo", timeout_s=30)).output.strip()
    finally:
        await connection.close()


def logins(server: Sshd) -> int:
    return server.log().count("Accepted publickey")


# --- OpenSSH's configuration ---


async def test_an_alias_its_user_key_port_and_jump_host_are_looked_up(sshd: Sshd, bastion: Sshd, tmp_path: Path):
    config, before = tmp_path / "config", logins(bastion)
    config.write_text(
        f"Host api\n HostName {ADDRESS}\n Port {sshd.port}\n User {sshd.username}\n"
        f" IdentityFile {sshd.folder}/client_key\n ProxyJump {sshd.username}@door:{bastion.port}\n"
        f"Host door\n HostName {ADDRESS}\n IdentityFile {bastion.folder}/client_key\n"
    )
    known = (sshd.known_hosts_line, bastion.known_hosts_line)
    by_name = {"host": "api", "port": None, "username": None, "key_path": None, "ssh_config": config}
    assert (await enter(options(sshd, tmp_path, *known, **by_name))).endswith(f"{ADDRESS} {sshd.port}")
    assert logins(bastion) == before + 1
    with pytest.raises(HostKeyRejected, match=f"^door:{bastion.port}: its host key is not in"):
        await enter(options(sshd, tmp_path, sshd.known_hosts_line, **by_name))
    # What the manifest says goes before what stands there, and what the configuration trusts is not asked.
    config.write_text(f"Host {ADDRESS}\n Port 1\n User nobody\n UserKnownHostsFile none\n StrictHostKeyChecking no\n")
    assert await enter(options(sshd, tmp_path, ssh_config=config))
    with pytest.raises(HostKeyRejected):
        await enter(options(sshd, tmp_path, bastion.known_hosts_line, ssh_config=config))


async def test_a_configuration_that_is_not_there_or_wrong_is_told(sshd: Sshd, tmp_path: Path):
    with pytest.raises(SshConfigInvalid, match="there is no file"):
        await enter(options(sshd, tmp_path, ssh_config=tmp_path / "none"))
    (tmp_path / "config").write_text("Port many\n")
    with pytest.raises(SshConfigInvalid, match=r"config cannot be read: .*Port"):
        await enter(options(sshd, tmp_path, ssh_config=tmp_path / "config"))


# --- the file of known hosts ---


async def test_known_hosts_are_those_that_the_file_names_now(sshd: Sshd, bastion: Sshd, tmp_path: Path):
    given = options(sshd, tmp_path)
    known_hosts = tmp_path / "known_hosts"
    before = known_hosts.stat()
    assert await enter(given)
    address, key = sshd.known_hosts_line.split()[0], bastion.known_hosts_line.split()[1:]
    known_hosts.write_text(" ".join((address, *key)) + "\n")
    os.utime(known_hosts, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known_hosts.stat().st_size == before.st_size
    with pytest.raises(HostKeyRejected, match="is another one there"):
        await enter(given)


@pytest.mark.parametrize("text", ["one\n", "@nonsense a ssh-ed25519 AAAA\n", b"\xff".decode("latin-1")])
async def test_known_hosts_that_cannot_be_read_are_told(sshd: Sshd, tmp_path: Path, text: str):
    given = options(sshd, tmp_path)
    (tmp_path / "known_hosts").write_bytes(text.encode("latin-1"))
    with pytest.raises(HostKeyRejected, match=r"known_hosts cannot be read, so the host's key cannot be known: .+"):
        await enter(given)


# --- jump hosts ---


async def test_a_host_is_reached_by_way_of_its_jump_hosts(sshd: Sshd, bastion: Sshd, tmp_path: Path):
    before = logins(bastion)
    first = {"host": ADDRESS, "port": bastion.port, "key_path": bastion.folder / "client_key"}
    second = {"host": ADDRESS, "port": sshd.port}
    known = (sshd.known_hosts_line, bastion.known_hosts_line)
    assert await enter(options(sshd, tmp_path, *known, jump=[first, second]))
    assert logins(bastion) == before + 1
    await asyncio.wait_for(gone(bastion, sshd), 30)


async def test_a_jump_host_of_the_configuration_may_have_one_of_its_own(sshd: Sshd, bastion: Sshd, tmp_path: Path):
    config, before = tmp_path / "config", (logins(sshd), logins(bastion))
    entry = f" HostName {ADDRESS}\n User {sshd.username}\n IdentityFile {{0.folder}}/client_key\n Port {{0.port}}\n"
    config.write_text(
        f"Host api\n{entry.format(sshd)} ProxyJump [{ADDRESS}]\n"
        f"Host {ADDRESS}\n{entry.format(bastion)} ProxyJump door\n"
        f"Host door\n{entry.format(sshd)} ProxyJump none\n"
    )
    known = (sshd.known_hosts_line, bastion.known_hosts_line)
    by_name = {"host": "api", "port": None, "username": None, "key_path": None, "ssh_config": config}
    assert await enter(options(sshd, tmp_path, *known, **by_name))
    assert (logins(sshd), logins(bastion)) == (before[0] + 2, before[1] + 1)
    # The way to what the manifest names is looked up as well.
    door = {"host": ADDRESS, "port": None, "username": None, "key_path": None}
    assert await enter(options(sshd, tmp_path, *known, **{**by_name, "jump": [door]}))
    assert (logins(sshd), logins(bastion)) == (before[0] + 4, before[1] + 2)
    await asyncio.wait_for(gone(bastion, sshd), 30)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("Host api\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump api\n", "leads from api back to it"),
        ("Host *\n ProxyJump door\n", "leads from door back to it: give it ProxyJump none"),
        ("Host api\n ProxyJump ::1\n", "ProxyJump ::1 in .* cannot be read: write user@host:port"),
        ("Host api\n ProxyJump a:70000\n", "ProxyJump a:70000 in .* cannot be read"),
    ],
)
async def test_jump_hosts_that_lead_nowhere_are_told(sshd: Sshd, tmp_path: Path, entries: str, says: str):
    config = tmp_path / "config"
    config.write_text(entries)
    with pytest.raises(SshConfigInvalid, match=says):
        await enter(options(sshd, tmp_path, host="api", ssh_config=config))


async def gone(*servers: Sshd) -> None:
    """Until nobody is connected any more: whoever leaves the host leaves its jump hosts too."""
    while any(logins(server) > farewells(server) for server in servers):  # noqa: ASYNC110 (sshd tells nobody)
        await asyncio.sleep(0.05)


def farewells(server: Sshd) -> int:
    return len(
        re.findall(
            r"^(Disconnected from user|Closing connection|Read error from remote host)", server.log(), re.MULTILINE
        )
    )


async def test_a_jump_host_must_be_known_and_let_us_in(sshd: Sshd, bastion: Sshd, tmp_path: Path):
    jump = {"host": ADDRESS, "port": bastion.port, "key_path": bastion.folder / "client_key"}
    asked = sshd.log().count("Connection from")
    with pytest.raises(HostKeyRejected, match=f"{ADDRESS}:{bastion.port}: its host key"):
        await enter(options(sshd, tmp_path, sshd.known_hosts_line, jump=[jump]))
    known = (sshd.known_hosts_line, bastion.known_hosts_line)
    with pytest.raises(AuthenticationFailed, match=f"{ADDRESS}:{bastion.port}: "):
        await enter(options(sshd, tmp_path, *known, jump=[{**jump, "key_path": sshd.folder / "client_key"}]))
    assert sshd.log().count("Connection from") == asked
    with pytest.raises(ConnectFailed, match=f"{ADDRESS}:1: cannot be reached"):
        await enter(options(sshd, tmp_path, *known, port=1, jump=[jump]))


def test_a_jump_host_takes_over_what_it_does_not_say():
    given = {
        "host": "a",
        "port": 2,
        "username": "deploy",
        "key_path": "k",
        "jump": ["b", {"host": "c", "username": "x"}],
    }
    made = SshOptions.model_validate(given)
    assert [(hop.host, hop.port, hop.username, str(hop.key_path)) for hop in made.jump] == [
        ("b", None, "deploy", "k"),
        ("c", None, "x", "k"),
    ]
    assert SshOptions.model_validate_json(made.model_dump_json()) == made
    for wrong in ("b", [2], [{"host": "b", "jump": ["c"]}], [{"port": 22}]):
        with pytest.raises(ValidationError, match="jump"):
            SshOptions.model_validate({"host": "a", "jump": wrong})


# --- authorities, certificates, agents ---


async def test_a_host_key_that_a_known_authority_signed_is_known(tmp_path: Path):
    folder = tmp_path / "sshd"
    folder.mkdir()
    for name in ("host_key", "authority", "stranger"):
        keygen("-t", "ed25519", "-N", "", "-f", str(folder / name))
    keygen("-s", str(folder / "authority"), "-h", "-I", "it", "-n", ADDRESS, str(folder / "host_key.pub"))
    authority, stranger = (
        f"@cert-authority * {(folder / f'{name}.pub').read_text()}" for name in ("authority", "stranger")
    )
    with running_sshd(folder, f"HostCertificate {folder}/host_key-cert.pub") as server:
        assert await enter(options(server, tmp_path, authority))
        with pytest.raises(HostKeyRejected):
            await enter(options(server, tmp_path, stranger))
        revoked = f"@revoked * {(folder / 'authority.pub').read_text()}"
        with pytest.raises(HostKeyRejected):
            await enter(options(server, tmp_path, authority, revoked))


async def test_a_certificate_beside_the_key_opens_a_host_that_knows_only_the_authority(tmp_path: Path):
    folder, key = tmp_path / "sshd", tmp_path / "key"
    folder.mkdir()
    for path in (folder / "authority", key):
        keygen("-t", "ed25519", "-N", "", "-f", str(path))
    with running_sshd(folder, f"TrustedUserCAKeys {folder}/authority.pub", "AuthorizedKeysFile none") as server:
        with pytest.raises(AuthenticationFailed):
            await enter(options(server, tmp_path, key_path=key))
        sign = ("-s", str(folder / "authority"), "-I", "it", "-n", server.username)
        keygen(*sign, "-V", "-2d:-1d", str(key.with_suffix(".pub")))
        with pytest.raises(AuthenticationFailed):
            await enter(options(server, tmp_path, key_path=key))
        keygen(*sign, str(key.with_suffix(".pub")))
        assert await enter(options(server, tmp_path, key_path=key))


async def test_an_agent_is_asked_where_that_was_allowed(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # whose ~/.ssh is empty
    place = tmp_path / "agent"
    agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(place), stdout=asyncio.subprocess.DEVNULL)
    try:
        while not place.exists():  # noqa: ASYNC110 (another process makes it)
            await asyncio.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        adding = await asyncio.create_subprocess_exec("ssh-add", "-q", str(sshd.folder / "client_key"))
        assert await adding.wait() == 0
        assert await enter(options(sshd, tmp_path, key_path=None, agent=True))
        with pytest.raises(AuthenticationFailed):
            await enter(options(sshd, tmp_path, key_path=None))
    finally:
        agent.terminate()
        await agent.wait()


# --- many at once ---


@pytest.mark.parametrize("at_once", [handshakes.PER_HOST, AT_ONCE])
async def test_a_storm_of_connections_gets_in(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An sshd drops what is too much for it. We ask for less; where others ask too, we come again."""
    monkeypatch.setattr(handshakes, "PER_HOST", at_once)
    monkeypatch.setattr(handshakes, "PER_WORKER", at_once)
    with running_sshd(tmp_path / "sshd", "MaxStartups 20:30:100") as server:
        given = options(server, tmp_path, connect_timeout="60s")
        connections = [HostConnection(given, target=f"t{number}") for number in range(AT_ONCE)]
        try:
            await asyncio.gather(*(one.open() for one in connections))
        finally:
            await asyncio.gather(*(one.close() for one in connections))
        assert logins(server) == AT_ONCE
        assert ("MaxStartups" in server.log()) == (at_once == AT_ONCE)


async def test_nobody_waits_for_ever_for_a_turn(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(handshakes, "PER_HOST", 1)
    monkeypatch.setattr(handshakes, "ROOM_S", 0.3)
    given = options(sshd, tmp_path)
    async with handshakes.handshakes().room(f"{ADDRESS}:{sshd.port}"):
        with pytest.raises(ConnectFailed, match="no turn within") as late:
            await enter(given)
    assert late.value.retryable
    assert await enter(given)
