"""The ``fraisier`` command, run as a process of its own."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fraisier.orchestrator.stack import LocalStack


class Cli:
    """The command as users run it."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "TEMPORAL_"))}
        self.env = {**plain, "FRAISIER_HOME": str(folder / "home"), "NO_COLOR": "1", "COLUMNS": "200", **env}
        self.folder = folder

    async def __call__(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fraisier.orchestrator", *arguments,
            cwd=self.folder, env={**self.env, **env},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await asyncio.wait_for(process.communicate(), 90)
        assert process.returncode is not None
        assert "Traceback" not in error.decode(), error.decode()
        return process.returncode, out.decode(), error.decode()


@pytest.fixture
def cli(local_stack: LocalStack, tmp_path: Path) -> Cli:
    return Cli(local_stack.env(), tmp_path)
