"""What holds around a rollout: no secret comes out, nobody unauthorised changes anything, nothing grows for ever."""

from collections.abc import Iterator

from tests.faults.records import Round

HISTORY_EVENTS = 1000
FILES, THREADS, MEMORY_KB = 40, 24, 120_000
"""How much a process may have grown over a round."""
USUAL = 13
"""Rollouts of a round; with more of them a worker keeps as many more connections, each of which is a file."""
THREADS_A_ROLLOUT = 3
"""The worker keeps a thread for every workflow that was ever decided on at the same time as others: when Temporal
answers again, those of a rollout and of its two regions."""


def no_secret_comes_out(seen: Round) -> Iterator[str]:
    """I14: no secret's value in any event, history, log or argument list."""
    if not seen.searched:
        yield "nothing was searched for secrets"
    yield from (f"a secret stands in {place}" for place in seen.secrets_in)


def nobody_else_changes_anything(seen: Round) -> Iterator[str]:
    """I15: what must be refused was, and left no trace."""
    for attempt in seen.attempts:
        if not attempt.refused:
            yield f"{attempt.what} was not refused"
        if attempt.marks and any(attempt.marks in (one.id, one.subject) for one in seen.messages):
            yield f"{attempt.what} left {attempt.marks} in a stream"


def nothing_grows_for_ever(seen: Round) -> Iterator[str]:
    """I18: histories, and the worker's descriptors, threads and memory stay within bounds."""
    for rollout in seen.rollouts:
        for name, history in rollout.histories.items():
            if len(history["events"]) > HISTORY_EVENTS:
                yield f"{name} has {len(history['events'])} events"
    count = len(seen.rollouts)
    bounds = (FILES * max(1.0, count / USUAL), max(THREADS, THREADS_A_ROLLOUT * count), MEMORY_KB)
    before = {one.process: one for one in seen.vitals_before}
    for now in seen.vitals_after:
        then = before.get(now.process)
        if then is None:
            continue  # another process: it was killed, and started again
        grown = (now.files - then.files, now.threads - then.threads, now.memory_kb - then.memory_kb)
        if any(by > bound for by, bound in zip(grown, bounds, strict=True)):
            yield f"{now.process} grew by {grown[0]} files, {grown[1]} threads, {grown[2]} KB"
