"""What a release's Compose files may read of the worker: nothing that is not the release's."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fraisier.providers.compose.model import Unfit, carried
from fraisier.providers.compose_files import Astray, check_files
from fraisier.providers.errors import ArtifactRejected
from fraisier.providers.models import Release
from fraisier.providers.testing import Rollout
from tests.providers.compose_bench import WEB, ComposeBench
from tests.providers.composing import connected
from tests.providers.docker_bench import build_image
from tests.support.releases import digest_of

SECRET = "geheim-4711"


def web(**more: Any) -> dict[str, Any]:
    return {"services": {"web": {"image": "x", **more}}}


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            web(env_file="/etc/passwd"),
            r"compose\.yaml: services\.web\.env_file names /etc/passwd: it may name files of",
        ),
        (web(env_file=["a.env", {"path": "../b.env"}]), r"services\.web\.env_file names \.\./b\.env"),
        (web(env_file="a/../../b.env"), "services.web.env_file names"),
        (web(env_file="~/b.env"), "services.web.env_file names"),
        (web(label_file=["/etc/passwd"]), "services.web.label_file names"),
        (web(extends={"service": "web", "file": "/etc/passwd"}), "services.web.extends names"),
        ({"include": ["../other.yaml"]}, "include names"),
        ({"include": [{"path": ["a.yaml"], "env_file": "/etc/passwd"}]}, "include names /etc/passwd"),
        ({"include": [{"path": "a.yaml", "project_directory": ".."}]}, "include names"),
        ({"include": ["https://eu1.example/a.git"]}, "include names"),
        ({"include": ["oci://eu1.example/a"]}, "include names"),
        (web(env_file="${PLACE}/b.env"), "services.web.env_file names"),
        (web(env_file="${NOBODY:-/etc}/passwd"), r"names \$\{NOBODY:-/etc\}/passwd: in a path, only"),
        ({"include": ["sub/part.yaml"]}, r"sub/part\.yaml: services\.db\.env_file names /etc/shadow"),
        (web(extends={"service": "db", "file": "part.yaml"}), r"sub/part\.yaml: services\.db\.env_file names"),
        ("x-a: &a {env_file: /etc/passwd}\nservices: {web: {image: x, <<: *a}}", r"services\.web\.<<\.env_file names"),
        ("x-a: &a [/etc/passwd]\nservices: {web: {image: x, env_file: *a}}", r"services\.web\.env_file names"),
        ("services: {}\n---\ninclude: [/etc/passwd]", "include names"),
        ("!!binary aW5jbHVkZQ==: [/etc/passwd]", "hides words as binary"),
        ("# a\u2028include: [/etc/passwd]\nservices: {}", "line breaks of Unicode's own"),
        ("services: [", "compose.yaml is not YAML"),
        ("[" * 1500, "compose.yaml is not YAML"),
    ],
)
def test_a_compose_file_that_names_files_of_the_worker_is_refused(tmp_path: Path, model: Any, says: str):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "part.yaml").write_text("services: {db: {image: x, env_file: [/etc/shadow]}}")
    (tmp_path / "compose.yaml").write_text(model if isinstance(model, str) else json.dumps(model))
    with pytest.raises(Astray, match=says):
        check_files(tmp_path, ("compose.yaml",), {"PLACE": "/srv"})


def test_files_of_the_release_may_be_named_in_every_way(tmp_path: Path):
    parts = {
        "compose.yaml": "include: [./sub/part.yaml, {path: [x.yaml, y.yaml], env_file: .env}]\n"
        "services: {web: {image: x, env_file: ['${STAGE}.env', {path: a.env, required: false}], extends: db}}\n"
        "x-loop: &loop [*loop]\nx-again: &loop {}",
        "sub/part.yaml": "include: [sub/part.yaml, part.yaml, ./]",
    }
    for name, content in parts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    check_files(tmp_path, ("compose.yaml", "none.yaml"), {"STAGE": "production"})


@pytest.mark.parametrize(
    ("service", "more", "says"),
    [
        ({}, {"configs": {"c": {"file": "/etc/hosts"}}}, r"configs\.c\.file is /etc/hosts, which is no file of the"),
        ({}, {"secrets": {"s": {"file": "/etc/shadow"}}}, r"secrets\.s\.file is /etc/shadow"),
        ({"security_opt": ["seccomp=/root/.docker/config.json"]}, {}, r"services\.web\.security_opt names /root"),
        ({"security_opt": ["seccomp:../config.json"]}, {}, r"services\.web\.security_opt names \.\./config"),
        ({"security_opt": ["seccomp=~/etc/profile.json"]}, {}, r"services\.web\.security_opt names ~/etc"),
        ({}, {"secrets": {"s": {"file": "~/s"}}}, r"secrets\.s\.file is ~/s"),
        ({"provider": {"type": "any"}}, {}, r"services\.web\.provider: a release gets nothing of the worker"),
        ({"use_api_socket": True}, {}, r"services\.web\.use_api_socket"),
        ({"models": {"llm": None}}, {}, r"services\.web\.models"),
    ],
)
def test_a_project_gets_nothing_of_the_worker(tmp_path: Path, service: Any, more: Any, says: str):
    with pytest.raises(Unfit, match=says):
        carried({"services": {"web": {"image": "x", **service}}, **more}, tmp_path)


@pytest.mark.docker
async def test_neither_files_nor_the_environment_of_the_worker_get_into_a_project(
    compose_bench: ComposeBench, tmp_path: Path
):
    bench, provider = compose_bench, await connected(compose_bench)
    outside = tmp_path / "worker.env"
    outside.write_text(f"TOKEN={SECRET}\n")
    image = {**WEB, "image": build_image(bench.engine, "1.0.0")}
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"services": {"web": {**image, "env_file": str(outside)}}}, r"services\.web\.env_file names"),
        (
            {"services": {"web": {**image, "configs": ["c"]}}, "configs": {"c": {"file": str(outside)}}},
            r"configs\.c\.file is",
        ),
        ({"services": {"web": {**image, "labels": ["path=${PATH}"]}}}, "nobody gives PATH"),
        ({"include": ["github.com/none/none"], "services": {"web": image}}, "git remote resource is disabled"),
    )
    for generation, (model, says) in enumerate(wrong, start=1):
        release = bench.packed(str(generation), {"compose.yaml": json.dumps(model)})
        with pytest.raises(ArtifactRejected, match=says) as refused:
            await provider.stage(Rollout(bench, generation=generation).step("stage"), release)
        assert SECRET not in str(refused.value)
    linked = release_with_link(bench, tmp_path, image, outside)
    with pytest.raises(ArtifactRejected, match=r"'a\.env' is a link to .*, outside the release's folder"):
        await provider.stage(Rollout(bench, generation=8).step("stage"), linked)
    files = {
        "compose.yaml": json.dumps({"include": ["sub/part.yaml"]}),
        "sub/part.yaml": json.dumps({"services": {"web": {"extends": {"service": "base", "file": "base.yaml"}}}}),
        "sub/base.yaml": json.dumps({"services": {"base": {**image, "env_file": "a.env", "environment": ["HOME"]}}}),
        "sub/a.env": "OURS=1\n",
    }
    await Rollout(bench, generation=9).deploy(provider, bench.packed("1.0.0", files))
    given = bench.of("web")["Config"]["Env"]
    assert "OURS=1" in given
    assert f"HOME={os.environ['HOME']}" not in given
    await provider.disconnect()


def release_with_link(bench: ComposeBench, folder: Path, service: dict[str, Any], aim: Path) -> Release:
    (folder / "compose.yaml").write_text(json.dumps({"services": {"web": {**service, "env_file": "a.env"}}}))
    (folder / "a.env").symlink_to(aim)
    artifact = folder / "linked.tar.gz"
    with tarfile.open(artifact, "w:gz") as archive:
        for name in ("compose.yaml", "a.env"):
            archive.add(folder / name, name)
    return Release(service=bench.service, version="8", digest=digest_of(artifact), artifact=artifact)
