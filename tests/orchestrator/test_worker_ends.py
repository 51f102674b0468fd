"""A worker that Temporal's core never lets end keeps no process from ending."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from fraisier.orchestrator.worker import at_work


class Stuck:
    """Never ends, as a worker whose core has lost the report of an activity; no real one can be brought to it."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *raised: object) -> None:
        await asyncio.get_running_loop().create_future()


class Broken(Stuck):
    """One that failed while it worked."""

    async def __aexit__(self, *raised: object) -> None:
        raise RuntimeError("the namespace is gone")


async def test_a_worker_that_does_not_end_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    async def work(worker: Any) -> None:
        async with at_work(worker, timedelta(seconds=0.1)):
            pass

    await asyncio.wait_for(work(Stuck()), 60)
    assert [record.message for record in caplog.records] == ["the worker did not end within 0.1 s and is left behind"]
    with pytest.raises(RuntimeError, match="the namespace is gone"):
        await work(Broken())


async def test_what_goes_wrong_beside_a_worker_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="not today"):
        async with at_work(Stuck(), timedelta(seconds=0.1)):  # type: ignore[arg-type]
            raise ValueError("not today")
