"""The connection: TLS, NKeys, permissions, silence, and ends."""

import asyncio
import logging
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nkeys
import pytest

from fraisier.nats import NatsClient, NatsEventBus, PermissionDenied, mint_generation, new_event
from fraisier.nats.client import USER_TIMEOUT_MS
from fraisier.nats.tls import tls_context
from tests.support.nats import PASSWORD, USER, NatsServer, eventually

SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that shows a certificate and asks for the client's."""
    cert, key = certificate(tmp_path, "server")
    client, _ = certificate(tmp_path, "client")
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(client.read_text())
    server = NatsServer(
        tmp_path, f'\ntls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{trusted}", verify: true }}\n'
    )
    server.start()
    yield server
    server.kill()


async def test_tls_with_both_certificates(tls_server: NatsServer) -> None:
    folder = tls_server.folder
    context = tls_context(folder / "server.crt", folder / "client.crt", folder / "client.key")
    async with tls_server.client(tls=context) as client:
        stored = await NatsEventBus(client).publish_event(
            new_event("deployment.started", deployment_id="r", region="x")
        )
        assert stored.sequence == 1
        tls_server.kill()
        tls_server.start()
        await eventually(lambda: client.is_connected)
        assert client.connection._transport._io_writer.get_extra_info("ssl_object") is not None


async def test_a_certificate_that_is_renewed_is_shown_at_the_next_connection(tls_server: NatsServer) -> None:
    """The server trusts the one that it shows from now on, and no longer the client's first one."""
    folder = tls_server.folder
    own = folder / "client.crt", folder / "client.key"
    context = tls_context(folder / "server.crt", *own)
    async with tls_server.client(tls=context, certificate=own) as client:
        (folder / "trusted.pem").write_text((folder / "server.crt").read_text())
        tls_server.kill()
        tls_server.start()
        await eventually(lambda: "unknown authority" in (folder / "nats.log").read_text())
        for renewed, ours in zip(("server.crt", "server.key"), own, strict=True):
            ours.write_text((folder / renewed).read_text())
        await eventually(lambda: client.is_connected)


async def test_a_certificate_of_which_half_is_renewed_leaves_the_one_before_shown(
    tls_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tls_server.folder
    own = folder / "client.crt", folder / "client.key"
    context = tls_context(folder / "server.crt", *own)
    async with tls_server.client(tls=context, certificate=own) as client:
        own[0].write_text((folder / "server.crt").read_text())
        tls_server.kill()
        tls_server.start()
        await eventually(lambda: f"{own[0]} with key {own[1]} cannot be used yet" in caplog.text)
        await eventually(lambda: client.is_connected)


@pytest.mark.parametrize(
    ("ca", "shown", "why"),
    [("client", "client", "certificate verify failed"), ("server", "server", "Failed"), ("server", None, "Failed")],
)  # fmt: skip
async def test_a_wrong_or_missing_certificate_is_refused(
    tls_server: NatsServer, ca: str, shown: str | None, why: str
) -> None:
    folder = tls_server.folder
    pair = (folder / f"{shown}.crt", folder / f"{shown}.key") if shown else (None, None)
    client = tls_server.client(tls=tls_context(folder / f"{ca}.crt", *pair), max_reconnect_attempts=1)
    with pytest.raises(ConnectionError, match=why):
        await client.connect()


async def test_a_server_without_tls_never_sees_the_password(nats_server: NatsServer, tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, "any")
    client = nats_server.client(tls=tls_context(cert, None, None), max_reconnect_attempts=1)
    with pytest.raises(ConnectionError, match="offers no TLS"):
        await client.connect()


async def test_an_nkey_lets_in(tmp_path: Path) -> None:
    public = nkeys.from_seed(bytearray(SEED.encode())).public_key.decode()
    server = NatsServer(tmp_path)
    server.extra = f"\naccounts: {{ K: {{ users: [ {{nkey: {public}}} ] }} }}\n"
    server.start()
    try:
        async with NatsClient([server.url], nkey_seed=SEED, timeout=2) as client:
            assert client.is_connected
        other = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER).decode()
        with pytest.raises(ConnectionError, match="Failed to connect") as error:
            await NatsClient([server.url], nkey_seed=other, timeout=2, max_reconnect_attempts=1).connect()
        assert other not in repr(error.value)
    finally:
        server.kill()


async def test_a_silent_network_is_noticed_by_the_kernel_too_and_after_every_reconnect(nats_server: NatsServer) -> None:
    async with nats_server.client() as client:
        for _ in range(2):
            sock = client.connection._transport._io_writer.get_extra_info("socket")
            # Set by a callback, which comes a moment after the connection.
            await eventually(
                lambda s=sock: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS
            )
            nats_server.kill()
            await eventually(lambda: not client.is_connected)
            nats_server.start()
            await eventually(lambda: client.is_connected)
        assert client.losses == 2


async def test_a_connection_that_is_closed_for_good_says_so(nats_server: NatsServer) -> None:
    client = nats_server.client(max_reconnect_attempts=2)
    await client.connect()
    bus = NatsEventBus(client)
    nats_server.kill()
    with pytest.raises(ConnectionError, match=r"closed for good.*NATS_MAX_RECONNECT_ATTEMPTS"):
        await asyncio.wait_for(bus.publish_event(new_event("deployment.started", deployment_id="r", region="x")), 30)
    assert client.closed.is_set()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(mint_generation(client, "api"), 30)
    nats_server.start()
    await client.connect()
    assert not client.closed.is_set()
    await client.disconnect()


async def test_no_attempts_means_none(nats_server: NatsServer) -> None:
    async with nats_server.client(max_reconnect_attempts=0) as client:
        nats_server.kill()
        await asyncio.wait_for(client.closed.wait(), 60)


async def test_a_refusal_does_not_stick_to_what_comes_later(nats_server: NatsServer, bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    async with nats_server.client("eu", "eu") as eu:
        other = new_event("deployment.started", deployment_id="r", region="us")
        with pytest.raises(PermissionDenied):
            await NatsEventBus(eu).publish_event(other)
        assert "permissions violation" in eu.last_error
        nats_server.kill()
        own = asyncio.create_task(
            NatsEventBus(eu).publish_event(new_event("deployment.started", deployment_id="r", region="eu-west-1"))
        )
        await asyncio.sleep(1)
        assert not own.done()
        nats_server.start()
        assert (await asyncio.wait_for(own, 60)).sequence == 1
        assert eu.refusal(other.subject) is None


async def test_the_password_is_in_no_log(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        url = nats_server.url.replace("nats://", f"nats://{USER}:hidden-password@")
        with pytest.raises(ConnectionError):
            await NatsClient([url], timeout=2, max_reconnect_attempts=1).connect()
        async with NatsClient([url.replace("hidden-password", PASSWORD)], timeout=2):
            nats_server.kill()
            await asyncio.sleep(0.5)
    assert "hidden-password" not in caplog.text
    assert PASSWORD not in caplog.text
