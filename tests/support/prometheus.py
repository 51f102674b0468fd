"""A real Prometheus, with the committed configuration."""

import asyncio
import shutil
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from fraisier.orchestrator.stack.ports import free_ports

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
PATIENCE_S = 40


class Prometheus:
    """A real one, with the committed configuration but for the port that it scrapes and its haste."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def becomes(self, query: str, wanted: float) -> None:
        """Ask until the answer is at least as wanted, or exactly 0 when that is wanted."""
        end, value = time.monotonic() + PATIENCE_S, None
        async with httpx.AsyncClient(trust_env=False) as web:
            while time.monotonic() < end:
                answer = (await web.get(f"{self.url}/api/v1/query", params={"query": query})).json()
                value = next((float(one["value"][1]) for one in answer["data"]["result"]), None)
                if value is not None and (value == 0 if wanted == 0 else value >= wanted):
                    return
                await asyncio.sleep(0.2)
        raise AssertionError(f"{query} is {value}, not {wanted}")


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[Prometheus]:
    folder.mkdir()
    config = (FOLDER / "prometheus.yml").read_text().replace("9464", str(target)).replace("15s", "1s")
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(FOLDER / "rules.yml", folder)
    port = free_ports({"prometheus": 0})["prometheus"]
    process = await asyncio.create_subprocess_exec(
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", stderr=DEVNULL,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(trust_env=False) as web:
            for _ in range(200):
                try:
                    if (await web.get(f"http://127.0.0.1:{port}/-/ready")).is_success:
                        break
                except httpx.ConnectError:
                    pass
                await asyncio.sleep(0.1)
        yield Prometheus(port)
    finally:
        process.terminate()
        await process.wait()
