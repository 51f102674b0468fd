"""Starts the stack's processes one after the other and writes down each of them at once."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from fraisier.orchestrator.launcher import Progress
from fraisier.orchestrator.stack import members, process
from fraisier.orchestrator.stack.errors import MemberFailed, StackNotRunning
from fraisier.orchestrator.stack.members import MemberSpec
from fraisier.orchestrator.stack.state import Member, StackState, load, save

READY_POLL_S = 0.1


class Crew:
    """The processes of the stack that remembers itself in `file`, which must exist."""

    def __init__(self, folder: Path, file: Path) -> None:
        self._folder = folder
        self._file = file

    async def start(self, specs: Sequence[MemberSpec], progress: Progress) -> None:
        """Start those that do not run, in order, each once the one before it works.

        Raises:
            MemberFailed: one did not become ready; those that this call started have been ended.
        """
        started: list[Member] = []
        try:
            for spec in specs:
                member = self._running(spec) or self._spawn(spec, progress, started)
                await self._until_ready(spec, member)
        except BaseException:  # a cancelled start leaves nothing half, too
            await asyncio.shield(self._end(started))
            raise

    def _running(self, spec: MemberSpec) -> Member | None:
        member = self._state().member(spec.name)
        return member if member and member.process.alive else None

    def _spawn(self, spec: MemberSpec, progress: Progress, started: list[Member]) -> Member:
        progress(f"{spec.name}: starting")
        log = self._folder / f"{spec.name}.log"
        try:
            running = process.spawn(spec.command, env=spec.env, log=log)
        except OSError as error:
            raise MemberFailed(spec.name, what=f"could not be started ({error.strerror})", log=log) from error
        member = Member(name=spec.name, process=running, log=log, grace_s=spec.grace_s)
        started.append(member)
        save(self._file, self._state().with_member(member))
        return member

    async def _until_ready(self, spec: MemberSpec, member: Member) -> None:
        addresses = self._state().addresses
        deadline = time.monotonic() + spec.patience_s
        while member.process.alive:
            if await members.ready(spec.name, addresses):
                return
            if time.monotonic() > deadline:
                raise MemberFailed(spec.name, what=f"did not become ready in {spec.patience_s:.0f} s", log=member.log)
            await asyncio.sleep(READY_POLL_S)
        raise MemberFailed(spec.name, what="ended instead of serving", log=member.log)

    async def _end(self, started: Sequence[Member]) -> None:
        for member in reversed(started):
            await process.end(member.process, grace_s=member.grace_s)

    def _state(self) -> StackState:
        state = load(self._file)
        if state is None:
            raise StackNotRunning(f"{self._file} is gone: run `fraisier up`")
        return state
