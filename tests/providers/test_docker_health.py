"""Docker health: a container's own check, as the engine reports it, decides."""

from datetime import timedelta
from typing import Any

import pytest

from fraisier.providers.docker.probes import own_health
from fraisier.providers.models import HealthCheck
from fraisier.providers.testing import IMPATIENT, QUICK, Rollout
from tests.providers.docker_bench import DockerBench


@pytest.mark.docker
async def test_the_containers_own_check_decides(docker_bench: DockerBench):
    rollout, release = Rollout(docker_bench, generation=1), docker_bench.release("1.0.0")
    provider = docker_bench.provider(healthcheck=["python3", "-c", "pass"])
    await provider.connect()
    await rollout.deploy(provider, release)
    passed = await provider.check_health(rollout.step("verify"), release.ref, HealthCheck(docker=True, **QUICK))
    assert passed.healthy, passed.detail
    await provider.disconnect()


@pytest.mark.docker
async def test_a_container_without_a_check_is_not_healthy_by_it(docker_bench: DockerBench):
    rollout, release = Rollout(docker_bench, generation=1), docker_bench.release("1.0.0")
    provider = docker_bench.provider()
    await provider.connect()
    await rollout.deploy(provider, release)
    failed = await provider.check_health(rollout.step("verify"), release.ref, HealthCheck(docker=True, **IMPATIENT))
    assert (failed.healthy, failed.timed_out) == (False, False)
    assert "has no health check of its own" in failed.detail
    await provider.disconnect()


@pytest.mark.docker
async def test_a_container_that_falls_ill_says_what_its_check_said(docker_bench: DockerBench):
    rollout, release = Rollout(docker_bench, generation=1), docker_bench.release("1.0.0")
    ill = "import pathlib, sys; sys.exit('no database' if pathlib.Path('/tmp/ill').exists() else 0)"
    provider = docker_bench.provider(healthcheck=["python3", "-c", ill])
    await provider.connect()
    await rollout.deploy(provider, release)
    docker_bench.engine.run("exec", docker_bench.running()[0]["Id"], "touch", "/tmp/ill")
    lasting = HealthCheck(docker=True, **{**QUICK, "min_healthy_time": timedelta(minutes=1)})
    failed = await provider.check_health(rollout.step("verify"), release.ref, lasting)
    assert not failed.healthy
    assert "the container is unhealthy: no database" in failed.detail
    await provider.disconnect()


@pytest.mark.docker
async def test_a_command_that_hangs_in_the_container_is_not_started_again_beside_itself(docker_bench: DockerBench):
    rollout, release = Rollout(docker_bench, generation=1), docker_bench.release("1.0.0")
    provider = docker_bench.provider()
    await provider.connect()
    await rollout.deploy(provider, release)
    hangs = ("python3", "-c", "import time; time.sleep(6000)")
    run, container = docker_bench.engine.run, docker_bench.running()[0]["Id"]
    run("exec", "--detach", container, *hangs)  # as a check that was given up has left it
    slow = {**QUICK, "progress_deadline": timedelta(seconds=5)}
    check = HealthCheck(command=hangs, timeout=timedelta(seconds=4), **slow)
    failed = await provider.check_health(rollout.step("verify"), release.ref, check)
    assert (failed.healthy, failed.timed_out) == (False, True)
    assert "python3 of an earlier check still runs in the container" in failed.detail
    assert run("top", container, "-eo", "pid,args").count("time.sleep(6000)") == 1
    quick = HealthCheck(command=("python3", "-c", "pass"), **QUICK)
    passed = await provider.check_health(rollout.step("verify"), release.ref, quick)
    assert passed.healthy, passed.detail
    await provider.disconnect()


@pytest.mark.parametrize(
    ("state", "passed", "answered", "says"),
    [
        ({"Running": True, "Health": {"Status": "starting"}}, False, False, "is starting"),
        ({"Running": False, "ExitCode": 3, "Health": {"Status": "healthy"}}, False, True, "ended with status 3"),
        ({"Running": True, "Health": {"Status": "healthy", "Log": [{"Output": "ok"}]}}, True, True, "is healthy"),
        ({"Running": True, "Health": None}, False, True, "no health check of its own"),
    ],
)
def test_what_the_engine_says_is_judged(state: dict[str, Any], passed: bool, answered: bool, says: str):
    seen = own_health(state)
    assert (seen.passed, seen.answered) == (passed, answered)
    assert says in seen.detail
