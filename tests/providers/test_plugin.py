"""The example plug-in, built and put where nothing else of it is: found by its name, and held to the contract."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fraisier.orchestrator.errors import ExitCode

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
MANIFEST = """\
service: api
release: {{version: "1.0.0", artifact: api.tar.gz}}
waves: [{{regions: [here]}}]
regions:
  here:
    provider: local_process
    {option}: [bin/api]
    targets: [{{name: this-machine, root: /srv/api}}]
    health: {{tcp: "127.0.0.1:8080"}}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in as it is installed, and nothing else."""
    made, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(made), str(PLUGIN)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = made.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.mark.slow
def test_it_keeps_the_contract_in_tests_of_its_own(installed: Path, tmp_path: Path):
    tests = [sys.executable, "-m", "pytest", "-c", str(PLUGIN / "pyproject.toml"), f"--rootdir={PLUGIN}"]
    done = subprocess.run(
        [*tests, f"--basetemp={tmp_path}/tests", str(PLUGIN / "tests")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def validate(folder: Path, installed: Path, option: str) -> tuple[int, str]:
    (folder / "rollout.yaml").write_text(MANIFEST.format(option=option))
    (folder / "api.tar.gz").write_bytes(b"x")
    done = subprocess.run(
        [sys.executable, "-m", "fraisier.orchestrator", "validate", "rollout.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_manifest_names_it_and_its_options_are_checked(installed: Path, tmp_path: Path):
    assert validate(tmp_path, installed, "start") == (ExitCode.OK, "")
    code, error = validate(tmp_path, installed, "stat")
    assert code == ExitCode.INVALID
    assert "rollout.yaml:7: regions.here.stat: unknown key; did you mean start?" in error


def test_without_it_the_manifest_says_what_is_installed(tmp_path: Path):
    code, error = validate(tmp_path, tmp_path, "start")
    assert code == ExitCode.INVALID
    assert "there is no provider local_process; installed: bare_metal, compose, docker" in error
