"""The local stack with its real servers: started once, found again, ended whole."""

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import httpx
import nats
import pytest
from temporalio.client import Client

from fraisier.orchestrator.stack import LocalStack, MemberFailed
from fraisier.orchestrator.stack.errors import StackNotRunning
from fraisier.orchestrator.stack.local import ANY_PORTS, USUAL_PORTS
from fraisier.orchestrator.stack.members import MemberSpec
from fraisier.workflows.search import SEARCH_ATTRIBUTES


def processes_below(folder: Path) -> list[str]:
    """The command lines of all processes that work in a folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in line:
            lines.append(line)
    return lines


async def connected(stack: LocalStack) -> nats.NATS:
    env = stack.env()
    return await nats.connect(env["NATS_SERVERS"], user=env["NATS_USERNAME"], password=env["NATS_PASSWORD"])


async def test_its_environment_connects_and_others_are_refused(local_stack: LocalStack):
    env = local_stack.env()
    async with await connected(local_stack) as connection:
        assert (await connection.jetstream().account_info()).api.level >= 0
    reader, writer = await asyncio.open_connection("127.0.0.1", local_stack.addresses.nats_port)
    writer.write(b"CONNECT {}\r\nPING\r\n")
    assert b"Authorization Violation" in await reader.read()
    writer.close()
    await writer.wait_closed()
    client = await Client.connect(env["TEMPORAL_ADDRESS"], namespace=env["TEMPORAL_NAMESPACE"])
    assert await client.service_client.check_health()
    async with httpx.AsyncClient() as web:
        assert "kit.start" in (await web.get(env["TEMPORAL_UI_URL"], follow_redirects=True)).text


async def test_nats_syncs_before_it_acks_and_both_listen_on_the_loopback_only(local_stack: LocalStack):
    addresses = local_stack.addresses
    async with httpx.AsyncClient() as web:
        server = (await web.get(f"http://127.0.0.1:{addresses.monitor_port}/varz")).json()
    assert server["jetstream"]["config"]["sync_always"] is True
    # Every address of 127.0.0.0/8 is the machine's own: one that refuses shows that not all are listened on.
    for port in (addresses.nats_port, addresses.monitor_port, addresses.temporal_port, addresses.ui_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=2)


async def test_rollouts_can_be_searched_by_their_attributes(temporal_client: Client):
    for key in SEARCH_ATTRIBUTES:
        assert [run async for run in temporal_client.list_workflows(f"{key.name} = 'none'")] == []


async def test_secrets_stand_in_files_of_their_owner_only_and_in_no_command_line(local_stack: LocalStack):
    password = local_stack.env()["NATS_PASSWORD"]
    holding = [
        file for file in local_stack.folder.iterdir() if file.is_file() and password.encode() in file.read_bytes()
    ]
    assert {file.name for file in holding} == {"nats.conf", "stack.json"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in holding} == {0o600}
    lines = processes_below(local_stack.folder)
    assert len(lines) == 2
    assert not [line for line in lines if password in line]
    assert password not in repr(local_stack.addresses)


async def test_up_is_idempotent_and_down_keeps_the_data(tmp_path: Path):
    stack = LocalStack(tmp_path)
    assert await stack.status() == ()
    assert await stack.down() is False
    try:
        await stack.up(worker=False, ports=ANY_PORTS)
        before = await stack.status()
        again = LocalStack(tmp_path)
        await again.up(worker=False)
        assert await again.status() == before
        env = stack.env()
        async with await nats.connect(
            env["NATS_SERVERS"], user="fraisier", password=env["NATS_PASSWORD"]
        ) as connection:
            await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
        assert await again.down() is True
        assert processes_below(tmp_path) == []
        await again.up(worker=False)
        assert again.env() == env
        async with await nats.connect(
            env["NATS_SERVERS"], user="fraisier", password=env["NATS_PASSWORD"]
        ) as connection:
            assert (await connection.jetstream().stream_info("KEPT")).config.subjects == ["kept"]
    finally:
        await stack.down()
    assert processes_below(tmp_path) == []


async def test_two_at_once_start_one_stack(tmp_path: Path):
    async with LocalStack.ephemeral(tmp_path) as stack:
        await asyncio.gather(*(LocalStack(tmp_path).up(worker=False) for _ in range(2)))
        assert len(processes_below(stack.folder)) == 2


async def test_a_half_dead_stack_is_told_and_mended(tmp_path: Path):
    async with LocalStack.ephemeral(tmp_path) as stack:
        nats_member, temporal_member = await stack.status()
        os.kill(nats_member.pid, signal.SIGKILL)
        os.kill(temporal_member.pid, signal.SIGSTOP)
        for _ in range(100):
            if not (await stack.status())[0].alive:  # until the kernel has ended it
                break
            await asyncio.sleep(0.05)
        dead, hung = await stack.status()
        assert (dead.alive, dead.ready) == (False, False)
        assert (hung.alive, hung.ready) == (True, False)
        os.kill(temporal_member.pid, signal.SIGCONT)
        await stack.up(worker=False)
        mended, kept = await stack.status()
        assert mended.ready
        assert mended.pid != nats_member.pid
        assert kept.pid == temporal_member.pid


async def test_usual_ports_are_taken_only_when_free(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        stack = LocalStack(tmp_path)
        try:
            await stack.up(worker=False, ports=dict.fromkeys(USUAL_PORTS, 0) | {"nats_port": taken})
            assert stack.addresses.nats_port != taken
        finally:
            await stack.down()


async def test_a_member_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path):
    async with LocalStack.ephemeral(tmp_path) as stack:
        (stack.folder / "temporal.db").replace(tmp_path / "aside")
        await stack.down()
        (stack.folder / "temporal.db").mkdir()
        with pytest.raises(MemberFailed, match=r"temporal ended [\s\S]*unable to open database file"):
            await stack.up(worker=False)
        assert processes_below(stack.folder) == []


async def test_another_process_joins_the_stack_and_ends_with_it(tmp_path: Path):
    async with LocalStack.ephemeral(tmp_path) as stack:
        script = f"import time; print('joined {tmp_path}', flush=True); time.sleep(60)"
        spec = MemberSpec(name="extra", command=(sys.executable, "-c", script), env={})
        await stack.start_member(spec)
        assert [member.name for member in await stack.status()] == ["nats", "temporal", "extra"]
    assert processes_below(tmp_path) == []


async def test_down_spares_a_stranger_with_the_number_of_a_member(tmp_path: Path):
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        async with LocalStack.ephemeral(tmp_path) as stack:
            nats_pid = (await stack.status())[0].pid
            os.kill(nats_pid, signal.SIGKILL)
            file = stack.folder / "stack.json"
            file.write_text(file.read_text().replace(f'"pid": {nats_pid}', f'"pid": {stranger.pid}'))
            assert (await stack.status())[0].alive is False
        assert stranger.returncode is None
    finally:
        stranger.terminate()
        await stranger.wait()


async def test_an_interrupted_start_leaves_no_process(tmp_path: Path):
    told = asyncio.Event()
    starting = asyncio.create_task(
        LocalStack(tmp_path).up(lambda line: told.set() if "temporal: starting" in line else None, ports=ANY_PORTS)
    )
    await told.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert processes_below(tmp_path) == []


def test_without_a_stack_the_error_tells_how_to_start_one(tmp_path: Path):
    with pytest.raises(StackNotRunning, match="fraisier up"):
        LocalStack(tmp_path).env()
