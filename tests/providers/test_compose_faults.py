"""Compose against what goes wrong: files, images, services that do not come up, ghosts, things done by hand."""

import asyncio
import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fraisier.providers.compose.fence import enter
from fraisier.providers.errors import (
    ArtifactRejected,
    CommandFailed,
    ConnectFailed,
    PreflightFailed,
    ReleaseMissing,
    StaleToken,
)
from fraisier.providers.models import HealthCheck, Release
from fraisier.providers.testing import QUICK, Rollout
from tests.providers.compose_bench import ComposeBench
from tests.providers.composing import SLEEPS, activate, connected, ill, image
from tests.providers.docker_bench import build_image
from tests.providers.ssh_bench import free_port

pytestmark = pytest.mark.docker


# --- what is wrong is found before anything changes ---


async def test_a_release_that_is_not_right_changes_nothing(compose_bench: ComposeBench):
    bench, provider = compose_bench, await connected(compose_bench)
    await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
    before = await bench.instance()
    nowhere = f"127.0.0.1:{free_port()}/none:2"
    mounted = {"image": image(bench.engine), "volumes": ["./conf:/etc/conf"]}
    for generation, (web, says) in enumerate(
        (
            ({"imag": "x"}, "compose.yaml: validating compose.yaml: services.web additional properties 'imag'"),
            ({"image": "api:${NOBODY}"}, r"nobody gives NOBODY: add it to env, or write \$\{NOBODY:-\}"),
            ({"build": "."}, "service web is to be built: a release brings images"),
            (mounted, "service web mounts conf of the release"),
        ),
        start=2,
    ):
        release = bench.packed(str(generation), {"compose.yaml": json.dumps({"services": {"web": web}}), "conf": "x"})
        with pytest.raises(ArtifactRejected, match=says):
            await provider.stage(Rollout(bench, generation=generation).step("stage"), release)
    unreachable = bench.packed("7", {"compose.yaml": json.dumps({"services": {"web": {"image": nowhere}}})})
    with pytest.raises(ConnectFailed, match="none:2"):
        await provider.stage(Rollout(bench, generation=7).step("stage"), unreachable)
    with pytest.raises(ArtifactRejected, match=r"the release has no compose\.yaml"):
        await provider.stage(Rollout(bench, generation=8).step("stage"), bench.packed("8", {"other.yaml": "{}"}))
    escaping = bench.packed("9", {"../compose.yaml": "{}"})
    with pytest.raises(ArtifactRejected, match="outside the release's folder"):
        await provider.stage(Rollout(bench, generation=9).step("stage"), escaping)
    assert (await bench.serving(), await bench.instance()) == ("1.0.0", before)
    await provider.disconnect()


async def test_an_engine_that_is_not_there_can_be_tried_again(compose_bench: ComposeBench, tmp_path: Path):
    with pytest.raises(ConnectFailed, match="no Docker engine answers"):
        await connected(compose_bench, engine=f"unix://{tmp_path}/none.sock")


async def test_a_worker_without_the_plugin_is_unfit(
    compose_bench: ComposeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    provider = await connected(compose_bench, env={"TOKEN": {"secret": "env:NOT_THERE"}})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightFailed, match=r"no docker command: see .*--target worker-compose") as unfit:
        await provider.preflight(Release(service=compose_bench.service, version="1", digest="api:1", image="api:1"))
    assert len(unfit.value.reasons) == 3
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    with pytest.raises(PreflightFailed, match="has no compose plugin"):
        await provider.preflight(Release(service=compose_bench.service, version="1", digest="api:1", image="api:1"))
    (tmp_path / "docker").write_text("#!/bin/sh\necho 2.3.4\n")
    with pytest.raises(PreflightFailed, match=r"docker compose is 2\.3\.4, and 2\.24 is the oldest"):
        await provider.preflight(Release(service=compose_bench.service, version="1", digest="api:1", image="api:1"))
    await provider.disconnect()


# --- what does not come up is put back ---


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"healthcheck": ill("echo no database; exit 1")}, "no database"),
        ({"command": ["sh", "-c", "echo cannot find it; exit 7"], "restart": "always"}, "cannot find it"),
        ({"command": ["/not/there"]}, "/not/there"),
    ],
)
async def test_a_service_that_does_not_come_up_leaves_the_old_project_serving(
    compose_bench: ComposeBench, fault: dict[str, Any], says: str
):
    bench = compose_bench
    other = {"other": {**SLEEPS, "image": image(bench.engine)}}
    provider = await connected(bench, settle="1s", main="web")
    old = bench.release("1.0.0", **other)
    await Rollout(bench, generation=1).deploy(provider, old)
    untouched = bench.of("other")["Id"]
    new = bench.release("2.0.0", **other, worker={**SLEEPS, "image": image(bench.engine), **fault})
    with pytest.raises(CommandFailed, match=says):
        await activate(provider, bench, 2, new)
    assert await bench.serving() == "1.0.0"
    assert [one["Config"]["Labels"]["com.docker.compose.service"] for one in bench.containers()] == ["other", "web"]
    assert (await provider.inspect(bench.service)).release == old.ref
    assert bench.of("other")["Id"] == untouched
    # All is as it was, so there is nothing that a rollback would have to do.
    assert not (await provider.rollback(Rollout(bench, generation=3).step("rollback"), old.ref)).changed
    assert bench.of("other")["Id"] == untouched
    await provider.disconnect()


async def test_a_first_release_that_does_not_come_up_leaves_nothing(
    compose_bench: ComposeBench, monkeypatch: pytest.MonkeyPatch
):
    """Nor do its last lines tell of its secrets."""
    monkeypatch.setenv("TOKEN_OF_DB", "geheim-4711")
    provider = await connected(compose_bench, env={"TOKEN": {"secret": "env:TOKEN_OF_DB"}})
    db = {"environment": {"URL": "db:${TOKEN}@db"}, "command": ["sh", "-c", "echo cannot reach $$URL; exit 1"]}
    release = compose_bench.release("1.0.0", db={"image": image(compose_bench.engine), **db})
    says = r"db: the container ended with status 1; its last lines:\ncannot reach db:\*\*\*@db"
    with pytest.raises(CommandFailed, match=says):
        await activate(provider, compose_bench, 1, release)
    assert compose_bench.containers() == []
    assert (await provider.inspect(compose_bench.service)).release is None
    await provider.disconnect()


async def test_what_a_release_does_not_change_is_left_running(compose_bench: ComposeBench):
    bench, provider = compose_bench, await connected(compose_bench, main="web")
    more = {
        "db": {**SLEEPS, "image": image(bench.engine), "volumes": ["/data"]},
        "job": {"image": image(bench.engine), "command": ["true"]},
    }
    first, second = (bench.release(version, **more) for version in ("1.0.0", "2.0.0"))
    await Rollout(bench, generation=1).deploy(provider, first)
    before = bench.of("db")
    await Rollout(bench, generation=2).deploy(provider, second)
    assert await bench.serving() == "2.0.0"
    await provider.rollback(Rollout(bench, generation=3).step("rollback"), first.ref)
    after = bench.of("db")
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    await provider.rollback(Rollout(bench, generation=4).step("rollback"), None)
    assert bench.containers() == []
    bench.engine.run("volume", "rm", after["Mounts"][0]["Name"])  # its data is still there
    await provider.disconnect()


async def test_a_container_that_was_removed_by_hand_comes_back(compose_bench: ComposeBench):
    provider, release = await connected(compose_bench), compose_bench.release("1.0.0")
    await Rollout(compose_bench, generation=1).deploy(provider, release)
    assert (await provider.inspect(compose_bench.service)).drift == ()
    compose_bench.engine.run("rm", "--force", compose_bench.of("web")["Id"])
    removed = f"its container {compose_bench.service}-web-1 was removed"
    assert (await provider.inspect(compose_bench.service)).drift == (removed,)
    again = Rollout(compose_bench, generation=2)
    assert (await provider.stage(again.step("stage"), release)).changed
    assert (await provider.activate(again.step("activate"), release)).changed
    check = HealthCheck(http=compose_bench.url, **QUICK)
    assert (await provider.check_health(again.step("health"), release.ref, check)).healthy
    await provider.disconnect()


# --- other workers, and ghosts ---


async def test_every_step_may_be_another_workers(compose_bench: ComposeBench):
    bench, releases = compose_bench, [compose_bench.release(version) for version in ("1.0.0", "2.0.0")]
    for generation, release in enumerate(releases, start=1):
        for name in ("stage", "activate"):
            worker = await connected(bench)
            await getattr(worker, name)(Rollout(bench, generation=generation).step(name), release)
            await worker.disconnect()
        release.artifact.unlink()
    last = await connected(bench)
    assert (await last.rollback(Rollout(bench, generation=3).step("rollback"), releases[0].ref)).changed
    check = HealthCheck(http=bench.url, expect_version=True, **QUICK)
    verdict = await last.check_health(Rollout(bench, generation=3).step("verify"), releases[0].ref, check)
    assert verdict.healthy, verdict.detail
    await last.disconnect()


async def test_a_ghost_between_its_look_and_the_plugin_does_nothing(compose_bench: ComposeBench):
    bench, provider = compose_bench, await connected(compose_bench)
    old, new = bench.release("1.0.0"), bench.release("2.0.0")
    await Rollout(bench, generation=1).deploy(provider, old)
    ghost = Rollout(bench, generation=2).step("activate")
    await provider.stage(Rollout(bench, generation=2).step("stage"), new)
    entry = await enter(provider._engine, ghost, target="t1", gated=True)
    bundle = await provider._shelf.own(ghost, new.ref)
    known = bench.of("web")["Id"]
    # Here the ghost is paused, and a rollback comes and goes: it finds an activation that never ended.
    successor = await connected(bench)
    assert (await successor.rollback(Rollout(bench, generation=3).step("rollback"), old.ref)).changed
    assert bench.of("web")["Id"] != known
    before = await bench.instance()
    with pytest.raises(StaleToken, match="a newer attempt has begun meanwhile"):
        await provider._bring(ghost, bundle, entry)
    with pytest.raises(CommandFailed, match=r"external volume .*gate\.2\.3\.1.* not found"):
        await provider._bringer.bring(ghost, bundle, provider._project(bench.service), gate=entry.gate, anew=False)
    assert (await bench.serving(), await bench.instance()) == ("1.0.0", before)
    for one in (provider, successor):
        await one.disconnect()


async def test_a_bundle_that_a_worker_died_over_counts_for_nothing(
    compose_bench: ComposeBench, monkeypatch: pytest.MonkeyPatch
):
    bench, provider = compose_bench, await connected(compose_bench)
    old = bench.release("1.0.0")
    for generation, release in enumerate((old, bench.release("2.0.0")), start=1):
        await Rollout(bench, generation=generation).deploy(provider, release)
    put = provider._engine.put

    async def dies(container: str, archive: bytes) -> None:
        with contextlib.suppress(CommandFailed):
            await put(container, archive[:1024])
        raise EOFError

    with monkeypatch.context() as patched:
        patched.setattr(provider._engine, "put", dies)
        with pytest.raises(EOFError):
            await provider.stage(Rollout(bench, generation=3).step("stage"), old)
    assert len(bench.ours("label=dev.fraisier.kind=bundle")) == 3
    await provider.prune(Rollout(bench, generation=3).step("prune"), bench.service)
    assert len(bench.ours("label=dev.fraisier.kind=bundle")) == 2
    assert (await provider.inspect(bench.service)).kept == (old.ref,)
    assert (await provider.rollback(Rollout(bench, generation=4).step("rollback"), old.ref)).changed
    assert await bench.serving() == "1.0.0"
    await provider.disconnect()


async def test_a_rollback_to_images_that_were_removed_by_hand_changes_nothing(compose_bench: ComposeBench):
    bench, provider = compose_bench, await connected(compose_bench, main="web")
    helper = f"{bench.service}:1"
    bench.engine.run("tag", build_image(bench.engine, "6.6.6"), helper)
    bench.engine.run("build", "--quiet", "--tag", helper, "-", stdin=f"FROM {helper}\nLABEL a={helper}\n".encode())
    old = bench.release("1.0.0", db={**SLEEPS, "image": helper})
    await Rollout(bench, generation=1).deploy(provider, old)
    new = bench.release("2.0.0", db={**SLEEPS, "image": image(bench.engine)})
    await Rollout(bench, generation=2).deploy(provider, new)
    bench.engine.run("rmi", helper)
    before = await bench.instance()
    with pytest.raises(ReleaseMissing, match=f"1.0.0 cannot run, .* {helper} of db .sha256:.*; pull or load that"):
        await provider.rollback(Rollout(bench, generation=3).step("rollback"), old.ref)
    assert (await bench.serving(), await bench.instance()) == ("2.0.0", before)
    # Nothing was under way, so what comes next need not make anything anew.
    assert not (await provider.rollback(Rollout(bench, generation=4).step("rollback"), new.ref)).changed
    assert await bench.instance() == before
    await provider.disconnect()


async def test_nothing_piles_up(compose_bench: ComposeBench):
    bench, provider = compose_bench, await connected(compose_bench)
    for generation in range(1, 4):
        rollout, release = Rollout(bench, generation=generation), bench.release(f"{generation % 2 + 1}.0.0")
        await activate(provider, bench, generation, release)
        await provider.activate(rollout.step("activate", attempt=2), release)
        await provider.prune(rollout.step("prune"), bench.service)
    gates = bench.engine.run("volume", "ls", "--quiet", "--filter", f"label=dev.fraisier.service={bench.service}")
    kinds = [len(bench.ours(f"label=dev.fraisier.kind={kind}")) for kind in ("claim", "bundle", "note")]
    assert (gates, kinds) == ("", [2, 2, 3])
    await provider.disconnect()


async def test_a_plugin_that_takes_too_long_is_ended(
    compose_bench: ComposeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What a step started is gone with it: nothing of it acts later."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bench, provider = compose_bench, await connected(compose_bench, step_timeout="5s")
    sleeps = {**SLEEPS, "image": image(bench.engine)}
    first = {**sleeps, "healthcheck": {**ill("false"), "retries": 1000}}
    last = {**sleeps, "depends_on": {"first": {"condition": "service_healthy"}}}
    with pytest.raises(CommandFailed, match="did not end within 5 s"):
        await activate(provider, bench, 1, bench.release("1.0.0", first=first, last=last))
    processes = await asyncio.to_thread(subprocess.check_output, ["ps", "-eo", "args"], text=True)
    assert f"{tmp_path}/fraisier-compose" not in processes
    assert list(tmp_path.glob("fraisier-compose*")) == []
    assert bench.containers() == []
    await provider.disconnect()
