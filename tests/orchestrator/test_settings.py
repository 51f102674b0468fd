"""Whose servers are used: what the user names goes before the local stack."""

import os
from pathlib import Path

import pytest

from fraisier.orchestrator.settings import adopt_environment
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.state import Addresses, StackState, save


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a local stack that was up once, in an environment without any."""
    for name in [name for name in os.environ if name.startswith(("NATS_", "TEMPORAL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what is adopted goes no further than the test
    monkeypatch.chdir(tmp_path)
    os.environ["FRAISIER_HOME"] = str(tmp_path)
    home = LocalStack()
    home.folder.mkdir()
    addresses = Addresses(nats_port=1, monitor_port=2, temporal_port=3, ui_port=4, password="local")
    save(home.folder / "stack.json", StackState(addresses=addresses))
    return home.env()


def adopted() -> dict[str, str]:
    adopt_environment()
    return {name: value for name, value in os.environ.items() if name.startswith(("NATS_", "TEMPORAL_"))}


def test_the_local_stack_is_used_where_nothing_else_is_named(stack: dict[str, str]) -> None:
    assert adopted() == stack


def test_a_namespace_of_the_users_stays(stack: dict[str, str]) -> None:
    os.environ["TEMPORAL_NAMESPACE"] = "staging"
    assert adopted() == stack | {"TEMPORAL_NAMESPACE": "staging"}


@pytest.mark.parametrize("variable", ["TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "NATS_SERVERS"])
def test_nothing_of_the_local_stack_is_added_to_servers_of_the_users(stack: dict[str, str], variable: str) -> None:
    os.environ[variable] = "elsewhere"
    group = variable.partition("_")[0]
    assert adopted() == {variable: "elsewhere"} | {n: v for n, v in stack.items() if not n.startswith(group)}
