"""What a manifest says about a container is what the engine reports of it, also after a rollback."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from fraisier.providers.docker import DockerOptions
from fraisier.providers.docker.containers import _published
from fraisier.providers.errors import PreflightFailed
from fraisier.providers.testing import Rollout
from tests.providers.docker_bench import DockerBench
from tests.providers.ssh_bench import free_port

pytestmark = pytest.mark.docker

PORT, OTHER_PORT = free_port(), free_port()
GIVEN: dict[str, Any] = {
    "command": ["python3", "/api"],
    "ports": [f"127.0.0.1:{PORT}:8080", f"{free_port()}:9090/udp", f"127.0.0.1:{OTHER_PORT}:8080"],
    "volumes": ["/etc:/host:ro"],
    "tmpfs": ["/tmp", "/scratch:size=16m,mode=1777"],
    "hostname": "api.internal",
    "extra_hosts": {"db": "10.1.2.3", "six": "fd00::1", "engine": "host-gateway"},
    "labels": {"team": "web"},
    "user": "1000:1000",
    "memory": "256m",
    "cpus": 1.5,
    "pids_limit": 64,
    "ulimits": {"nofile": 1024, "core": {"soft": 0, "hard": 1048576}},
    "cap_add": ["NET_ADMIN"],
    "cap_drop": ["ALL"],
    "read_only": True,
    "restart": "on-failure",
    "log": {"driver": "json-file", "options": {"max-size": "1m", "max-file": "2"}},
    "healthcheck": ["python3", "-c", "pass"],
    "stop_signal": "SIGINT",
    "stop_timeout": "3s",
}


def reported(container: dict[str, Any]) -> dict[str, Any]:
    """What the engine says, in a manifest's words."""
    config, host = container["Config"], container["HostConfig"]
    return {
        "command": config["Cmd"],
        "ports": sorted(
            f"{one['HostIp']}:{one['HostPort']}:{inside}"
            for inside, bound in host["PortBindings"].items()
            for one in bound
        ),
        "volumes": host["Binds"],
        "tmpfs": host["Tmpfs"],
        "hostname": config["Hostname"],
        "extra_hosts": sorted(host["ExtraHosts"]),
        "team": config["Labels"]["team"],
        "user": config["User"],
        "memory": host["Memory"],
        "cpus": host["NanoCpus"],
        "pids_limit": host["PidsLimit"],
        "ulimits": sorted((one["Name"], one["Soft"], one["Hard"]) for one in host["Ulimits"]),
        "capabilities": (host["CapAdd"], host["CapDrop"]),
        "read_only": host["ReadonlyRootfs"],
        "restart": host["RestartPolicy"]["Name"],
        "log": (host["LogConfig"]["Type"], host["LogConfig"]["Config"]),
        "healthcheck": config["Healthcheck"]["Test"],
        "stop": (config["StopSignal"], config["StopTimeout"]),
        "networks": sorted(container["NetworkSettings"]["Networks"]),
    }


def wanted(networks: list[str]) -> dict[str, Any]:
    return {
        "command": GIVEN["command"],
        "ports": sorted(
            [
                f"127.0.0.1:{PORT}:8080/tcp",
                f"127.0.0.1:{OTHER_PORT}:8080/tcp",
                f":{GIVEN['ports'][1].replace('/udp', '')}/udp",
            ]
        ),
        "volumes": ["/etc:/host:ro"],
        "tmpfs": {"/tmp": "", "/scratch": "size=16m,mode=1777"},
        "hostname": "api.internal",
        "extra_hosts": ["db:10.1.2.3", "engine:host-gateway", "six:fd00::1"],
        "team": "web",
        "user": "1000:1000",
        "memory": 256 * 1024**2,
        "cpus": 1_500_000_000,
        "pids_limit": 64,
        "ulimits": [("core", 0, 1048576), ("nofile", 1024, 1024)],
        "capabilities": (["NET_ADMIN"], ["ALL"]),
        "read_only": True,
        "restart": "on-failure",
        "log": ("json-file", {"max-size": "1m", "max-file": "2"}),
        "healthcheck": ["CMD", "python3", "-c", "pass"],
        "stop": ("SIGINT", 3),
        "networks": sorted(networks),
    }


@pytest.fixture
def networks(docker_bench: DockerBench) -> Iterator[list[str]]:
    """Two networks of the test's own, which go after its containers."""
    names = [f"{docker_bench.service}-{name}-{secrets.token_hex(2)}" for name in ("front", "back")]
    for name in names:
        docker_bench.engine.run("network", "create", name)
    yield names
    docker_bench.clean()
    docker_bench.engine.run("network", "rm", *names)


async def test_the_engine_reports_what_the_manifest_says(docker_bench: DockerBench, networks: list[str]):
    first = docker_bench.provider(**GIVEN, network=networks)
    await first.connect()
    await Rollout(docker_bench, generation=1).deploy(first, docker_bench.release("1.0.0"))
    (running,) = docker_bench.running()
    assert reported(running) == wanted(networks)
    status = docker_bench.engine.run("exec", running["Id"], "sh", "-c", "cat /proc/1/status; ulimit -n; hostname")
    assert "CapBnd:\t0000000000001000" in status  # NET_ADMIN, and nothing else
    assert status.splitlines()[-2:] == ["1024", "api.internal"]

    plain = docker_bench.provider()
    await plain.connect()
    await Rollout(docker_bench, generation=2).deploy(plain, docker_bench.release("2.0.0"))
    await plain.rollback(Rollout(docker_bench, generation=3).step("rollback"), docker_bench.release("1.0.0").ref)
    (again,) = docker_bench.running()
    assert again["Id"] != running["Id"]
    assert reported(again) == wanted(networks)
    await first.disconnect()
    await plain.disconnect()


def test_an_ipv6_address_is_given_to_the_engine_without_its_brackets():
    assert _published(DockerOptions(ports=["[::1]:80:8080"]).ports[0]) == (
        "8080/tcp",
        {"HostIp": "::1", "HostPort": "80"},
    )


async def test_on_the_hosts_network_the_old_one_goes_first(docker_bench: DockerBench):
    """No candidate can run beside it: it would want the same port."""
    provider = docker_bench.provider(network="host", env={"HOST": "127.0.0.1", "PORT": str(free_port())})
    await provider.connect()
    for generation, version in enumerate(("1.0.0", "2.0.0"), start=1):
        rollout, release = Rollout(docker_bench, generation=generation), docker_bench.release(version)
        await provider.stage(rollout.step("stage"), release)
        await provider.activate(rollout.step("activate"), release)
        (running,) = docker_bench.running()
        assert running["Config"]["Labels"]["dev.fraisier.version"] == version
    back = Rollout(docker_bench, generation=3)
    await provider.rollback(back.step("rollback"), docker_bench.release("1.0.0").ref)
    (running,) = docker_bench.running()
    assert (running["Config"]["Labels"]["dev.fraisier.version"], running["RestartCount"]) == ("1.0.0", 0)
    await provider.disconnect()


async def test_a_network_that_is_not_there_is_found_before_anything_changes(docker_bench: DockerBench):
    provider = docker_bench.provider(network=["bridge", "no-such-net"])
    await provider.connect()
    with pytest.raises(PreflightFailed, match="the engine has no network no-such-net"):
        await provider.preflight(docker_bench.release("1.0.0"))
    await provider.disconnect()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ports": ["99999:80"]}, "99999:80 has a port that is none: they go from 1 to 65535"),
        ({"ports": ["80:http"]}, "should match pattern"),
        ({"volumes": ["./data:/data"]}, "should match pattern"),
        ({"volumes": ["data:/data"], "tmpfs": ["/data:size=1m"]}, "/data is mounted twice"),
        ({"network": "host", "ports": ["80:80"]}, "network: host is the host's own"),
        ({"network": "container:db"}, "should match pattern"),
        ({"memory": "lots"}, "'lots' is not a size: write a number of bytes, or one with its unit, such as 512m"),
        ({"memory": "1m"}, "greater than or equal to 6291456"),
        ({"cpus": 0}, "greater than 0"),
        ({"pids_limit": 0}, "greater than or equal to 1"),
        ({"ulimits": {"files": 10}}, "Input should be 'core', 'cpu'"),
        ({"ulimits": {"nofile": {"soft": 20, "hard": 10}}}, r"soft \(20\) must not be above hard \(10\)"),
        ({"cap_add": ["net_admin"]}, "should match pattern"),
        ({"extra_hosts": {"db": "db.example"}}, "not a valid IPv4 or IPv6 address"),
        ({"hostname": "-x"}, "should match pattern"),
        ({"labels": {"dev.fraisier.service": "other"}}, r"labels that begin with dev\.fraisier\. are kept"),
        ({"stop_signal": "9"}, "should match pattern"),
        ({"log": {"driver": "json-file", "max-size": "1m"}}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_right_is_refused(options: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        DockerOptions(**options)
