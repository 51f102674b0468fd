"""What a manifest says about hosts is checked before anything is touched, and told with line, key and the way out."""

from pathlib import Path

import pytest

from fraisier.providers.bare_metal import BareMetalOptions
from fraisier.workflows.manifest.check import check_manifest
from fraisier.workflows.manifest.errors import ManifestInvalid
from tests.support.releases import build_release

MANIFEST = """\
service: api
release: {version: "1.0.0", artifact: api-1.0.0.tar.gz}
waves: [{regions: [here]}]
regions:
  here:
    provider: bare_metal
    targets: [{host: a.example}]
    health: {tcp: "127.0.0.1:80"}
    %s
"""
GOOD = (
    "jump: [bastion, {host: b, port: 22}]",
    "service_unit: api.service\n    scope: user\n    units: deploy/systemd",
    "shared: {folders: [data, var/log], files: [etc/x.ini]}",
    'env: {A: "1", B: {secret: "env:B"}}',
    "ssh_config: null",
)
BAD = {
    "jump: [{host: b, prot: 22}]": "jump.0.prot: unknown key; did you mean port?",
    "jump: bastion": "jump: ",
    "jump: [{port: 22}]": "jump.0.host: is missing",
    "shared: {folder: [data]}": "shared.folder: unknown key; did you mean folders?",
    "shared: {folders: [../data]}": "shared.folders.0: give a path below the release's folder, such as var/log",
    "shared: {folders: [a, a/b]}": "shared: a/b is shared twice",
    "env: {PORT: 8080}": "env.PORT: must be text in quotes",
    "env: {A-B: x}": "env.A-B: must be the name of a variable, such as DATABASE_URL",
    "units: deploy": "needs service_unit",
    "scope: user": "scope: user needs service_unit",
    "scope: usr": "scope: must be 'system' or 'user', not 'usr'; did you mean user?",
    "service_unit: api.service\n    scope: user\n    sudo: true": "a user's own units need no sudo",
    "units: /etc\n    service_unit: api.service": "units: give a path below the release's folder",
}


def check(folder: Path, lines: str) -> None:
    build_release(folder, "1.0.0")
    (folder / "rollout.yaml").write_text(MANIFEST % lines)
    check_manifest(folder / "rollout.yaml", lambda _: BareMetalOptions)


@pytest.mark.parametrize("lines", GOOD)
def test_what_is_right_is_taken(tmp_path: Path, lines: str) -> None:
    check(tmp_path, lines)


@pytest.mark.parametrize("lines", BAD)
def test_what_is_wrong_is_told_with_its_line_and_the_way_out(tmp_path: Path, lines: str) -> None:
    with pytest.raises(ManifestInvalid) as told:
        check(tmp_path, lines)
    assert BAD[lines] in str(told.value)
    assert "rollout.yaml:" in str(told.value)
