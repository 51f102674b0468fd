"""A round: some rollouts, each at a place of its own, one fault over all of them, and what was seen of it."""

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

from tests.faults.collect import collect, vitals
from tests.faults.ground import NAMES, REGIONS, Ground
from tests.faults.invariants.check import violations
from tests.faults.probe import Probe
from tests.faults.records import Round
from tests.faults.rows import Row, Scene
from tests.faults.stories import STORIES, Story, choose

AGAIN = ("again",)
"""Stories that roll out what runs already."""


@dataclass
class Report:
    """A round that is over.

    Attributes:
        injected: how many rollouts the fault hit at their place.
    """

    row: str
    seed: int
    injected: int
    seconds: float
    violations: list[str] = field(default_factory=list)


class Rounds:
    """Rounds on one ground, whose services live from round to round.

    Args:
        ground: that runs.
        at_once: how many rollouts a round has.
        keep: whether the records of every round are kept, not only of one in which something did not hold.
    """

    def __init__(self, ground: Ground, at_once: int, *, keep: bool = False) -> None:
        self._ground = ground
        self._keep = keep
        self._services = [f"api-{number}" for number in range(at_once)]
        self._version = 0
        self._runs = {service: dict.fromkeys(NAMES, "") for service in self._services}

    async def install(self) -> None:
        """Bring a first release to every service, with no fault."""
        stories = [Story(name, "good", "", self._runs[name], self._next()) for name in self._services]
        await asyncio.gather(*(story.start(self._ground) for story in stories))
        await asyncio.gather(*(story.finish() for story in stories))
        assert all((story.result or {}).get("phase") == "succeeded" for story in stories), stories
        self._note()

    def _note(self) -> None:
        """Note what runs now: the old releases of the next round."""
        for file in self._ground.folder.glob("armed/*"):
            file.unlink()
        self._runs = {service: self._versions(service) for service in self._services}

    def _versions(self, service: str) -> dict[str, str]:
        """What each host runs, as it says itself."""
        return {name: (self._ground.root(name, service) / "current/version").read_text().strip() for name in NAMES}

    def _ill_somewhere(self) -> bool:
        """Whether the last round left an ill release where it is ill: nobody can go back to that and be well."""
        return any(
            (self._ground.root(name, service) / "current/ill").read_text().strip() == region
            for region, names in REGIONS.items()
            for name in names
            for service in self._services
        )

    async def play(self, row: Row, seed: int) -> Report:
        """Play a round whose every choice follows from its row and its seed."""
        began = time.monotonic()
        chance = Random(f"{row.name} {seed}")
        if row.kinds == AGAIN or self._ill_somewhere():
            await self.install()
        ground, stories = self._ground, self._choose(chance, row.kinds)
        scene = Scene(ground, stories, chance)
        before = vitals(ground)
        probe = Probe({(ground.target(n), s): ground.root(n, s) for s in self._services for n in NAMES}, ground.secret)
        probe.start()
        try:
            await asyncio.gather(*(story.start(ground) for story in stories))
            await asyncio.gather(*(story.until_reached(ground) for story in stories))
            await row.act(scene)
            ground.release()
            await asyncio.gather(*(story.finish() for story in stories))
        finally:
            probe.stop()
        seen = await collect(ground, scene, probe, row, seed=seed, before=before)
        # In a thread: the replay of histories has a loop of its own.
        report = await asyncio.to_thread(self._judge, seen, stories, time.monotonic() - began)
        self._note()
        return report

    def _choose(self, chance: Random, kinds: tuple[str, ...]) -> list[Story]:
        new = self._next()
        stories = [
            choose(chance, name, old=self._runs[name], new=new, kinds=kinds or STORIES) for name in self._services
        ]
        for story in stories:
            if story.kind in AGAIN:
                story.new = story.old[NAMES[0]]
        return stories

    def _judge(self, seen: Round, stories: list[Story], seconds: float) -> Report:
        found = violations(seen)
        if found or self._keep:
            kept = self._ground.folder / f"{seen.row}-{seen.seed}.json"
            kept.write_text(seen.model_dump_json(indent=1))
        return Report(seen.row, seen.seed, sum(story.reached for story in stories), seconds, found)

    def _next(self) -> str:
        self._version += 1
        return f"{self._version}.0.0"
