"""Canaries that wait to be promoted: by their own gates, or by somebody. Lives in the rollout workflow."""

from collections.abc import Callable
from datetime import datetime, timedelta

from fraisier.providers.duration import format_duration
from fraisier.workflows.controls import Controls, Tell
from fraisier.workflows.gate_steps import Verdict
from fraisier.workflows.gatekeeper import Gatekeeper
from fraisier.workflows.plans import PromotionPlan
from fraisier.workflows.rollout_state import RolloutState


class Promotions:
    """Lets the rest of a region follow its canary.

    Args:
        state: where it is told what a region waits for.
        controls: whose interruptions are heeded, and where ``promote`` arrives.
        gatekeeper: asks the canary's gates.
        on_change: called after the state changed, to show it.
    """

    def __init__(
        self, state: RolloutState, controls: Controls, gatekeeper: Gatekeeper, *, on_change: Callable[[], None]
    ) -> None:
        self._state = state
        self._controls = controls
        self._gatekeeper = gatekeeper
        self._show = on_change

    async def wait(self, name: str, number: int) -> str:
        """Wait until a region's canary is promoted; why it is not, or nothing.

        Raises:
            Interrupted: the rollout was asked to end.
        """
        asked = self._state.plan.regions[name].promotion or PromotionPlan()
        by = f"its gates {', '.join(gate.name for gate in asked.gates)}, or " if asked.gates else ""

        def tell(end: datetime | None) -> None:
            self._tell(name, f"{by}promote", end)

        tell(None)
        self._controls.canaries[name] = False
        try:
            if asked.gates:
                return await self._by_gates(name, number, asked, tell)
            return await self._by_verb(name, asked, tell)
        finally:
            del self._controls.canaries[name]
            self._tell(name, "")

    async def _by_verb(self, name: str, asked: PromotionPlan, tell: Tell) -> str:
        def left() -> timedelta:
            return timedelta(0) if self._controls.canaries[name] else asked.timeout

        await self._controls.wait(left, f"{name}: its canary waits to be promoted", tell)
        if self._controls.canaries[name]:
            return ""
        return f"its canary was not promoted within {format_duration(asked.timeout)}"

    async def _by_gates(self, name: str, number: int, asked: PromotionPlan, tell: Tell) -> str:
        wave = self._state.plan.wave(number)
        for gate in asked.gates:
            report = await self._gatekeeper.ask_about(name, wave, gate, lambda: self._controls.canaries[name], tell)
            if report is None:
                return ""
            if report.verdict is not Verdict.PASS and not gate.dry_run:
                return f"gate {gate.name} of its canary: {report.verdict.value}: {report.detail}"
        return ""

    def _tell(self, name: str, why: str, until: datetime | None = None) -> None:
        self._state.waits(name, why, until)
        self._show()
