"""What each kind of measurement gives to conditions, and the condition that holds when the manifest gives none."""

from typing import Any

SAMPLES: dict[str, dict[str, Any]] = {
    "http": {"status": 200, "body": "", "json": None, "seconds": 0.1},
    "prometheus": {"value": 0.5, "values": [0.5], "count": 1},
    "command": {"exit_status": 0, "stdout": "", "stderr": "", "json": None},
    "metric": {"value": 0.5, "values": [0.5], "count": 1},
}
"""A value of the right type for every name; None where any type may come."""

DEFAULT_CONDITIONS = {"http": "status >= 200 && status < 300", "command": "exit_status == 0"}
