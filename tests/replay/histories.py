"""Histories of real rollouts, kept so that today's workflows can be replayed on what earlier ones did.

Record some anew at every release, into a folder called after it, and change none that is there::

    FRAISIER_KEEP_HISTORIES=/tmp/histories pytest tests/workflows -k "goes_back or soak"
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

UNTOLD = {"identity", "stackTrace", "encodedAttributes"}
"""Of a history's fields those that name the machine or its folders; a replay reads none of them."""


def keep(history: WorkflowHistory) -> None:
    """Write a history below the folder FRAISIER_KEEP_HISTORIES, called after the test and its part in the rollout."""
    folder = os.environ.get("FRAISIER_KEEP_HISTORIES")
    if not folder:
        return
    test = re.sub(r"\W+", "-", os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].removesuffix(" (call)")).strip("-")
    _, _, *part = history.workflow_id.split(":")
    path = Path(folder) / test / f"{'-'.join(['rollout', *part[1:]])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_stripped(json.loads(history.to_json())), separators=(",", ":"))
    path.write_text(re.sub(r'"\d+@[^"]+', '"sticky', text) + "\n")  # queues are called after a process and its machine


def load(path: Path) -> WorkflowHistory:
    """Read a history that was kept."""
    history = json.loads(path.read_text())
    workflow_id = history["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    return WorkflowHistory.from_json(workflow_id, history)


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in UNTOLD}
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value
