"""Rollouts and events in plain words."""

import re
from collections import deque
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from fraisier.nats import Event
from fraisier.providers.errors import LAST_LINES
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.status import RolloutStatus

COLOURS = {
    "completed": "green",
    "passed": "green",
    "gate_passed": "green",
    "failed": "red",
    "check_failed": "red",
    "check_timeout": "red",
    "gate_failed": "red",
    "gate_inconclusive": "yellow",
    "rolled_back": "yellow",
    "rollback_requested": "yellow",
    "approved": "green",
    "rejected": "red",
    "verb_refused": "yellow",
    "migration_completed": "green",
    "migration_failed": "red",
    "migration_rolled_back": "yellow",
}
WORDS = {
    "deployment.triggered": "rollout of {service} {version} starts",
    "deployment.wave_started": "wave {wave}: {regions}",
    "deployment.started": "{who} goes to {version}",
    "deployment.completed": "{who} runs {version}",
    "deployment.failed": "{who} failed: {detail}",
    "deployment.rolled_back": "{who} is back",
    "deployment.gate_passed": "gate {gate} opened after wave {wave}: {detail}",
    "deployment.gate_failed": "gate {gate} failed after wave {wave}: {detail}",
    "deployment.gate_inconclusive": "gate {gate} is inconclusive after wave {wave}: {detail}",
    "deployment.rollback_requested": "rollback was asked for by {by}: {reason}",
    "deployment.cancel_requested": "cancel was asked for by {by}: {reason}",
    "deployment.retry_requested": "retry was asked for by {by}: {reason}",
    "deployment.skip_requested": "skip was asked for by {by}: {reason}",
    "deployment.approved": "gate {gate} after wave {wave} was approved by {by}: {reason}",
    "deployment.rejected": "gate {gate} after wave {wave} was rejected by {by}: {reason}",
    "deployment.promoted": "canaries were promoted by {by}: {reason}",
    "deployment.adjusted": "adjusted by {by} ({change}): {reason}",
    "deployment.overridden": "{regions} may start, by {by}: {reason}",
    "deployment.verb_refused": "{verb} by {by} was refused: {refusal}",
    "deployment.verb_sent": "{who}: {by} asks something: {reason}",
    "deployment.paused": "paused by {by}: {reason}",
    "deployment.resumed": "resumed by {by}: {reason}",
    "deployment.cancelled": "cancelled: {reason}",
    "database.migration_started": "{phase} of database {database} begins",
    "database.migration_completed": "{phase} of database {database} is done",
    "database.migration_failed": "{phase} of database {database} failed: {error}",
    "database.migration_rolled_back": "database {database} is back",
    "health.check_started": "{who}: health check begins",
    "health.check_retried": "{who} is asked again: {detail}",
    "health.check_passed": "{who} is healthy",
    "health.check_failed": "{who} is not healthy: {detail}",
    "health.check_timeout": "{who} gave no healthy answer in time: {detail}",
}


class LastLines:
    """The last lines that targets wrote before they failed: a region's failure and a rollout's repeat them."""

    def __init__(self) -> None:
        self._told: deque[str] = deque(maxlen=100)

    def once(self, text: str) -> str:
        """A text without those of its last lines that were told before."""
        for lines in self._told:
            text = re.sub(re.escape(LAST_LINES + lines) + r"(?=; |\Z)", "", text)
        _, _, lines = text.partition(LAST_LINES)
        if lines:
            self._told.append(lines)
        return text


DERIVED = ("regions", "who", "by", "change")


def in_words(about: dict[str, Any]) -> str:
    """What a verb was about, or what was adjusted, for people."""
    told = ((key, ",".join(map(str, value)) if isinstance(value, list) else value) for key, value in about.items())
    return ", ".join(f"{key} {value}" for key, value in told)


def sentence(event: Event) -> str:
    """An event as one line for people."""
    who = f"{event.region} {event.target}" if event.target else event.region
    who = "the rollout" if event.region == "global" else who
    known = {"service": event.service, "who": who, "version": "", "wave": "", "detail": "", "reason": "", "gate": ""}
    known |= {"database": "", "phase": "", "error": "", "verb": "", "refusal": ""}
    known |= {"change": in_words(event.data.get("change") or {})}
    known |= {"by": event.data.get("by") or "a signal"}
    known |= {"regions": ", ".join(map(str, event.data.get("regions", ())))}
    known |= {key: str(value) for key, value in event.data.items() if key in known and key not in DERIVED}
    return WORDS.get(event.event_type, f"{event.event_type} {{who}}").format(**known).strip().removesuffix(":")


def print_event(console: Console, event: Event, last_lines: LastLines) -> None:
    """One line: time, type, sentence."""
    colour = COLOURS.get(event.event_type.partition(".")[2], "default")
    when = f"{event.time:%H:%M:%S}  {event.event_type:<28} "
    console.print(Text.assemble((when, "dim"), (last_lines.once(sentence(event)), colour)), soft_wrap=True)


def print_status_change(console: Console, before: RolloutStatus | None, now: RolloutStatus) -> None:
    """What a status tells that no event does: what the rollout waits for now, and a pause."""
    if now.waits and (before is None or before.waits != now.waits):
        console.print(f"          waiting for {escape(now.waits)}", style="dim", highlight=False, soft_wrap=True)
    if before is not None and now.paused and not before.paused:
        console.print("          paused: fraisier resume lets it go on")


def state_in_words(state: str, without: str = "") -> str:
    """A state of a rollout, a wave or a region, with what a success went without."""
    return ", ".join(part for part in (state.replace("_", " "), without) if part)


def print_status(console: Console, status: RolloutStatus) -> None:
    """A whole status."""
    last_lines = LastLines()
    _print_head(console, status)
    if status.waits:
        console.print(f"waiting for {escape(status.waits)}")
    if status.reason:
        console.print(f"why: {escape(last_lines.once(status.reason))}")
    if status.refused:
        console.print(f"refused last: {escape(status.refused)}")
    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415

    table = whole_table("wave", "region", "targets", "state", "why")
    for wave in status.waves:
        for region in wave.regions:
            table.add_row(
                f"{wave.number} {state_in_words(wave.state)}",
                region.name,
                f"{region.targets}, {region.failed} failed" if region.failed else str(region.targets),
                state_in_words(region.state),
                escape(region.waits or last_lines.once(region.error)),
            )
    console.print(table)
    if status.dropped:
        console.print(f"dropped: {', '.join(status.dropped)}", highlight=False)
    if status.one_way:
        console.print(f"a rollback needs an override: {escape(status.one_way)}", highlight=False)
    for one in status.migrations:
        console.print(f"{one.phase} of database {one.database}: {one.state} {escape(one.detail)}", highlight=False)
    for gate in status.gates:
        verdict = (gate.verdict or "waiting") + (" (dry run)" if gate.dry_run else "")
        console.print(f"gate {gate.name} after wave {gate.wave}: {verdict} {escape(gate.detail)}")


def _print_head(console: Console, status: RolloutStatus) -> None:
    head = f"[bold]{status.service} {status.version}[/bold]  {state_in_words(status.phase.value, status.without)}"
    console.print(head + (", [yellow]paused[/yellow]" if status.paused else ""), highlight=False)
    console.print(
        f"rollout {status.rollout_id}, started by {status.actor or 'somebody'} at {status.started_at:%F %T} UTC"
    )
    if status.paused:
        on, who = f"fraisier resume {status.service}", f"fraisier rollout audit {status.service}"
        console.print(f"{on} lets it go on; {who} tells who paused it", highlight=False, soft_wrap=True)


def _where(status: RolloutStatus) -> str:
    regions = [region for wave in status.waves for region in wave.regions]
    left = [f"{one.name} ({state_in_words(one.state)})" for one in regions if one.state != "succeeded"]
    left += [f"{name} (dropped)" for name in status.dropped]
    failed = [
        f"{one.failed} of {one.targets} targets of {one.name}"
        for one in regions
        if one.state == "succeeded" and one.failed
    ]
    total = len(regions) + len(status.dropped)
    where = f"{total - len(left)} of {total} regions" if left else "every region"
    return f"{where}; not in {', '.join([*left, *failed])}" if left or failed else where


def final_sentence(status: RolloutStatus) -> str:
    """How a rollout ended, for people."""
    what = f"{status.service} {status.version}"
    words = {
        RolloutPhase.SUCCEEDED: f"{what} runs in {_where(status)}",
        RolloutPhase.FAILED: f"{what} failed: {status.reason}",
        RolloutPhase.ROLLED_BACK: f"{what} was taken back everywhere: {status.reason}",
        RolloutPhase.CANCELLED: f"{what} was cancelled: {status.reason}",
    }
    return words.get(status.phase, f"{what} is {status.phase.value}")
