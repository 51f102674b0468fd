"""What the documentation says is what the program does."""

import re
from pathlib import Path

from fraisier.nats.streams import STREAMS
from fraisier.orchestrator.client import load_checked
from fraisier.orchestrator.errors import ExitCode
from fraisier.providers.bare_metal.options import BareMetalOptions
from fraisier.providers.compose.options import ComposeOptions
from fraisier.providers.docker.options import DockerOptions
from fraisier.providers.local_command import KEPT
from fraisier.providers.models import HealthCheck
from fraisier.workflows.gates.samples import SAMPLES
from fraisier.workflows.manifest.gate_parts import KINDS, ApprovalPart, GatePart
from fraisier.workflows.manifest.window_parts import WindowPart
from tests.support.releases import MakeRelease

ROOT = Path(__file__).parents[2]


def test_the_example_manifest_is_good(tmp_path: Path, make_release: MakeRelease) -> None:
    (tmp_path / "dist").mkdir()
    make_release("2.0.0").rename(tmp_path / "dist" / "api-2.0.0.tar.gz")
    path = tmp_path / "rollout.yaml"
    path.write_text((ROOT / "examples" / "rollout.yaml").read_text())
    assert [wave.regions for wave in load_checked(path).each_wave] == [("us-east-1",), ("us-west-2", "eu-west-1")]


def test_the_example_of_gates_has_every_kind() -> None:
    assert [gate.kind for gate in load_checked(ROOT / "examples" / "gates.yaml").gates] == [*KINDS]


def test_the_example_of_compose_is_good() -> None:
    regions = load_checked(ROOT / "examples" / "compose.yaml").regions
    assert [region.options["compose"]["services"].keys() for region in regions.values()] == [{"web", "db"}] * 2


def test_every_key_of_gates_and_windows_is_named() -> None:
    text = (ROOT / "docs" / "gates.md").read_text()
    for part in (GatePart, ApprovalPart, WindowPart):
        assert [f.alias or n for n, f in part.model_fields.items() if f"`{f.alias or n}`" not in text] == []
    for kind, names in SAMPLES.items():
        assert [name for name in names if f"`{name}`" not in text] == [], kind
    assert [name for name in KEPT if f"`{name}`" not in text] == []


def test_every_exit_code_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == {code.name: code.value for code in ExitCode}


def test_every_provider_option_and_stream_is_named() -> None:
    manifest = (ROOT / "docs" / "manifest.md").read_text()
    for options in (BareMetalOptions, DockerOptions, ComposeOptions, HealthCheck):
        assert [name for name in options.model_fields if f"`{name}`" not in manifest] == []
    events = (ROOT / "docs" / "events.md").read_text()
    assert all(f"`{stream}`" in events for stream in STREAMS.values())
