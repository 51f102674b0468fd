"""The ways to an engine: mutual TLS, and a host entered over SSH, both as strict as each other."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fraisier.orchestrator.demo.ssh_host import make_key
from fraisier.providers.base import Provider
from fraisier.providers.compose import ComposeProvider
from fraisier.providers.docker import DockerOptions, DockerProvider
from fraisier.providers.docker.probes import outside
from fraisier.providers.errors import AuthenticationFailed, ConnectFailed, HostKeyRejected
from fraisier.providers.models import HealthCheck, Release
from fraisier.providers.testing import QUICK, Rollout
from infra.nats.certificates import CLIENT, SERVER, authority_certificate, new_key, signed_certificate
from tests.providers.ssh_bench import free_port
from tests.support.docker_engine import Engine
from tests.support.engine_host import EngineHost, running_engine_host
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.relay import Relay

pytestmark = pytest.mark.docker

AUTHORITY = "engines"
HEALTH = HealthCheck(http="http://127.0.0.1:8080/health", expect_version=True, **QUICK)


def certificates(folder: Path, authority_key: bytes, *, uses: Any, hosts: tuple[str, ...] = ()) -> Path:
    """A folder as Docker's own tools want it."""
    folder.mkdir()
    key = new_key()
    signed = signed_certificate("test", key, authority=AUTHORITY, authority_key=authority_key, uses=[uses], hosts=hosts)
    (folder / "ca.pem").write_bytes(authority_certificate(AUTHORITY, authority_key))
    (folder / "cert.pem").write_bytes(signed)
    (folder / "key.pem").write_bytes(key)
    return folder


class Guarded:
    """An engine that asks for certificates, and those that it takes."""

    def __init__(self, engine: OwnEngine, address: str, folder: Path, authority_key: bytes) -> None:
        self.engine, self.address, self.folder, self.authority_key = engine, address, folder, authority_key

    def provider(self, **changed: Any) -> DockerProvider:
        config = {"engine": self.address, "tls_path": str(self.folder), "stop_timeout": "1s", "settle": "300ms"}
        return DockerProvider(config={**config, **changed})

    def release(self, version: str) -> Release:
        image = self.engine.web_image(version)
        return Release(service=f"guarded-{secrets.token_hex(4)}", version=version, digest=image, image=image)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder, key = tmp_path_factory.mktemp("certificates"), new_key()
    server = certificates(folder / "server", key, uses=SERVER, hosts=("127.0.0.1",))
    client = certificates(folder / "client", key, uses=CLIENT)
    address = f"tcp://127.0.0.1:{free_port()}"
    files = {"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}
    flags = [f"--{name}={server / file}" for name, file in files.items()]
    with own_engine("--host", address, "--tlsverify", *flags) as engine:
        yield Guarded(engine, address, client, key)


@asynccontextmanager
async def in_the_clear(engine: OwnEngine) -> AsyncIterator[str]:
    """The engine on the loopback without TLS."""
    through = Relay(Path(), engine.socket)
    server = await asyncio.start_server(through.accept, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await through.close()
        await server.wait_closed()


async def deployed(provider: Provider, release: Release) -> str:
    """Roll a release out and back to nothing; what the engine said runs in between."""
    rollout = Rollout(release, generation=1, rollout_id=secrets.token_hex(4))
    await provider.connect()
    try:
        await provider.stage(rollout.step("stage"), release)
        await provider.activate(rollout.step("activate"), release)
        health = await provider.check_health(rollout.step("health"), release.ref, HEALTH)
        assert health.healthy, health.detail
        state = await provider.inspect(release.service)
        back = Rollout(release, generation=2, rollout_id=rollout.rollout_id)
        await provider.rollback(back.step("rollback"), None)
        return state.release.version if state.release else ""
    finally:
        await provider.disconnect()


async def test_mutual_tls(guarded: Guarded, monkeypatch: pytest.MonkeyPatch):
    """With the engine's own authority and straight to it, whatever the worker's environment says of the web."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guarded.folder / "cert.pem"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    assert await deployed(guarded.provider(), guarded.release("1.0.0")) == "1.0.0"


async def test_a_certificate_that_the_engine_does_not_know_is_refused(guarded: Guarded, tmp_path: Path):
    stranger = certificates(tmp_path / "stranger", new_key(), uses=CLIENT)
    (stranger / "ca.pem").write_bytes((guarded.folder / "ca.pem").read_bytes())
    with pytest.raises(AuthenticationFailed, match=f"does not take the certificate in {stranger}") as refused:
        await guarded.provider(tls_path=str(stranger)).connect()
    assert not refused.value.retryable


async def test_an_engine_that_nobody_vouches_for_is_refused(guarded: Guarded, tmp_path: Path):
    other = certificates(tmp_path / "other", new_key(), uses=CLIENT)
    with pytest.raises(HostKeyRejected, match=r"is not one that .*other/ca\.pem vouches for"):
        await guarded.provider(tls_path=str(other)).connect()


async def test_an_engine_under_another_name_is_refused(guarded: Guarded):
    with pytest.raises(HostKeyRejected, match="localhost"):
        await guarded.provider(engine=guarded.address.replace("127.0.0.1", "localhost")).connect()


async def test_an_engine_that_breaks_the_handshake_off_may_be_tried_again(guarded: Guarded):
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="no Docker engine answers"):
            await guarded.provider(engine=f"tcp://127.0.0.1:{port}").connect()


async def test_a_key_that_belongs_to_another_certificate_is_refused(guarded: Guarded, tmp_path: Path):
    mixed = certificates(tmp_path / "mixed", guarded.authority_key, uses=CLIENT)
    (mixed / "key.pem").write_bytes(new_key())
    with pytest.raises(AuthenticationFailed, match=r"does not take the certificate in .*mixed"):
        await guarded.provider(tls_path=str(mixed)).connect()


async def test_certificates_that_are_missing_are_named(guarded: Guarded, tmp_path: Path):
    (tmp_path / "ca.pem").write_text("")
    with pytest.raises(AuthenticationFailed, match=r"has no cert\.pem and no key\.pem"):
        await guarded.provider(tls_path=str(tmp_path)).connect()


async def test_an_engine_behind_tls_is_not_asked_in_the_clear(guarded: Guarded, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConnectFailed, match="no Docker engine answers"):
        await guarded.provider(tls_path=None).connect()
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2375")
    with pytest.raises(AuthenticationFailed, match=r"engine\.example:2375: would be spoken to in the clear"):
        await DockerProvider(config={}).connect()


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("tcp://10.0.0.1:2375", r"10\.0\.0\.1:2375 would be spoken to in the clear"),
        ("tcp://127.0.0.1", "give tcp://host:port"),
        ("ssh://", "should match pattern"),
        ("ssh://deploy@", "give ssh://host"),
        ("ssh://deploy:secret@host", "must not hold a password"),
        ("ssh://host:99999", "the port of ssh://host:99999 is none"),
        ("unix://docker.sock", "should match pattern"),
        ("http://127.0.0.1:2375", "should match pattern"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused(engine: str, says: str):
    with pytest.raises(ValidationError, match=says) as refused:
        DockerOptions(engine=engine)
    assert "secret" not in str(refused.value).partition("[type=")[0]


def test_the_loopback_of_an_engine_elsewhere_is_not_the_workers_own():
    """Something else may answer there, and would pass for the service."""
    published = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]}
    inspected = {"NetworkSettings": {"Ports": published, "Networks": {}}}
    assert outside("tcp://engine.example:2376", inspected, "127.0.0.1", 8080) == ("engine.example", 80)
    assert outside("ssh://engine.example", inspected, "127.0.0.1", 8080) == ("127.0.0.1", 80)  # asked from there


# --- over SSH ---


@pytest.fixture(scope="module")
def engine_host(
    docker_engine: Engine, guarded: Guarded, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHost]:
    with running_engine_host(docker_engine, guarded.engine.socket, tmp_path_factory.mktemp("host")) as host:
        yield host


def over_ssh(host: EngineHost, **changed: Any) -> DockerProvider:
    config = {"engine": f"{host.address}{host.socket}", "key_path": str(host.key), "known_hosts": str(host.known_hosts)}
    return DockerProvider(config={**config, "stop_timeout": "1s", "settle": "300ms", **changed})


async def test_an_engine_over_ssh(guarded: Guarded, engine_host: EngineHost):
    provider = over_ssh(engine_host)
    assert await deployed(provider, guarded.release("1.0.0")) == "1.0.0"
    # Its published ports are asked from there, too, and its way is opened again.
    published = over_ssh(engine_host, ports=[f"127.0.0.1:{free_port()}:8080"])
    assert await deployed(published, guarded.release("2.0.0")) == "2.0.0"
    await provider.connect()
    folder = provider._engine._route._folder
    assert folder is not None
    assert folder.stat().st_mode & 0o077 == 0
    await provider.disconnect()
    assert not folder.exists()


@pytest.mark.usefixtures("compose_plugin")
@pytest.mark.parametrize("way", ["ssh", "tls", "plain"])
async def test_a_compose_project_goes_the_same_ways(
    guarded: Guarded, engine_host: EngineHost, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What the worker's environment says of another engine counts for none of them."""
    release = guarded.release("1.0.0")
    for name, value in {"CERT_PATH": str(tmp_path), "TLS_VERIFY": "1", "HOST": f"unix://{tmp_path}/none"}.items():
        monkeypatch.setenv(f"DOCKER_{name}", value)
    async with in_the_clear(guarded.engine) as plain:
        ways = {
            "ssh": {
                "engine": f"{engine_host.address}{engine_host.socket}",
                "key_path": str(engine_host.key),
                "known_hosts": str(engine_host.known_hosts),
            },
            "tls": {"engine": guarded.address, "tls_path": str(guarded.folder)},
            "plain": {"engine": plain},
        }
        compose = {"services": {"web": {"image": "${RELEASE_IMAGE}"}}}
        config = {**ways[way], "compose": compose, "stop_timeout": "1s", "settle": "300ms"}
        assert await deployed(ComposeProvider(config=config), release) == "1.0.0"


async def test_a_lost_connection_to_its_host_is_opened_again(guarded: Guarded, engine_host: EngineHost):
    provider = over_ssh(engine_host)
    await provider.connect()
    ssh = await provider._engine._route.host.open()
    ssh.abort()
    await ssh.wait_closed()
    await provider._engine._route.host.open()  # as a health check may do; the socket here is a dead one all the same
    assert await deployed(provider, guarded.release("1.0.0")) == "1.0.0"


async def test_its_host_is_entered_as_strictly_as_any_other(engine_host: EngineHost, tmp_path: Path):
    (tmp_path / "known_hosts").write_text("")
    with pytest.raises(HostKeyRejected, match="its host key is not in"):
        await over_ssh(engine_host, known_hosts=str(tmp_path / "known_hosts")).connect()
    other = make_key(tmp_path / "other")
    with pytest.raises(AuthenticationFailed, match="deploy is not let in with"):
        await over_ssh(engine_host, key_path=str(other)).connect()


async def test_what_is_wrong_on_its_host_is_told(engine_host: EngineHost):
    for engine, says in (
        (f"{engine_host.address}/srv/none.sock", r"nothing accepts connections at /srv/none\.sock; does Docker run"),
        (f"{engine_host.closed}{engine_host.socket}", r"does sshd let it be reached \(AllowStreamLocalForwarding\)"),
        (f"ssh://deploy@127.0.0.1:{free_port()}", "cannot be reached"),
    ):
        provider = over_ssh(engine_host, engine=engine)
        with pytest.raises(ConnectFailed, match=says):
            await provider.connect()
        await provider.disconnect()
