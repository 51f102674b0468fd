"""What is shipped is what was tested: the built wheel, imported where there is nothing else of ours."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTIONS = ("nats", "orchestrator", "providers", "workflows")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.iterdir()
    return made


def test_it_holds_the_four_portions_and_nothing_beside_them(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "fraisier/__init__.py" not in names
    packages = {name.split("/")[1] for name in names if name.startswith("fraisier/")}
    assert packages == set(PORTIONS)
    for portion in PORTIONS:
        assert f"fraisier/{portion}/py.typed" in names
    others = {name.split("/")[0] for name in names} - {"fraisier"}
    assert all(name.endswith(".dist-info") for name in others)


def test_it_holds_every_file_of_the_portions(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    roots = ("events", "providers", "workflows", "orchestrator")
    files = [file for root in roots for file in (ROOT / root).rglob("*") if file.is_file()]
    for file in files:
        if "__pycache__" not in file.parts:
            assert "/".join(file.parts[file.parts.index("fraisier", len(ROOT.parts)) :]) in shipped


def test_it_imports_where_only_its_dependencies_are(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Dependencies come from this environment, but not its editable install: .pth files count in site folders only.
    dependencies = sysconfig.get_path("purelib")
    check = (
        f"import sys; sys.path.append({dependencies!r});"
        + "".join(f"import fraisier.{portion}; " for portion in PORTIONS)
        + "print(*fraisier.__path__, sep='\\n')"
    )
    done = subprocess.run([python, "-I", "-c", check], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{site}/fraisier"]
