"""What a rollout must answer and do, verb by verb: a model of one that stands still whenever nobody lets it go on.

Its regions follow each other, one target at a time. Each activation waits to be let through, so that at every verb it
is known where the rollout stands.
"""

from dataclasses import dataclass, field

from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.verbs import Verb

REGIONS = ("a", "b", "c")
TARGETS = (1, 2)
CANARY = "b"
"""The region whose second target waits until its first one is promoted."""

STEP, CANARY_WAITS, DECISION, SOAK, ENDED = "step", "canary", "decision", "soak", "ended"

ENDS = {Verb.ROLLBACK: RolloutPhase.ROLLED_BACK, Verb.CANCEL: RolloutPhase.CANCELLED}


@dataclass
class Desk:
    """A rollout as it must be.

    Attributes:
        ill: targets that are not healthy on the new release, until somebody retries.
        place: where it stands; at a step it is held before `target` while it is paused and that has not begun.
        begun: whether the activation of `target` has begun.
        activated: the targets in the order of their activations.
        obeyed: the verbs that took effect.
        refused: how many signals had none.
    """

    ill: set[str]
    place: str = STEP
    target: str = "a1"
    begun: bool = True
    paused: bool = False
    promoted: bool = False
    phase: RolloutPhase | None = None
    activated: list[str] = field(default_factory=list)
    up: set[str] = field(default_factory=set)
    obeyed: list[Verb] = field(default_factory=list)
    refused: int = 0

    @property
    def region(self) -> str:
        """The region under way."""
        return self.target[0]

    def takes(self, verb: Verb) -> bool:
        """Whether a verb makes sense now."""
        fits = {
            Verb.PAUSE: not self.paused,
            Verb.RESUME: self.paused,
            Verb.RETRY: self.place == DECISION,
            Verb.SKIP: self.place == DECISION,
            Verb.PROMOTE: self.place == CANARY_WAITS and not self.promoted,
            Verb.ROLLBACK: True,
            Verb.CANCEL: True,
        }
        return fits.get(verb, False)

    def obey(self, verb: Verb) -> None:
        """Let a verb that makes sense take effect."""
        self.obeyed.append(verb)
        if verb in (Verb.PAUSE, Verb.RESUME):
            self.paused = verb is Verb.PAUSE
        elif verb in ENDS:
            self.place, self.phase = ENDED, ENDS[verb]
        elif verb is Verb.PROMOTE:
            self.promoted = True
        elif verb is Verb.RETRY:
            self.ill.clear()
            self._go_to(next(f"{self.region}{n}" for n in TARGETS if f"{self.region}{n}" not in self.up))
        elif verb is Verb.SKIP:
            self._next_region()
        self._go_on()

    def let_through(self) -> None:
        """The activation that is waited for takes effect, and the target turns out healthy or ill."""
        self.activated.append(self.target)
        if self.target in self.ill:
            self.place = DECISION
            return
        self.up.add(self.target)
        last = self.target.endswith(str(TARGETS[-1]))
        if last:
            self._next_region()
        elif self.region == CANARY:
            self.place, self.promoted = CANARY_WAITS, False
        else:
            self._go_to(f"{self.region}{TARGETS[-1]}")
        self._go_on()

    def versions(self, old: str, new: str) -> dict[str, str]:
        """What every target must run."""
        back = self.phase is RolloutPhase.ROLLED_BACK
        names = [f"{region}{n}" for region in REGIONS for n in TARGETS]
        return {name: new if name in self.activated and not back else old for name in names}

    def _next_region(self) -> None:
        later = REGIONS[REGIONS.index(self.region) + 1 :]
        if later:
            self._go_to(f"{later[0]}{TARGETS[0]}")
        else:
            self.place = SOAK

    def _go_to(self, target: str) -> None:
        self.place, self.target, self.begun = STEP, target, False

    def _go_on(self) -> None:
        """Whatever waits for the end of a pause alone goes on when there is none."""
        if self.paused:
            return
        if self.place == CANARY_WAITS and self.promoted:
            self._go_to(f"{self.region}{TARGETS[-1]}")
        self.begun = self.begun or self.place == STEP
