"""What a Compose project is made of before an engine sees it. Pure."""

import os
import tarfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from fraisier.providers.compose import ComposeOptions
from fraisier.providers.compose.bundle import Variables
from fraisier.providers.compose.model import GATE, Unfit, armed, carried
from fraisier.providers.compose.plugin import Plugin
from fraisier.providers.docker.engine import Engine
from fraisier.providers.masking import Masking


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"file": "../compose.yaml"}, "must be a path inside the release's folder"),
        ({"file": ["a.yaml", "/etc/b.yaml"]}, "must be a path inside the release's folder"),
        ({"file": []}, "at least 1 item"),
        ({"file": "a.yaml", "compose": {"services": {}}}, "give either file, which is in the artifact, or compose"),
        ({"compose": {"service": {}}}, "compose has no services"),
        ({"env": {"RELEASE_VERSION": "1"}}, "RELEASE_VERSION: names that begin with RELEASE_ or DOCKER_ are taken"),
        ({"env": {"DOCKER_HOST": "1"}}, "DOCKER_HOST: names that begin with RELEASE_ or DOCKER_ are taken"),
        ({"project": "Api"}, "String should match pattern"),
        ({"ports": []}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_are_wrong_are_refused(options: dict[str, object], says: str):
    with pytest.raises(ValidationError, match=says):
        ComposeOptions.model_validate(options)


def test_a_service_becomes_a_projects_name_that_compose_takes():
    assert ComposeOptions().project_of("Api.eu") == "api-eu"
    assert ComposeOptions(project="web").project_of("Api.eu") == "web"


def test_what_is_armed_wants_its_gate_and_only_the_images_that_were_staged():
    model = {"services": {"web": {"image": "api:1", "pull_policy": "always"}}, "volumes": {"data": {}}}
    made = armed(model, images={"web": "sha256:1"}, gate="api.gate.1.3.1")
    assert made["services"]["web"] == {"image": "sha256:1", "pull_policy": "never"}
    assert made["services"][GATE]["deploy"] == {"replicas": 0}
    assert made["volumes"] == {"data": {}, GATE: {"name": "api.gate.1.3.1", "external": True}}


def test_files_of_the_release_travel_inside_and_those_of_the_engine_stay(tmp_path: Path):
    (tmp_path / "conf").write_text("a $b")
    model = {
        "services": {
            "web": {"image": "x", "configs": [{"source": "ours"}], "volumes": [{"type": "bind", "source": "/etc"}]}
        },
        "configs": {"ours": {"file": str(tmp_path / "conf")}, "engines": {"external": True}},
    }
    made, variables = carried(model, tmp_path)
    assert made["configs"] == {"ours": {"content": "a $$b"}, "engines": {"external": True}}
    assert list(made["services"]["web"]["labels"]) == ["dev.fraisier.content"]
    assert variables == {}
    model["configs"]["ours"]["file"] = str(tmp_path / "gone")
    with pytest.raises(Unfit, match="the release's gone cannot be read: No such file"):
        carried(model, tmp_path)


async def test_the_plugin_is_told_of_the_engine_by_arguments_and_of_values_by_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\nenv >{tmp_path}/environment\n')
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    for name, value in {"PATH": path, "AWS_TOKEN": "ours", "DOCKER_HOST": "x", "DOCKER_CONFIG": "/etc/x"}.items():
        monkeypatch.setenv(name, value)
    options = ComposeOptions(engine="tcp://eu1.example:2376", tls_path=tmp_path)
    plugin = Plugin(options, engine=Engine(options, target="t1"), target="t1")
    model = {"services": {"web": {"environment": {"TOKEN": "geheim"}}}}
    await plugin.up(tmp_path, model, variables=Variables({"TOKEN": "geheim"}), api_version="1.41", anew=True)
    told, environment = ((tmp_path / name).read_text() for name in ("arguments", "environment"))
    assert told.startswith(f"--config /etc/x --host tcp://eu1.example:2376 --tlscacert {tmp_path}/ca.pem")
    assert f"--tlskey {tmp_path}/key.pem --tlsverify compose --file {tmp_path}/.up.json" in told
    assert " up --detach --no-build --pull never --remove-orphans --force-recreate" in told
    assert "geheim" not in told
    assert {"TOKEN=geheim", "DOCKER_API_VERSION=1.41"} <= set(environment.splitlines())
    assert not {"AWS_TOKEN", "DOCKER_HOST", "HOME"} & {line.partition("=")[0] for line in environment.splitlines()}
    assert (tmp_path / ".up.json").stat().st_mode & 0o777 == 0o600


def test_no_line_of_a_secret_is_said():
    masking = Masking(Variables(secret=("two\nlines", "two")).hidden)
    assert masking.part(b"two\nlines, two, lines.") == b"***, ***, ***."


async def test_a_python_that_cannot_unpack_safely_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Debian 12's, for one."""
    options = ComposeOptions(engine="unix:///run/docker.sock")
    plugin = Plugin(options, engine=Engine(options, target="t1"), target="t1")
    monkeypatch.delattr(tarfile, "data_filter")
    assert "cannot unpack an archive safely: run it with 3.10.12, 3.11.4 or anything later" in await plugin.missing()
