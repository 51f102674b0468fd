"""Faults of what keeps the streams: its disk is full or loses power, a stream is gone or was changed by hand."""

from dataclasses import replace

from nats.js.api import DiscardPolicy

from tests.faults.records import Attempt
from tests.faults.rows import Scene, kill_server, row

KEPT = ("DEPLOYMENT_EVENTS", "HEALTH_EVENTS")
"""Streams that every rollout needs."""


@row("nats-disk-full", isolated=True, nats_disk=True)
async def nats_disk_full(scene: Scene) -> None:
    """NATS has no room on its disk: what would be told waits until an operator makes room and starts it again."""
    ground = scene.ground
    ground.nats_disk.fill()
    scene.say("the disk of nats is full")
    ground.release()
    await scene.down(4, 10)
    ground.nats_disk.free()
    await kill_server(scene, "nats")
    await ground.servers_up()


@row("nats-power", isolated=True, nats_disk=True)
async def nats_power(scene: Scene) -> None:
    """NATS loses power in the midst of it, and with it all that was not on its disk."""
    ground = scene.ground
    ground.release()
    await scene.down(0.2, 1, 2)
    await kill_server(scene, "nats")
    await ground.nats_disk.cut_power()
    scene.say("what nobody synced is lost")
    await scene.down(0, 3)
    await ground.servers_up()


@row("stream-changed")
async def stream_changed(scene: Scene) -> None:
    """Somebody lets a stream forget; a worker that is started then refuses to work, until it is as it was."""
    ground = scene.ground
    js = ground.nats.jetstream
    stream = scene.chance.choice(KEPT)
    before = (await js.stream_info(stream)).config
    await js.update_stream(replace(before, discard=DiscardPolicy.OLD, discard_new_per_subject=False))
    scene.say(f"{stream} was changed")
    await ground.worker.kill()
    ground.release()
    refused = await ground.worker.refuses_to_start()
    scene.attempts.append(Attempt(what=f"a worker with {stream} changed", refused=f"stream {stream} is" in refused))
    await js.update_stream(before)
    await ground.worker.start()
