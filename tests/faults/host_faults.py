"""Faults of the hosts: cut off, gone, dead, another's, or closed to us."""

import asyncio

from tests.faults.rows import Scene, row
from tests.faults.sshds import Sshds


@row("hosts-cut")
async def hosts_cut(scene: Scene) -> None:
    """Every connection to the hosts is reset; what runs there runs on."""
    for name in scene.ground.hosts_folder.iterdir():
        if name.is_dir():
            await scene.ground.hosts.tell(f"cut {name.name}")
    scene.say("connections cut")


@row("hosts-gone")
async def hosts_gone(scene: Scene) -> None:
    """No host can be reached for a while that is shorter than the steps' patience."""
    names = [folder.name for folder in scene.ground.hosts_folder.iterdir() if folder.is_dir()]
    for name in names:
        await scene.ground.hosts.tell(f"disappear {name}")
    scene.say("hosts gone")
    scene.ground.release()
    await scene.down(2, 8)
    for name in names:
        await scene.ground.hosts.tell(f"start {name}")


@row("hosts-kill", may_end=("failed",))
async def hosts_kill(scene: Scene) -> None:
    """The hosts die in mid-step, with all that runs there, and come back."""
    await scene.ground.hosts.kill()
    scene.crashed = True
    scene.say("hosts killed")
    scene.ground.release()
    await scene.down(0, 4)
    await scene.ground.hosts.start()


@row("host-impostor", may_end=("failed",))
async def host_impostor(scene: Scene) -> None:
    """The last host answers with another key: nobody may talk to it."""
    await scene.ground.hosts.tell("impostor w1")
    scene.say("w1 has another key")
    scene.ground.release()
    await asyncio.sleep(8)
    await scene.ground.hosts.tell("disappear w1")
    await scene.ground.hosts.tell("start w1")


@row("key-revoked", may_end=("failed",))
async def key_revoked(scene: Scene) -> None:
    """The last host lets our key in no more, and later again."""
    await scene.ground.hosts.tell("revoke w1")
    scene.say("w1 lets nobody in")
    scene.ground.release()
    await scene.down(4, 8)
    await scene.ground.hosts.tell("disappear w1")
    await scene.ground.hosts.tell("start w1")


@row("sshd-kill", on="sshd")
async def sshd_kill(scene: Scene) -> None:
    """The hosts' sshd, OpenSSH's own, is killed with every login, once or again and again."""
    sshds = _sshds(scene)
    scene.ground.release()
    for _ in range(scene.chance.choice((1, 3))):
        await sshds.kill()
        scene.say("sshd killed, with all logins")
        await scene.down(0, 2, 5)
        await sshds.start()
        await scene.down(0, 1)


@row("sshd-locked", on="sshd", may_end=("failed",))
async def sshd_locked(scene: Scene) -> None:
    """The last host's sshd, OpenSSH's own, lets our key in no more, and ends the logins that it had; later it does."""
    sshds = _sshds(scene)
    sshds.lock("w1")
    await sshds.kill()
    await sshds.start()
    scene.say("w1 lets nobody in")
    scene.ground.release()
    await scene.down(4, 8)
    sshds.unlock()


def _sshds(scene: Scene) -> Sshds:
    assert scene.ground.sshds is not None
    return scene.ground.sshds
