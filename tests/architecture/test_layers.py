"""The house stands as drawn: four portions of one namespace, each knowing only those below."""

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.sandbox import DECLARING

ROOT = Path(__file__).parents[2]
FLOORS = {"events": "nats", "providers": "providers", "workflows": "workflows", "orchestrator": "orchestrator"}
"""The import roots from the lowest up, and the package that each holds."""
IO_LIBRARIES = {"asyncssh", "docker", "nats", "fraisier.nats"}
"""What no workflow may load: the tests' sandbox imports it anew for each workflow, and I/O belongs into activities."""

CLOCKS = {"time", "random", "uuid", "secrets", "now", "today", "utcnow"}
"""Modules, and methods of dates, that answer otherwise each time."""

LOADS = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"

LIBRARIES = {
    "events": ["nats", "nkeys", "httpx", "prometheus_client", "pydantic", "pydantic_settings", "dotenv"],
    "providers": ["asyncssh", "docker"],
    "workflows": ["temporalio.client", "temporalio.worker", "ruamel.yaml"],
    "orchestrator": ["typer", "rich.console", "rich.table"],
}
"""What each floor uses from outside, beside the floors below."""

EACH_ALONE = """
import importlib, json, os, sys
libraries, modules = json.loads(sys.stdin.read())
for library in libraries:
    importlib.import_module(library)
for module in modules:
    sys.stdout.flush()
    if os.fork() == 0:
        importlib.import_module(module)
        print(json.dumps([module, sorted(sys.modules)]))
        sys.stdout.flush()
        os._exit(0)
    if os.wait()[1]:
        sys.exit(f"{module} cannot be imported alone")
"""
"""An interpreter that loads the libraries once and then each module in a copy of itself."""


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


def loaded_by_each(root: str) -> dict[str, set[str]]:
    """What is loaded after each module of a floor was imported as the only one of ours."""
    floors = list(FLOORS)[: list(FLOORS).index(root) + 1]
    asked = json.dumps([[library for floor in floors for library in LIBRARIES[floor]], modules(root)])
    done = subprocess.run([sys.executable, "-c", EACH_ALONE], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {module: set(loaded) for module, loaded in map(json.loads, done.stdout.splitlines())}


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
    loaded = loaded_by_each(root)
    assert len(loaded) == len(modules(root))
    assert {name: wrong for name, found in loaded.items() if (wrong := within(found, forbidden))} == {}


@pytest.mark.parametrize("module", ["rollout", "region", "region_rollback", "contracts", "planning", "arithmetic"])
def test_what_the_workflow_sandbox_loads_does_no_io(module: str):
    assert within(loaded_by(f"fraisier.workflows.{module}"), IO_LIBRARIES) == set()


def test_what_no_sandbox_checks_asks_no_clock():
    """Activities may, and are passed through with the rest that declares."""
    declaring = within(loaded_by("fraisier.workflows.rollout"), set(DECLARING) - {"fraisier.workflows.activities"})
    assert {"fraisier.workflows.verbs", "fraisier.providers.hooks"} <= declaring
    assert {module: asked for module in declaring if (asked := used_by(module) & CLOCKS)} == {}


def used_by(module: str) -> set[str]:
    """What a module imports from outside, and which attributes it asks for."""
    spec = find_spec(module)
    assert spec
    assert spec.origin
    used = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Import):
            used |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            used.add(str(node.module))
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
    return used
