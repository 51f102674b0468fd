"""What somebody changed by hand on a host is told, and nothing else is."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected
from tests.providers.compose_bench import ComposeBench
from tests.providers.docker_bench import DockerBench
from tests.providers.ssh_bench import SshBench
from tests.providers.systemd_bench import SystemdBench
from tests.support.systemd_hosts import SystemdHost


def relink(root: Path, to: str) -> None:
    link = root / "current"
    link.unlink()
    link.symlink_to(to)


def running(root: Path) -> Path:
    return root / (root / "current").readlink()


def break_off(root: Path) -> None:
    (root / ".fraisier" / "unsettled").write_text("r9.9.2.activate\n")


BY_HAND: dict[str, tuple[Callable[[Path], object], str]] = {
    "moved": (
        lambda root: relink(root, next(str(p.relative_to(root)) for p in root.glob("releases/1.0.0-*"))),
        "current points to 1.0.0-",
    ),
    "unknown": (lambda root: relink(root, "releases/mine"), "current points to mine; the last rollout left 2.0.0-"),
    "removed": (lambda root: (root / "current").unlink(), "current points to nothing; the last rollout left 2.0.0-"),
    "foreign": (lambda root: relink(root, "elsewhere"), "current is none of a rollout's links"),
    "broken off": (break_off, "the step r9.9.2.activate was broken off while it switched"),
    "edited": (
        lambda root: (running(root) / "VERSION").write_text("mine"),
        "in the running release, VERSION was changed",
    ),
    "deleted": (lambda root: (running(root) / "VERSION").unlink(), "in the running release, VERSION is gone"),
}


@pytest.mark.parametrize("what", BY_HAND)
async def test_what_was_changed_on_a_host_is_told(ssh_bench: SshBench, what: str):
    provider = await connected(ssh_bench)
    for generation, version in enumerate(("1.0.0", "2.0.0"), start=1):
        await Rollout(ssh_bench, generation=generation).deploy(provider, ssh_bench.release(version))
    (running(ssh_bench.root) / "written while it runs").touch()
    assert (await provider.inspect("api")).drift == ()
    change, says = BY_HAND[what]
    change(ssh_bench.root)
    (told,) = (await provider.inspect("api")).drift
    assert says in told
    await provider.disconnect()


async def test_an_edit_is_told_though_its_time_was_set_back(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    file = running(ssh_bench.root) / "VERSION"
    before = file.stat()
    file.write_text("9.9.9")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await provider.inspect("api")).drift == ("in the running release, VERSION was changed",)
    await provider.disconnect()


async def test_after_a_rollback_to_nothing_nothing_has_drifted(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    await provider.rollback(Rollout(ssh_bench, generation=2).step("rollback"), None)
    state = await provider.inspect("api")
    assert (state.release, state.drift) == (None, ())
    await provider.disconnect()


@pytest.mark.docker
async def test_a_container_that_was_stopped_or_removed_by_hand_is_told(docker_bench: DockerBench):
    provider = docker_bench.provider()
    await provider.connect()
    for generation, version in enumerate(("1.0.0", "2.0.0"), start=1):
        await Rollout(docker_bench, generation=generation).deploy(provider, docker_bench.release(version))
    # The last step of a rollout: what it tidies up is not what says that something ought to be here.
    await provider.prune(Rollout(docker_bench, generation=2).step("prune"), docker_bench.service)
    assert (await provider.inspect(docker_bench.service)).drift == ()
    run = docker_bench.engine.run
    names = (
        await asyncio.to_thread(
            run,
            "ps",
            "--all",
            "--format",
            "{{.Names}}",
            "--filter",
            f"label=dev.fraisier.service={docker_bench.service}",
        )
    ).split()
    old = next(name for name in names if name.endswith(".kept"))
    new = next(name for name in names if "-2.0.0-" in name)
    run("stop", new)
    run("start", old)
    assert (await provider.inspect(docker_bench.service)).drift == (
        f"its container {new} is exited",
        f"the container {old}, which had its turn, runs too",
    )
    run("rm", "--force", new, old)
    assert (await provider.inspect(docker_bench.service)).drift == ("nothing is in place: its container was removed",)
    await provider.disconnect()


@pytest.mark.docker
async def test_a_container_that_was_removed_after_a_rollback_is_told(docker_bench: DockerBench):
    provider, old = docker_bench.provider(), docker_bench.release("1.0.0")
    await provider.connect()
    for generation, release in enumerate((old, docker_bench.release("2.0.0")), start=1):
        await Rollout(docker_bench, generation=generation).deploy(provider, release)
    back = Rollout(docker_bench, generation=3)
    await provider.rollback(back.step("rollback"), old.ref)
    await provider.fence(back.step("undrain"))
    docker_bench.engine.run("rm", "--force", *(one["Id"] for one in docker_bench.running()))
    assert (await provider.inspect(docker_bench.service)).drift == ("nothing is in place: its container was removed",)
    await provider.rollback(Rollout(docker_bench, generation=4).step("rollback"), None)
    assert (await provider.inspect(docker_bench.service)).drift == ()
    await provider.disconnect()


@pytest.mark.docker
async def test_a_project_whose_container_was_stopped_or_removed_by_hand_is_told(compose_bench: ComposeBench):
    provider = compose_bench.provider()
    await provider.connect()
    await Rollout(compose_bench, generation=1).deploy(provider, compose_bench.release("1.0.0"))
    assert (await provider.inspect(compose_bench.service)).drift == ()
    name = f"{compose_bench.service}-web-1"
    compose_bench.engine.run("stop", name)
    assert (await provider.inspect(compose_bench.service)).drift == (f"its container {name} is exited",)
    compose_bench.engine.run("rm", name)
    assert (await provider.inspect(compose_bench.service)).drift == (f"its container {name} was removed",)
    await provider.disconnect()


@pytest.mark.systemd
async def test_a_unit_that_was_stopped_by_hand_is_told(clean_hosts: list[SystemdHost], tmp_path: Path):
    bench = SystemdBench(clean_hosts[0], tmp_path)
    provider = bench.provider()
    await provider.connect()
    await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
    assert (await provider.inspect("api")).drift == ()
    bench.host.run("systemctl", "stop", "api.service")
    assert (await provider.inspect("api")).drift == ("the unit api.service is inactive",)
    await provider.disconnect()


async def test_a_kept_release_that_was_changed_is_unpacked_anew(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    old = ssh_bench.release("1.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, old)
    await Rollout(ssh_bench, generation=2).deploy(provider, ssh_bench.release("2.0.0"))
    (kept,) = ssh_bench.root.glob("releases/1.0.0-*")
    (kept / "VERSION").write_text("mine")
    again = Rollout(ssh_bench, generation=3)
    assert (await provider.stage(again.step("stage"), old)).changed
    assert (kept / "VERSION").read_text().strip() == "1.0.0"
    await again.deploy(provider, old)
    assert (await provider.inspect("api")).drift == ()
    # As it came it is not sent again.
    await Rollout(ssh_bench, generation=4).deploy(provider, ssh_bench.release("2.0.0"))
    assert not (await provider.stage(Rollout(ssh_bench, generation=5).step("stage"), old)).changed
