"""`fraisier init` writes what `fraisier validate` takes."""

import json

from fraisier.orchestrator.demo.release import build_release
from fraisier.orchestrator.errors import ExitCode
from tests.support.cli import Cli


async def test_a_manifest_to_start_from_needs_only_its_artifact(cli: Cli):
    code, out, _ = await cli("init", "deploy", "--service", "shop")
    assert (code, "fraisier validate deploy/rollout.yaml" in out) == (ExitCode.OK, True)
    code, _, error = await cli("validate", "deploy/rollout.yaml")
    assert code == ExitCode.INVALID
    (problem,) = error.strip().splitlines()
    assert "release.artifact: there is no file deploy/dist/shop-1.0.0.tar.gz" in problem
    artifact = cli.folder / "deploy" / "dist" / "shop-1.0.0.tar.gz"
    artifact.parent.mkdir()
    build_release(artifact.parent, "1.0.0").rename(artifact)
    assert (await cli("validate", "deploy/rollout.yaml"))[0] == ExitCode.OK
    _, out, _ = await cli("schema")
    assert json.loads((cli.folder / "deploy" / "rollout.schema.json").read_text()) == json.loads(out)


async def test_nothing_is_overwritten(cli: Cli):
    (cli.folder / "rollout.yaml").write_text("mine")
    code, _, error = await cli("init")
    assert (code, "rollout.yaml is there already" in error) == (ExitCode.REFUSED, True)
    assert [path.name for path in cli.folder.glob("rollout*")] == ["rollout.yaml"]
    assert (cli.folder / "rollout.yaml").read_text() == "mine"


async def test_a_name_that_fits_no_subject_is_refused(cli: Cli):
    code, _, error = await cli("init", "--service", "My Shop")
    assert (code, "'My Shop' is no service name" in error) == (ExitCode.INVALID, True)
    assert not (cli.folder / "rollout.yaml").exists()
