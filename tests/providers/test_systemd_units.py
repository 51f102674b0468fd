"""Units that come and go with their releases, on real systemd hosts: the system's and a user's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.errors import CommandFailed, PreflightFailed
from fraisier.providers.models import HealthCheck
from fraisier.providers.testing import QUICK, Rollout
from tests.providers.web_bench import PORT, WebBench
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.systemd]

SOCKET = f"[Socket]\nListenStream=127.0.0.1:{PORT}\n[Install]\nWantedBy=sockets.target\n"
HOSTILE = {"A": 'it\'s "so" $HOME ${HOME} `id` \\ ; #', "B": "one\ntwo\n", "C": " \té%n%% "}


@pytest.fixture(params=["system", "user"])
def bench(request: pytest.FixtureRequest, clean_hosts: list[SystemdHost], tmp_path: Path) -> Iterator[WebBench]:
    bench = WebBench(clean_hosts[2], tmp_path, request.param)
    yield bench
    bench.clean()


async def connected(bench: WebBench, **changed: object) -> BareMetalProvider:
    provider = bench.provider(**changed)
    await provider.connect()
    return provider


def environment_of(bench: WebBench) -> dict[str, str]:
    """What the running service really has."""
    pid = bench.show("MainPID").strip().removeprefix("MainPID=")
    variables = bench.host.run("cat", f"/proc/{pid}/environ").split("\0")
    return dict(one.split("=", 1) for one in variables if one)


async def test_a_unit_its_drop_ins_and_its_environment_come_and_go_with_the_release(
    bench: WebBench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WEB_PASSWORD", "hunter2")
    secret = {"PASSWORD": {"secret": "env:WEB_PASSWORD"}}
    provider, plain = await connected(bench, env={**HOSTILE, **secret}), await connected(bench)
    old, new = bench.release("1.0.0"), bench.release("2.0.0", drop_in="[Service]\nEnvironment=EXTRA=yes\n")
    await provider.preflight(old)
    await Rollout(bench, generation=1).deploy(provider, old)
    found = environment_of(bench)
    assert {name: found.get(name) for name in (*HOSTILE, "PASSWORD")} == {**HOSTILE, "PASSWORD": "hunter2"}
    assert bench.systemctl("is-enabled", "web.service").strip() == "enabled"
    await plain.preflight(new)
    await Rollout(bench, generation=2).deploy(plain, new)
    assert await bench.serving() == "2.0.0"
    assert environment_of(bench).get("EXTRA") == "yes"
    assert "PASSWORD" not in environment_of(bench)
    back = Rollout(bench, generation=3)
    assert (await plain.rollback(back.step("rollback"), old.ref)).changed
    steady = HealthCheck(http=bench.url, expect_version=True, **QUICK)
    assert (await plain.check_health(back.step("verify"), old.ref, steady)).healthy
    assert {"EXTRA", "PASSWORD"} & {*environment_of(bench)} == {"PASSWORD"}
    active = HealthCheck(systemd="web.service", **QUICK)
    assert (await plain.check_health(back.step("health"), old.ref, active)).healthy
    assert (await plain.rollback(Rollout(bench, generation=4).step("rollback"), None)).changed
    assert await bench.serving() == ""
    assert bench.host.run("find", bench.home, "-name", "web.*") == ""
    for one in (provider, plain):
        await one.disconnect()


async def test_a_socket_stays_up_so_that_no_connection_is_refused(bench: WebBench):
    provider = await connected(bench)
    await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0", socket=SOCKET))
    bench.host.run("rm", "-f", "/tmp/stop", "/tmp/seen")
    load = asyncio.create_task(asyncio.to_thread(
        bench.host.run, "sh", "-c",
        # 7 is curl's word for a refused connection.
        f"until [ -e /tmp/stop ]; do curl -s --max-time 30 {bench.url} || [ $? -ne 7 ] || echo -n refused; echo; done"
        " >/tmp/seen",
    ))  # fmt: skip
    await Rollout(bench, generation=2).deploy(provider, bench.release("2.0.0", socket=SOCKET))
    last = bench.release("3.0.0", socket=SOCKET)
    await Rollout(bench, generation=3).deploy(provider, last)
    bench.host.run("touch", "/tmp/stop")
    await load
    seen = bench.host.run("cat", "/tmp/seen").split()
    assert set(seen) <= {"1.0.0", "2.0.0", "3.0.0"}
    assert seen[-1] == "3.0.0"
    # Without it, and with it again: whoever holds the port lets go of it first.
    await Rollout(bench, generation=4).deploy(provider, bench.release("4.0.0"))
    assert bench.systemctl("is-active", "web.socket", check=False).strip() == "inactive"
    back = Rollout(bench, generation=5)
    await provider.rollback(back.step("rollback"), last.ref)
    assert (await provider.check_health(back.step("verify"), last.ref, HealthCheck(http=bench.url, **QUICK))).healthy
    assert bench.systemctl("is-active", "web.socket").strip() == "active"
    await provider.rollback(Rollout(bench, generation=6).step("rollback"), None)
    assert await bench.serving() == ""
    assert bench.systemctl("is-active", "web.socket", check=False).strip() == "inactive"
    await provider.disconnect()


async def test_what_was_put_there_by_hand_is_never_replaced(bench: WebBench):
    bench.host.run("mkdir", "-p", bench.home)
    bench.host.run("chown", "-R", "deploy:", "/home/deploy")  # the folder may be new
    bench.host.run("sh", "-c", f"echo '[Service]' >{bench.home}/web.service")
    provider, rollout, release = await connected(bench), Rollout(bench, generation=1), bench.release("1.0.0")
    await provider.stage(rollout.step("stage"), release)
    with pytest.raises(CommandFailed, match=r"web\.service is not linked into .*/current: move it away"):
        await provider.activate(rollout.step("activate"), release)
    assert bench.host.run("cat", f"{bench.home}/web.service") == "[Service]\n"
    await provider.disconnect()


async def test_a_unit_that_nobody_brings_or_that_is_wrong_leaves_the_way_back_open(bench: WebBench):
    provider, old = await connected(bench), bench.release("1.0.0")
    without, wrong = bench.release("2.0.0", service=""), bench.release("3.0.0", service="[Service]\nExecStart=\n")
    rollout = Rollout(bench, generation=1)
    await provider.stage(rollout.step("stage"), without)
    with pytest.raises(CommandFailed, match=r"web\.service is neither here nor in systemd of the release"):
        await provider.activate(rollout.step("activate"), without)
    await Rollout(bench, generation=2).deploy(provider, old)
    rollout, back = Rollout(bench, generation=3), Rollout(bench, generation=4)
    await provider.stage(rollout.step("stage"), wrong)
    with pytest.raises(CommandFailed, match=r"web\.service"):
        await provider.activate(rollout.step("activate"), wrong)
    assert (await provider.rollback(back.step("rollback"), old.ref)).changed
    steady = HealthCheck(http=bench.url, expect_version=True, **QUICK)
    assert (await provider.check_health(back.step("verify"), old.ref, steady)).healthy
    await provider.disconnect()


async def test_preflight_sees_rights_and_lingering_that_are_missing(bench: WebBench):
    provider = await connected(bench, service_unit="other.service")
    if bench.scope == "system":
        with pytest.raises(PreflightFailed, match=r"may not run systemctl reset-failed other\.service with sudo -n"):
            await provider.preflight(bench.release("1.0.0"))
    else:
        bench.host.run("rm", "/var/lib/systemd/linger/deploy")
        try:
            with pytest.raises(
                PreflightFailed, match=r"end with the last login of deploy: loginctl enable-linger deploy"
            ):
                await provider.preflight(bench.release("1.0.0"))
        finally:
            bench.host.run("touch", "/var/lib/systemd/linger/deploy")
    await provider.disconnect()
