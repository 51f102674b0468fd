"""A command imports what it needs and no more: what is slow to import would be paid for by every command."""

import subprocess
import sys

import typer
from typer.main import get_command

from fraisier.orchestrator.cli import app

PROBE = "import sys; {code}; print(*sys.modules)"


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running some code."""
    probe = [sys.executable, "-c", PROBE.format(code=code)]
    return set(subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split())


def test_help_needs_typer_alone():
    helped = "from typer.testing import CliRunner; from fraisier.orchestrator.cli import app; CliRunner()"
    loaded = modules_after(f"{helped}.invoke(app, ['--help'])")
    assert loaded & {"asyncio", "pydantic", "temporalio", "nats", "rich.markdown", "typer.rich_utils"} == set()
    assert "fraisier.orchestrator.cli" in loaded


def test_a_client_needs_nothing_of_a_worker():
    loaded = modules_after("import fraisier.orchestrator.client")
    slow = {"asyncssh", "httpx", "celpy", "docker", "temporalio.worker", "fraisier.orchestrator.worker"}
    assert loaded & slow == set()
    assert "temporalio.client" in loaded


def test_help_is_plain_text():
    """Markup would be shown as it is written."""
    for command in every_command(get_command(app)):
        assert "[bold" not in f"{command.help}{command.epilog}", command.name


def every_command(command: typer.main.TyperCommand | typer.main.TyperGroup) -> list[typer.main.TyperCommand]:
    """A command and all below it."""
    below = getattr(command, "commands", {}).values()
    return [command, *(deeper for one in below for deeper in every_command(one))]
