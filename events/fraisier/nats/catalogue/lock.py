"""The lock file: every type, version and field that was ever published, so that none goes by accident."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fraisier.nats.catalogue.payloads import EventSpec, Payload

LOCK = Path(__file__).with_name("catalogue.lock.json")

Fields = dict[str, str]
"""What a field may hold, by its name: JSON's types with ``|`` between them."""

Locked = dict[str, dict[str, Fields]]
"""Fields by event type and version."""

REQUIRED = " (required)"

_SAID_ELSEWHERE = frozenset({"type", "items", "title", "description", "default"})


def fields_of(payload: type[Payload]) -> Fields:
    """A payload's fields and what each may hold."""
    schema = payload.model_json_schema()
    needed = schema.get("required", ())
    return {
        name: " | ".join(sorted(_alternatives(field, schema))) + (REQUIRED if name in needed else "")
        for name, field in sorted(schema["properties"].items())
    }


def snapshot(catalogue: Mapping[str, EventSpec]) -> Locked:
    """The catalogue as the lock file has it."""
    return {
        name: {str(number): fields_of(payload) for number, payload in enumerate(spec.payloads, start=1)}
        for name, spec in sorted(catalogue.items())
    }


def read_lock() -> Locked:
    """What is locked."""
    locked: Locked = json.loads(LOCK.read_text())
    return locked


def write_lock(locked: Locked) -> None:
    """Lock this."""
    LOCK.write_text(json.dumps(locked, indent=1) + "\n")


def broken(locked: Locked, now: Locked) -> list[str]:
    """What stored events or publishers rely on and is no longer so, a sentence each; what was added breaks nothing."""
    sentences = []
    for name, versions in locked.items():
        for version, fields in versions.items():
            if version not in now.get(name, {}):
                sentences.append(f"{name}, version {version}: is gone")
            else:
                sentences += [f"{name}, version {version}: {why}" for why in _differences(fields, now[name][version])]
    return sentences


def _differences(old: Fields, new: Fields) -> Iterable[str]:
    for field, held in old.items():
        if field not in new:
            yield f"{field} was removed"
        elif not _takes_all(new[field], held):
            yield f"{field} may be {held} no longer, only {new[field]}"
    for field in new.keys() - old.keys():
        if new[field].endswith(REQUIRED):
            yield f"{field} is new and required"


def _takes_all(new: str, old: str) -> bool:
    if new.endswith(REQUIRED) and not old.endswith(REQUIRED):
        return False
    wide, narrow = (set(one.removesuffix(REQUIRED).split(" | ")) for one in (new, old))
    if "number" in wide:
        wide.add("integer")
    # A type with conditions is within the same type without any.
    return "any" in wide or all(one in wide or one.partition(" {")[0] in wide for one in narrow)


def _alternatives(field: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """The types of a field; conditions that are not types stand behind theirs as JSON."""
    if "anyOf" in field:
        return [one for part in field["anyOf"] for one in _alternatives(part, schema)]
    kind = str(field.get("type", "any"))
    if kind == "array":
        kind = f"array of {' or '.join(sorted(_alternatives(field.get('items', {}), schema)))}"
    conditions = {key: value for key, value in field.items() if key not in _SAID_ELSEWHERE}
    if "$ref" in conditions:
        conditions["$defs"] = schema["$defs"]
    return [f"{kind} {json.dumps(conditions, sort_keys=True)}" if conditions else kind]
