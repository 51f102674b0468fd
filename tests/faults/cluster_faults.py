"""Faults of the production cluster: who leads it is killed, its majority is lost, its certificates run out."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys

from fraisier.orchestrator.launcher import find_server
from tests.faults.cluster import Three
from tests.faults.disk import run
from tests.faults.rows import Scene, row
from tests.support.cluster import NATS, NODES

EVENTS = ("DEPLOYMENT_EVENTS", "HEALTH_EVENTS")
STREAMS = (*EVENTS, "KV_fraisier-generations")
SOON_S = 5
RUNS_OUT_SOON = (
    "import certificates, make_credentials, typer; "
    f"certificates.LEAF_DAYS = {SOON_S} / 86400; typer.run(make_credentials.main)"
)


@row("nats-leader", on="three")
async def nats_leader(scene: Scene) -> None:
    """Of three servers the one that leads a stream is killed, and then the one that leads it next."""
    stream = scene.chance.choice(STREAMS)
    scene.ground.release()
    for _ in range(2):
        leader = await _leader(scene, stream)
        _three(scene).kill([leader])
        scene.say(f"{leader}, which led {stream}, killed")
        await scene.down(1, 4)
        await _three(scene).revive()


@row("nats-majority", on="three")
async def nats_majority(scene: Scene) -> None:
    """Two of three servers are killed: nothing can be stored until one of them is back."""
    lost = scene.chance.sample(NODES, 2)
    _three(scene).kill(lost)
    scene.say(f"{' and '.join(lost)} killed")
    scene.ground.release()
    await scene.down(4, 12)
    await _three(scene).revive()


@row("stream-missing", on="three")
async def stream_missing(scene: Scene) -> None:
    """Somebody removes a stream: what would be told waits until an operator brings it back from its backup."""
    ground, stream = scene.ground, scene.chance.choice(EVENTS)
    copy = ground.folder / "backup"
    ground.worker.freeze()  # nothing is told between the backup and the loss
    await _operate(_three(scene), "backup", stream, str(copy))
    await ground.nats.jetstream.delete_stream(stream)
    ground.worker.thaw()
    scene.say(f"{stream} is gone")
    ground.release()
    await scene.down(3, 8)
    await _operate(_three(scene), "restore", str(copy))
    shutil.rmtree(copy)


@row("certificates-expired", on="three")
async def certificates_expired(scene: Scene) -> None:
    """All certificates run out: who is connected stays so, and nobody is let in anew until they are renewed."""
    three = _three(scene)
    await _certify(three, "-c", RUNS_OUT_SOON)
    await scene.down(SOON_S + 2)
    scene.ground.release()
    cut = scene.chance.sample(NODES, scene.chance.randint(1, len(NODES)))
    three.kill(cut)
    three.start_unready(cut)
    scene.say(f"certificates ran out, {', '.join(cut)} started again")
    await scene.down(3, 8)
    await _certify(three, str(NATS / "make_credentials.py"))
    await three.revive()


async def _leader(scene: Scene, stream: str) -> str:
    """Who leads it, as soon as somebody does."""
    while True:
        cluster = (await scene.ground.nats.jetstream.stream_info(stream)).cluster
        if cluster is not None and cluster.leader:
            return cluster.leader
        await asyncio.sleep(0.2)


def _three(scene: Scene) -> Three:
    assert scene.ground.three is not None
    return scene.ground.three


async def _operate(three: Three, *arguments: str) -> None:
    """Run ``nats stream`` with the admin's credentials."""
    own = three.cluster.identity("admin")
    urls = ",".join(node.url for node in three.cluster.nodes.values())
    proof = ("--nkey", "seed.nk", "--tlscert", "client.crt", "--tlskey", "client.key", "--tlsca", "servers.crt")
    shown = [word if word.startswith("--") else str(own / word) for word in proof]
    program = str((await find_server("nats")).path)
    await run(program, "--server", urls, *shown, "stream", *arguments)


async def _certify(three: Three, *script: str) -> None:
    """Make every certificate anew, hand them out, and let the servers read them."""
    folder = three.cluster.folder / "credentials"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, *script, str(folder)], env=os.environ | {"PYTHONPATH": str(NATS)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, node in three.cluster.nodes.items():
        for file in (folder / "nodes" / name).glob("*.crt"):
            shutil.copy(file, node.folder / "node")
        if node.process is not None:
            node.process.send_signal(signal.SIGHUP)
