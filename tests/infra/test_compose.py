"""docker-compose.yml brought up for real: with the public images, or stand-ins of the same names."""

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import nats
import pytest
from temporalio.client import Client

from fraisier.orchestrator.launcher import find_server
from fraisier.orchestrator.stack.ports import free_ports
from tests.support.docker_engine import Engine
from tests.support.releases import MakeRelease
from tests.support.stand_ins import CERTIFICATES, DOCKER, NATS, NATS_BOX, PYTHON, TEMPORAL, public_images
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PARTS = ("events", "providers", "workflows", "orchestrator", "infra")
WORKER_UID = 1000
PORTS = ("NATS_PORT", "NATS_MONITOR_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")


@dataclass(frozen=True)
class Compose:
    """The project in a folder of its own, with a ``.env`` made from ``.env.example``."""

    program: Path
    folder: Path
    env: dict[str, str]
    api_version: str

    def run(self, *arguments: str) -> str:
        """Run ``docker compose`` with these arguments, as a user does who stands in the folder."""
        # Compose speaks the newest API unless told otherwise, and the engine may be older.
        env = os.environ | {"DOCKER_API_VERSION": self.api_version, "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def compose(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The services up and healthy; after it no container, network, volume or image of theirs is left."""
    folder = tmp_path_factory.mktemp("compose")
    names = ("docker-compose", "nats-server", "nats", "temporal")
    programs = {name: asyncio.run(find_server(name)).path for name in names}
    programs["docker"] = Path(shutil.which("docker") or "")
    _copy_project(folder)
    api_version = docker_engine.run("version", "--format", "{{.Server.APIVersion}}").strip()
    compose = Compose(programs["docker-compose"], folder, _write_env(folder), api_version)
    with public_images(docker_engine, _stand_ins(compose.env, programs)):
        try:
            compose.run("up", "--detach", "--build", "--wait", "nats", "temporal")
            yield compose
        finally:
            compose.run("down", "--volumes", "--remove-orphans")
            made = [image for image in _own_images(compose.env) if docker_engine.run("images", "--quiet", image)]
            docker_engine.run("rmi", *made)
            docker_engine.run("image", "prune", "--force", "--filter", "label=dev.fraisier.stage=build")
    label = f"label=com.docker.compose.project={compose.env['COMPOSE_PROJECT_NAME']}"
    for listing in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert docker_engine.run(*listing, "--quiet", "--filter", label) == ""


@pytest.fixture(scope="module")
def deployer(systemd_hosts: list[SystemdHost], compose: Compose, docker_engine: Engine) -> Iterator[SystemdHost]:
    """A host that the worker's container reaches by name, and the folder with the keys that open it."""
    host = systemd_hosts[0]
    network = f"{compose.env['COMPOSE_PROJECT_NAME']}_default"
    docker_engine.run("network", "connect", "--alias", "a.example", network, host.container)
    keys = compose.folder / "ssh"
    keys.mkdir()
    shutil.copy(host.key_path, keys / "id_ed25519")
    kind, key = host.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
    (keys / "known_hosts").write_text(f"a.example {kind} {key}\n")
    for path in (keys, *keys.iterdir()):
        os.chown(path, WORKER_UID, WORKER_UID)
    yield host
    docker_engine.run("network", "disconnect", network, host.container)


def _copy_project(folder: Path) -> None:
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docker-compose.yml", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)


def _write_env(folder: Path) -> dict[str, str]:
    """The example, on ports and names of its own, with a password that a careless file would read as a number."""
    env = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    env |= {name: str(port) for name, port in free_ports(dict.fromkeys(PORTS, 0)).items()}
    unique = f"test-{secrets.token_hex(4)}"
    env |= {"COMPOSE_PROJECT_NAME": unique, "FRAISIER_VERSION": unique, "NATS_PASSWORD": "12345678"}
    env |= {"FRAISIER_SSH_DIR": str(folder / "ssh")}
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    return env


def _stand_ins(env: dict[str, str], programs: dict[str, Path]) -> dict[str, tuple[str, tuple[Path, ...]]]:
    return {
        f"nats:{env['NATS_VERSION']}": (NATS, (programs["nats-server"],)),
        f"natsio/nats-box:{env['NATS_BOX_VERSION']}": (NATS_BOX, (programs["nats"],)),
        f"temporalio/temporal:{env['TEMPORAL_VERSION']}": (TEMPORAL, (programs["temporal"],)),
        f"python:{env['PYTHON_VERSION']}": (PYTHON, (CERTIFICATES,)),
        f"docker:{env['DOCKER_VERSION']}-cli": (DOCKER, (programs["docker"], programs["docker-compose"])),
    }


def _own_images(env: dict[str, str]) -> tuple[str, str]:
    return (f"fraisier-nats:{env['FRAISIER_VERSION']}", f"fraisier:{env['FRAISIER_VERSION']}")


async def test_monitoring_answers_and_shows_a_server_that_syncs(compose: Compose):
    async with httpx.AsyncClient() as web:
        server = (await web.get(f"http://localhost:{compose.env['NATS_MONITOR_PORT']}/varz")).json()
    assert server["jetstream"]["config"]["sync_always"] is True


async def test_events_outlive_the_containers(compose: Compose):
    address = f"nats://localhost:{compose.env['NATS_PORT']}"
    login = {"user": compose.env["NATS_USERNAME"], "password": compose.env["NATS_PASSWORD"]}
    async with await nats.connect(address, **login) as connection:
        await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
    compose.run("down")
    compose.run("up", "--detach", "--wait", "nats", "temporal")
    assert "KEPT" in compose.run("exec", "--no-TTY", "nats", "nats", "stream", "ls")


async def test_temporal_and_its_ui_answer(compose: Compose):
    client = await Client.connect(f"localhost:{compose.env['TEMPORAL_PORT']}")
    assert [run async for run in client.list_workflows("FraisierService = 'none'")] == []
    async with httpx.AsyncClient() as web:
        assert (await web.get(f"http://localhost:{compose.env['TEMPORAL_UI_PORT']}/")).is_success


def test_ports_are_published_on_this_machine_only(compose: Compose):
    for service, port in (("nats", "4222"), ("nats", "8222"), ("temporal", "7233"), ("temporal", "8233")):
        assert compose.run("port", service, port).startswith("127.0.0.1:")


def test_the_worker_image_has_the_product_and_no_tools(compose: Compose, docker_engine: Engine):
    compose.run("build", "fraisier")
    image = f"fraisier:{compose.env['FRAISIER_VERSION']}"
    asked = "import fraisier.nats, fraisier.workflows, fraisier.providers, importlib.util as found, os"
    told = docker_engine.run(
        "run", "--rm", "--entrypoint", "python3", image, "-c", f"{asked}; print(os.getuid(), found.find_spec('pytest'))"
    )
    assert told == "1000 None\n"


def test_the_worker_image_can_have_the_compose_plugin(
    compose: Compose, docker_engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FRAISIER_WORKER", "worker-compose")
    compose.run("build", "fraisier")
    image = f"fraisier:{compose.env['FRAISIER_VERSION']}"
    # What stands in for the image of Python here may have an older one than the provider takes.
    asked = """import asyncio, os, tarfile
from fraisier.providers.compose.plugin import Plugin
tarfile.data_filter = getattr(tarfile, "data_filter", None)
print(os.getuid(), repr(asyncio.run(Plugin(None, engine=None, target="t1").missing())))"""
    assert docker_engine.run("run", "--rm", "--entrypoint", "python3", image, "-c", asked) == "1000 ''\n"
    docker_engine.run("rmi", image)


async def test_the_worker_registers_and_a_rollout_runs(
    compose: Compose, deployer: SystemdHost, make_release: MakeRelease, tmp_path: Path
):
    deployer.run("find", "/opt/api", "-mindepth", "1", "-delete")
    compose.run("up", "--detach", "--build", "--wait", "fraisier")
    manifest = {
        "service": "api",
        "release": {"version": "1.0.0", "artifact": make_release("1.0.0").name},
        "waves": [{"regions": ["here"]}],
        "regions": {
            "here": {
                "provider": "bare_metal",
                "username": deployer.username,
                "service_unit": "api.service",
                "sudo": True,
                "targets": [{"host": "a.example"}],
                "health": {"http": "http://127.0.0.1:8080/health", "interval": "200ms"},
            }
        },
    }
    (tmp_path / "rollout.yaml").write_text(json.dumps(manifest))
    reach = {
        "NATS_SERVERS": f"nats://127.0.0.1:{compose.env['NATS_PORT']}",
        "NATS_USERNAME": compose.env["NATS_USERNAME"],
        "NATS_PASSWORD": compose.env["NATS_PASSWORD"],
        "TEMPORAL_ADDRESS": f"127.0.0.1:{compose.env['TEMPORAL_PORT']}",
    }
    command = [sys.executable, "-m", "fraisier.orchestrator", "rollout", "start", "rollout.yaml"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, env=os.environ | reach, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr + compose.run("logs", "fraisier")
    assert "api 1.0.0 runs in every region" in done.stdout
    assert deployer.run("curl", "-s", "http://127.0.0.1:8080/health") == "1.0.0"
