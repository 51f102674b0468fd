"""What a Compose release brings: files, values, secrets, images, and the health of every service."""

import asyncio
import json
from pathlib import Path

import pytest

from fraisier.providers.errors import (
    ArtifactRejected,
    SecretMissing,
)
from fraisier.providers.models import HealthCheck, Release
from fraisier.providers.testing import IMPATIENT, QUICK, Rollout
from tests.providers.compose_bench import WEB, ComposeBench
from tests.providers.composing import SLEEPS, connected, ill, image
from tests.providers.docker_bench import build_image

pytestmark = pytest.mark.docker


# --- what goes into it ---


async def test_files_values_and_secrets_reach_the_containers_and_only_those(
    compose_bench: ComposeBench, tmp_path: Path
):
    bench, odd = compose_bench, "x'y\"z $(id)\n; $HOME ${NONE}"
    (tmp_path / "password").write_text("geheim-4711\n")
    env = {"ODD": odd, "PASSWORD": {"secret": f"file:{tmp_path}/password"}}
    web = {
        **WEB, "image": build_image(bench.engine, "1.0.0"),
        "environment": {"ODD": "${ODD}", "VERSION": "${RELEASE_VERSION}"},
        "configs": [{"source": "app", "target": "/etc/app.conf"}],
        "secrets": ["password", "token"],
    }  # fmt: skip
    model = {
        "services": {"web": web},
        "configs": {"app": {"file": "./app.conf"}},
        "secrets": {"password": {"environment": "PASSWORD"}, "token": {"file": "./token"}},
    }
    files = {"compose.yaml": json.dumps(model), "app.conf": "one $HOME", "token": "t $x"}
    provider = await connected(bench, env=env)
    await Rollout(bench, generation=1).deploy(provider, bench.packed("1.0.0", files))
    first = bench.of("web")["Id"]

    def read(path: str) -> str:
        return bench.engine.run("exec", bench.of("web")["Id"], "cat", path)

    assert (read("/etc/app.conf"), read("/run/secrets/password"), read("/run/secrets/token")) == (
        "one $HOME",
        "geheim-4711",
        "t $x",
    )
    assert {f"ODD={odd}", "VERSION=1.0.0"} <= set(bench.of("web")["Config"]["Env"])

    await Rollout(bench, generation=2).deploy(provider, bench.packed("1.0.0", {**files, "app.conf": "two"}))
    assert read("/etc/app.conf") == "two"
    assert bench.of("web")["Id"] != first

    for container in bench.ours():
        kept = bench.engine.run("inspect", container) + bench.engine.run("cp", f"{container}:/", "-")
        assert "geheim" not in kept
    await provider.disconnect()


async def test_a_secret_is_in_no_error(compose_bench: ComposeBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT_OF_API", "geheim-4711")
    env = {"PORT": {"secret": "env:PORT_OF_API"}}
    provider = await connected(compose_bench, env=env)
    model = {"services": {"web": {"image": "x", "ports": ["${PORT}"]}}}
    release = compose_bench.packed("1", {"compose.yaml": json.dumps(model)})
    with pytest.raises(ArtifactRejected) as refused:
        await provider.stage(Rollout(compose_bench, generation=1).step("stage"), release)
    assert "geheim" not in str(refused.value)
    assert "***" in str(refused.value)
    monkeypatch.delenv("PORT_OF_API")
    with pytest.raises(SecretMissing, match="PORT_OF_API"):
        await provider.stage(Rollout(compose_bench, generation=2).step("stage"), release)
    await provider.disconnect()


async def test_a_release_may_be_an_image_and_the_compose_file_the_manifests(compose_bench: ComposeBench):
    bench = compose_bench
    provider = await connected(bench, compose={"services": {"web": {**WEB, "image": "${RELEASE_IMAGE}"}}})
    for generation, version in enumerate(("1.0.0", "2.0.0"), start=1):
        named = build_image(bench.engine, version)
        release = Release(service=bench.service, version=version, digest=named, image=named)
        await Rollout(bench, generation=generation).deploy(provider, release)
        assert await bench.serving() == version
    kept = (await provider.inspect(bench.service)).kept[0]
    assert (await provider.rollback(Rollout(bench, generation=3).step("rollback"), kept)).changed
    assert bench.of("web")["Image"] == bench.engine.run("images", "--quiet", "--no-trunc", kept.digest).strip()
    await provider.disconnect()


async def test_a_moved_tag_changes_nothing_that_was_staged(compose_bench: ComposeBench):
    bench, provider = compose_bench, await connected(compose_bench)
    release, rollout = bench.release("1.0.0"), Rollout(bench, generation=1)
    await provider.stage(rollout.step("stage"), release)
    tag = image(bench.engine)
    original = bench.engine.run("images", "--quiet", "--no-trunc", tag).strip()
    bench.engine.run("tag", build_image(bench.engine, "6.6.6"), tag)
    try:
        await provider.activate(rollout.step("activate"), release)
        assert bench.of("web")["Image"] == original
    finally:
        bench.engine.run("tag", original, tag)
    await provider.disconnect()


async def test_images_may_come_in_an_archive(compose_bench: ComposeBench, tmp_path: Path):
    bench, provider = compose_bench, await connected(compose_bench)
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nCMD ["/none"]\n')
    name, archive = f"{bench.service}:1", tmp_path / "image.tar"
    bench.engine.run("build", "--quiet", "--tag", name, str(tmp_path))
    bench.engine.run("save", "--output", str(archive), name)
    bench.engine.run("rmi", name)
    release = bench.packed("1", {"compose.yaml": json.dumps({"services": {"web": {"image": name}}})})
    await provider.stage(
        Rollout(bench, generation=1).step("stage"), release.model_copy(update={"image_archive": archive})
    )
    assert bench.engine.run("images", "--quiet", name)
    bench.engine.run("rmi", name)
    await provider.disconnect()


# --- health ---


async def test_health_is_that_of_every_service_and_of_the_one_that_is_named(compose_bench: ComposeBench):
    bench = compose_bench
    db = {**SLEEPS, "image": image(bench.engine), "healthcheck": ill("test ! -e /tmp/ill")}
    release = bench.release("1.0.0", db=db)
    rollout, provider = Rollout(bench, generation=1), await connected(bench, main="web")
    await rollout.deploy(provider, release)
    for check, healthy, says in (
        (HealthCheck(docker=True, **QUICK), True, "db healthy"),
        (HealthCheck(http="http://web:8080/health", expect_version=True, **QUICK), True, "200"),
        (HealthCheck(tcp="web:8080", **QUICK), True, ""),
        (HealthCheck(tcp="db:8080", **IMPATIENT), False, ""),
    ):
        seen = await provider.check_health(rollout.step("verify"), release.ref, check)
        assert (seen.healthy, says in seen.detail) == (healthy, True), seen.detail
    bench.engine.run("exec", bench.of("db")["Id"], "touch", "/tmp/ill")
    while bench.of("db")["State"]["Health"]["Status"] != "unhealthy":  # noqa: ASYNC110 (the engine tells nobody)
        await asyncio.sleep(0.1)
    seen = await provider.check_health(rollout.step("verify"), release.ref, HealthCheck(http=bench.url, **IMPATIENT))
    assert not seen.healthy
    assert "db: the container is unhealthy" in seen.detail
    await provider.disconnect()


async def test_a_main_service_that_is_not_there_is_told_at_once(compose_bench: ComposeBench):
    provider = await connected(compose_bench, main="wep")
    with pytest.raises(ArtifactRejected, match="main is wep, and the project has web"):
        await provider.stage(Rollout(compose_bench, generation=1).step("stage"), compose_bench.release("1.0.0"))
    await provider.disconnect()
