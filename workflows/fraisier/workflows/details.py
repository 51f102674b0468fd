"""The live page of a workflow in the Temporal UI, as markdown. Pure."""

from collections import Counter
from collections.abc import Sequence

from fraisier.workflows.contracts import TargetReport
from fraisier.workflows.status import RUNNING, GateStatus, MigrationStatus, RegionStatus, RolloutStatus, WaveStatus

ROWS_SHOWN = 50

NAMES_SHOWN = 5

_COUNTED = ("waiting", "succeeded")
"""States of regions that are counted, not named, where there are many."""

_MARKS = {
    "waiting": "○",
    "pending": "○",
    "running": "●",
    "staged": "●",
    "activating": "●",
    "soaking": "●",
    "gate": "●",
    "succeeded": "✔",
    "done": "✔",
    "pass": "✔",
    "failed": "✘",
    "fail": "✘",
    "rollback_failed": "✘",
    "rolled_back": "↩",
    "stopped": "■",
    "inconclusive": "?",
}


def region_details(region: str, doing: str, reports: Sequence[TargetReport]) -> str:
    """The page of a region workflow: what it does now, and a table of its targets; of many, what failed first."""
    shown = reports if len(reports) <= ROWS_SHOWN else sorted(reports, key=lambda one: not one.error)[:ROWS_SHOWN]
    rows = "\n".join(f"| {_cell(one.target)} | {_state(one.outcome.value)} | {_cell(one.error)} |" for one in shown)
    more = f"\n\n… and {len(reports) - ROWS_SHOWN} more" if len(reports) > ROWS_SHOWN else ""
    return f"**{region}**: {doing}\n\n| target | state | error |\n|---|---|---|\n{rows}{more}"


def rollout_details(status: RolloutStatus) -> str:
    """The page of a rollout: phase, what it waits for, waves, gates."""
    head = f"**{status.service} {status.version}** (`{status.digest[:19]}`) — {status.phase.value.replace('_', ' ')}"
    head += (", paused" if status.paused else "") + (f", {status.without}" if status.without else "")
    lines = [head, _tally(status.waves)]
    if status.waiting_for:
        lines.append(f"Waiting for {status.waits}.")
    if status.reason:
        lines.append(f"Why: {status.reason}")
    if status.refused:
        lines.append(f"Refused last: {_cell(status.refused)}")
    crowded = sum(len(wave.regions) for wave in status.waves) > ROWS_SHOWN
    waves = map(_crowd if crowded else _wave, status.waves)
    lines.append("\n".join(["| wave | region | state | why |", "|---|---|---|---|", *waves]))
    if status.dropped:
        lines.append(f"Dropped: {', '.join(status.dropped)}.")
    if status.one_way:
        lines.append(f"A rollback needs an override: {status.one_way}.")
    if status.migrations:
        lines.append("\n".join(["| database | phase | state |", "|---|---|---|", *map(_migration, status.migrations)]))
    if status.gates:
        lines.append("\n".join(["| gate | verdict | seen |", "|---|---|---|", *map(_gate, status.gates)]))
    return "\n\n".join(lines)


def _tally(waves: Sequence[WaveStatus]) -> str:
    """How many regions stand how, before all else: the UI shows no more than the top of a long page."""
    found: dict[str, list[str]] = {}
    for one in (region for wave in waves for region in wave.regions):
        found.setdefault(one.state, []).append(one.name)
    told = (_count(state, found[state]) for state in sorted(found, key=lambda state: state in _COUNTED))
    return f"Regions: {', '.join(told)}."


def _count(state: str, names: Sequence[str]) -> str:
    count = f"{len(names)} {state.replace('_', ' ')}"
    more = ", …" if len(names) > NAMES_SHOWN else ""
    return count if state in _COUNTED else f"{count} ({', '.join(names[:NAMES_SHOWN])}{more})"


def _wave(wave: WaveStatus) -> str:
    return "\n".join(_region(wave, one) for one in wave.regions)


def _region(wave: WaveStatus, one: RegionStatus) -> str:
    state, why = wave.state.replace("_", " "), _cell(one.waits or one.error)
    return f"| {wave.number} ({state}) | {one.name} | {_state(one.state)} | {why} |"


def _crowd(wave: WaveStatus) -> str:
    """A wave among many regions: those that failed, are kept by something, or run by name, the others by number."""
    telling = (one for one in wave.regions if one.state not in _COUNTED or one.waiting_for or one.error)
    named = sorted(telling, key=lambda one: one.state == RUNNING)[:ROWS_SHOWN]
    shown = {one.name for one in named}
    counted = Counter(one.state for one in wave.regions if one.name not in shown)
    rows = [
        f"| {wave.number} ({wave.state.replace('_', ' ')}) | {count} more | {_state(state)} | |"
        for state, count in counted.items()
    ]
    return "\n".join([*(_region(wave, one) for one in named), *rows])


def _gate(gate: GateStatus) -> str:
    verdict = _state(gate.verdict or "waiting") + (" (dry run)" if gate.dry_run else "")
    return f"| {gate.name} after wave {gate.wave} | {verdict} | {_cell(gate.detail)} |"


def _migration(one: MigrationStatus) -> str:
    return f"| {one.database} | {one.phase} | {_state(one.state)} {_cell(one.detail)} |"


def _state(name: str) -> str:
    return f"{_MARKS.get(name, '')} {name.replace('_', ' ')}".strip()


def _cell(text: str) -> str:
    # A pipe or a line break in a message would break the table.
    return " ".join(text.replace("|", "\\|").split())
