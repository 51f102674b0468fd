"""Finding servers: real executables, a real Go build, real locks."""

import sys
from pathlib import Path

import pytest

from fraisier.orchestrator.launcher import ServerNotFound, find_server
from fraisier.orchestrator.launcher.versions import PROGRAMS


def executable(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but the system's own tools, and no servers beside this Python."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    return folder


async def test_a_recent_program_on_path_is_taken(bare_path: Path, tmp_path: Path):
    server = executable(bare_path / "nats-server", "nats-server: v2.11.0")
    found = await find_server("nats-server", home=tmp_path)
    assert (found.path, found.version, found.how) == (server, "2.11.0", "PATH")


async def test_a_program_that_is_too_old_is_passed_over_for_the_cache(bare_path: Path, tmp_path: Path):
    executable(bare_path / "nats-server", "nats-server: v2.9.25")
    cached = executable(tmp_path / "bin" / PROGRAMS["nats-server"].cached_as, "nats-server: v2.15.1")
    found = await find_server("nats-server", home=tmp_path)
    assert (found.path, found.how) == (cached, "cache")


async def test_temporal_is_judged_by_the_server_inside(bare_path: Path, tmp_path: Path):
    executable(bare_path / "temporal", "temporal version 1.0.0 (Server 1.24.2, UI 2.28.0)")
    cached = executable(
        tmp_path / "bin" / PROGRAMS["temporal"].cached_as, "temporal version 0.0.0-DEV (Server 1.29.1, UI 2.42.1)"
    )
    assert (await find_server("temporal", home=tmp_path)).path == cached


async def test_the_error_names_every_way_tried_and_the_way_by_hand(bare_path: Path, tmp_path: Path):
    executable(bare_path / "temporal", "no version at all")
    executable(bare_path / "go", "go version go1.12 ancient")
    # Whether this environment was made by uv or has pip: neither reaches an index.
    for installer in (bare_path / "uv", Path(sys.executable)):
        executable(installer, "").write_text("#!/bin/sh\necho no network; exit 1\n")
    told: list[str] = []
    with pytest.raises(ServerNotFound) as caught:
        await find_server("temporal", told.append, home=tmp_path)
    assert [way.partition(":")[0] for way in caught.value.tried] == ["PATH", "cache", "download", "build"]
    message = str(caught.value)
    assert "does not tell its version" in message
    assert "no network" in message
    assert "docs.temporal.io" in message
    assert [path.name for path in (tmp_path / "bin").iterdir()] == [".temporal.lock"]
