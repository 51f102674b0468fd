"""Mistakes that people make: each ends in one message with the way out, the right exit code, and nothing changed."""

import json
import platform
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from fraisier.orchestrator.demo.fleet import demo_fleet
from fraisier.orchestrator.demo.release import build_release
from fraisier.orchestrator.demo.ssh_host import make_key
from fraisier.orchestrator.errors import ExitCode
from fraisier.orchestrator.launcher.versions import PROGRAMS
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.ports import free_ports
from tests.support.cli import Cli
from tests.support.workers import WorkerProcess

REGION = "us-east-1"


Write = Callable[..., str]


@pytest.fixture
async def write(tmp_path: Path) -> AsyncIterator[Write]:
    """Writes a good manifest over two real hosts, changed as told; `write.untouched()` looks at the hosts."""
    async with demo_fleet(tmp_path, None) as fleet:

        def manifest(version: str = "1.0.0", *, soak: str = "0s", **changes: Any) -> str:
            content: dict[str, Any] = {
                "service": "demo-api",
                "release": {"version": version, "artifact": build_release(tmp_path, version).name},
                "waves": [{"regions": [REGION], "soak": soak}],
                "decision_timeout": "0s",
                "regions": {REGION: {**fleet.region(REGION), **changes.pop("region", {})}},
                **changes,
            }
            (tmp_path / "rollout.yaml").write_text(json.dumps(content, indent=1))
            return "rollout.yaml"

        yield manifest


def untouched(folder: Path) -> bool:
    """Whether no host has anything on it."""
    return not [path for host in (folder / "hosts").iterdir() for path in host.iterdir()]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"serivce": "api"}, "serivce: unknown key; did you mean service?"),
        ({"waves": [{"regions": ["us-east-9"]}]}, "waves.0.regions.0: unknown region us-east-9; known: us-east-1"),
        ({"waves": [{"regions": []}]}, "waves.0.regions: must not be empty"),
        ({"waves": [{"regions": [REGION], "soak": "ten minutes"}]}, "'ten minutes' is not a duration"),
        ({"region": {"targets": []}}, "regions.us-east-1.targets: must not be empty"),
        (
            {"region": {"provider": "kubernetes"}},
            "there is no provider kubernetes; installed: bare_metal, ",
        ),
        ({"region": {"usrname": "x"}}, "regions.us-east-1.usrname: unknown key; did you mean username?"),
        ({"release": {"version": "1.0.0", "artifact": "dist/none.tar.gz"}}, "there is no file dist/none.tar.gz"),
        ({"release": {"version": "1.0.0", "artifact": "rollout.yaml"}}, "rollout.yaml cannot be unpacked on a host"),
        ({"on_failure": "rolback_all"}, "not 'rolback_all'; did you mean rollback_all?"),
        ({"region": {"batch": {"canary": "two"}}}, "canary: must be a whole number, not 'two'"),
        ({"region": {"batch": {"canary": -1}}}, "canary: must be 0 or more, not -1"),
        ({"service": "Shop_API"}, "service: must be lower-case letters, digits and dashes, with no dash at either end"),
        ({"service": "x" * 64}, "service: must have 63 characters at most, not 64"),
        ({"regions": ["us-east-1"]}, "regions: must be a mapping of keys to values, not ['us-east-1']"),
    ],
)
async def test_a_bad_manifest_names_file_line_and_way_out(
    cli: Cli, write: Write, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = write(**changes)
    nowhere = {"NATS_SERVERS": "nats://127.0.0.1:1", "TEMPORAL_ADDRESS": "127.0.0.1:1"}  # nobody needs to be asked
    for command in (("validate",), ("rollout", "start")):
        code, _, error = await cli(*command, path, **nowhere)
        assert code == ExitCode.INVALID
        assert error.startswith("error: rollout.yaml:")
        assert says in error
    assert untouched(tmp_path)


async def test_servers_that_are_not_there_are_named(cli: Cli, write: Write) -> None:
    path, nobody = write(), f"127.0.0.1:{free_ports({'nobody': 0})['nobody']}"
    code, _, error = await cli("rollout", "start", path, NATS_SERVERS=f"nats://{nobody}", NATS_TIMEOUT="2")
    assert (code, "Failed to connect to NATS at nats://" + nobody in error) == (ExitCode.UNREACHABLE, True), error
    code, _, error = await cli("rollout", "start", path, TEMPORAL_ADDRESS=nobody)
    assert (code, f"Temporal does not answer at {nobody}" in error) == (ExitCode.UNREACHABLE, True), error
    assert "fraisier up" in error
    code, _, error = await cli("rollout", "status", "api", TEMPORAL_NAMESPACE="staging")
    assert (code, "has no namespace staging: set TEMPORAL_NAMESPACE" in error) == (ExitCode.UNREACHABLE, True), error
    code, out, _ = await cli("doctor", TEMPORAL_ADDRESS=nobody)
    assert (code, "fraisier up, or set TEMPORAL_ADDRESS" in out) == (ExitCode.FAILED, True), out


async def test_an_address_out_of_composes_environment_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NATS_SERVERS=nats://nobody.invalid:4222\nNATS_TIMEOUT=2\n")
    code, _, error = await Cli({}, tmp_path)("rollout", "history", "api")
    assert (code, "NATS_SERVERS=nats://nobody.invalid:4222 comes from .env" in error) == (ExitCode.UNREACHABLE, True)


async def test_the_versions_are_told(cli: Cli) -> None:
    code, out, _ = await cli("--version")
    told = f"fraisier {version('fraisier')}, Python {platform.python_version()}\n"
    assert (code, out.startswith(told)) == (ExitCode.OK, True), out
    assert f"nats-server {PROGRAMS['nats-server'].version}, temporal {PROGRAMS['temporal'].version}" in out


async def test_an_unknown_log_level_is_refused_with_the_known_ones(cli: Cli) -> None:
    code, _, error = await cli("rollout", "list", FRAISIER_LOG_LEVEL="LOUD")
    assert code == ExitCode.INVALID
    assert error == "error: FRAISIER_LOG_LEVEL=LOUD is no level; use one of DEBUG, INFO, WARNING, ERROR\n"


async def test_nobody_working_is_said_at_once(cli: Cli, write: Write, tmp_path: Path) -> None:
    async with LocalStack.ephemeral(tmp_path / "stack") as idle:
        code, _, error = await cli("rollout", "start", write(), **idle.env())
    assert (code, "run fraisier worker" in error) == (ExitCode.REFUSED, True), error
    assert untouched(tmp_path)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("what", ["no key opens it", "its key is unknown", "nobody there"])
async def test_a_host_that_cannot_be_had_changes_nothing(cli: Cli, write: Write, tmp_path: Path, what: str) -> None:
    (tmp_path / "nothing").touch()
    wrong = {
        "no key opens it": {"key_path": str(make_key(tmp_path / "other"))},
        "its key is unknown": {"known_hosts": str(tmp_path / "nothing")},
        "nobody there": {"targets": [{"host": "127.0.0.1", "port": free_ports({"x": 0})["x"], "root": "/tmp/x"}]},
    }[what]
    code, out, _ = await cli("rollout", "start", write(region=wrong))
    assert (code, "nothing was changed: 127.0.0.1:" in out) == (ExitCode.ROLLOUT_FAILED, True), out
    assert untouched(tmp_path)


async def test_one_rollout_at_a_time_and_every_end_has_its_code(cli: Cli, write: Write, worker: WorkerProcess) -> None:
    assert worker.log.exists()
    assert (await cli("rollout", "start", write("1.0.0")))[0] == ExitCode.OK
    assert (await cli("rollout", "start", write("2.0.0", soak="5m"), "--no-watch"))[0] == ExitCode.OK
    worker.kill()  # who holds the lock is told without one
    code, _, error = await cli("rollout", "start", write("3.0.0"))
    worker.start()
    assert (code, "a rollout of demo-api is open: 2.0.0, started by" in error) == (ExitCode.REFUSED, True), error
    while "soaking" not in (await cli("rollout", "list"))[1]:
        pass
    code, _, error = await cli("resume", "demo-api")
    assert (code, "resume of demo-api was refused: it is not paused" in error) == (ExitCode.REFUSED, True), error
    while "soaking" not in (await cli("rollout", "status", "demo-api"))[1]:
        pass
    code, out, error = await cli("rollback", "demo-api", "--reason", "to see", "--by", "tests")
    # The answer comes when the event of it is stored: by then everything may be back.
    assert (code, "rolling back" in out or "rolled back" in out) == (ExitCode.OK, True), out + error
    code, out, _ = await cli("rollout", "watch", "demo-api")
    assert (code, "was taken back everywhere: rollback asked by tests: to see" in out) == (ExitCode.ROLLED_BACK, True)
    code, _, error = await cli("rollback", "demo-api")
    assert (code, "there is nothing to take back: the last rollout of demo-api" in error) == (ExitCode.REFUSED, True)
    code, _, error = await cli("pause", "demo-api")
    assert (code, "there is no open rollout of demo-api" in error) == (ExitCode.REFUSED, True), error
    code, out, _ = await cli("details", "demo-api")
    rows = [line.split("│") for line in out.splitlines() if REGION in line]
    assert (code, {(row[3].strip(), row[7].strip()) for row in rows}) == (ExitCode.OK, {("1.0.0", "2.0.0")}), out
    code, out, _ = await cli("rollout", "status", "demo-api", "--output", "json")
    assert (code, json.loads(out)["phase"]) == (ExitCode.OK, "rolled_back")
    code, out, _ = await cli("rollout", "list", "--output", "json")
    mine = [one for one in json.loads(out) if one["service"] == "demo-api"]
    assert [(one["version"], one["state"]) for one in mine[:2]] == [("2.0.0", "rolled_back"), ("1.0.0", "succeeded")]
    code, out, _ = await cli("events", "tail", "--all", "--no-follow", "--service", "demo-api", "--json")
    types = [json.loads(line)["type"] for line in out.splitlines()]
    assert types.count("dev.fraisier.deployment.rollback_requested") == 1
    code, _, error = await cli("rollout", "status", "nobody")
    assert (code, "there was never a rollout of nobody" in error) == (ExitCode.REFUSED, True), error


async def test_a_home_that_cannot_be_had_is_named(cli: Cli) -> None:
    code, _, error = await cli("up", FRAISIER_HOME="/proc/nobody/fraisier", PATH="/nowhere")
    assert (code, "FRAISIER_HOME=/proc/nobody/fraisier cannot be used" in error) == (ExitCode.INVALID, True), error
