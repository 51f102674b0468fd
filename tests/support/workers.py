"""Worker processes as users run them: to be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraisier.orchestrator.stack import LocalStack

READY_S = 90.0
POLLS = "worker polls"


class WorkerProcess:
    """``fraisier worker``, connected to a stack.

    Args:
        env: what connects it.
        folder: for its log and its artifacts.
        arguments: of the command.
    """

    def __init__(self, env: dict[str, str], folder: Path, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "fraisier.orchestrator", "worker", *arguments]
        self.log = folder / "worker.log"
        self._env = {**os.environ, **env, "FRAISIER_ARTIFACT_CACHE": str(folder / "artifacts")}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it polls."""
        before = self._said()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        end = time.monotonic() + READY_S
        while self._said() == before:
            alive = self._process.poll() is None and time.monotonic() < end
            assert alive, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it as an operator would, and return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(40)

    def _said(self) -> int:
        return self.log.read_text().count(POLLS) if self.log.exists() else 0


@pytest.fixture
def worker(local_stack: LocalStack, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A running worker over the session's stack, for one test."""
    process = WorkerProcess(local_stack.env(), tmp_path)
    process.start()
    try:
        yield process
    finally:
        process.kill()
