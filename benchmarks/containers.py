"""Containers: ten services on one engine, each replaced by its next release and waited for until its own health check
passes, by the Docker provider beside the docker command and the SDK alone.

The provider's old container ends after the new one is healthy and stays for a rollback; the others remove theirs.
"""

import asyncio
import io
import json
import secrets
import subprocess
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import docker
from docker.errors import DockerException
from measuring.command import command_line, interruptible, tell
from measuring.figures import Figures

from fraisier.providers.docker import DockerProvider
from fraisier.providers.models import FencingToken, HealthCheck, Release, Step

SERVICES = 10
ROUNDS = 5
IMAGE = "fraisier-bench-service:1"
LABEL = f"fraisier-bench-{secrets.token_hex(4)}"
EVERY_S = 0.1
SECOND_NS = 10**9
CHECK = ["/bin/busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
SERVE = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
HEALTHY = HealthCheck(docker=True, interval=timedelta(seconds=EVERY_S), healthy_after=1)


def make_image() -> None:
    """An image of busybox alone, with what it is linked to; nothing is pulled."""
    program = Path("/bin/busybox")
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout.split()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as image:
        for path in (program, *(Path(word) for word in linked if word.startswith("/"))):
            image.add(path.resolve(), arcname=str(path).lstrip("/"))
        page = tarfile.TarInfo("www/index.html")
        image.addfile(page)
    health = f"HEALTHCHECK --interval=1s --timeout=5s CMD {json.dumps(CHECK)}"
    changes = [part for change in (f"CMD {json.dumps(SERVE)}", health) for part in ("--change", change)]
    subprocess.run(
        ["docker", "import", *changes, "-", IMAGE], input=archive.getvalue(), check=True, capture_output=True
    )


def by_command(number: int, release: int) -> None:
    """Replace a service with the docker command."""
    new, old = f"{LABEL}-cli-{number}-{release}", f"{LABEL}-cli-{number}-{release - 1}"
    _docker("run", "--detach", "--name", new, "--label", LABEL, IMAGE)
    while _docker("inspect", "--format", "{{.State.Health.Status}}", new) != "healthy":
        time.sleep(EVERY_S)
    if release > 1:
        _docker("stop", "--time", "1", old)
        _docker("rm", old)


def by_sdk(engine: docker.DockerClient) -> Callable[[int, int], None]:
    """Replace a service with the SDK."""

    def replace(number: int, release: int) -> None:
        name = f"{LABEL}-sdk-{number}-"
        new = engine.containers.run(IMAGE, name=f"{name}{release}", labels=[LABEL], detach=True)
        while new.attrs.get("State", {}).get("Health", {}).get("Status") != "healthy":
            time.sleep(EVERY_S)
            new.reload()
        if release > 1:
            old = engine.containers.get(f"{name}{release - 1}")
            old.stop(timeout=1)
            old.remove()

    return replace


async def by_fraisier(number: int, release: int) -> None:
    """Replace a service with the provider."""
    service = f"{LABEL}-ours-{number}"
    image = Release(service=service, version=str(release), digest=f"sha256:{release:064}", image=IMAGE)
    provider = DockerProvider(config={"stop_timeout": "1s", "labels": {LABEL: ""}})
    await provider.connect()
    try:
        steps = iter(_step(service, release, name) for name in ("stage", "activate", "health"))
        await provider.stage(next(steps), image)
        await provider.activate(next(steps), image)
        health = await provider.check_health(next(steps), image.ref, HEALTHY)
        assert health.healthy, health.detail
    finally:
        await provider.disconnect()


def _step(service: str, release: int, name: str) -> Step:
    ordinal = ("stage", "activate", "health").index(name) + 1
    token = FencingToken(generation=release, ordinal=ordinal, attempt=1)
    return Step(rollout_id=f"r{release}", service=service, region="here", target="engine", name=name, token=token)


def in_threads(replace: Callable[[int, int], None]) -> Callable[[int], None]:
    """All services at once."""

    def all_of(release: int) -> None:
        with ThreadPoolExecutor(SERVICES) as pool:
            list(pool.map(lambda number: replace(number, release), range(SERVICES)))

    return all_of


def ours(release: int) -> None:
    """All services at once, in one event loop."""

    async def all_of() -> None:
        await asyncio.gather(*(by_fraisier(number, release) for number in range(SERVICES)))

    asyncio.run(all_of())


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def clean() -> None:
    """Remove what was made."""
    left = _docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
    claims = _docker("ps", "--all", "--quiet", "--filter", f"name={LABEL}").split()
    if left or claims:
        _docker("rm", "--force", *dict.fromkeys([*left, *claims]))
    _docker("rmi", "--force", IMAGE)


def main() -> None:
    command_line(__doc__).parse_args()
    try:
        engine = docker.from_env(max_pool_size=SERVICES)
    except DockerException as error:
        tell(f"left out: no Docker engine answers ({error})")
        return
    make_image()
    figures = Figures("seconds")
    sides = {"docker": in_threads(by_command), "sdk": in_threads(by_sdk(engine)), "fraisier": ours}
    try:
        for release in range(1, ROUNDS + 2):
            for side, replace in sides.items():
                began = time.perf_counter()
                replace(release)
                if release > 1:  # before that there is nothing to replace
                    figures.add(f"{SERVICES} containers", side, time.perf_counter() - began)
    finally:
        engine.close()
        clean()
    figures.show("docker")
    figures.keep("containers")


if __name__ == "__main__":
    interruptible(main)
