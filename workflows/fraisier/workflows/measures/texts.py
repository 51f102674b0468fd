"""Answers in text: how much of them is kept, and what they are as JSON."""

import json
from typing import Any

TEXT_KEPT = 64 * 1024
"""How much of an answer conditions see, in bytes."""


def as_json(text: str) -> Any:
    """The text as JSON, or None when it is none. All numbers are doubles, as CEL reads JSON: 0 compares with 0.01."""
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return None
