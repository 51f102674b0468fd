"""A release that lacks what its regions need is refused before anything is touched."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from fraisier.workflows.manifest.check import check_manifest
from fraisier.workflows.manifest.errors import ManifestInvalid
from tests.providers.compose_bench import pack

MANIFEST = """\
service: api
release: {version: "2.0.0", artifact: api.tar.gz}
waves: [{regions: [eu-west-1]}]
regions:
  eu-west-1:
    provider: compose
    targets: [{name: e1}]
    health: {tcp: "127.0.0.1:80"}
"""


class AnyOptions(BaseModel):
    """Takes every key."""


def problem_of(path: Path) -> str:
    with pytest.raises(ManifestInvalid) as caught:
        check_manifest(path, lambda _: AnyOptions)
    return str(caught.value)


@pytest.mark.parametrize(
    ("files", "option", "says"),
    [
        ({"compose.yaml": "services: {api: {image: x}}"}, "", ""),
        ({"compose.yaml": "include: [other.yaml]"}, "", ""),
        ({"compose.yaml": "services: {api: {ports: !reset []}}"}, "", ""),
        ({"compose.yml": "services: {}"}, "", "5: regions.eu-west-1.file: compose.yaml is not in the artifact"),
        ({"compose.yml": "services: {}"}, "", "did you mean compose.yml?"),
        ({"a.yaml": "services: {}"}, "file: [./a.yaml, b.yaml]", "7: regions.eu-west-1.file: b.yaml is not in the"),
        ({"compose.yaml": "service: {}"}, "", "compose.yaml is no Compose file: it has no services"),
        ({"compose.yaml": "a: {\nb"}, "", "compose.yaml is not YAML: "),
        (
            {"compose.yaml": "services: {api: {env_file: ../x}}"},
            "",
            "compose.yaml is refused: services.api.env_file names",
        ),
        ({"compose.yaml": "services: {api: {env_file: '${A}/x'}}"}, "", ""),
        ({"../compose.yaml": "services: {}"}, "", "2: release.artifact: "),
        ({"x": ""}, "compose: {services: {api: {image: x}}}", ""),
    ],
)
def test_the_artifact_of_a_compose_region_has_its_files(
    tmp_path: Path, files: dict[str, str], option: str, says: str
) -> None:
    pack(tmp_path / "api.tar.gz", files)
    path = tmp_path / "rollout.yaml"
    path.write_text(MANIFEST.replace("provider: compose\n", f"provider: compose\n    {option}\n"))
    if says:
        assert says in problem_of(path)
    else:
        assert check_manifest(path, lambda _: AnyOptions).service == "api"


@pytest.mark.parametrize(
    ("provider", "has", "needs"),
    [
        ("bare_metal", "image: api", "bare_metal needs release.artifact"),
        ("docker", "artifact: api.tar.gz", "docker needs release.image"),
        ("compose", "image: api", "compose needs release.artifact, which holds the Compose file"),
    ],
)
def test_a_release_has_what_its_providers_need(tmp_path: Path, provider: str, has: str, needs: str) -> None:
    pack(tmp_path / "api.tar.gz", {"compose.yaml": "services: {}"})
    path = tmp_path / "rollout.yaml"
    path.write_text(MANIFEST.replace("compose", provider).replace("artifact: api.tar.gz", has))
    assert re.search(rf"rollout\.yaml:6: regions\.eu-west-1\.provider: {needs}", problem_of(path))
