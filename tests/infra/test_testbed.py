"""The hosts of the test bed are what the tests take them for."""

import asyncssh
import pytest

from tests.support.releases import MakeRelease
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.systemd]


def connect(host: SystemdHost):
    return asyncssh.connect(
        host.host, host.port, username=host.username, client_keys=[str(host.key_path)],
        known_hosts=str(host.known_hosts), config=None, agent_path=None,
    )  # fmt: skip


async def test_each_host_has_a_key_of_its_own_and_is_known_by_it(systemd_hosts: list[SystemdHost]):
    keys = {line.split()[2] for line in systemd_hosts[0].known_hosts.read_text().splitlines()}
    assert len(keys) == len(systemd_hosts)
    for number, host in enumerate(systemd_hosts, start=1):
        async with connect(host) as connection:
            assert (await connection.run("hostname", check=True)).stdout == f"host{number}\n"


async def test_the_service_may_be_restarted_and_nothing_else(systemd_hosts: list[SystemdHost]):
    async with connect(systemd_hosts[0]) as connection:
        assert (await connection.run("sudo -n systemctl restart api.service")).exit_status == 0
        for refused in ("systemctl restart ssh.service", "systemctl restart api.service ssh.service", "id"):
            assert (await connection.run(f"sudo -n {refused}")).exit_status == 1


@pytest.mark.parametrize(("healthy", "status"), [(True, "200"), (False, "500")])
async def test_a_release_runs_as_the_service(
    clean_hosts: list[SystemdHost], make_release: MakeRelease, healthy: bool, status: str
):
    host = clean_hosts[0]
    async with connect(host) as connection:
        unpack = "mkdir -p /opt/api/releases/1 && tar xz -C /opt/api/releases/1 && ln -sfn releases/1 /opt/api/current"
        release = make_release("1.0.0", healthy).read_bytes()
        assert (await connection.run(unpack, input=release, encoding=None)).exit_status == 0
        assert (await connection.run("sudo -n systemctl restart api.service")).exit_status == 0
    address = "http://127.0.0.1:8080/health"
    host.run("timeout", "20", "sh", "-c", f"until curl -s -o /dev/null {address}; do sleep 0.1; done")
    asked = host.run("curl", "-s", "-w", " %{http_code}", address)
    assert asked == f"1.0.0 {status}"
    assert host.run("systemctl", "is-active", "api.service") == "active\n"
