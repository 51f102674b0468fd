"""What an HTTP probe makes of good, slow, endless, odd and encrypted answers, from here and from a host's side."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fraisier.providers.bare_metal.channel import HostNetwork
from fraisier.providers.health import Sighting
from fraisier.providers.http_probe import BODY_LIMIT, ask, reach
from fraisier.providers.models import HealthCheck
from tests.providers.ssh_bench import SshBench, free_port

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=["from here", "from the host"])
async def network(
    request: pytest.FixtureRequest, ssh_bench: SshBench
) -> AsyncIterator[httpcore.AsyncNetworkBackend | None]:
    """The two ways to a target."""
    if request.param == "from here":
        yield None
        return
    provider = ssh_bench.provider()
    await provider.connect()
    yield HostNetwork(provider._connection)
    await provider.disconnect()


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that reads a request's first line and then answers so; its address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readline():
                await answer(writer)
        except (ConnectionError, ssl.SSLError):
            pass  # the client has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/health"


def saying(text: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()

    return answer


async def look(url: str, network: httpcore.AsyncNetworkBackend | None, **check: object) -> Sighting:
    settings = {"timeout": timedelta(seconds=5), **check}
    return await ask(HealthCheck(http=url, **settings), version="2.0.0", network=network)


@pytest.mark.parametrize(
    ("said", "passed", "detail"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, "HTTP 200"),
        ("HTTP/1.1 204 No Content\r\n\r\n", True, "HTTP 204"),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", False, "HTTP 302: ''"),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 7\r\n\r\nno room", False, "HTTP 503: 'no room'"),
        ("SSH-2.0-OpenSSH\r\n", False, "does not speak HTTP"),
        ("", False, "does not speak HTTP"),
    ],
)
async def test_only_2xx_passes(network, said: str, passed: bool, detail: str):
    async with serving(saying(said)) as url:
        seen = await look(url, network)
    assert (seen.passed, detail in seen.detail) == (passed, True), seen


ANSWER = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json; q=1\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 9\r\n\r\nstate: up"
)


@pytest.mark.parametrize(
    ("said", "check", "wrong"),
    [
        (ANSWER, {"status": 200, "body": "up", "headers": {"content-type": "application/json", "X-A": "1, 2"}}, ""),
        (ANSWER, {"body": {"regex": r"^state: (up|ok)$"}, "headers": {"X-a": {"regex": "2$"}}}, ""),
        (ANSWER, {"status": [201, 204]}, "HTTP 200: 'state: up'"),
        ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", {"status": (200, 302)}, ""),
        (ANSWER, {"body": "down"}, "HTTP 200, but 'down' is not in its body: 'state: up'"),
        (ANSWER, {"body": {"regex": "^up"}}, "HTTP 200, but /^up/ is not in its body"),
        (ANSWER, {"headers": {"X-B": "1"}}, "HTTP 200, but it has no header X-B"),
        (ANSWER, {"headers": {"X-A": "3"}}, "HTTP 200, but '3' is not in its header X-A: '1, 2'"),
    ],
)
async def test_status_body_and_headers_must_be_as_expected(network, said: str, check: dict[str, object], wrong: str):
    async with serving(saying(said)) as url:
        seen = await look(url, network, **check)
    assert (seen.passed, wrong in seen.detail) == (not wrong, True), seen


async def test_the_version_must_stand_in_the_body_where_that_is_asked(network):
    async with serving(saying("HTTP/1.0 200 OK\r\n\r\nversion 1.0.0")) as url:
        assert (await look(url, network)).passed
        assert "not version 2.0.0" in (await look(url, network, expect_version=True)).detail


@pytest.mark.parametrize("body", ["version 12.0.0", "2.0.0-rc1", "2.0.0.1", "build-2.0.0"])
async def test_a_version_that_only_holds_the_wanted_one_is_another(network, body: str):
    async with serving(saying(f"HTTP/1.0 200 OK\r\n\r\n{body}")) as url:
        assert "not version 2.0.0" in (await look(url, network, expect_version=True)).detail


async def test_a_body_that_never_ends_is_cut(network):
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * BODY_LIMIT)
            await writer.drain()

    async with serving(endless) as url:
        assert (await asyncio.wait_for(look(url, network), 5)).passed


async def test_an_endpoint_that_hangs_is_no_answer(network):
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    async with serving(hang) as url:
        seen = await look(url, network, timeout=timedelta(milliseconds=200))
        assert (seen.passed, seen.answered) == (False, False)
        await asyncio.sleep(1)


async def test_nothing_there_is_no_answer(network):
    seen = await look(f"http://127.0.0.1:{free_port()}/", network)
    assert (seen.passed, seen.answered) == (False, False)
    assert "no answer from" in seen.detail


async def test_a_host_that_forbids_forwarding_says_what_to_do(ssh_bench: SshBench):
    """The demo's host forwards to loopback only, as a careful administrator allows."""
    provider = ssh_bench.provider()
    await provider.connect()
    seen = await look("http://192.0.2.1/", HostNetwork(provider._connection))
    assert "allow 192.0.2.1:80 with AllowTcpForwarding or PermitOpen" in seen.detail
    await provider.disconnect()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


async def test_tls_is_verified(network, certificate: Path, monkeypatch: pytest.MonkeyPatch):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    body = "version 2.0.0 " * 10000
    async with serving(saying(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"), context) as url:
        assert "CERTIFICATE_VERIFY_FAILED" in (await look(url, network)).detail
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        seen = await look(url, network, expect_version=True)
        assert seen.passed, seen.detail
        wrong_name = await look(url.replace("127.0.0.1", "localhost"), network)
        assert not wrong_name.passed


async def test_tcp_from_here():
    async with serving(saying("")) as url:
        port = int(url.split(":")[2].split("/")[0])
        assert (await reach("127.0.0.1", port, shown="it")).passed
    seen = await reach("127.0.0.1", free_port(), shown="it")
    assert (seen.passed, seen.answered) == (False, False)
