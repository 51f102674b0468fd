"""The house stands as drawn: four portions of one namespace, each knowing only those below."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {"events": "nats", "providers": "providers", "workflows": "workflows", "orchestrator": "orchestrator"}
"""The import roots from the lowest up, and the package that each holds."""
IO_LIBRARIES = {"asyncssh", "docker", "nats", "fraisier.nats"}
"""What no workflow may load: its sandbox imports everything anew, and I/O belongs into activities."""

LOADS = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


def modules(root: str) -> list[str]:
    """Every module below one of the roots, but for those that are run rather than imported."""
    files = sorted((ROOT / root).rglob("*.py"))
    paths = [file.relative_to(ROOT / root).with_suffix("").parts for file in files if file.stem != "__main__"]
    return [".".join(part for part in parts if part != "__init__") for parts in paths]


def loaded_by(module: str) -> set[str]:
    """What a fresh interpreter has loaded once it has imported one module."""
    done = subprocess.run([sys.executable, "-c", LOADS, module], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{module} cannot be imported alone:\n{done.stderr}"
    return set(json.loads(done.stdout))


def within(loaded: set[str], packages: set[str]) -> set[str]:
    """Those of the loaded modules that belong to one of the packages."""
    return {name for name in loaded if any(name == package or name.startswith(f"{package}.") for package in packages)}


@pytest.mark.parametrize("root", FLOORS)
def test_no_portion_owns_the_namespace_and_each_is_typed(root: str):
    assert not (ROOT / root / "fraisier" / "__init__.py").exists()
    assert [folder.name for folder in (ROOT / root / "fraisier").iterdir() if folder.is_dir()] == [FLOORS[root]]
    assert (ROOT / root / "fraisier" / FLOORS[root] / "py.typed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("root", FLOORS)
def test_each_module_imports_alone_and_loads_nothing_from_above(root: str):
    above = {f"fraisier.{package}" for package in list(FLOORS.values())[list(FLOORS).index(root) + 1 :]}
    forbidden = above | ({"temporalio"} if root in ("events", "providers") else set())
    names = modules(root)
    with ThreadPoolExecutor() as pool:
        wrong = {
            name: within(loaded, forbidden) for name, loaded in zip(names, pool.map(loaded_by, names), strict=True)
        }
    assert {name: loaded for name, loaded in wrong.items() if loaded} == {}


@pytest.mark.parametrize("module", ["rollout", "region", "region_rollback", "contracts", "planning", "arithmetic"])
def test_what_the_workflow_sandbox_loads_does_no_io(module: str):
    assert within(loaded_by(f"fraisier.workflows.{module}"), IO_LIBRARIES) == set()
