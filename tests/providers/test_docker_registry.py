"""Images out of a real registry: by tag, by digest, with credentials; and all that may be wrong with it."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fraisier.providers.docker import DockerProvider
from fraisier.providers.errors import ArtifactRejected, AuthenticationFailed, ConnectFailed
from fraisier.providers.models import Release
from fraisier.providers.testing import Rollout
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.registry import PASSWORD, Registry, log_in, log_in_by_helper, path_with


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """An engine whose images may be thrown away."""
    with own_engine() as engine:
        yield engine


class Service:
    """A service whose images come out of the registry."""

    def __init__(self, engine: OwnEngine, registry: Registry) -> None:
        self.engine = engine
        self.name = f"shop-{secrets.token_hex(4)}"
        self.repository = f"{registry.host}/{self.name}"
        self.provider = DockerProvider(config={"engine": engine.url, "stop_timeout": "1s", "settle": "200ms"})
        self.generation = 0

    def push(self, version: str, tag: str) -> str:
        """Build and push it; its digest. The engine keeps nothing of it."""
        image = f"{self.repository}:{tag}"
        self.engine.run("tag", self.engine.web_image(version), image)
        self.engine.run("push", "--quiet", image)
        digests: list[str] = json.loads(self.engine.run("image", "inspect", image))[0]["RepoDigests"]
        self.engine.run("rmi", "--force", image, f"own-api:{version}")
        return next(one.partition("@")[2] for one in digests if one.startswith(self.repository))

    async def roll(self, image: str, version: str = "1") -> None:
        self.generation += 1
        release = Release(service=self.name, version=version, digest=image, image=image)
        rollout = Rollout(release, generation=self.generation)
        await self.provider.stage(rollout.step("stage"), release)
        await self.provider.activate(rollout.step("activate"), release)

    def said(self) -> str:
        """What the container that runs has said: which version it is."""
        filters = ("--filter", f"label=dev.fraisier.service={self.name}", "--filter", "status=running")
        (running,) = self.engine.run("ps", "--quiet", *filters).split()
        return self.engine.run("logs", running)


@pytest.fixture
async def service(engine: OwnEngine, registry: Registry) -> AsyncIterator[Service]:
    service = Service(engine, registry)
    yield service
    await service.provider.disconnect()
    left = engine.run("ps", "--all", "--quiet", "--filter", f"label=dev.fraisier.service={service.name}").split()
    engine.run("rm", "--force", *left, check=False)


async def test_by_tag_and_by_digest(service: Service):
    service.push("1.0.0", "one")
    await service.roll(f"{service.repository}:one")
    assert "api 1.0.0 starts" in service.said()
    digest = service.push("2.0.0", "two")
    await service.roll(f"{service.repository}@{digest}", "2")
    assert "api 2.0.0 starts" in service.said()


async def test_a_digest_wins_over_a_tag_that_moved(service: Service):
    digest = service.push("1.0.0", "stable")
    assert service.push("6.6.6", "stable") != digest
    await service.roll(f"{service.repository}:stable@{digest}")
    assert "api 1.0.0 starts" in service.said()


@pytest.mark.filterwarnings("ignore:docker-credential-fraisier-test not installed")
async def test_a_credential_helper_is_asked(
    service: Service, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service.push("1.0.0", "one")
    folder = log_in_by_helper(tmp_path / "helped", registry.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    with pytest.raises(AuthenticationFailed, match="docker-credential-fraisier-test"):
        await service.roll(f"{service.repository}:one")
    monkeypatch.setenv("PATH", path_with(folder))
    await service.roll(f"{service.repository}:one")
    assert "api 1.0.0 starts" in service.said()


async def test_wrong_credentials_are_told_and_shown_to_nobody(
    service: Service, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service.push("1.0.0", "one")
    await service.roll(f"{service.repository}:one")
    service.push("2.0.0", "two")
    wrong = f"{PASSWORD}-{secrets.token_hex(4)}"
    log_in(tmp_path / "wrong", registry.host, password=wrong)
    for folder in (tmp_path / "wrong", tmp_path / "nobody"):
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        await service.provider.disconnect()
        with pytest.raises(AuthenticationFailed, match=r"does not give .*:two to this worker: .*log in") as refused:
            await service.roll(f"{service.repository}:two", "2")
        assert not refused.value.retryable
        assert wrong not in str(refused.value)
    assert "api 1.0.0 starts" in service.said()


async def test_an_image_that_is_not_there(service: Service):
    service.push("1.0.0", "one")
    await service.roll(f"{service.repository}:one")
    for missing in (f"{service.repository}:none", f"{service.repository}@sha256:{'0' * 64}"):
        with pytest.raises(ArtifactRejected, match=r"is not to be had: .*manifest unknown"):
            await service.roll(missing, "2")
    assert "api 1.0.0 starts" in service.said()


async def test_a_registry_that_is_down_may_come_back(service: Service, registry: Registry):
    service.push("1.0.0", "one")
    await service.roll(f"{service.repository}:one")
    service.push("2.0.0", "two")
    await registry.stop()
    with pytest.raises(ConnectFailed, match=r"is not to be had: .*connection refused") as down:
        await service.roll(f"{service.repository}:two", "2")
    assert down.value.retryable
    assert "api 1.0.0 starts" in service.said()
    await registry.start()
    await service.roll(f"{service.repository}:two", "2")
    assert "api 2.0.0 starts" in service.said()


async def test_a_layer_that_is_damaged_is_refused(service: Service, registry: Registry):
    service.push("1.0.0", "one")
    await service.roll(f"{service.repository}:one")
    digest = service.push("3.0.0", "broken")
    (layer,) = registry.layers(service.name, digest)
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 0xFF
    layer.write_bytes(data)
    with pytest.raises(ArtifactRejected, match="is not to be had: filesystem layer verification failed"):
        await service.roll(f"{service.repository}@{digest}", "3")
    assert "api 1.0.0 starts" in service.said()


async def test_an_archive_is_loaded_once(service: Service, tmp_path: Path):
    engine, name = service.engine, f"{service.name}:1"
    engine.run("tag", engine.web_image("1.0.0"), name)
    archive = tmp_path / "image.tar"
    engine.run("save", "--output", str(archive), name)
    engine.run("rmi", name, "own-api:1.0.0")
    provider = service.provider
    release = Release(service=service.name, version="1", digest=name, image=name, image_archive=archive)
    for generation in (1, 2):
        await provider.stage(Rollout(release, generation=generation).step("stage"), release)
        # The image is there by now, whatever its name has come to mean: nothing is loaded again.
        engine.run("tag", engine.web_image("6.6.6"), name)
    until = str(int(time.time()) + 1)  # the engine counts whole seconds
    loads = engine.run("events", "--since", "0", "--until", until, "--filter", "event=load").splitlines()
    assert len(loads) == 1, loads
    await provider.activate(Rollout(release, generation=2).step("activate"), release)
    assert "api 1.0.0 starts" in service.said()
    engine.run("rmi", "--force", name)
