"""The script that makes a cluster's certificates and keys, and the files that go with them."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from fraisier.orchestrator.launcher import find_server
from tests.support.cluster import ROOT, Cluster, make_credentials
from tests.support.nats import find_nats_server


def kept(folder: Path) -> dict[str, bytes]:
    """What no second run may change."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".crt"
    }


def test_a_second_run_renews_certificates_and_keeps_keys_and_names(tmp_path: Path) -> None:
    assert make_credentials(tmp_path / "c", "--region=eu", "--node=n1=n1.example,10.0.0.1").returncode == 0
    before = kept(tmp_path / "c")
    server = tmp_path / "c" / "nodes" / "n1" / "server.crt"
    first = x509.load_pem_x509_certificate(server.read_bytes())
    assert make_credentials(tmp_path / "c").returncode == 0
    second = x509.load_pem_x509_certificate(server.read_bytes())
    assert kept(tmp_path / "c") == before
    assert second.serial_number != first.serial_number
    assert second.public_key() == first.public_key()
    names = second.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == ["n1.example", "10.0.0.1"]

    assert 'NODE_ADVERTISE: "n1.example:6222"' in before["nodes/n1/node.conf"].decode()

    assert make_credentials(tmp_path / "c", "--region=us").returncode == 0
    after = kept(tmp_path / "c")
    assert "REGION_us" in after["nodes/n1/regions.conf"].decode()
    assert after["regions/eu/seed.nk"] == before["regions/eu/seed.nk"]
    secret = [file for file in (tmp_path / "c").rglob("*") if file.suffix in (".key", ".nk")]
    assert len(secret) == 2 + 1 + 2 * (8 + 2)
    assert {file.stat().st_mode & 0o777 for file in secret} == {0o600}
    for node in (tmp_path / "c" / "nodes" / "n1").glob("*.conf"):
        assert not re.search(r"\bS[A-Z2-7]{50}", node.read_text())


@pytest.mark.parametrize("wrong", ["--region=global", "--region=a.b", "--node=a b", "--node=n2", "--mounted-at=x"])
def test_what_would_undo_the_permissions_or_the_first_run_is_refused(tmp_path: Path, wrong: str) -> None:
    if wrong in ("--node=n2", "--mounted-at=x"):
        assert make_credentials(tmp_path / "c", "--node=n1").returncode == 0
    if wrong == "--mounted-at=x":
        shutil.rmtree(tmp_path / "c" / "authorities")
    done = make_credentials(tmp_path / "c", wrong)
    assert done.returncode == 2
    assert "Invalid value" in done.stderr


def test_the_server_accepts_the_configuration(tmp_path: Path) -> None:
    for node in Cluster.make(tmp_path).nodes.values():
        done = subprocess.run(
            [find_nats_server(), "-t", "--config", node.config], capture_output=True, text=True, check=False
        )
        assert "configuration file" in done.stderr
        assert "is valid" in done.stderr


def test_compose_accepts_the_production_file_and_it_holds_no_secret(tmp_path: Path) -> None:
    program = asyncio.run(find_server("docker-compose")).path
    (tmp_path / "prod.env").write_text((ROOT / ".env.example").read_text())
    command = [
        program,
        "--file",
        ROOT / "docker-compose.prod.yml",
        "--env-file",
        tmp_path / "prod.env",
        "config",
        "--format",
        "json",
    ]
    env = os.environ | {"FRAISIER_CREDENTIALS": "/srv/credentials", "TEMPORAL_ADDRESS": "temporal.example:7233"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert {"nats-1", "nats-2", "nats-3", "install", "worker", "handlers"} == set(services)
    for name in ("nats-1", "nats-2", "nats-3"):
        mounts = {mount["target"]: mount for mount in services[name]["volumes"]}
        assert mounts["/etc/nats/node"]["source"] == f"/srv/credentials/nodes/{name}"
        assert mounts["/data"]["type"] == "volume"
        assert "healthcheck" in services[name]
    for word in ("PASSWORD", "SEED: ", "NATS_USERNAME"):
        assert word not in done.stdout
