"""What decides in a workflow asks no clock: the sandbox of the tests catches one that is planted."""

import ast
import shutil
from pathlib import Path

import pytest

import fraisier.workflows
from tests.replay.histories import load
from tests.workflows.harness import strict_replayer

EDITION_1 = Path(__file__).parents[1] / "replay" / "0.1.0" / "edition-1"


@pytest.mark.parametrize("module", ["rollout", "gatekeeper", "region", "targets", "arithmetic"])
async def test_a_planted_clock_is_caught(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = tmp_path / "fraisier" / "workflows"
    shutil.copytree(Path(fraisier.workflows.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(tmp_path)
    replayer = strict_replayer()
    part = "rollout" if module in ("rollout", "gatekeeper") else "rollout-a"
    await replayer.replay_workflow(load(EDITION_1 / f"{part}.json"))
    (copy / f"{module}.py").write_text(_with_clocks((copy / f"{module}.py").read_text()))
    with pytest.raises(RuntimeError, match=r"Cannot access time\.time\.__call__ from inside a workflow"):
        await replayer.replay_workflow(load(EDITION_1 / f"{part}.json"))


def _with_clocks(source: str) -> str:
    """The module, whose functions ask for the time before anything else."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
            node.body[:0] = ast.parse("planted.time()").body
    tree.body[:0] = ast.parse("import time as planted").body
    return ast.unparse(tree)
