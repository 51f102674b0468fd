"""A NATS server for the time of a measurement."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KIBIBYTE = 1024


@dataclass(frozen=True)
class Server:
    """A running server."""

    urls: list[str]
    pid: int

    def memory_mb(self) -> float:
        """What it holds in memory now, in megabytes."""
        return memory_mb(self.pid)


def memory_mb(pid: int | str = "self") -> float:
    """A process's resident memory, in megabytes (Linux)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / KIBIBYTE


@contextmanager
def running_server() -> Iterator[Server]:
    """JetStream with file storage on a free port, synced as JetStream does by default."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if program is None:
        sys.exit("there is no nats-server: make setup installs one")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", folder, "--ports_file_dir", folder]
        # A session of its own: ^C would end it before its clients.
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            ports = Path(folder) / f"nats-server_{server.pid}.ports"
            while not ports.exists() or not ports.read_text().strip():
                time.sleep(0.02)
            yield Server(json.loads(ports.read_text())["nats"], server.pid)
        finally:
            server.terminate()
            server.wait()
