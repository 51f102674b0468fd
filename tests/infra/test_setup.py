"""What sets a machine up says in plain words what it cannot do, and the files that it reads agree."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fraisier.nats import get_nats_config
from fraisier.nats.config import ConnectionConfig, HandlerConfig, RegionalConfig, StreamConfig

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "sh", "cat", "dirname", "id")


@pytest.fixture
def bare_machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has a shell and next to nothing else."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    return {"PATH": str(tmp_path), "HOME": str(tmp_path)}


def run_script(name: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run one of the set-up scripts; both end before they change anything when something is missing."""
    shell = str(shutil.which("bash"))
    return subprocess.run([shell, ROOT / "infra" / name], env=env, capture_output=True, text=True, check=False)


def names_in(text: str, pattern: str) -> set[str]:
    """The package names that a pattern finds, as the index compares them."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(pattern, text, flags=re.MULTILINE)}


@pytest.mark.parametrize("given", [None, "python-of-last-century"])
def test_without_a_fitting_python_it_says_which_and_how(bare_machine: dict[str, str], given: str | None):
    old = Path(bare_machine["PATH"]) / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run_script("setup.sh", bare_machine | ({"PYTHON": given} if given else {}))
    assert done.returncode != 0
    assert f"Fraisier needs Python 3.10 to 3.13, and {given or 'no python3 here'} is none of them." in done.stderr
    assert "apt-get install python3" in done.stderr


def test_where_it_may_not_install_it_says_what_is_missing(bare_machine: dict[str, str]):
    done = run_script("setup-tests.sh", bare_machine | {"PATH": bare_machine["PATH"]})
    assert done.returncode != 0
    assert "sudo apt-get install" in done.stderr
    # The script looks into the system's own folders too, so what stands there is not missing.
    for package, program in (("chromium", "chromium"), ("mmdebstrap", "mmdebstrap"), ("git", "git")):
        assert (package in done.stderr) == (shutil.which(program, path="/usr/sbin:/sbin") is None)


def test_the_lock_files_hold_what_the_project_asks_for():
    project = (ROOT / "pyproject.toml").read_text()
    asked = r'^ *"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?>='
    locked = r"^([A-Za-z0-9._-]+)=="
    runtime = project[project.index("dependencies = [") : project.index("[project.optional-dependencies]")]
    everything = (ROOT / "requirements.lock").read_text()
    worker = (ROOT / "infra" / "requirements-worker.lock").read_text()
    assert names_in(project, asked) - names_in(everything, locked) == set()
    assert names_in(runtime, asked) - names_in(worker, locked) == set()
    pins = set(re.findall(r"^[A-Za-z0-9._-]+==\S+", everything, flags=re.MULTILINE))
    assert set(re.findall(r"^[A-Za-z0-9._-]+==\S+", worker, flags=re.MULTILINE)) <= pins


@pytest.mark.parametrize(
    "file", ["requirements.lock", "infra/requirements-worker.lock", "infra/requirements-build.lock"]
)
def test_a_lock_file_names_no_index(file: str):
    assert "://" not in (ROOT / file).read_text()


def test_the_example_environment_has_every_variable_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    shown = dict(re.findall(r"^([A-Z_]+)=(.*)$", (tmp_path / ".env").read_text(), flags=re.MULTILINE))
    models = (ConnectionConfig, RegionalConfig, StreamConfig, HandlerConfig)
    read = {str(field.validation_alias) for model in models for field in model.model_fields.values()}
    switched_off = set(re.findall(r"^#([A-Z_]+)=", (tmp_path / ".env").read_text(), flags=re.MULTILINE))
    assert read - shown.keys() - switched_off == set()
    for name in set(os.environ) & shown.keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    config = get_nats_config()
    assert config.connection.servers == ("nats://nats:4222",)
    assert config.streams.deployment_events_retention_hours == 720


def test_the_compose_file_uses_no_variable_that_the_example_lacks():
    shown = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)[:}]", (ROOT / "docker-compose.yml").read_text()))
    assert used - shown == {"COMPOSE_PROJECT_NAME"}
