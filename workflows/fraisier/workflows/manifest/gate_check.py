"""Whether a manifest's gates make sense."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from fraisier.providers.duration import format_duration
from fraisier.workflows.gate_plans import Aggregate
from fraisier.workflows.gates.samples import DEFAULT_CONDITIONS, SAMPLES
from fraisier.workflows.manifest.errors import Problem
from fraisier.workflows.manifest.gate_parts import KINDS, GatePart

SHORTEST = timedelta(milliseconds=100)
"""The shortest wait between two measurements."""

_MEASURED = {"pass_if", "fail_if", "interval", "dry_run"}
_NUMBERED = _MEASURED | {"aggregate", "below", "above"}
_KEYS = {
    "event": {"from_", "none_of", "dry_run"},
    "http": _MEASURED,
    "prometheus": _NUMBERED | {"query"},
    "command": _MEASURED,
    "metric": _NUMBERED | {"field", "over"},
    "approval": set[str](),
}
"""By kind, the keys that belong to it, beside those of every gate."""


def gate_problems(gates: tuple[GatePart, ...], path: str = "gates") -> Iterator[Problem]:
    """What is wrong with the gates.

    Args:
        path: where they stand.
    """
    for name, times in Counter(gate.name for gate in gates).items():
        if times > 1:
            yield Problem(path, f"two gates are called {name}")
    for number, gate in enumerate(gates):
        here = f"{path}.{number}"
        yield from _foreign_keys(gate, here)
        yield from _of_kind(gate, here)
        if gate.kind in SAMPLES:
            yield from _conditions(gate, here)


def _foreign_keys(gate: GatePart, here: str) -> Iterator[Problem]:
    for key in sorted(gate.model_fields_set - _KEYS[gate.kind] - {"name", "timeout", *KINDS}):
        owners = ", ".join(kind for kind in KINDS if key in _KEYS[kind])
        yield Problem(f"{here}.{key.rstrip('_')}", f"belongs to gates of {owners}, not of {gate.kind}")


def _of_kind(gate: GatePart, here: str) -> Iterator[Problem]:
    if gate.event is not None:
        yield from _other_domains(gate, gate.event.split(".")[0], here)
    for key in ("http", "prometheus"):
        if url := getattr(gate, key):
            yield from _url(url, f"{here}.{key}")
    if gate.prometheus is not None and not gate.query:
        yield Problem(f"{here}.query", "is missing: what Prometheus shall be asked, in PromQL")
    if gate.prometheus is not None and gate.aggregate is Aggregate.LAST:
        yield Problem(f"{here}.aggregate", "the series of a query have no order; use avg, min, max or sum")
    if gate.metric is not None and not gate.over:
        yield Problem(f"{here}.over", "is missing: how far back events count, such as 5m")
    if gate.approval is not None:
        yield from _approval(gate, here)


def _other_domains(gate: GatePart, domain: str, here: str) -> Iterator[Problem]:
    for place, event in enumerate(gate.none_of):
        if event.split(".")[0] != domain:
            yield Problem(f"{here}.none_of.{place}", f"must be a {domain} event like the gate's own, {gate.event}")


def _url(url: str, path: str) -> Iterator[Problem]:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        yield Problem(path, f"{url} is no URL such as https://api.example/health")
    elif parts.username or parts.password:
        yield Problem(path, "must hold no user and password: it stands in the rollout's history")


def _approval(gate: GatePart, here: str) -> Iterator[Problem]:
    approval = gate.approval
    if approval is None:
        return
    if gate.timeout is None:
        yield Problem(f"{here}.timeout", "is missing: how long people have, such as 4h")
    if len(set(approval.approvers)) < len(approval.approvers):
        yield Problem(f"{here}.approval.approvers", "names somebody twice; each has one vote")
    elif approval.quorum > len(approval.approvers):
        yield Problem(f"{here}.approval.quorum", f"is more than the {len(approval.approvers)} approvers")


def _conditions(gate: GatePart, here: str) -> Iterator[Problem]:
    from fraisier.workflows.gates.conditions import problem_with  # noqa: PLC0415 (slow to import, and seldom needed)

    if gate.pass_if and (gate.below is not None or gate.above is not None):
        yield Problem(f"{here}.pass_if", "says what below or above says; give one of them")
    elif not gate.passes and gate.kind not in DEFAULT_CONDITIONS:
        yield Problem(here, "give below, above or pass_if: when does it pass?")
    if gate.interval < SHORTEST:
        yield Problem(f"{here}.interval", f"must be {format_duration(SHORTEST)} or more")
    for key in ("pass_if", "fail_if"):
        condition = getattr(gate, key)
        if condition and (why := problem_with(condition, SAMPLES[gate.kind])):
            yield Problem(f"{here}.{key}", why)
