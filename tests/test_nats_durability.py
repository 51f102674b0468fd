"""Whether the server syncs before it acks, asked of real servers that do and that do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fraisier.nats import NotDurable, check_durability
from fraisier.nats.config import ConnectionConfig
from tests.support.nats import NatsServer


@pytest.fixture(params=["always", "2m"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server's monitoring page, and how the server syncs."""
    one = NatsServer(tmp_path, sync=request.param)
    one.start()
    yield f"http://127.0.0.1:{one.monitor_port}/", request.param
    one.kill()


async def test_a_server_that_acks_first_is_refused_unless_that_was_asked_for(server: tuple[str, str]) -> None:
    url, sync = server
    strict = ConnectionConfig(monitoring_urls=url)
    if sync == "always":
        assert "synced before they are acknowledged" in await check_durability(strict)
        return
    with pytest.raises(NotDurable, match=r"sync_interval: always.*NATS_DURABILITY=relaxed"):
        await check_durability(strict)
    assert "power cut" in await check_durability(ConnectionConfig(monitoring_urls=url, durability="relaxed"))


async def test_a_page_that_does_not_answer_is_named() -> None:
    with pytest.raises(NotDurable, match=r"127\.0\.0\.1:1 \(NATS_MONITORING_URLS\)"):
        await check_durability(ConnectionConfig(monitoring_urls="http://127.0.0.1:1"))


async def test_without_a_page_it_says_what_to_set() -> None:
    assert "set NATS_MONITORING_URLS" in await check_durability(ConnectionConfig())
