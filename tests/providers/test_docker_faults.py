"""Docker against what goes wrong: images, containers that die, engines that are gone, ghosts."""

import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.orchestrator.stack import LocalStack
from fraisier.providers.docker import DockerProvider
from fraisier.providers.docker.claims import claim
from fraisier.providers.errors import (
    ArtifactRejected,
    CommandFailed,
    ConnectFailed,
    PreflightFailed,
    ProviderError,
    StaleToken,
)
from fraisier.providers.models import HealthCheck, Release
from fraisier.providers.testing import IMPATIENT, QUICK, Rollout
from tests.providers.docker_bench import DockerBench, build_image
from tests.providers.ssh_bench import free_port

pytestmark = pytest.mark.docker


@pytest.fixture
async def event_bus(local_stack: LocalStack) -> AsyncIterator[NatsEventBus]:
    env = local_stack.env()
    login = {"username": env["NATS_USERNAME"], "password": env["NATS_PASSWORD"]}
    async with NatsClient([env["NATS_SERVERS"]], **login) as client:
        yield NatsEventBus(client)


async def connected(bench: DockerBench, **changed: object) -> DockerProvider:
    provider = bench.provider(**changed)
    await provider.connect()
    return provider


async def activate(provider: DockerProvider, bench: DockerBench, generation: int, release: Release) -> None:
    rollout = Rollout(bench, generation=generation)
    await provider.stage(rollout.step("stage"), release)
    await provider.activate(rollout.step("activate"), release)


async def test_an_engine_that_is_not_there_can_be_tried_again(docker_bench: DockerBench, tmp_path: Path):
    for engine in (f"tcp://127.0.0.1:{free_port()}", f"unix://{tmp_path}/none.sock"):
        with pytest.raises(ConnectFailed, match="no Docker engine answers") as gone:
            await connected(docker_bench, engine=engine)
        assert gone.value.retryable


async def test_an_engine_that_hangs_is_given_up(docker_bench: DockerBench, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(ConnectFailed, match="timed out"):
            await connected(docker_bench, engine=f"unix://{tmp_path}/s", connect_timeout="300ms")


async def test_an_image_that_is_nowhere_leaves_the_old_one_serving(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    await Rollout(docker_bench, generation=1).deploy(provider, docker_bench.release("1.0.0"))
    nowhere = f"127.0.0.1:{free_port()}/none:2"
    release = Release(service=docker_bench.service, version="2", digest=nowhere, image=nowhere)
    with pytest.raises(ConnectFailed, match=r"none:2 is not to be had: .*connection refused"):
        await provider.stage(Rollout(docker_bench, generation=2).step("stage"), release)
    assert await docker_bench.serving() == "1.0.0"
    await provider.disconnect()


async def test_a_release_without_an_image_is_unfit(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    with pytest.raises(PreflightFailed, match=r"Docker needs release\.image"):
        await provider.preflight(Release(service=docker_bench.service, version="1", digest="x"))
    await provider.disconnect()


async def test_an_archive_is_loaded_where_the_image_is_not(docker_bench: DockerBench, tmp_path: Path):
    engine = docker_bench.engine
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nCMD ["/none"]\n')
    name = f"{docker_bench.service}:1"
    engine.run("build", "--quiet", "--tag", name, str(tmp_path))
    engine.run("save", "--output", str(tmp_path / "image.tar"), name)
    engine.run("rmi", name)
    archive = tmp_path / "image.tar"
    release = Release(service=docker_bench.service, version="1", digest=name, image=name, image_archive=archive)
    provider = await connected(docker_bench)
    assert (await provider.stage(Rollout(docker_bench, generation=1).step("stage"), release)).changed
    engine.run("image", "inspect", name)
    other = release.model_copy(update={"image": "not-in-it:1"})
    with pytest.raises(ArtifactRejected, match="does not hold not-in-it:1"):
        await provider.stage(Rollout(docker_bench, generation=2).step("stage"), other)
    archive.write_bytes(b"no archive at all")
    with pytest.raises(ProviderError):
        await provider.stage(Rollout(docker_bench, generation=3).step("stage"), other)
    docker_bench.clean()
    engine.run("rmi", name)
    await provider.disconnect()


@pytest.mark.parametrize("published", [False, True])
async def test_a_release_that_dies_never_takes_the_place(
    docker_bench: DockerBench, published: bool, monkeypatch: pytest.MonkeyPatch
):
    """Nor do its last lines tell of its secrets."""
    monkeypatch.setenv("API_CONFIG", "its config")
    ports = [f"127.0.0.1:{free_port()}:8080"] if published else []
    env = {"CONFIG": {"secret": "env:API_CONFIG"}}
    provider = await connected(docker_bench, ports=ports, settle="2s", env=env)
    await Rollout(docker_bench, generation=1).deploy(provider, docker_bench.release("1.0.0"))
    before = await docker_bench.instance()
    with pytest.raises(CommandFailed, match=r"cannot find \*\*\*") as failed:
        await activate(provider, docker_bench, 2, docker_bench.release("2.0.0", dies=True))
    assert failed.value.exit_status == 7 or "the engine started it again" in str(failed.value)
    assert (await docker_bench.serving(), await docker_bench.instance()) == ("1.0.0", before)
    # Nothing of it is left, so that taking it back has nothing to do.
    old = docker_bench.release("1.0.0").ref
    assert (await provider.inspect(docker_bench.service)).release == old
    assert not (await provider.rollback(Rollout(docker_bench, generation=3).step("rollback"), old)).changed
    assert (await docker_bench.serving(), await docker_bench.instance()) == ("1.0.0", before)
    await provider.disconnect()


async def test_the_last_words_are_bounded_and_told_in_the_event(
    docker_bench: DockerBench, event_bus: NatsEventBus, monkeypatch: pytest.MonkeyPatch
):
    """A hundred megabytes without a newline end as four kilobytes, in the error and in the event, without secrets."""
    env = {"WORD": {"secret": "env:API_WORD"}}
    monkeypatch.setenv("API_WORD", "s last")
    chatty = "import sys; sys.stdout.write('x' * 100_000_000 + 'its last words'); sys.exit(3)"
    provider = await connected(docker_bench, command=["python3", "-c", chatty], restart="no", settle="2m", env=env)
    with pytest.raises(CommandFailed, match=r"it\*\*\* words") as failed:
        await activate(provider, docker_bench, 1, docker_bench.release("1.0.0"))
    assert (failed.value.exit_status, len(failed.value.tail) <= 4096) == (3, True)
    assert len(str(failed.value)) < 5000
    await provider.disconnect()
    monkeypatch.setenv("API_WORD", "starts")
    telling = docker_bench.provider(event_bus, env=env)
    await telling.connect()
    rollout, release = (
        Rollout(docker_bench, generation=2, rollout_id=docker_bench.service),
        docker_bench.release("2.0.0"),
    )
    await telling.stage(rollout.step("stage"), release)
    await telling.activate(rollout.step("activate"), release)
    hopeless = HealthCheck(http=docker_bench.silent_url, **IMPATIENT)
    health = await telling.check_health(rollout.step("health"), release.ref, hopeless)
    assert "api 2.0.0 ***" in health.detail
    told = [event async for event in event_bus.read("health", deployment_id=rollout.rollout_id)]
    assert "api 2.0.0 ***" in told[-1].data["detail"]
    await telling.disconnect()


async def test_a_log_that_cannot_be_read_hides_no_failure(docker_bench: DockerBench):
    provider = await connected(docker_bench, log={"driver": "none"}, restart="no")
    with pytest.raises(CommandFailed, match=r"ended with status 7; its last lines:\n\(its log cannot be read: "):
        await activate(provider, docker_bench, 1, docker_bench.release("1.0.0", dies=True))
    state = await provider.inspect(docker_bench.service)  # nothing runs, and nobody has changed that by hand
    assert (state.release, state.drift) == (None, ())
    await provider.disconnect()


async def test_a_probe_that_writes_without_end_fills_nothing(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    rollout, release = Rollout(docker_bench, generation=1), docker_bench.release("1.0.0")
    await rollout.deploy(provider, release)
    chatty = ("sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo out of paper; exit 3")
    once = timedelta(seconds=60)
    check = HealthCheck(command=chatty, timeout=once, interval=once, progress_deadline=once)
    health = await provider.check_health(rollout.step("verify"), release.ref, check)
    assert "ended with 3" in health.detail
    assert "out of paper" in health.detail
    assert len(health.detail) < 6000
    await provider.disconnect()


async def test_a_failing_health_check_of_the_engine_keeps_the_old_one(docker_bench: DockerBench):
    checked = {"healthcheck": ["python3", "-c", "import sys; sys.exit(open('/api').read().count('VERSION = 2'))"]}
    provider = await connected(docker_bench)
    await Rollout(docker_bench, generation=1).deploy(provider, docker_bench.release("1.0.0"))
    before = await docker_bench.instance()
    picky = await connected(docker_bench, healthcheck=["false"])
    with pytest.raises(CommandFailed, match="is unhealthy"):
        await activate(picky, docker_bench, 2, docker_bench.release("2.0.0"))
    assert await docker_bench.instance() == before
    proud = await connected(docker_bench, **checked)
    await activate(proud, docker_bench, 3, docker_bench.release("2.0.0"))
    assert docker_bench.running()[0]["State"]["Health"]["Status"] == "healthy"
    for one in (provider, picky, proud):
        await one.disconnect()


async def test_options_reach_the_container_and_a_rollback_brings_the_old_ones_back(docker_bench: DockerBench):
    odd = "x'y\"z $(id)\n; $HOME"
    options = {"env": {"ODD": odd}, "user": "1000", "labels": {"team": "web"}, "volumes": ["/etc:/host:ro"]}
    first = await connected(docker_bench, **options)
    await Rollout(docker_bench, generation=1).deploy(first, docker_bench.release("1.0.0"))
    plain = await connected(docker_bench)
    await Rollout(docker_bench, generation=2).deploy(plain, docker_bench.release("2.0.0"))
    assert f"ODD={odd}" not in docker_bench.running()[0]["Config"]["Env"]
    old = docker_bench.release("1.0.0").ref
    await plain.rollback(Rollout(docker_bench, generation=3).step("rollback"), old)
    (running,) = docker_bench.running()
    assert f"ODD={odd}" in running["Config"]["Env"]
    assert (running["Config"]["User"], running["Config"]["Labels"]["team"]) == ("1000", "web")
    assert running["HostConfig"]["Binds"] == ["/etc:/host:ro"]
    assert running["Config"]["Labels"]["dev.fraisier.generation"] == "3"
    await first.disconnect()
    await plain.disconnect()


async def test_a_moved_tag_changes_nothing_that_was_staged(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    release, rollout = docker_bench.release("1.0.0"), Rollout(docker_bench, generation=1)
    await provider.stage(rollout.step("stage"), release)
    other = build_image(docker_bench.engine, "6.6.6")
    original = docker_bench.engine.run("images", "--quiet", "--no-trunc", release.image).strip()
    docker_bench.engine.run("tag", other, release.image)
    try:
        await provider.activate(rollout.step("activate"), release)
        check = HealthCheck(http=docker_bench.url, expect_version=True, **QUICK)
        assert (await provider.check_health(rollout.step("health"), release.ref, check)).healthy
    finally:
        docker_bench.engine.run("tag", original, release.image)
    await provider.disconnect()


# --- ghosts ---


async def test_a_ghost_between_its_look_and_its_start_cannot_start(docker_bench: DockerBench):
    """It claimed before its successor looked: what it is about to start is gone."""
    provider = await connected(docker_bench)
    release, rollout = docker_bench.release("1.0.0"), Rollout(docker_bench, generation=1)
    await provider.stage(rollout.step("stage"), release)
    engine, place = provider._engine, provider._place
    await claim(engine, rollout.step("activate"), target="t1")
    new = await provider._own(rollout.step("activate"), release.ref)
    assert new is not None
    # Here the ghost is paused, and a rollback comes and goes.
    successor = await connected(docker_bench)
    await successor.rollback(Rollout(docker_bench, generation=2).step("rollback"), None)
    with pytest.raises(CommandFailed, match="No such container"):
        await place.switch(rollout.step("activate"), new, prove=True)
    assert docker_bench.running() == []
    await provider.disconnect()
    await successor.disconnect()


async def test_a_ghost_that_stops_the_old_one_late_stops_nothing_that_serves(docker_bench: DockerBench):
    """The successor of an unfinished switch puts the release into a container that the ghost does not know."""
    provider = await connected(docker_bench)
    old = docker_bench.release("1.0.0")
    await Rollout(docker_bench, generation=1).deploy(provider, old)
    ghost = Rollout(docker_bench, generation=2)
    await provider.stage(ghost.step("stage"), docker_bench.release("2.0.0"))
    await claim(provider._engine, ghost.step("activate"), target="t1")
    (about_to_be_stopped,) = docker_bench.running()
    await provider.rollback(Rollout(docker_bench, generation=3).step("rollback"), old.ref)
    await provider._engine.stop(about_to_be_stopped["Id"])
    assert await docker_bench.serving() == "1.0.0"
    await provider.disconnect()


async def test_a_switch_that_ends_settles_the_unfinished_ones_before_it(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    old = docker_bench.release("1.0.0")
    await Rollout(docker_bench, generation=1).deploy(provider, old)
    await claim(provider._engine, Rollout(docker_bench, generation=2).step("activate"), target="t1")
    assert (await provider.rollback(Rollout(docker_bench, generation=3).step("rollback"), old.ref)).changed
    assert not (await provider.stage(Rollout(docker_bench, generation=4).step("stage"), old)).changed
    await provider.disconnect()


async def test_a_ghost_that_claims_after_its_successor_is_refused_and_leaves_nothing(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    await claim(provider._engine, Rollout(docker_bench, generation=2).step("rollback"), target="t1")
    before = {one["Id"] for one in docker_bench.containers()}
    with pytest.raises(StaleToken, match=r"2\.3\.1"):
        await claim(provider._engine, Rollout(docker_bench, generation=1).step("activate"), target="t1")
    assert {one["Id"] for one in docker_bench.containers()} == before
    await provider.disconnect()


async def test_claims_do_not_pile_up(docker_bench: DockerBench):
    provider = await connected(docker_bench)
    for generation in range(1, 5):
        rollout = Rollout(docker_bench, generation=generation)
        release = docker_bench.release("1.0.0" if generation % 2 else "2.0.0")
        await provider.stage(rollout.step("stage"), release)
        await provider.activate(rollout.step("activate"), release)
        await provider.activate(rollout.step("activate", attempt=2), release)
        await provider.prune(rollout.step("prune"), docker_bench.service)
    # The last step's, and that of the last switch, which tells what ought to be in place.
    assert len(docker_bench.containers("label=dev.fraisier.kind=claim")) == 2
    await provider.disconnect()
